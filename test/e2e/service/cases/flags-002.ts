import { featureIdOf, hasFeature, ON_OFF, SOME_FIELDS, whole } from '../flag-cases.ts';
import {
  type CaseTable,
  casesOf,
  ETAG,
  LOCKED,
  REASONED,
  STALE,
  some,
  TEXT,
  TIME,
} from '../operation-cases.ts';

const at = (key: string, application = 'f002') => ({ application, environment: 'production', key });
const ada = { 'x-conclave-user': 'ada' };
const RULES = [
  { attribute: 'userId', operator: 'IN', values: ['ada', 'bob'], percentage: 100 },
  { attribute: 'region', operator: 'STARTS_WITH', values: ['eu-'], percentage: 25 },
];
const OPERATORS_002 = ['EQUALS', 'NOT_EQUALS', 'CONTAINS', 'NOT_CONTAINS', 'IN', 'NOT_IN'] as const;
const MORE_OPERATORS = ['STARTS_WITH', 'ENDS_WITH', 'MATCHES', 'GREATER_THAN', 'LESS_THAN'] as const;
const ASKED = { ...at('new', 'f002'), environment: 'PROD', description: 'The new checkout' };
const WRONG = { ...ASKED, key: 'wrong' };

/** A flag as 002 shows it, with every field. */
const shown = (key: string, fields: object, application = 'f002') => ({
  id: featureIdOf('flag', at(key, application)),
  key,
  application,
  environment: 'PROD',
  description: '',
  enabled: true,
  rules: [],
  tags: [],
  version: 1,
  createdBy: 'anonymous',
  createdAt: TIME,
  updatedBy: 'anonymous',
  updatedAt: TIME,
  definition: whole(key, ON_OFF),
  ...fields,
});

