import { expect } from 'vitest';
import { feature, featureIdOf, hasFeature, ON_OFF, SOME_FIELDS, when, whole } from '../flag-cases.ts';
import { type CaseTable, casesOf, ETAG, LOCKED, STALE, some, TEXT } from '../operation-cases.ts';

const at = (key: string, application = 'act') => ({ application, environment: 'production', key });
const pathOf = (key: string): string => `/api/v1/flags/${featureIdOf('flag', at(key))}`;
const SCOPE = { application: 'act', environment: 'PROD' };
const scopeOf = (application: string) => `?application=${application}&environment=PROD`;
const SEVERAL = { type: 'string', variants: { a: 'x', b: 'y', c: 'z' }, fallthrough: { variant: null } };

function switched(word: 'enable' | 'disable') {
  const turn = casesOf('POST', `${pathOf(word)}/${word}`);
  const definition = { ...ON_OFF, enabled: word === 'disable' };
  const turned = whole(word, { ...ON_OFF, enabled: word === 'enable' });
  return {
    given: [hasFeature('flag', at(word), definition)],
    good: [
      turn('one, with every field', 200, {
        answer: feature('flag', at(word), { definition: turned, version: 2 }),
        answerHeaders: { etag: ETAG },
      }),
    ],
    bad: [
      turn('an unknown one', 404, { path: `${pathOf('never-made')}/${word}`, fields: ['id'] }),
      turn('a stale entity tag', 412, { headers: STALE }),
      turn('a reason too long', 400, { at: `?reason=${'x'.repeat(5_000)}`, fields: ['reason'] }),
    ],
  };
}

const rollout = casesOf('POST', `${pathOf('rolled')}/rollout`);
const ROLLOUT = { share: 1_234, ramp: null, seed: null, bucketBy: null };
const RULE = { name: 'rollout', when: [], rollout: ROLLOUT, serve: { variant: 'on' } };
const explain = casesOf('POST', '/api/v1/flags/explain');
const QUESTION = { ...SCOPE, key: 'explained' };
const stale = casesOf('GET', '/api/v1/flags/stale');
const exported = casesOf('GET', `/api/v1/flags/export${scopeOf('act-export')}`);
const imported = casesOf('POST', `/api/v1/flags/import${scopeOf('act-import')}`);
const DOCUMENT = {
  flags: { taken: { state: 'ENABLED', variants: { on: true, off: false }, defaultVariant: 'on' } },
};
const BROKEN = { flags: { x: { state: 'ENABLED', variants: {}, defaultVariant: 'on' } } };

