import {
  type CaseTable,
  casesOf,
  ETAG,
  given,
  has,
  idOf,
  LOCKED,
  MASK,
  NUMBER,
  REASONED,
  STALE,
  some,
  TEXT,
  TIME,
  TOO_LARGE,
} from '../operation-cases.ts';

const PATH = '/api/v1/configurations';
const at = (key: string, environment = 'production') => ({ application: 'own', environment, key });
const id = (key: string): string => `${PATH}/${idOf(at(key))}`;
const missing = id('never.made');
const [list, create] = [casesOf('GET', PATH), casesOf('POST', PATH)];
const get = casesOf('GET', id('read'));
const update = casesOf('PUT', id('updated'));
const patch = casesOf('PATCH', id('patched'));
const remove = casesOf('DELETE', id('removed'));
const undelete = casesOf('POST', `${id('gone')}/undelete`);
const rollback = casesOf('POST', `${id('rolled')}/rollback`);
const versions = casesOf('GET', `${id('aged')}/versions`);
const asOf = casesOf('GET', `${id('aged')}/as-of`);
const allAsOf = casesOf('GET', '/api/v1/as-of');
const OWN = '?application=own&environment=production';
const LONG_AGO = 'time=2020-01-01T00:00:00Z';
const LONG_HENCE = 'time=2999-01-01T00:00:00Z';
const POOL = { ...at('new'), value: { max: 10, min: 1 } };
const WRONG = { ...POOL, key: 'wrong' };
const merge = { 'content-type': 'application/merge-patch+json' };

const resource = (fields: object) => ({
  id: TEXT,
  tenant: 'default',
  application: 'own',
  environment: 'production',
  masked: false,
  configType: 'APPLICATION_CONFIG',
  description: '',
  schema: null,
  tags: [],
  expiresAt: null,
  version: 1,
  createdBy: 'anonymous',
  createdAt: TIME,
  updatedBy: 'anonymous',
  updatedAt: TIME,
  changeId: TEXT,
  etag: TEXT,
  revision: NUMBER,
  ...fields,
});
const version = (fields: object) => ({
  configurationId: TEXT,
  version: 1,
  masked: false,
  configType: 'APPLICATION_CONFIG',
  description: '',
  schema: null,
  tags: [],
  expiresAt: null,
  createdBy: 'anonymous',
  createdAt: TIME,
  changeId: TEXT,
  reason: '',
  deleted: false,
  revision: NUMBER,
  ...fields,
});

