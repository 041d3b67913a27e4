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
  REASONED,
  STALE,
  some,
  TEXT,
  TIME,
  TOO_LARGE,
} from '../operation-cases.ts';

const at = (key: string, environment = 'production') => ({ application: 'a002', environment, key });
const ada = { 'x-conclave-user': 'ada' };
const LIMIT = { ...at('new', 'PROD'), valueType: 'NUMBER', value: '10' };
const WRONG = { ...LIMIT, key: 'wrong' };
const CYCLE = '${a.cycle}';

const list = casesOf('GET', '/configs');
const create = casesOf('POST', '/configs');
const lookup = casesOf('GET', '/configs/lookup');
const LOOKED_UP = '?key=looked.up&application=a002&environment=PROD';
const one = (method: 'GET' | 'PUT' | 'DELETE', key: string) => casesOf(method, `/configs/${idOf(at(key))}`);
const [get, update, remove] = [one('GET', 'read'), one('PUT', 'updated'), one('DELETE', 'removed')];
const versions = casesOf('GET', `/configs/${idOf(at('aged'))}/versions`);
const rollback = casesOf('POST', `/configs/${idOf(at('rolled'))}/rollback`);
const missing = `/configs/${idOf(at('never.made'))}`;

/** A configuration as 002 shows it, every field of its model and our own beside. */
const response = (fields: object) => ({
  id: TEXT,
  application: 'a002',
  environment: 'PROD',
  description: '',
  valueType: 'STRING',
  valueSubtype: 'STRING',
  tags: [],
  version: 1,
  createdBy: 'anonymous',
  createdAt: TIME,
  updatedBy: 'anonymous',
  updatedAt: TIME,
  configType: 'APPLICATION_CONFIG',
  ...fields,
});

