import { expect } from 'vitest';
import { hasFeature, ON_OFF } from '../flag-cases.ts';
import { type CaseTable, casesOf, LOCKED, NUMBER, some, TEXT } from '../operation-cases.ts';

const SCOPE = { application: 'tried', environment: 'PROD' };
const PATH = '/api/v1/feature-flags/tried/experiments';
const at = (key: string, environment = 'production') => ({ application: 'tried', environment, key });
const add = casesOf('POST', '/api/v1/flags/exposures');
const report = casesOf('GET', PATH);
const reset = casesOf('DELETE', PATH);
const promote = casesOf('POST', '/api/v1/flags/promotions');
const exposure = { flag: 'beta', variant: 'on', targetingKey: 'ada' };
const exposures = [exposure, { ...exposure, variant: 'off', targetingKey: 'bob', converted: true }];
const PROMOTION = { application: 'tried', from: 'STAGING', to: 'TEST' };
const SEGMENT = { included: ['ada'], excluded: [], when: [] };

/** Which variant does better, and flags on their way from one environment to another. */
export const EXPERIMENTS: CaseTable = {
  addFlagExposures: {
    given: [hasFeature('flag', at('beta'), ON_OFF)],
    good: [
      add('who got what', 204, { body: { ...SCOPE, exposures }, answer: null }),
      add('the same again', 204, { body: { ...SCOPE, exposures }, answer: null }),
    ],
    bad: [
      add('nothing', 400, { body: {}, fields: ['application', 'environment', 'exposures'] }),
      add('an unknown application', 404, {
        body: { ...SCOPE, application: 'nobody', exposures },
        fields: ['application'],
      }),
      add('an unknown environment', 404, {
        body: { ...SCOPE, environment: 'moon', exposures },
        fields: ['environment'],
      }),
      add('half an exposure', 400, {
        body: { ...SCOPE, exposures: [{ flag: 'beta' }] },
        fields: ['exposures/0/variant', 'exposures/0/targetingKey'],
      }),
      add('an unknown variant', 400, {
        body: { ...SCOPE, exposures: [exposure, { ...exposure, variant: 'maybe' }] },
        fields: ['exposures/1/variant'],
      }),
    ],
  },
  flagExperiments: {
    good: [
      report('a line for each variant', 200, {
        at: '?environment=PROD&flag=beta',
        answer: /^(?:\{"application":"tried",[^\n]*"exposures":1,[^\n]*\}\n){2}$/,
        answerHeaders: { 'content-type': 'application/x-ndjson; charset=utf-8' },
      }),
      report('as CSV, against another control', 200, {
        at: '?environment=PROD&format=csv&control=on',
        answer: /^application,[^\n]+\n(?:tried,production,beta,[^\n]+\n){2}$/,
        answerHeaders: { 'content-type': 'text/csv; charset=utf-8' },
      }),
    ],
    bad: [
      report('nothing', 400, { fields: ['environment'] }),
      report('an unknown application', 404, {
        path: '/api/v1/feature-flags/nobody/experiments?environment=PROD',
        fields: ['application'],
      }),
      report('a control that nobody got', 400, {
        at: '?environment=PROD&flag=beta&control=maybe',
        fields: ['control'],
      }),
      report('an unknown format', 400, { at: '?environment=PROD&format=xml', fields: ['format'] }),
    ],
  },
  resetFlagExperiment: {
    good: [reset('one', 204, { at: '?environment=PROD&flag=beta', answer: null })],
    bad: [
      reset('nothing', 400, { fields: ['environment', 'flag'] }),
      reset('one without exposures', 404, { at: '?environment=PROD&flag=beta' }),
    ],
  },
  promoteFlags: {
    given: [
      hasFeature('segment', at('gold', 'staging'), SEGMENT),
      hasFeature('flag', at('going', 'staging'), ON_OFF),
    ],
    good: [
      promote('a trial', 200, {
        body: { ...PROMOTION, dryRun: true },
        answer: some({ changeId: null, items: [expect.anything(), expect.anything()] }),
      }),
      promote('what is named', 200, {
        body: { ...PROMOTION, flags: ['going'], reason: 'release' },
        answer: {
          revision: NUMBER,
          changeId: TEXT,
          items: [{ type: 'created', before: null, after: some({ environment: 'test', key: 'going' }) }],
        },
      }),
      promote('all', 200, {
        body: PROMOTION,
        answer: some({
          items: expect.arrayContaining([
            some({ type: 'created', after: some({ kind: 'segment', key: 'gold' }) }),
            some({ type: 'unchanged' }),
          ]),
        }),
      }),
    ],
    bad: [
      promote('nothing', 400, { body: {}, fields: ['application', 'from', 'to'] }),
      promote('to where it comes from', 400, { body: { ...PROMOTION, to: 'staging' }, fields: ['to'] }),
      promote('to an unknown environment', 400, { body: { ...PROMOTION, to: 'moon' }, fields: ['to'] }),
      promote('an unknown flag', 404, { body: { ...PROMOTION, flags: ['none'] }, fields: ['flags/0'] }),
      promote('to what is locked', 409, { body: { ...PROMOTION, to: LOCKED } }),
    ],
  },
};