/** What is done with flags beside editing them. */
export const FLAG_ACTIONS: CaseTable = {
  enableFlag: switched('enable'),
  disableFlag: switched('disable'),
  rolloutFlag: {
    given: [hasFeature('flag', at('rolled'), ON_OFF), hasFeature('flag', at('unclear'), SEVERAL)],
    good: [
      rollout('a share, with every field', 200, {
        body: { percentage: 12.34, reason: 'slowly', changeSet: 'june' },
        answer: feature('flag', at('rolled'), {
          definition: whole('rolled', { ...ON_OFF, fallthrough: { variant: 'off' }, rules: [RULE] }),
          version: 2,
        }),
        answerHeaders: { etag: ETAG },
      }),
      rollout('a variant, more and more by itself', 200, {
        body: {
          percentage: 0,
          variant: 'on',
          ramp: { kind: 'linear', points: [{ at: '2030-01-01T00:00:00Z', share: 10_000 }] },
        },
        answer: some({
          version: 3,
          definition: some({
            rules: [
              some({
                rollout: {
                  ...ROLLOUT,
                  share: 0,
                  ramp: { kind: 'linear', points: [{ at: '2030-01-01T00:00:00Z', share: 10_000 }] },
                },
              }),
            ],
          }),
        }),
      }),
    ],
    bad: [
      rollout('nothing', 400, { body: {}, fields: ['percentage'] }),
      rollout('more than everybody', 400, { body: { percentage: 101 }, fields: ['percentage'] }),
      rollout('three decimals', 400, { body: { percentage: 12.345 }, fields: ['percentage'] }),
      rollout('an unknown variant', 400, { body: { percentage: 1, variant: 'maybe' }, fields: SOME_FIELDS }),
      rollout('a ramp without points', 400, {
        body: { percentage: 1, ramp: { kind: 'steps', points: [] } },
        fields: SOME_FIELDS,
      }),
      rollout('a ramp that is none', 400, { body: { percentage: 1, ramp: 'up' }, fields: SOME_FIELDS }),
      rollout('one of which the variant is not clear', 400, {
        path: `${pathOf('unclear')}/rollout`,
        body: { percentage: 1 },
        fields: ['variant'],
      }),
      rollout('an unknown one', 404, {
        path: `${pathOf('never-made')}/rollout`,
        fields: ['id'],
        body: { percentage: 1 },
      }),
      rollout('a stale entity tag', 412, { body: { percentage: 1 }, headers: STALE }),
      rollout('an unknown field', 400, { body: { percentage: 1, share: 1 }, fields: ['share'] }),
    ],
  },
  explainFlag: {
    given: [
      hasFeature('flag', at('explained'), {
        ...ON_OFF,
        fallthrough: { variant: 'off' },
        metadata: { team: 'web' },
        rules: [{ name: 'gold', when: [when('plan', 'EQUALS', 'gold')], serve: { variant: 'on' } }],
        schedule: [{ at: '2030-01-01T00:00:00Z', set: { enabled: false } }],
      }),
    ],
    good: [
      explain('why, with every field', 200, {
        body: { ...QUESTION, context: { plan: 'gold' } },
        answer: {
          key: 'explained',
          value: true,
          variant: 'on',
          reason: 'TARGETING_MATCH',
          errorCode: null,
          errorDetails: null,
          metadata: { team: 'web' },
          matched: some({ kind: 'rule', index: 0, name: 'gold' }),
          lines: expect.arrayContaining([TEXT]),
        },
      }),
      explain('at another time', 200, {
        body: { ...QUESTION, at: '2031-01-01T00:00:00Z' },
        answer: some({ value: false, reason: 'DISABLED' }),
      }),
    ],
    bad: [
      explain('nothing', 400, { body: {}, fields: ['application', 'environment', 'key'] }),
      explain('an unknown flag', 404, { body: { ...QUESTION, key: 'never-made' }, fields: ['key'] }),
      explain('an unknown application', 404, {
        body: { ...QUESTION, application: 'nobody' },
        fields: ['application'],
      }),
      explain('a context that is none', 400, { body: { ...QUESTION, context: [] }, fields: ['context'] }),
      explain('a time that is none', 400, { body: { ...QUESTION, at: 'soon' }, fields: ['at'] }),
    ],
  },
  staleFlags: {
    given: [
      hasFeature('flag', at('over', 'act-stale'), { ...ON_OFF, expiresAt: '2020-01-01T00:00:00Z' }),
      hasFeature('flag', at('off', 'act-stale'), { ...ON_OFF, enabled: false }),
    ],
    good: [
      stale('what may go, with every field', 200, {
        at: `${scopeOf('act-stale')}&days=0`,
        answer: {
          items: [
            {
              flag: feature('flag', at('off', 'act-stale'), {
                definition: whole('off', { ...ON_OFF, enabled: false }),
              }),
              reasons: ['disabled'],
              unchangedDays: 0,
            },
            some({ flag: some({ key: 'over' }), reasons: ['expired', 'answers-everybody-alike'] }),
          ],
        },
      }),
      stale('what has expired, whenever it was changed', 200, {
        at: scopeOf('act-stale'),
        answer: { items: [some({ flag: some({ key: 'over' }), reasons: ['expired'] })] },
      }),
    ],
    bad: [
      stale('days that are none', 400, { at: '?days=-1', fields: ['days'] }),
      stale('days without end', 400, { at: '?days=40000', fields: ['days'] }),
      stale('an environment that is none', 400, { at: '?environment=%21', fields: ['environment'] }),
    ],
  },
  exportFlags: {
    given: [hasFeature('flag', at('shown', 'act-export'), ON_OFF)],
    good: [
      exported('as flagd has them, with every field', 200, {
        answer: {
          document: some({
            flags: {
              shown: some({ state: 'ENABLED', variants: { on: true, off: false }, defaultVariant: 'on' }),
            },
          }),
          findings: [],
        },
      }),
    ],
    bad: [
      exported('nothing', 400, { path: '/api/v1/flags/export', fields: ['application', 'environment'] }),
      exported('an unknown application', 404, {
        path: `/api/v1/flags/export${scopeOf('nobody')}`,
        fields: ['application'],
      }),
    ],
  },
  importFlags: {
    good: [
      imported('tried only', 200, {
        at: '&dryRun=true',
        body: DOCUMENT,
        answer: { items: [{ kind: 'flag', key: 'taken', type: 'created' }], findings: [] },
      }),
      imported('for good', 200, {
        body: DOCUMENT,
        answer: { items: [{ kind: 'flag', key: 'taken', type: 'created' }], findings: [] },
      }),
      imported('again', 200, {
        body: DOCUMENT,
        answer: { items: [{ kind: 'flag', key: 'taken', type: 'unchanged' }], findings: [] },
      }),
      imported('what can be taken', 200, {
        at: '&partial=true',
        body: { flags: { ...BROKEN.flags, ...DOCUMENT.flags } },
        answer: {
          items: [{ kind: 'flag', key: 'taken', type: 'unchanged' }],
          findings: expect.arrayContaining([{ field: expect.stringMatching(/^flags\/x/), message: TEXT }]),
        },
      }),
    ],
    bad: [
      imported('a list', 400, { body: [], fields: [''] }),
      imported('what is no document of flags', 400, { body: {}, fields: SOME_FIELDS }),
      imported('a wrong flag among right ones', 400, {
        body: { flags: { ...DOCUMENT.flags, ...BROKEN.flags } },
        fields: SOME_FIELDS,
      }),
      imported('into an unknown environment', 400, {
        path: '/api/v1/flags/import?application=act-import&environment=moon',
        body: DOCUMENT,
        fields: ['environment'],
      }),
      imported('into what is locked', 409, {
        path: `/api/v1/flags/import?application=act-import&environment=${LOCKED}`,
        body: DOCUMENT,
      }),
      imported('nowhere', 400, {
        path: '/api/v1/flags/import',
        body: DOCUMENT,
        fields: ['application', 'environment'],
      }),
    ],
  },
};