/** 002's paths, under the ids of its document. */
export const CONFIGS: CaseTable = {
  listConfigurations: {
    given: [
      has({ ...at('listed.a'), application: 'a002list' }, 1, {
        tags: ['t'],
        description: 'How many parcels',
      }),
      has({ ...at('listed.b'), application: 'a002list' }, 'x'),
      has({ ...at('c', 'staging'), application: 'a002list' }, true),
    ],
    good: [
      list('a page of summaries, with every field of theirs', 200, {
        at: '?application=a002list&environment=PROD&size=1',
        answer: {
          content: [
            {
              id: idOf({ ...at('listed.a'), application: 'a002list' }),
              key: 'listed.a',
              application: 'a002list',
              environment: 'PROD',
              description: 'How many parcels',
              valueType: 'NUMBER',
              valueSubtype: 'INTEGER',
              tags: ['t'],
              version: 1,
              createdAt: TIME,
              updatedAt: TIME,
            },
          ],
          page: 0,
          size: 1,
          totalElements: 2,
          totalPages: 2,
        },
        answerHeaders: { etag: ETAG, 'conclave-revision': expect.stringMatching(/^\d+$/) },
      }),
      list('the default page', 200, {
        at: '?application=a002list',
        answer: some({ page: 0, size: 20, totalElements: 3, totalPages: 1 }),
      }),
      ...['keyPrefix=listed.b', 'page=1&size=1', 'environment=staging', 'consistency=eventual'].map((query) =>
        list(`what ${query} leaves`, 200, {
          at: `?application=a002list&${query}`,
          answer: some({ content: expect.arrayContaining([some({ application: 'a002list' })]) }),
        }),
      ),
      list('what is searched for', 200, {
        at: '?search=parcels&tag=t',
        answer: some({ content: [some({ key: 'listed.a' })], totalElements: 1 }),
      }),
      list('of an application that nobody knows, nothing', 200, {
        at: '?application=nobody',
        answer: { content: [], page: 0, size: 20, totalElements: 0, totalPages: 0 },
      }),
    ],
    bad: [
      list('a page below 0', 400, { at: '?page=-1', fields: ['page'] }),
      list('a page that is no number', 400, { at: '?page=x', fields: ['page'] }),
      list('a size beyond the limit', 400, { at: '?size=1001', fields: ['size'] }),
      list('an environment that is none', 400, { at: '?environment=%21', fields: ['environment'] }),
      list('a search too long', 400, { at: `?search=${'x'.repeat(201)}`, fields: ['search'] }),
      list('a bound that is none', 400, { at: '?maxStalenessMs=5', fields: ['maxStalenessMs'] }),
    ],
  },
  createConfiguration: {
    given: [has(at('there'), 1), has(at('a.cycle'), 'x')],
    good: [
      create('one with every field', 201, {
        headers: ada,
        body: {
          ...LIMIT,
          description: 'Connections',
          schema: '{"type":"integer","maximum":100}',
          tags: ['db', 'capacity'],
          changeDescription: 'first',
        },
        answer: response({
          id: idOf(at('new')),
          key: 'new',
          description: 'Connections',
          value: '10',
          valueType: 'NUMBER',
          valueSubtype: 'INTEGER',
          schema: '{"type":"integer","maximum":100}',
          tags: ['capacity', 'db'],
          createdBy: 'ada',
          updatedBy: 'ada',
        }),
        answerHeaders: { location: `/configs/${idOf(at('new'))}`, etag: ETAG },
      }),
      ...(
        [
          ['STRING', 'a text', 'STRING', 'a text'],
          ['NUMBER', '0.5', 'FLOAT', '0.5'],
          ['BOOLEAN', 'false', 'BOOLEAN', 'false'],
          ['JSON', '{"a": [1]}', 'JSON', '{"a":[1]}'],
          ['JSON', '[1, 2]', 'ARRAY', '[1,2]'],
          ['SECRET', 'made to be masked', 'SECRET', MASK],
        ] as const
      ).map(([valueType, value, valueSubtype, shown]) =>
        create(`a ${valueSubtype}`, 201, {
          body: { ...LIMIT, key: `of.${valueSubtype}`, valueType, value },
          answer: some({ valueType, valueSubtype, value: shown }),
        }),
      ),
      create('one of an environment with rules, for a reason', 201, {
        body: { ...LIMIT, environment: REASONED, reason: 'it is needed' },
        answer: some({ environment: REASONED.toUpperCase() }),
      }),
    ],
    bad: [
      create('nothing', 400, {
        body: {},
        fields: ['key', 'application', 'environment', 'valueType', 'value'],
      }),
      create('a list', 400, { body: [WRONG], fields: [''] }),
      create('a key that is none', 400, { body: { ...WRONG, key: 'a/b' }, fields: ['key'] }),
      create('a key too long', 400, { body: { ...WRONG, key: 'k'.repeat(256) }, fields: ['key'] }),
      create('an application too long', 400, {
        body: { ...WRONG, application: 'a'.repeat(101) },
        fields: ['application'],
      }),
      create('an unknown environment', 400, {
        body: { ...WRONG, environment: 'MOON' },
        fields: ['environment'],
      }),
      create('a type that is none', 400, { body: { ...WRONG, valueType: 'DATE' }, fields: ['valueType'] }),
      create('a value of another type', 400, { body: { ...WRONG, value: 'ten' }, fields: ['value'] }),
      create('a value against its schema', 400, {
        body: { ...WRONG, schema: '{"maximum":5}' },
        fields: ['value'],
      }),
      create('a schema that is none', 400, {
        body: { ...WRONG, schema: '{"type":"whole"}' },
        fields: ['schema/type'],
      }),
      create('a schema that is no JSON', 400, { body: { ...WRONG, schema: '{' }, fields: ['schema'] }),
      create('a tag too long', 400, { body: { ...WRONG, tags: ['x'.repeat(51)] }, fields: ['tags/0'] }),
      create('several at once', 400, { body: { ...WRONG, key: 1, value: 2 }, fields: ['key', 'value'] }),
      create('a value over the limit', 413, {
        body: { ...WRONG, valueType: 'STRING', value: TOO_LARGE },
        fields: ['value'],
      }),
      create('a duplicate', 409, { body: { ...WRONG, key: 'there' }, fields: ['key'] }),
      create('a change of what is locked', 409, { body: { ...WRONG, environment: LOCKED } }),
      create('a change without the reason that its environment wants', 400, {
        body: { ...WRONG, environment: REASONED, key: 'unreasoned' },
        fields: ['reason'],
      }),
      create('a reference to itself', 400, {
        body: { ...WRONG, key: 'a.self', valueType: 'STRING', value: '${a.self}' },
        fields: ['value'],
      }),
    ],
  },
  lookupConfiguration: {
    given: [
      has(at('looked.up'), { a: 1 }),
      has(at('looked.up.secret'), 'revealed by lookup', { type: 'secret' }),
      has(at('refers'), CYCLE),
    ],
    good: [
      lookup('a value, with every field', 200, {
        at: LOOKED_UP,
        answer: {
          key: 'looked.up',
          value: '{"a":1}',
          valueType: 'JSON',
          valueSubtype: 'JSON',
          version: 1,
          source: 'own',
          environment: 'PROD',
        },
        answerHeaders: { etag: ETAG },
      }),
      lookup('a secret, to whoever looks it up', 200, {
        at: '?key=looked.up.secret&application=a002&environment=PROD',
        answer: some({ value: 'revealed by lookup', valueType: 'SECRET' }),
        answerHeaders: { 'cache-control': 'no-store' },
        reveals: true,
      }),
      lookup('a secret masked', 200, {
        at: '?key=looked.up.secret&application=a002&environment=PROD&reveal=false',
        answer: some({ value: MASK }),
      }),
      lookup('a default', 200, {
        at: '?key=never.made&application=a002&environment=PROD&default=7',
        answer: {
          key: 'never.made',
          value: '7',
          valueType: 'STRING',
          valueSubtype: 'STRING',
          version: 0,
          source: 'default',
        },
      }),
    ],
    bad: [
      lookup('nothing', 400, { fields: ['key', 'application', 'environment'] }),
      lookup('a key that is none', 400, {
        at: '?key=a%20b&application=a002&environment=PROD',
        fields: ['key'],
      }),
      lookup('an unknown key', 404, {
        at: '?key=never.made&application=a002&environment=PROD',
      }),
      lookup('an unknown application', 404, {
        at: '?key=k&application=nobody&environment=PROD',
        fields: ['application'],
      }),
      lookup('an unknown environment', 404, {
        at: '?key=k&application=a002&environment=moon',
        fields: ['environment'],
      }),
      lookup('a reveal that is none', 400, { at: `${LOOKED_UP}&reveal=1`, fields: ['reveal'] }),
    ],
  },
  getConfiguration: {
    given: [has(at('read'), 'text', { description: 'd', tags: ['t'], schema: '{"type":"string"}' })],
    good: [
      get('one, with every field', 200, {
        answer: response({
          id: idOf(at('read')),
          key: 'read',
          value: 'text',
          description: 'd',
          tags: ['t'],
          schema: '{"type":"string"}',
        }),
        answerHeaders: { etag: ETAG, 'cache-control': 'private, no-cache' },
      }),
    ],
    bad: [
      get('an unknown one', 404, { path: missing, fields: ['configId'] }),
      get('an id that is none', 404, { path: '/configs/none', fields: ['configId'] }),
    ],
  },
  updateConfiguration: {
    given: [has(at('updated'), 1, { schema: '{"maximum":9}', tags: ['t'] })],
    good: [
      update('what it names, and nothing else', 200, {
        headers: ada,
        body: { value: '2', reason: 'more' },
        answer: response({
          id: idOf(at('updated')),
          key: 'updated',
          value: '2',
          valueType: 'NUMBER',
          valueSubtype: 'INTEGER',
          schema: '{"maximum":9}',
          tags: ['t'],
          version: 2,
          updatedBy: 'ada',
        }),
        answerHeaders: { etag: ETAG },
      }),
      update('everything but the value', 200, {
        headers: { 'if-match': '*' },
        body: { description: 'new', schema: '{"maximum":99}', tags: [] },
        answer: some({ description: 'new', schema: '{"maximum":99}', tags: [], value: '2', version: 3 }),
      }),
    ],
    bad: [
      update('a value against its schema', 400, { body: { value: '100' }, fields: ['value'] }),
      update('a schema that the value breaks', 400, { body: { schema: '{"maximum":1}' }, fields: ['value'] }),
      update('a value of another type', 400, { body: { value: 'two' }, fields: ['value'] }),
      update('a value over the limit', 413, {
        body: { value: TOO_LARGE, valueType: 'STRING' },
        fields: ['value'],
      }),
      update('a stale entity tag', 412, { body: { value: '3' }, headers: STALE }),
      update('an entity tag that is none', 400, {
        body: { value: '3' },
        headers: { 'if-match': 'x' },
        fields: ['If-Match'],
      }),
      update('an unknown one', 404, { path: missing, body: { value: '1' }, fields: ['configId'] }),
    ],
  },
  deleteConfiguration: {
    given: [has(at('removed'), 1)],
    good: [remove('one', 204, { at: '?reason=unused', answer: null })],
    bad: [
      remove('what is gone', 404, { fields: ['configId'] }),
      remove('an unknown one', 404, { path: missing, fields: ['configId'] }),
      remove('a stale entity tag', 412, { path: `/configs/${idOf(at('there'))}`, headers: STALE }),
    ],
  },
  getConfigurationVersions: {
    given: [has(at('aged'), 1, {}), has(at('aged'), 2, { tags: ['t'] })],
    good: [
      versions('all, newest first, with every field', 200, {
        answer: [
          some({ version: 2, value: '2' }),
          {
            id: TEXT,
            configId: idOf(at('aged')),
            version: 1,
            value: '1',
            valueType: 'NUMBER',
            valueSubtype: 'INTEGER',
            createdBy: 'anonymous',
            createdAt: TIME,
            changeDescription: '',
            deleted: false,
            revision: NUMBER,
          },
        ],
      }),
      versions('a page, with where the next one is', 200, {
        at: '?size=1',
        answer: [some({ version: 2 })],
        answerHeaders: { link: `</configs/${idOf(at('aged'))}/versions?size=1&before=2>; rel="next"` },
      }),
      versions('those below one', 200, { at: '?before=2', answer: [some({ version: 1 })] }),
    ],
    bad: [
      versions('a size that is none', 400, { at: '?size=0', fields: ['size'] }),
      versions('of an unknown one', 404, { path: `${missing}/versions`, fields: ['configId'] }),
    ],
  },
  getConfigurationVersion: {
    good: [
      versions('one by its number', 200, {
        at: '/1',
        answer: some({ version: 1, value: '1', configId: idOf(at('aged')) }),
      }),
      versions('one by its id', 200, {
        at: `/${idOf(at('aged')).slice(0, 24)}000000000002`,
        answer: some({ version: 2, value: '2' }),
      }),
    ],
    bad: [
      versions('an unknown number', 404, { at: '/9', fields: ['versionId'] }),
      versions('what is no version', 404, { at: '/none', fields: ['versionId'] }),
      versions('of an unknown one', 404, { path: `${missing}/versions/1`, fields: ['configId'] }),
    ],
  },
  rollbackConfiguration: {
    given: [has(at('rolled'), 1), has(at('rolled'), 2)],
    good: [
      rollback('to an earlier version, as a new one', 200, {
        at: '/1?changeDescription=worse',
        answer: response({
          id: idOf(at('rolled')),
          key: 'rolled',
          value: '1',
          valueType: 'NUMBER',
          valueSubtype: 'INTEGER',
          version: 3,
        }),
      }),
    ],
    bad: [
      rollback('to an unknown version', 404, { at: '/9', fields: ['versionId'] }),
      rollback('to what is no version', 404, { at: '/none', fields: ['versionId'] }),
      rollback('with a stale entity tag', 412, { at: '/2', headers: STALE }),
      rollback('of an unknown one', 404, { path: `${missing}/rollback/1`, fields: ['configId'] }),
    ],
  },
};
