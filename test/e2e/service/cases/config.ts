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

const NAME = { application: 'a000', environment: 'TEST' };
const at = (key: string) => ({ application: 'a000', environment: 'test', key });
const query = (key: string): string => `?key=${key}&application=a000&environment=TEST`;
const get = casesOf('GET', '/config/get');
const set = casesOf('POST', '/config/set');
const validate = casesOf('POST', '/config/validate');
const history = casesOf('GET', '/config/history');
const NOTHING = ['key', 'application', 'environment'];
const NEW = { ...NAME, key: 'set', value: 'a' };

/** 000's paths, in 002's fields. */
export const CONFIG: CaseTable = {
  configGet: {
    given: [has(at('got'), 'b'), has(at('got.secret'), 'got in the clear', { type: 'secret' })],
    good: [
      get('a value, with every field', 200, {
        at: query('got'),
        answer: {
          key: 'got',
          value: 'b',
          valueType: 'STRING',
          valueSubtype: 'STRING',
          version: 1,
          source: 'own',
          environment: 'TEST',
        },
        answerHeaders: { etag: ETAG },
      }),
      get('a secret masked', 200, {
        at: query('got.secret'),
        answer: some({ value: MASK, valueType: 'SECRET' }),
      }),
      get('a secret that is to be revealed', 200, {
        at: `${query('got.secret')}&reveal=true`,
        answer: some({ value: 'got in the clear' }),
        reveals: true,
      }),
      get('a default', 200, {
        at: `${query('none')}&default=z`,
        answer: some({ value: 'z', source: 'default', version: 0 }),
      }),
    ],
    bad: [
      get('nothing', 400, { fields: NOTHING }),
      get('an unknown key', 404, { at: query('none'), fields: ['key'] }),
      get('a key that is none', 400, { at: query('a%20b'), fields: ['key'] }),
      get('an unknown application', 404, {
        at: '?key=k&application=nobody&environment=TEST',
        fields: ['application'],
      }),
      get('an unknown environment', 404, {
        at: '?key=k&application=a000&environment=moon',
        fields: ['environment'],
      }),
    ],
  },
  configSet: {
    good: [
      set('a new one', 201, {
        body: { ...NEW, description: 'd', tags: ['t'], reason: 'first' },
        answer: {
          id: idOf(at('set')),
          ...NEW,
          description: 'd',
          valueType: 'STRING',
          valueSubtype: 'STRING',
          tags: ['t'],
          version: 1,
          createdBy: 'anonymous',
          createdAt: TIME,
          updatedBy: 'anonymous',
          updatedAt: TIME,
          configType: 'APPLICATION_CONFIG',
        },
      }),
      set('another value', 200, { body: { ...NEW, value: 'b' }, answer: some({ value: 'b', version: 2 }) }),
      set('a secret', 201, {
        body: { ...NEW, key: 'set.secret', valueType: 'SECRET', value: 'set to be masked' },
        answer: some({ value: MASK }),
      }),
    ],
    bad: [
      set('nothing', 400, { body: {}, fields: NOTHING }),
      set('no value', 400, { body: { ...NEW, key: 'k', value: undefined }, fields: ['value'] }),
      set('a value of another type', 400, { body: { ...NEW, valueType: 'NUMBER' }, fields: ['value'] }),
      set('an unknown environment', 400, { body: { ...NEW, environment: 'MOON' }, fields: ['environment'] }),
      set('a stale entity tag', 412, { body: NEW, headers: STALE }),
      set('a value over the limit', 413, { body: { ...NEW, value: TOO_LARGE }, fields: ['value'] }),
      set('what is locked', 409, { body: { ...NEW, environment: LOCKED } }),
    ],
  },
  configValidate: {
    good: [
      validate('what would be taken', 200, {
        body: { ...NEW, key: 'tried', value: '${none}' },
        answer: {
          valid: true,
          errors: [],
          warnings: [{ field: 'value', message: TEXT }],
          impact: { inheritedBy: [], referencedBy: [], instances: [] },
        },
      }),
      validate('what would be refused', 200, {
        body: { ...NEW, valueType: 'NUMBER', value: 'x' },
        answer: some({ valid: false, errors: [{ field: 'value', message: TEXT }] }),
      }),
    ],
    bad: [
      validate('nothing', 400, { body: {}, fields: NOTHING }),
      validate('a key that is none', 400, { body: { ...NEW, key: 'a b' }, fields: ['key'] }),
      validate('an environment that is none', 400, {
        body: { ...NEW, environment: '!' },
        fields: ['environment'],
      }),
    ],
  },
  configHistory: {
    given: [has(at('past'), 1), has(at('past'), 2)],
    good: [
      history('all versions, with every field', 200, {
        at: query('past'),
        answer: {
          versions: [
            some({ version: 2 }),
            {
              id: TEXT,
              configId: idOf(at('past')),
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
          next: null,
        },
      }),
      history('a page', 200, {
        at: `${query('past')}&size=1`,
        answer: { versions: [some({ version: 2 })], next: 2 },
      }),
    ],
    bad: [
      history('nothing', 400, { fields: NOTHING }),
      history('a size that is none', 400, { at: `${query('past')}&size=0`, fields: ['size'] }),
      history('of an unknown key', 404, { at: query('none'), fields: ['key'] }),
    ],
  },
};