/** The operations on the collection: 002's and 000's take and show the same. */
function collection(path: string, application: string) {
  const list = casesOf('GET', path);
  const create = casesOf('POST', path);
  const body = { ...ASKED, application };
  const wrong = { ...WRONG, application };
  const id = featureIdOf('flag', at('new', application));
  return {
    list: {
      given: [
        hasFeature('flag', at('listed', `${application}-list`), ON_OFF, {
          tags: ['t'],
          description: 'Parcels',
        }),
        hasFeature('flag', at('other', `${application}-list`), { ...ON_OFF, enabled: false }),
      ],
      good: [
        list('a page, with every field', 200, {
          at: `?application=${application}-list&environment=PROD&size=1`,
          answer: {
            content: [shown('listed', { tags: ['t'], description: 'Parcels' }, `${application}-list`)],
            page: 0,
            size: 1,
            totalElements: 2,
            totalPages: 2,
          },
          answerHeaders: { etag: ETAG },
        }),
        ...['tag=t', 'enabled=true', 'keyPrefix=list', 'search=parcels', 'consistency=eventual&tag=t'].map(
          (query) =>
            list(`what ${query} leaves`, 200, {
              at: `?application=${application}-list&${query}`,
              answer: some({ content: [some({ key: 'listed' })], size: 20, totalElements: 1, totalPages: 1 }),
            }),
        ),
      ],
      bad: [
        list('a page below 0', 400, { at: '?page=-1', fields: ['page'] }),
        list('a size beyond the limit', 400, { at: '?size=1001', fields: ['size'] }),
        list('an environment that is none', 400, { at: '?environment=%21', fields: ['environment'] }),
        list('a state that is none', 400, { at: '?enabled=perhaps', fields: ['enabled'] }),
        list('a search too long', 400, { at: `?search=${'x'.repeat(201)}`, fields: ['search'] }),
      ],
    },
    create: {
      given: [hasFeature('flag', at('there', application), ON_OFF)],
      good: [
        create('one with every field', 201, {
          headers: ada,
          body: {
            ...body,
            enabled: true,
            rules: RULES,
            value: { color: 'red' },
            tags: ['web', 'a'],
            reason: 'new',
          },
          answer: shown(
            'new',
            {
              description: 'The new checkout',
              rules: RULES,
              value: { color: 'red' },
              tags: ['a', 'web'],
              createdBy: 'ada',
              updatedBy: 'ada',
              definition: some({ type: 'object', variants: some({ on: { color: 'red' } }), enabled: true }),
            },
            application,
          ),
          answerHeaders: { location: `${path}/${id}`, etag: ETAG },
        }),
        create('one that is off, since nothing is said', 201, {
          body: { ...body, key: 'quiet' },
          answer: some({ enabled: false, rules: [], tags: [] }),
        }),
        create('one with every operator', 201, {
          body: {
            ...body,
            key: 'operators',
            rules: [...OPERATORS_002, ...MORE_OPERATORS].map((operator) => ({
              attribute: 'age',
              operator,
              values: ['7'],
              percentage: 10,
            })),
          },
          answer: some({
            rules: [...OPERATORS_002, ...MORE_OPERATORS].map((operator) => ({
              attribute: 'age',
              operator,
              values: ['7'],
              percentage: 10,
            })),
          }),
        }),
        create('one with two decimals', 201, {
          body: { ...body, key: 'exact', rules: [{ exactPercentage: 12.34 }] },
          answer: some({ rules: [{ percentage: 12, exactPercentage: 12.34 }] }),
        }),
        create('one of an environment with rules, for a reason', 201, {
          body: { ...body, key: 'reasoned', environment: REASONED, reason: 'it is needed' },
          answer: some({ environment: REASONED.toUpperCase() }),
        }),
      ],
      bad: [
        create('nothing', 400, { body: {}, fields: ['key', 'application', 'environment', 'description'] }),
        create('a list', 400, { body: [wrong], fields: [''] }),
        create('a key that is none', 400, { body: { ...wrong, key: 'a/b' }, fields: ['key'] }),
        create('a key too long', 400, { body: { ...wrong, key: 'k'.repeat(256) }, fields: ['key'] }),
        create('an unknown environment', 400, {
          body: { ...wrong, environment: 'MOON' },
          fields: ['environment'],
        }),
        create('a switch that is none', 400, { body: { ...wrong, enabled: 'yes' }, fields: ['enabled'] }),
        create('rules that are none', 400, { body: { ...wrong, rules: {} }, fields: ['rules'] }),
        ...wrongRules.map(([title, rule, field]) =>
          create(title, 400, { body: { ...wrong, rules: [rule] }, fields: [field] }),
        ),
        create('a value that is none', 400, { body: { ...wrong, value: 7 }, fields: ['value'] }),
        create('a tag too long', 400, { body: { ...wrong, tags: ['x'.repeat(51)] }, fields: ['tags/0'] }),
        create('two definitions', 400, {
          body: { ...wrong, value: {}, definition: ON_OFF },
          fields: ['definition'],
        }),
        create('a wrong definition', 400, {
          body: { ...wrong, definition: { ...ON_OFF, type: 'date' } },
          fields: ['definition/type'],
        }),
        create('a duplicate', 409, { body: { ...wrong, key: 'there' }, fields: ['key'] }),
        create('a change of what is locked', 409, { body: { ...wrong, environment: LOCKED } }),
        create('a change without the reason that its environment wants', 400, {
          body: { ...wrong, environment: REASONED },
          fields: ['reason'],
        }),
      ],
    },
  };
}

const wrongRules = [
  ['an operator that is none', { attribute: 'a', operator: 'ALMOST', values: [] }, 'rules/0/operator'],
  [
    'a regular expression that is none',
    { attribute: 'a', operator: 'MATCHES', values: ['('] },
    'rules/0/values/0',
  ],
  ['too many values', { attribute: 'a', operator: 'GREATER_THAN', values: ['1', '2'] }, 'rules/0/values'],
  ['a share beyond everybody', { percentage: 101 }, 'rules/0/percentage'],
  ['a share below nobody', { percentage: -1 }, 'rules/0/percentage'],
  ['a share with three decimals', { exactPercentage: 0.001 }, 'rules/0/exactPercentage'],
  ['half a rule', { attribute: 'a' }, 'rules/0/operator'],
  ['the other half of a rule', { operator: 'EQUALS', values: ['x'] }, 'rules/0/attribute'],
] as const;

