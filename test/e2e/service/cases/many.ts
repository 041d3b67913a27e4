import { expect } from 'vitest';
import {
  type CaseTable,
  casesOf,
  ETAG,
  has,
  idOf,
  LOCKED,
  MASK,
  NUMBER,
  STALE,
  some,
  TEXT,
  TIME,
  TOO_LARGE,
} from '../operation-cases.ts';

const at = (key: string, environment = 'production') => ({ application: 'many', environment, key });
const SCOPE = '?application=many&environment=PROD';
const NAME = { application: 'many', environment: 'PROD' };
const effective = casesOf('GET', '/api/v1/effective');
const lookup = casesOf('GET', '/api/v1/lookup');
const bulkGet = casesOf('POST', '/api/v1/bulk/get');
const bulk = casesOf('POST', '/api/v1/bulk');
const compare = casesOf('GET', '/api/v1/compare');
const environments = casesOf('GET', '/api/v1/compare/environments');
const merge = casesOf('POST', `/api/v1/configurations/${idOf(at('merged'))}/merge`);
const promote = casesOf('POST', '/api/v1/promotions');
const sets = casesOf('GET', '/api/v1/change-sets');
const rollback = casesOf('POST', '/api/v1/change-sets/spring/rollback');

const OWN_VALUE = {
  key: 'pool',
  source: 'own',
  environment: 'production',
  type: 'json',
  value: { max: 10 },
  masked: false,
  configType: 'APPLICATION_CONFIG',
  description: '',
  id: idOf(at('pool')),
  version: 1,
  createdAt: TIME,
  updatedAt: TIME,
  etag: TEXT,
};
const put = (key: string, value: unknown, more: object = {}) => ({
  action: 'put',
  ...NAME,
  key,
  value,
  ...more,
});
const PROMOTION = { application: 'promoted', from: 'STAGING', to: 'TEST' };
const CHANGE = { revision: NUMBER, changeId: TEXT, warnings: [] };

