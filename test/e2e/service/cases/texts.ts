import { type CaseTable, casesOf, ETAG, has, LOCKED, NUMBER, some, TEXT } from '../operation-cases.ts';

const at = (key: string, environment = 'production') => ({ application: 'texts', environment, key });
const SCOPE = '?application=texts&environment=PROD';
const exported = casesOf('GET', '/api/v1/export');
const imported = casesOf('POST', '/api/v1/import');
const drift = casesOf('GET', '/api/v1/drift');
const adopt = casesOf('POST', '/api/v1/drift/adopt');
const revert = casesOf('POST', '/api/v1/drift/revert');
const validate = casesOf('POST', '/api/v1/validate');
const TARGET = '?application=imported&environment=TEST';
const NAMES = [{ application: 'drifted', environment: 'TEST', key: 'limit' }];
const TRIED = { application: 'tried', environment: 'dev', key: 'host', value: 'localhost' };

const written = (key: string, value: string) => ({ plainKey: `/default/test/drifted/${key}`, value });

/** Texts of values, what plain clients changed, and trials. */
export const TEXTS: CaseTable = {
  exportConfigurations: {
    given: [
      has(at('db.host'), 'h'),
      has(at('db.pool.max'), 20),
      has(at('db.key'), 'exported under its mask', { type: 'secret' }),
    ],
    good: [
      exported('JSON', 200, {
        at: `${SCOPE}&format=json`,
        answer: { 'db.host': 'h', 'db.key': '********', 'db.pool.max': 20 },
        answerHeaders: { etag: ETAG },
      }),
      exported('nested JSON', 200, {
        at: `${SCOPE}&format=json&shape=nested`,
        answer: { db: { host: 'h', key: '********', pool: { max: 20 } } },
      }),
      exported('YAML', 200, {
        at: `${SCOPE}&format=yaml&shape=nested`,
        answer: 'db:\n  host: h\n  key: "********"\n  pool:\n    max: 20\n',
        answerHeaders: { 'content-type': 'application/yaml; charset=utf-8' },
      }),
      exported('dotenv', 200, {
        at: `${SCOPE}&format=dotenv`,
        answer: "DB_HOST=h\nDB_KEY='********'\nDB_POOL_MAX=20\n",
      }),
      exported('properties', 200, {
        at: `${SCOPE}&format=properties`,
        answer: 'db.host=h\ndb.key=********\ndb.pool.max=20\n',
      }),
      exported('secrets, when they are to be revealed', 200, {
        at: `${SCOPE}&format=json&reveal=true&inherited=true`,
        answer: some({ 'db.key': 'exported under its mask' }),
        answerHeaders: { 'cache-control': 'no-store' },
        reveals: true,
      }),
    ],
    bad: [
      exported('nothing', 400, { fields: ['application', 'environment', 'format'] }),
      exported('a format that is none', 400, { at: `${SCOPE}&format=xml`, fields: ['format'] }),
      exported('an unknown application', 404, {
        at: '?application=nobody&environment=PROD&format=json',
        fields: ['application'],
      }),
    ],
  },
  importConfigurations: {
    good: [
      imported('a trial, with every field', 200, {
        at: `${TARGET}&dryRun=true`,
        body: { 'db.host': 'h' },
        answer: {
          revision: NUMBER,
          changeIds: [],
          created: 1,
          updated: 0,
          deleted: 0,
          unchanged: 0,
          items: [
            {
              key: 'db.host',
              type: 'created',
              before: null,
              after: { type: 'string', value: 'h', masked: false },
              diff: {
                changes: [{ type: 'added', pointer: '', after: 'h' }],
                patch: [{ op: 'add', path: '', value: 'h' }],
              },
            },
          ],
          more: false,
          warnings: [],
        },
      }),
      imported('JSON', 200, {
        at: `${TARGET}&secretKeys=db.key`,
        body: { 'db.host': 'h', 'db.key': 'imported and sealed' },
        answer: some({ created: 2, changeIds: [TEXT] }),
      }),
      imported('YAML', 200, {
        at: `${TARGET}&shape=nested`,
        headers: { 'content-type': 'application/yaml' },
        payload: 'db:\n  host: h\n  pool:\n    max: 20\n',
        answer: some({ created: 1, updated: 0, unchanged: 1 }),
      }),
      imported('dotenv', 200, {
        at: `${TARGET}&format=dotenv`,
        headers: { 'content-type': 'text/plain' },
        payload: 'DB_POOL_MAX=30\n',
        answer: some({ created: 0, updated: 1 }),
      }),
      imported('properties, and what is missing away', 200, {
        at: `${TARGET}&deleteMissing=true`,
        headers: { 'content-type': 'text/x-java-properties' },
        payload: 'db.host = other\n',
        answer: some({ updated: 1, deleted: 2 }),
      }),
    ],
    bad: [
      imported('nothing', 400, { body: {}, fields: ['application', 'environment'] }),
      imported('no format', 400, {
        at: TARGET,
        headers: { 'content-type': 'text/plain' },
        payload: 'A=1',
        fields: ['format'],
      }),
      imported('a key that is none', 400, { at: TARGET, body: { good: 1, 'a b': 1 }, fields: ['a b'] }),
      imported('an unknown environment', 400, {
        at: '?application=imported&environment=moon',
        body: { a: 1 },
        fields: ['environment'],
      }),
      imported('into what is locked', 409, {
        at: `?application=imported&environment=${LOCKED}`,
        body: { a: 1 },
      }),
      imported('YAML that is none', 400, {
        at: TARGET,
        headers: { 'content-type': 'application/yaml' },
        payload: 'a: [1',
        fields: ['text'],
      }),
    ],
  },
  listDrift: {
    given: [
      has({ application: 'drifted', environment: 'test', key: 'limit' }, 1),
      has({ application: 'drifted', environment: 'test', key: 'other' }, 1),
      written('limit', '2'),
      written('unmanaged', '"x"'),
    ],
    good: [
      drift('what was changed, with every field', 200, {
        at: '?application=drifted&environment=TEST',
        answer: {
          items: [
            {
              application: 'drifted',
              environment: 'test',
              key: 'limit',
              drift: 'changed',
              expected: { type: 'integer', value: 1, masked: false },
              actual: { type: 'integer', value: 2, masked: false },
              revision: NUMBER,
            },
            some({ key: 'unmanaged', drift: 'unmanaged', expected: null }),
          ],
          more: false,
        },
      }),
    ],
    bad: [drift('an environment that is none', 400, { at: '?environment=%21', fields: ['environment'] })],
  },
  adoptDrift: {
    good: [
      adopt('what was changed', 200, {
        body: { names: NAMES, reason: 'by hand' },
        answer: {
          revision: NUMBER,
          changeId: TEXT,
          items: [{ type: 'updated', before: some({ value: 1 }), after: some({ value: 2, version: 2 }) }],
          warnings: [],
        },
      }),
    ],
    bad: [
      adopt('nothing', 400, { body: {}, fields: ['names'] }),
      adopt('none', 400, { body: { names: [] }, fields: ['names'] }),
      adopt('half a name', 400, {
        body: { names: [{ key: 'k' }] },
        fields: ['names/0/application', 'names/0/environment'],
      }),
      adopt('too many', 413, { body: { names: Array.from({ length: 41 }, () => NAMES[0]) } }),
    ],
  },
  revertDrift: {
    given: [written('limit', '9')],
    good: [
      revert('what was changed', 200, { body: { names: NAMES }, answer: { revision: NUMBER, reverted: 1 } }),
    ],
    bad: [
      revert('nothing', 400, { body: {}, fields: ['names'] }),
      revert('an environment that is none', 400, {
        body: { names: [{ ...NAMES[0], environment: '!' }] },
        fields: ['names/0/environment'],
      }),
    ],
  },
  validateConfiguration: {
    given: [has({ application: 'tried', environment: 'development', key: 'url' }, 'x-${host}')],
    good: [
      validate('what would be taken, with every field', 200, {
        body: TRIED,
        answer: {
          valid: true,
          errors: [],
          warnings: [],
          impact: { inheritedBy: [], referencedBy: ['url'], instances: [] },
        },
      }),
      validate('what would be refused', 200, {
        body: { ...TRIED, schema: '{"type":"integer"}' },
        answer: some({ valid: false, errors: [{ field: 'value', message: TEXT }] }),
      }),
    ],
    bad: [
      validate('nothing', 400, { body: {}, fields: ['application', 'environment', 'key'] }),
      validate('an unknown field', 400, { body: { ...TRIED, kye: 1 }, fields: ['kye'] }),
      validate('an environment that is none', 400, {
        body: { ...TRIED, environment: '!' },
        fields: ['environment'],
      }),
    ],
  },
};