/** The operations on one flag. */
function single(path: string, application: string) {
  const id = (key: string) => `/${featureIdOf('flag', at(key, application))}`;
  const missing = `${path}${id('never-made')}`;
  const idField = application === 'f002' ? 'flagId' : 'id';
  const get = casesOf('GET', path + id('read'));
  const update = casesOf('PUT', path + id('updated'));
  return {
    get: {
      given: [hasFeature('flag', at('read', application), ON_OFF, { description: 'd', tags: ['t'] })],
      good: [
        get('one, with every field', 200, {
          answer: shown('read', { description: 'd', tags: ['t'] }, application),
          answerHeaders: { etag: ETAG },
        }),
      ],
      bad: [
        get('an unknown one', 404, { path: missing, fields: [idField] }),
        get('what is no id', 404, { path: `${path}/unknown`, fields: [idField] }),
      ],
    },
    update: {
      given: [
        hasFeature('flag', at('updated', application), ON_OFF, { description: 'kept' }),
        hasFeature('flag', at('many', application), {
          type: 'string',
          variants: { a: 'x', b: 'y', c: 'z' },
          fallthrough: { variant: null },
        }),
      ],
      good: [
        update('what is said, and nothing else', 200, {
          body: { enabled: false, rules: RULES, reason: 'go' },
          headers: ada,
          answer: some({ enabled: false, rules: RULES, description: 'kept', version: 2, updatedBy: 'ada' }),
          answerHeaders: { etag: ETAG },
        }),
        update('a value', 200, {
          body: { value: { limit: 3 } },
          answer: some({ value: { limit: 3 }, version: 3 }),
        }),
        update('no value any more', 200, {
          body: { value: null, description: 'bare', tags: ['b'] },
          answer: shown(
            'updated',
            {
              description: 'bare',
              enabled: false,
              rules: RULES,
              tags: ['b'],
              version: 4,
              definition: some({ type: 'boolean', variants: { on: true, off: false } }),
            },
            application,
          ),
        }),
        update('the whole', 200, {
          body: { definition: ON_OFF },
          answer: some({ definition: whole('updated', ON_OFF), rules: [], version: 5 }),
        }),
      ],
      bad: [
        update('an unknown one', 404, { path: missing, body: { enabled: true }, fields: [idField] }),
        update('a stale entity tag', 412, { body: { enabled: true }, headers: STALE }),
        update('an entity tag that is none', 400, {
          body: { enabled: true },
          headers: { 'if-match': 'x' },
          fields: SOME_FIELDS,
        }),
        ...wrongRules.map(([title, rule, field]) =>
          update(title, 400, { body: { rules: [rule] }, fields: [field] }),
        ),
        update('rules of which the variant is not clear', 400, {
          path: path + id('many'),
          body: { rules: [{ percentage: 10 }] },
          fields: ['rules'],
        }),
        update('a switch that is none', 400, { body: { enabled: 1 }, fields: ['enabled'] }),
      ],
    },
  };
}

const CHECKED = 'key=checked&application=f002&environment=PROD';
const check = casesOf('GET', '/feature-flags/check');
const checkBody = casesOf('POST', '/feature-flags/check');
const QUESTION = { key: 'checked', application: 'f002', environment: 'PROD' };
const checkable = [
  hasFeature('flag', at('checked-by-post'), { ...ON_OFF, enabled: false }),
  hasFeature('flag', at('half'), {
    ...ON_OFF,
    rules: [{ rollout: { share: 5_000 }, serve: { variant: 'off' } }],
  }),
];
const unknowns = [
  ['an unknown flag', { key: 'never-made' }, 404, 'key'],
  ['a key that is none', { key: 'a b' }, 400, 'key'],
  ['an unknown application', { application: 'nobody' }, 404, 'application'],
  ['an unknown environment', { environment: 'moon' }, 404, 'environment'],
  ['an environment that is none', { environment: '!' }, 400, 'environment'],
] as const;