/** Many configurations at once, two beside each other, promotions and releases. */
export const MANY: CaseTable = {
  getEffectiveValues: {
    given: [has(at('pool'), { max: 10 }), has(at('pool.key'), 'effective but hidden', { type: 'secret' })],
    good: [
      effective('all that holds, with every field', 200, {
        at: SCOPE,
        answer: { items: [OWN_VALUE, some({ key: 'pool.key', value: MASK, masked: true, type: 'secret' })] },
        answerHeaders: { etag: ETAG },
      }),
      effective('secrets, when they are to be revealed', 200, {
        at: `${SCOPE}&reveal=true`,
        answer: { items: [OWN_VALUE, some({ value: 'effective but hidden' })] },
        reveals: true,
      }),
    ],
    bad: [
      effective('nothing', 400, { fields: ['application', 'environment'] }),
      effective('an unknown application', 404, {
        at: '?application=nobody&environment=PROD',
        fields: ['application'],
      }),
      effective('an unknown environment', 404, {
        at: '?application=many&environment=moon',
        fields: ['environment'],
      }),
    ],
  },
  lookupEffectiveValue: {
    good: [lookup('a value, with every field', 200, { at: `${SCOPE}&key=pool`, answer: OWN_VALUE })],
    bad: [
      lookup('no key', 400, { at: SCOPE, fields: ['key'] }),
      lookup('an unknown key', 404, { at: `${SCOPE}&key=none`, fields: ['key'] }),
      lookup('a key that is none', 400, { at: `${SCOPE}&key=a%20b`, fields: ['key'] }),
    ],
  },
  bulkGet: {
    good: [
      bulkGet('what holds, and what does not', 200, {
        body: { ...NAME, keys: ['pool', 'none', 'pool.key'] },
        answer: { items: [OWN_VALUE, some({ key: 'pool.key', value: MASK })], missing: ['none'] },
      }),
    ],
    bad: [
      bulkGet('nothing', 400, { body: {}, fields: ['application', 'environment', 'keys'] }),
      bulkGet('keys that are none', 400, { body: { ...NAME, keys: ['a b'] }, fields: ['keys/0/key'] }),
      bulkGet('too many', 400, {
        body: { ...NAME, keys: Array.from({ length: 1_001 }, (_, n) => `k${n}`) },
        fields: ['keys'],
      }),
      bulkGet('an unknown application', 404, {
        body: { ...NAME, application: 'nobody', keys: ['k'] },
        fields: ['application'],
      }),
    ],
  },
  bulkChange: {
    given: [has(at('bulk.updated'), { max: 1, min: 1 }), has(at('bulk.deleted'), 1)],
    good: [
      bulk('every action, together', 200, {
        body: {
          items: [
            { action: 'create', ...NAME, key: 'bulk.created', value: 1, tags: ['x'] },
            { action: 'update', id: idOf(at('bulk.updated')), mergePatch: { max: 2 } },
            put('bulk.put', 'text'),
            { action: 'delete', ...NAME, key: 'bulk.deleted' },
          ],
          reason: 'all at once',
        },
        answer: {
          ...CHANGE,
          items: [
            { type: 'created', before: null, after: some({ key: 'bulk.created', tags: ['x'] }) },
            {
              type: 'updated',
              before: some({ value: { max: 1, min: 1 } }),
              after: some({ value: { max: 2, min: 1 } }),
            },
            { type: 'created', before: null, after: some({ key: 'bulk.put' }) },
            { type: 'deleted', before: some({ value: 1 }), after: some({ key: 'bulk.deleted' }) },
          ],
        },
      }),
      bulk('a trial, which changes nothing', 200, {
        body: { items: [put('bulk.tried', 1)], dryRun: true },
        answer: some({ changeId: null, items: [some({ type: 'created' })] }),
      }),
    ],
    bad: [
      bulk('no items', 400, { body: {}, fields: ['items'] }),
      bulk('none of them', 400, { body: { items: [] }, fields: ['items'] }),
      bulk('one bad among good ones', 400, {
        body: { items: [put('bulk.x', 1), put('bulk.y', 'x', { type: 'integer' })] },
        fields: ['items/1/value'],
      }),
      bulk('one stale among good ones', 412, {
        body: { items: [put('bulk.x', 1), put('pool', 1, { ifMatch: ['1'] })] },
        fields: ['items/1'],
      }),
      bulk('one locked among good ones', 409, {
        body: { items: [put('bulk.x', 1), put('bulk.x', 1, { environment: LOCKED })] },
        fields: expect.any(Array) as unknown as string[],
      }),
      bulk('one too large among good ones', 413, {
        body: { items: [put('bulk.x', 1), put('bulk.y', TOO_LARGE)] },
        fields: ['items/1/value'],
      }),
      bulk('an unknown id', 404, {
        body: { items: [{ action: 'delete', id: 'x' }] },
        fields: ['items/0/id'],
      }),
      bulk('too many', 413, { body: { items: Array.from({ length: 41 }, (_, n) => put(`bulk.${n}`, 1)) } }),
    ],
  },
  compareVersions: {
    given: [has(at('compared'), { max: 10 }), has(at('compared'), { max: 20 }, { description: 'more' })],
    good: [
      compare('two versions, with every field', 200, {
        at: `?left=${idOf(at('compared'))}&leftVersion=1`,
        answer: {
          left: {
            id: idOf(at('compared')),
            tenant: 'default',
            ...at('compared'),
            version: 1,
            type: 'json',
            value: { max: 10 },
            masked: false,
          },
          right: some({ version: 2, value: { max: 20 } }),
          equal: false,
          valueEqual: false,
          diff: {
            changes: [{ type: 'changed', pointer: '/max', before: 10, after: 20, lines: null }],
            patch: [{ op: 'replace', path: '/max', value: 20 }],
          },
          fields: [{ name: 'description', before: '', after: 'more' }],
        },
      }),
      compare('two configurations', 200, {
        at: `?left=${idOf(at('compared'))}&leftVersion=1&right=${idOf(at('pool'))}`,
        answer: some({ equal: true, valueEqual: true, fields: [] }),
      }),
    ],
    bad: [
      compare('nothing', 400, { fields: ['left'] }),
      compare('a version that is none', 400, {
        at: `?left=${idOf(at('compared'))}&leftVersion=0`,
        fields: ['leftVersion'],
      }),
      compare('an unknown version', 404, {
        at: `?left=${idOf(at('compared'))}&rightVersion=9`,
        fields: ['version'],
      }),
      compare('an unknown one', 404, { at: '?left=none', fields: ['left'] }),
    ],
  },
  compareEnvironments: {
    given: [
      has({ application: 'beside', environment: 'staging', key: 'changed' }, 2),
      has({ application: 'beside', environment: 'production', key: 'changed' }, 1),
      has({ application: 'beside', environment: 'production', key: 'key' }, 'compared, not shown', {
        type: 'secret',
      }),
    ],
    good: [
      environments('what differs, with every field', 200, {
        at: '?application=beside&left=staging&right=prod',
        answer: {
          items: [
            {
              key: 'changed',
              difference: 'changed',
              left: { type: 'integer', value: 2, masked: false },
              right: { type: 'integer', value: 1, masked: false },
              diff: {
                changes: [{ type: 'changed', pointer: '', before: 2, after: 1, lines: null }],
                patch: [{ op: 'replace', path: '', value: 1 }],
              },
            },
            {
              key: 'key',
              difference: 'added',
              left: null,
              right: { type: 'secret', value: MASK, masked: true },
              diff: null,
            },
          ],
          more: false,
        },
      }),
    ],
    bad: [
      environments('nothing', 400, { fields: ['application', 'left', 'right'] }),
      environments('an environment that is none', 400, {
        at: '?application=beside&left=%21&right=prod',
        fields: ['left'],
      }),
      environments('an unknown application', 404, {
        at: '?application=nobody&left=dev&right=prod',
        fields: ['application'],
      }),
    ],
  },
  mergeConfiguration: {
    given: [has(at('merged'), { max: 10, min: 1 }), has(at('merged'), { max: 20, min: 1 })],
    good: [
      merge('both changes', 200, {
        body: { base: 1, theirs: { value: { max: 10, min: 5 } } },
        answer: {
          merged: { max: 20, min: 5 },
          conflicts: [],
          saved: true,
          change: { ...CHANGE, items: [some({ type: 'updated' })] },
        },
      }),
      merge('a trial', 200, {
        body: { base: 1, theirs: { version: 1 }, dryRun: true },
        answer: some({ saved: false, conflicts: [] }),
      }),
      merge('conflicts that are decided', 200, {
        body: { base: 1, theirs: { value: { max: 30, min: 1 } }, strategy: 'theirs' },
        answer: some({ merged: { max: 30, min: 5 }, saved: true }),
      }),
    ],
    bad: [
      merge('conflicts that nobody decides', 409, {
        body: { base: 1, theirs: { value: { max: 40, min: 1 } } },
        answer: {
          merged: { max: 30, min: 5 },
          conflicts: [{ pointer: '/max', base: 10, ours: 30, theirs: 40 }],
          saved: false,
          change: null,
        },
      }),
      merge('nothing', 400, { body: {}, fields: ['base', 'theirs'] }),
      merge('two things', 400, { body: { base: 1, theirs: { value: 1, version: 1 } }, fields: ['theirs'] }),
      merge('an unknown base', 404, {
        body: { base: 9, theirs: { value: 1 } },
        fields: expect.any(Array) as unknown as string[],
      }),
      merge('a stale entity tag', 412, { body: { base: 1, theirs: { value: 1 } }, headers: STALE }),
      merge('a strategy that is none', 400, {
        body: { base: 1, theirs: { value: 1 }, strategy: 'mine' },
        fields: ['strategy'],
      }),
    ],
  },
  promote: {
    given: [
      has({ application: 'promoted', environment: 'staging', key: 'a' }, 1),
      has({ application: 'promoted', environment: 'staging', key: 'key' }, 'promoted sealed', {
        type: 'secret',
      }),
      has({ application: 'promoted', environment: 'test', key: 'old' }, 1),
    ],
    good: [
      promote('a trial', 200, {
        body: { ...PROMOTION, dryRun: true, deleteMissing: true },
        answer: some({ changeId: null, items: [expect.anything(), expect.anything(), expect.anything()] }),
      }),
      promote('what is named', 200, {
        body: { ...PROMOTION, keys: ['a'], reason: 'release' },
        answer: {
          ...CHANGE,
          items: [
            { type: 'created', before: null, after: some({ environment: 'test', key: 'a', value: 1 }) },
          ],
        },
      }),
      promote('all, and what is missing away', 200, {
        body: { ...PROMOTION, deleteMissing: true },
        answer: some({
          items: [
            some({ type: 'unchanged' }),
            some({ type: 'created', after: some({ key: 'key', value: MASK }) }),
            some({ type: 'deleted' }),
          ],
        }),
      }),
    ],
    bad: [
      promote('nothing', 400, { body: {}, fields: ['application', 'from', 'to'] }),
      promote('to where it comes from', 400, { body: { ...PROMOTION, to: 'staging' }, fields: ['to'] }),
      promote('to an unknown environment', 400, { body: { ...PROMOTION, to: 'moon' }, fields: ['to'] }),
      promote('an unknown key', 404, { body: { ...PROMOTION, keys: ['none'] }, fields: ['keys/0'] }),
      promote('to what is locked', 409, { body: { ...PROMOTION, to: LOCKED } }),
    ],
  },
  listChangeSets: {
    given: [
      has(at('released'), 1),
      has(at('released'), 2),
      {
        ...has(at('released'), 3),
        body: { items: [put('released', 3), put('released.new', 1)], changeSet: 'spring' },
      },
    ],
    good: [
      sets('all, with every field', 200, {
        answer: {
          items: expect.arrayContaining([
            {
              tenant: 'default',
              name: 'spring',
              changes: [TEXT],
              items: [
                {
                  kind: 'configuration',
                  id: idOf(at('released')),
                  tenant: 'default',
                  ...at('released'),
                  before: 2,
                  after: 3,
                },
                {
                  kind: 'configuration',
                  id: idOf(at('released.new')),
                  tenant: 'default',
                  ...at('released.new'),
                  before: 0,
                  after: 1,
                },
              ],
              rolledBackAt: null,
              createdBy: 'anonymous',
              createdAt: TIME,
              updatedAt: TIME,
            },
          ]),
        },
      }),
    ],
    bad: [sets('an unknown parameter', 400, { at: '?page=1', fields: ['page'] })],
  },
  getChangeSet: {
    good: [sets('one', 200, { at: '/spring', answer: some({ name: 'spring', rolledBackAt: null }) })],
    bad: [
      sets('an unknown one', 404, { at: '/none', fields: ['changeSet'] }),
      sets('a name that is none', 400, { at: '/a%20b', fields: ['changeSet'] }),
    ],
  },
  rollbackChangeSet: {
    good: [
      rollback('a trial', 200, { body: { dryRun: true }, answer: some({ changeIds: [] }) }),
      rollback('whole', 200, {
        body: { reason: 'broken' },
        answer: {
          revision: NUMBER,
          changeIds: [TEXT],
          items: [
            some({ type: 'updated', after: some({ key: 'released', value: 2 }) }),
            some({ type: 'deleted', after: some({ key: 'released.new' }) }),
          ],
          features: [],
        },
      }),
    ],
    bad: [
      rollback('what was rolled back', 409),
      rollback('an unknown one', 404, { path: '/api/v1/change-sets/none/rollback', fields: ['changeSet'] }),
      rollback('an unknown field', 400, { body: { forse: true }, fields: ['forse'] }),
    ],
  },
};