/** Our own configurations, and what they were. */
export const RESOURCES: CaseTable = {
  listConfigurationResources: {
    given: [
      has({ ...at('a'), application: 'own-list' }, 1, { tags: ['t'] }),
      has({ ...at('b'), application: 'own-list' }, 'hidden in a list', { type: 'secret' }),
    ],
    good: [
      list('a page, with every field', 200, {
        at: '?application=own-list&size=1',
        answer: {
          items: [
            resource({
              id: idOf({ ...at('a'), application: 'own-list' }),
              application: 'own-list',
              key: 'a',
              type: 'integer',
              value: 1,
              tags: ['t'],
            }),
          ],
          page: 0,
          size: 1,
          total: 2,
        },
        answerHeaders: { etag: ETAG },
      }),
      list('secrets masked', 200, {
        at: '?application=own-list&type=secret',
        answer: some({ items: [some({ key: 'b', value: MASK, masked: true, configType: 'SECRET' })] }),
      }),
      list('what all filters leave', 200, {
        at: '?application=own-list&environment=PROD&keyPrefix=a&tag=t&search=own-list&page=0',
        answer: some({ total: 1 }),
      }),
    ],
    bad: [
      list('a type that is none', 400, { at: '?type=NUMBER', fields: ['type'] }),
      list('a size beyond the limit', 400, { at: '?size=1001', fields: ['size'] }),
      list('an unknown parameter', 400, { at: '?aplication=own', fields: ['aplication'] }),
      list('an environment that is none', 400, { at: '?environment=%21', fields: ['environment'] }),
    ],
  },
  createConfigurationResource: {
    given: [has(at('there'), 1)],
    good: [
      create('one with every field', 201, {
        headers: { 'x-conclave-user': 'ada' },
        body: {
          ...POOL,
          type: 'json',
          configType: 'BUSINESS_RULE',
          description: 'Connections',
          schema: '{"type":"object"}',
          tags: ['db'],
          expiresAt: '2999-01-01T00:00:00Z',
          reason: 'first',
          changeSet: 'own-create',
        },
        answer: resource({
          ...POOL,
          id: idOf(at('new')),
          type: 'json',
          configType: 'BUSINESS_RULE',
          description: 'Connections',
          schema: '{"type":"object"}',
          tags: ['db'],
          expiresAt: '2999-01-01T00:00:00.000Z',
          createdBy: 'ada',
          updatedBy: 'ada',
          warnings: [],
        }),
        answerHeaders: { location: id('new'), etag: ETAG },
      }),
      create('one that lives for a while', 201, {
        body: { ...at('mortal'), value: null, ttlSeconds: 3_600 },
        answer: some({ value: null, type: 'json', expiresAt: TIME }),
      }),
      create('one that looks like a secret in the clear, with a warning', 201, {
        body: { ...at('db.password'), value: 'Xk29vQpa71LmWz04' },
        answer: some({ warnings: [{ severity: 'warning', check: 'secret', field: 'value', message: TEXT }] }),
      }),
    ],
    bad: [
      create('nothing', 400, { body: {}, fields: ['application', 'environment', 'key', 'value'] }),
      create('an unknown field', 400, { body: { ...WRONG, desciption: '' }, fields: ['desciption'] }),
      create('a value of another type', 400, { body: { ...WRONG, type: 'integer' }, fields: ['value'] }),
      create('a schema that is none', 400, {
        body: { ...WRONG, schema: '{"type":"whole"}' },
        fields: ['schema/type'],
      }),
      create('a value against its schema', 400, {
        body: { ...WRONG, schema: '{"type":"array"}' },
        fields: ['value'],
      }),
      create('a value over the limit', 413, { body: { ...WRONG, value: TOO_LARGE }, fields: ['value'] }),
      create('a duplicate', 409, { body: { ...WRONG, key: 'there' }, fields: ['key'] }),
      create('an unknown environment', 400, {
        body: { ...WRONG, environment: 'moon' },
        fields: ['environment'],
      }),
      create('a change of what is locked', 409, { body: { ...WRONG, environment: LOCKED } }),
      create('a change without its reason', 400, {
        body: { ...WRONG, environment: REASONED },
        fields: ['reason'],
      }),
      create('a time to live beside a time', 400, {
        body: { ...WRONG, ttlSeconds: 5, expiresAt: '2999-01-01T00:00:00Z' },
        fields: ['ttlSeconds'],
      }),
      create('a change set that is none', 400, {
        body: { ...WRONG, changeSet: 'a b' },
        fields: ['changeSet'],
      }),
      create('a tenant that is none', 400, {
        body: WRONG,
        headers: { 'x-conclave-tenant': 'a/b' },
        fields: ['X-Conclave-Tenant'],
      }),
    ],
  },
  getConfigurationResource: {
    given: [has(at('read'), [1])],
    good: [
      get('one, with every field', 200, {
        answer: resource({ id: idOf(at('read')), key: 'read', type: 'array', value: [1] }),
        answerHeaders: { etag: ETAG },
      }),
    ],
    bad: [
      get('an unknown one', 404, { path: missing, fields: ['id'] }),
      get('one of another tenant', 404, { headers: { 'x-conclave-tenant': 'acme' } }),
    ],
  },
  updateConfigurationResource: {
    given: [has(at('updated'), 1, { schema: '{"maximum":9}' })],
    good: [
      update('what it names, and nothing else', 200, {
        body: { value: 2, oldValue: 1, reason: 'more' },
        answer: resource({
          id: idOf(at('updated')),
          key: 'updated',
          type: 'integer',
          value: 2,
          schema: '{"maximum":9}',
          version: 2,
          warnings: [],
        }),
      }),
    ],
    bad: [
      update('a value against its schema', 400, { body: { value: 100 }, fields: ['value'] }),
      update('another old value', 409, { body: { value: 3, oldValue: 1 }, fields: ['oldValue'] }),
      update('a stale entity tag', 412, { body: { value: 3 }, headers: STALE }),
      update('a key', 400, { body: { key: 'other' }, fields: ['key'] }),
      update('an unknown one', 404, { path: missing, body: { value: 1 }, fields: ['id'] }),
    ],
  },
  patchConfigurationResource: {
    given: [has(at('patched'), { max: 10, min: 1 }, { tags: ['a'], description: 'x' })],
    good: [
      patch('parts of the value', 200, {
        headers: merge,
        payload: '{"value":{"max":20,"min":null,"idle":{"ms":5}}}',
        answer: some({ value: { max: 20, idle: { ms: 5 } }, tags: ['a'], version: 2 }),
      }),
      patch('what is said of it away', 200, {
        body: { tags: null, description: null },
        answer: some({ tags: [], description: '', version: 3 }),
      }),
    ],
    bad: [
      patch('the value away', 400, { headers: merge, payload: '{"value":null}', fields: ['value'] }),
      patch('the type away', 400, { headers: merge, payload: '{"type":null}', fields: ['type'] }),
      patch('the key', 400, { headers: merge, payload: '{"key":"x"}', fields: ['key'] }),
      patch('a stale entity tag', 412, { headers: { ...merge, ...STALE }, payload: '{"value":1}' }),
      patch('an unknown one', 404, { path: missing, headers: merge, payload: '{"value":1}', fields: ['id'] }),
    ],
  },
  deleteConfigurationResource: {
    given: [has(at('removed'), 1)],
    good: [remove('one', 204, { at: '?reason=unused', answer: null })],
    bad: [
      remove('what is gone', 404, { fields: ['id'] }),
      remove('an unknown one', 404, { path: missing, fields: ['id'] }),
      remove('a stale entity tag', 412, { path: id('there'), headers: STALE }),
    ],
  },
  undeleteConfiguration: {
    given: [has(at('gone'), 1), given('DELETE', id('gone'))],
    good: [
      undelete('one that was deleted', 200, {
        body: { reason: 'a mistake' },
        answer: resource({
          id: idOf(at('gone')),
          key: 'gone',
          type: 'integer',
          value: 1,
          version: 3,
          warnings: [],
        }),
      }),
    ],
    bad: [
      undelete('what is there', 409),
      undelete('what never was', 404, { path: `${missing}/undelete`, fields: ['id'] }),
    ],
  },
  rollbackConfigurationResource: {
    given: [has(at('rolled'), 1), has(at('rolled'), 2)],
    good: [
      rollback('to an earlier version, as a new one', 200, {
        body: { version: 1, reason: 'back' },
        answer: some({ value: 1, version: 3, warnings: [] }),
      }),
    ],
    bad: [
      rollback('nothing', 400, { body: {}, fields: ['version'] }),
      rollback('to an unknown version', 404, { body: { version: 9 }, fields: ['version'] }),
      rollback('with a stale entity tag', 412, { body: { version: 2 }, headers: STALE }),
      rollback('an unknown one', 404, { path: `${missing}/rollback`, body: { version: 1 }, fields: ['id'] }),
    ],
  },
  listVersions: {
    given: [has(at('aged'), 1), has(at('aged'), 2)],
    good: [
      versions('all, newest first, with every field', 200, {
        answer: {
          items: [
            version({ configurationId: idOf(at('aged')), version: 2, type: 'integer', value: 2 }),
            some({ version: 1 }),
          ],
          next: null,
        },
      }),
      versions('a page', 200, { at: '?size=1', answer: { items: [some({ version: 2 })], next: 2 } }),
      versions('those below one', 200, {
        at: '?before=2',
        answer: { items: [some({ version: 1 })], next: null },
      }),
      versions('of a deleted one', 200, {
        path: `${id('removed')}/versions`,
        answer: some({ items: [some({ deleted: true, reason: 'unused' }), some({ version: 1 })] }),
      }),
    ],
    bad: [
      versions('a size that is none', 400, { at: '?size=0', fields: ['size'] }),
      versions('an unknown one', 404, { path: `${missing}/versions`, fields: ['id'] }),
    ],
  },
  getVersion: {
    good: [
      versions('one, with every field', 200, {
        at: '/1',
        answer: version({ configurationId: idOf(at('aged')), type: 'integer', value: 1 }),
      }),
    ],
    bad: [
      versions('an unknown one', 404, { at: '/9', fields: ['version'] }),
      versions('what is no number', 400, { at: '/x', fields: ['version'] }),
      versions('0', 400, { at: '/0', fields: ['version'] }),
    ],
  },
  getConfigurationAsOf: {
    good: [
      asOf('what it is in the far future', 200, {
        at: `?${LONG_HENCE}`,
        answer: some({ version: 2, value: 2 }),
      }),
    ],
    bad: [
      asOf('no time', 400, { fields: ['time'] }),
      asOf('a time that is none', 400, { at: '?time=yesterday', fields: ['time'] }),
      asOf('a revision that is none', 400, { at: '?revision=0', fields: ['revision'] }),
      asOf('both', 400, { at: `?revision=1&${LONG_HENCE}`, fields: ['time'] }),
      asOf('before it was', 404, { at: `?${LONG_AGO}`, fields: ['id'] }),
    ],
  },
  getConfigurationsAsOf: {
    good: [
      allAsOf('all of an application', 200, {
        at: `${OWN}&keyPrefix=aged&${LONG_HENCE}`,
        answer: {
          items: [
            version({
              key: 'aged',
              configurationId: idOf(at('aged')),
              version: 2,
              type: 'integer',
              value: 2,
            }),
          ],
        },
      }),
      allAsOf('nothing, before it was', 200, { at: `${OWN}&${LONG_AGO}`, answer: { items: [] } }),
    ],
    bad: [
      allAsOf('nothing', 400, { fields: ['application', 'environment'] }),
      allAsOf('no time', 400, { at: OWN, fields: ['time'] }),
      allAsOf('an unknown application', 404, {
        at: '?application=nobody&environment=prod&revision=1',
        fields: ['application'],
      }),
    ],
  },
};