const CHECKS: CaseTable = {
  checkFeatureFlag: {
    given: [
      hasFeature('flag', at('checked'), {
        type: 'object',
        variants: { on: { color: 'red' }, off: {} },
        offVariant: 'off',
        fallthrough: { variant: 'off' },
        rules: [
          {
            when: [{ attribute: 'targetingKey', operator: 'IN', values: ['ada'] }],
            serve: { variant: 'on' },
          },
          {
            when: [{ attribute: 'age', operator: 'GREATER_THAN', values: ['64'] }],
            serve: { variant: 'on' },
          },
        ],
      }),
      ...checkable,
    ],
    good: [
      check('whom it is on for, with every field', 200, {
        at: `?${CHECKED}&userId=ada`,
        answer: {
          key: 'checked',
          enabled: true,
          value: { color: 'red' },
          reason: 'TARGETING_MATCH',
          variant: 'on',
        },
      }),
      check('by a further parameter', 200, {
        at: `?${CHECKED}&userId=bob&age=70`,
        answer: some({ enabled: true }),
      }),
      check('whom it is off for', 200, {
        at: `?${CHECKED}&userId=bob`,
        answer: { key: 'checked', enabled: false, reason: 'DEFAULT', variant: 'off' },
      }),
      check('nobody, of a flag that needs somebody', 200, {
        at: '?key=half&application=f002&environment=PROD',
        answer: {
          key: 'half',
          enabled: false,
          reason: 'ERROR',
          errorCode: 'TARGETING_KEY_MISSING',
          errorDetails: TEXT,
        },
      }),
      check('a disabled one', 200, {
        at: '?key=checked-by-post&application=f002&environment=PROD',
        answer: { key: 'checked-by-post', enabled: false, reason: 'DISABLED', variant: 'off' },
      }),
    ],
    bad: [
      check('nothing', 400, { fields: ['key', 'application', 'environment'] }),
      ...unknowns.map(([title, more, status, field]) =>
        check(title, status, {
          at: `?${new URLSearchParams({ ...QUESTION, ...more }).toString()}`,
          fields: [field],
        }),
      ),
    ],
  },
  checkFeatureFlagInContext: {
    good: [
      checkBody('whom it is on for, by an attribute of any type', 200, {
        body: { ...QUESTION, userId: 'bob', context: { age: 70 } },
        answer: {
          key: 'checked',
          enabled: true,
          value: { color: 'red' },
          reason: 'TARGETING_MATCH',
          variant: 'on',
        },
      }),
      checkBody('nobody', 200, { body: QUESTION, answer: some({ enabled: false, reason: 'DEFAULT' }) }),
    ],
    bad: [
      checkBody('nothing', 400, { body: {}, fields: ['key', 'application', 'environment'] }),
      checkBody('a context that is none', 400, { body: { ...QUESTION, context: 'me' }, fields: ['context'] }),
      ...unknowns.map(([title, more, status, field]) =>
        checkBody(title, status, { body: { ...QUESTION, ...more }, fields: [field] }),
      ),
    ],
  },
};

const [all002, one002] = [collection('/feature-flags', 'f002'), single('/feature-flags', 'f002')];
const [all000, one000] = [collection('/features/manage', 'f000'), single('/features/manage', 'f000')];
const removed = casesOf('DELETE', `/features/manage/${featureIdOf('flag', at('removed', 'f000'))}`);

/** Flags by 002's paths and 000's, which are the same in other places. */
export const FLAGS_002: CaseTable = {
  listFeatureFlags: all002.list,
  createFeatureFlag: all002.create,
  getFeatureFlag: one002.get,
  updateFeatureFlag: one002.update,
  ...CHECKS,
  manageListFeatures: all000.list,
  manageCreateFeature: all000.create,
  manageGetFeature: one000.get,
  manageUpdateFeature: one000.update,
  manageDeleteFeature: {
    given: [
      hasFeature('flag', at('removed', 'f000'), ON_OFF),
      hasFeature('flag', at('needed', 'f000'), ON_OFF),
      hasFeature('flag', at('needing', 'f000'), {
        ...ON_OFF,
        prerequisites: [{ flag: 'needed', variants: ['on'] }],
      }),
    ],
    good: [removed('one', 204, { answer: null })],
    bad: [
      removed('what is gone', 404, { fields: ['key'] }),
      removed('a stale entity tag', 412, {
        path: `/features/manage/${featureIdOf('flag', at('needed', 'f000'))}`,
        headers: STALE,
      }),
      removed('what another needs', 409, {
        path: `/features/manage/${featureIdOf('flag', at('needed', 'f000'))}`,
        fields: ['key'],
      }),
    ],
  },
};
