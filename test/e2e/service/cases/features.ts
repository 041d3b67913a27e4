import {
  feature,
  featureIdOf,
  hasFeature,
  inDefinition,
  ON_OFF,
  WRONG_DEFINITIONS,
  when,
  whole,
} from '../flag-cases.ts';
import {
  type CaseTable,
  casesOf,
  ETAG,
  given,
  LOCKED,
  NUMBER,
  REASONED,
  STALE,
  some,
  TEXT,
  TIME,
} from '../operation-cases.ts';

type Kind = 'flag' | 'segment';

const STAFF = { included: ['ada'], excluded: ['eve'], when: [when('plan', 'IN', 'gold', 'silver')] };
/** Of each kind what it is about, one like it, and how it is shown. */
const OF = {
  flag: {
    said: ON_OFF,
    other: { ...ON_OFF, enabled: false },
    shown: whole,
    changed: ['enabled', true, false],
    wrong: WRONG_DEFINITIONS,
  },
  segment: {
    said: STAFF,
    other: { ...STAFF, excluded: ['bob'] },
    shown: (key: string, said: object) => ({ key, ...said }),
    changed: ['excluded/0', 'eve', 'bob'],
    wrong: [
      ['a definition that is none', 7, ['']],
      ['keys that are none', { included: 'ada' }, ['included']],
      ['an unknown field', { colour: 'red' }, ['colour']],
      ['an operator that is none', { when: [when('a', 'ALMOST', 'x')] }, ['when/0/operator']],
      ['a regular expression that is none', { when: [when('a', 'MATCHES', '(')] }, ['when/0/values/0']],
      ['a segment that is not there', { when: [{ segment: 'nobody' }] }, ['when/0/segment']],
      ['a semantic version that is none', { when: [when('v', 'SEMVER_EQUALS', 'x')] }, ['when/0/values/0']],
      ['a time that is none', { when: [when('t', 'AFTER', 'soon')] }, ['when/0/values/0']],
    ] as const,
  },
} as const;

/** The operations on flags and on segments as resources of our own. */
function resources(kind: Kind): CaseTable {
  const K = kind === 'flag' ? 'Flag' : 'Segment';
  return {
    [`listResources${K}`]: lists(kind),
    [`createResource${K}`]: creations(kind),
    [`effective${K}`]: effective(kind),
    [`getResource${K}`]: gets(kind),
    [`updateResource${K}`]: updates(kind, 'PUT', OF[kind].other),
    [`patchResource${K}`]: updates(
      kind,
      'PATCH',
      kind === 'flag' ? { enabled: false } : { excluded: ['bob'] },
    ),
    [`deleteResource${K}`]: deletions(kind),
    [`undelete${K}`]: undeletions(kind),
    [`rollback${K}`]: rollbacks(kind),
    ...histories(kind),
  };
}

const at = (key: string, application = 'feat', environment = 'production') => ({
  application,
  environment,
  key,
});
const pathOf = (kind: Kind, key: string): string => `/api/v1/${kind}s/${featureIdOf(kind, at(key))}`;
/** Under another path, that of a flag nobody made. */
const unknown = (kind: Kind, rest = '') => ({
  path: `${pathOf(kind, 'never-made')}${rest}`,
  fields: ['id'],
});

function shownAt(kind: Kind, place: ReturnType<typeof at>, fields: object = {}) {
  const { said, shown } = OF[kind];
  return feature(kind, place, { definition: shown(place.key, said), ...fields });
}

function lists(kind: Kind) {
  const list = casesOf('GET', `/api/v1/${kind}s`);
  const [first, second] = [at('a', `feat-list-${kind}`), at('b', `feat-list-${kind}`, 'test')];
  return {
    given: [
      hasFeature(kind, first, OF[kind].said, { tags: ['t'], description: 'Parcels' }),
      hasFeature(kind, second, OF[kind].other),
    ],
    good: [
      list('a page, with every field', 200, {
        at: `?application=${first.application}&size=1`,
        answer: {
          items: [shownAt(kind, first, { tags: ['t'], description: 'Parcels' })],
          page: 0,
          size: 1,
          total: 2,
        },
        answerHeaders: { etag: ETAG },
      }),
      ...['environment=PROD', 'key=a', 'keyPrefix=a', 'tag=t', 'search=parcels'].map((query) =>
        list(`what ${query} leaves`, 200, {
          at: `?application=${first.application}&${query}`,
          answer: some({ items: [some({ key: 'a' })], total: 1, size: 20 }),
        }),
      ),
    ],
    bad: [
      list('a page below 0', 400, { at: '?page=-1', fields: ['page'] }),
      list('a size beyond the limit', 400, { at: '?size=1001', fields: ['size'] }),
      list('an environment that is none', 400, { at: '?environment=%21', fields: ['environment'] }),
      list('an unknown parameter', 400, { at: '?colour=red', fields: ['colour'] }),
    ],
  };
}

function creations(kind: Kind) {
  const create = casesOf('POST', `/api/v1/${kind}s`);
  const { said, wrong } = OF[kind];
  const body = { ...at('wrong'), definition: said };
  return {
    given: [hasFeature(kind, at('there'), said), ...(kind === 'flag' ? ring() : [])],
    good: [
      create('one with every field', 201, {
        headers: { 'x-conclave-user': 'ada' },
        body: {
          ...at('new'),
          description: 'd',
          tags: ['b', 'a'],
          definition: said,
          reason: 'new',
          changeSet: 'june',
        },
        answer: shownAt(kind, at('new'), {
          description: 'd',
          tags: ['a', 'b'],
          createdBy: 'ada',
          updatedBy: 'ada',
        }),
        answerHeaders: { location: pathOf(kind, 'new'), etag: ETAG },
      }),
      create('one in an environment of another spelling', 201, {
        body: { ...at('spelled'), environment: 'STAGING', definition: said },
        answer: some({ environment: 'staging' }),
      }),
      create('one of an environment with rules, for a reason', 201, {
        body: { ...body, environment: REASONED, reason: 'it is needed' },
        answer: some({ environment: REASONED }),
      }),
    ],
    bad: [
      create('nothing', 400, { body: {}, fields: ['application', 'environment', 'key', 'definition'] }),
      ...wrong.map(([title, definition, fields]) =>
        create(title, 400, { body: { ...body, definition }, fields: inDefinition(fields) }),
      ),
      create('another key in the definition', 400, {
        body: { ...body, definition: { ...said, key: 'other' } },
        fields: ['definition/key'],
      }),
      create('a key that is none', 400, { body: { ...body, key: 'a b' }, fields: ['key'] }),
      create('a key too long', 400, { body: { ...body, key: 'k'.repeat(256) }, fields: ['key'] }),
      create('an application that is none', 400, {
        body: { ...body, application: 'a/b' },
        fields: ['application'],
      }),
      create('an unknown environment', 400, {
        body: { ...body, environment: 'moon' },
        fields: ['environment'],
      }),
      create('a tag too long', 400, { body: { ...body, tags: ['x'.repeat(51)] }, fields: ['tags/0'] }),
      create('an unknown field', 400, { body: { ...body, owner: 'me' }, fields: ['owner'] }),
      create('a duplicate', 409, { body: { ...body, key: 'there' }, fields: ['key'] }),
      create('a change of what is locked', 409, { body: { ...body, environment: LOCKED } }),
      create('a change without the reason that its environment wants', 400, {
        body: { ...body, key: 'unreasoned', environment: REASONED },
        fields: ['reason'],
      }),
    ],
  };
}

/** Flags that require each other but for the last, which would close the ring. */
function ring() {
  const requiring = (flag: string) => ({ ...ON_OFF, prerequisites: [{ flag, variants: ['on'] }] });
  return [
    hasFeature('flag', at('ring-a'), ON_OFF),
    hasFeature('flag', at('ring-b'), requiring('ring-a')),
    hasFeature('flag', at('ring-c'), requiring('ring-b')),
  ];
}

function effective(kind: Kind) {
  const path = `/api/v1/${kind}s/effective`;
  const scope = `feat-eff-${kind}`;
  const get = casesOf('GET', path);
  const own = at('own', scope, 'feat-child');
  const inherited = at('inherited', scope);
  return {
    given: [
      // Both kinds use it; only one can make it.
      ...(kind === 'flag'
        ? [given('POST', '/api/v1/environments', { id: 'feat-child', parent: 'PROD' })]
        : []),
      hasFeature(kind, own, OF[kind].said),
      hasFeature(kind, inherited, OF[kind].said),
    ],
    good: [
      get('what holds, inherited ones included', 200, {
        at: `?application=${scope}&environment=feat-child`,
        answer: {
          items: [shownAt(kind, inherited, { source: 'inherited' }), shownAt(kind, own, { source: 'own' })],
        },
        answerHeaders: { etag: ETAG },
      }),
    ],
    bad: [
      get('nothing', 400, { fields: ['application', 'environment'] }),
      get('an unknown application', 404, {
        at: '?application=nobody&environment=PROD',
        fields: ['application'],
      }),
      get('an unknown environment', 404, {
        at: `?application=${scope}&environment=moon`,
        fields: ['environment'],
      }),
    ],
  };
}

function gets(kind: Kind) {
  const get = casesOf('GET', pathOf(kind, 'read'));
  return {
    given: [hasFeature(kind, at('read'), OF[kind].said)],
    good: [
      get('one, with every field', 200, { answer: shownAt(kind, at('read')), answerHeaders: { etag: ETAG } }),
    ],
    bad: [
      get('an unknown one', 404, unknown(kind)),
      get('what is no id', 404, { path: `/api/v1/${kind}s/unknown`, fields: ['id'] }),
    ],
  };
}

function updates(kind: Kind, method: 'PUT' | 'PATCH', definition: object) {
  const { other, shown, wrong } = OF[kind];
  const key = `updated-${method}`;
  const update = casesOf(method, pathOf(kind, key));
  // A patch is no definition: what is left out of it stays.
  const refused = wrong.filter(([title]) => method === 'PUT' || !/empty|weights/.test(title));
  return {
    given: [hasFeature(kind, at(key), OF[kind].said, { tags: ['t'], description: 'kept' })],
    good: [
      update('the definition, and nothing else', 200, {
        body: { definition, reason: 'why not', changeSet: 'june' },
        answer: feature(kind, at(key), {
          definition: shown(key, other),
          description: 'kept',
          tags: ['t'],
          version: 2,
        }),
        answerHeaders: { etag: ETAG },
      }),
      update('words and tags', 200, {
        body: { description: '', tags: [] },
        answer: some({ description: '', tags: [], version: 3, definition: shown(key, other) }),
      }),
    ],
    bad: [
      update('an unknown one', 404, { ...unknown(kind), body: {} }),
      update('a stale entity tag', 412, { body: { definition }, headers: STALE }),
      ...refused.map(([title, wrongly, fields]) =>
        update(title, 400, { body: { definition: wrongly }, fields: inDefinition(fields) }),
      ),
      ...(kind === 'flag' ? [closing(update)] : []),
      update('an unknown field', 400, { body: { owner: 'me' }, fields: ['owner'] }),
      update('a description too long', 400, {
        body: { description: 'x'.repeat(5_000) },
        fields: ['description'],
      }),
    ],
  };
}

function closing(update: ReturnType<typeof casesOf>) {
  return update('a prerequisite that comes round', 400, {
    path: pathOf('flag', 'ring-a'),
    body: { definition: { ...ON_OFF, prerequisites: [{ flag: 'ring-c', variants: ['on'] }] } },
    fields: ['definition/prerequisites/0/flag'],
  });
}

function deletions(kind: Kind) {
  const remove = casesOf('DELETE', pathOf(kind, 'deleted'));
  const needing =
    kind === 'flag'
      ? { ...ON_OFF, prerequisites: [{ flag: 'needed', variants: ['on'] }] }
      : { when: [{ segment: 'needed' }] };
  return {
    given: [
      hasFeature(kind, at('deleted'), OF[kind].said),
      hasFeature(kind, at('needed'), OF[kind].said),
      hasFeature(kind, at('needing'), needing),
    ],
    good: [remove('one', 204, { answer: null })],
    bad: [
      remove('what is gone', 404, { fields: ['key'] }),
      remove('a stale entity tag', 412, { path: pathOf(kind, 'needed'), headers: STALE }),
      remove('what another needs', 409, { path: pathOf(kind, 'needed'), fields: ['key'] }),
    ],
  };
}

function undeletions(kind: Kind) {
  const back = casesOf('POST', `${pathOf(kind, 'back')}/undelete`);
  return {
    given: [
      hasFeature(kind, at('back'), OF[kind].said, { tags: ['t'] }),
      given('DELETE', pathOf(kind, 'back')),
    ],
    good: [
      back('one as it was, with every field', 200, {
        answer: shownAt(kind, at('back'), { tags: ['t'], version: 3 }),
        answerHeaders: { etag: ETAG },
      }),
    ],
    bad: [back('what is there', 409, {}), back('an unknown one', 404, unknown(kind, '/undelete'))],
  };
}

function rollbacks(kind: Kind) {
  const back = casesOf('POST', `${pathOf(kind, 'rolled')}/rollback`);
  return {
    given: [
      hasFeature(kind, at('rolled'), OF[kind].said, { description: 'first' }),
      given('PUT', pathOf(kind, 'rolled'), { definition: OF[kind].other, description: 'second' }),
    ],
    good: [
      back('to a version, with every field', 200, {
        body: { version: 1, reason: 'worse', changeSet: 'june' },
        answer: shownAt(kind, at('rolled'), { description: 'first', version: 3 }),
        answerHeaders: { etag: ETAG },
      }),
    ],
    bad: [
      back('nothing', 400, { body: {}, fields: ['version'] }),
      back('an unknown version', 404, { body: { version: 9 } }),
      back('a version that is none', 400, { body: { version: 0 }, fields: ['version'] }),
      back('an unknown one', 404, { ...unknown(kind, '/rollback'), body: { version: 1 } }),
      back('a stale entity tag', 412, { body: { version: 1 }, headers: STALE }),
    ],
  };
}

function histories(kind: Kind): CaseTable {
  const K = kind === 'flag' ? 'Flag' : 'Segment';
  const path = pathOf(kind, 'aged');
  const { said, other, shown, changed } = OF[kind];
  const [pointer, , now] = changed;
  const version = (number: number, fields: object) => ({
    kind,
    featureId: featureIdOf(kind, at('aged')),
    version: number,
    description: '',
    tags: [],
    definition: shown('aged', number === 1 ? said : other),
    deleted: false,
    createdBy: 'anonymous',
    createdAt: TIME,
    changeId: TEXT,
    reason: '',
    revision: NUMBER,
    ...fields,
  });
  const [versions, one, compare] = [
    casesOf('GET', `${path}/versions`),
    casesOf('GET', `${path}/versions/1`),
    casesOf('GET', `${path}/compare`),
  ];
  return {
    [`versionsOf${K}`]: {
      given: [
        hasFeature(kind, at('aged'), said),
        given('PUT', path, { definition: other, reason: 'it burns' }),
      ],
      good: [
        versions('newest first, with every field', 200, {
          answer: { items: [version(2, { reason: 'it burns' }), version(1, {})], next: null },
        }),
        versions('a page', 200, { at: '?size=1', answer: some({ items: [some({ version: 2 })], next: 2 }) }),
        versions('the next page', 200, {
          at: '?size=1&before=2',
          answer: some({ items: [some({ version: 1 })], next: null }),
        }),
      ],
      bad: [
        versions('an unknown one', 404, unknown(kind, '/versions')),
        versions('a size beyond the limit', 400, { at: '?size=101', fields: ['size'] }),
        versions('a version that is none', 400, { at: '?before=x', fields: ['before'] }),
      ],
    },
    [`versionOf${K}`]: {
      good: [one('one, with every field', 200, { answer: version(1, {}) })],
      bad: [
        one('an unknown version', 404, { path: `${path}/versions/9` }),
        one('a version that is none', 400, { path: `${path}/versions/x`, fields: ['version'] }),
        one('of an unknown one', 404, unknown(kind, '/versions/1')),
      ],
    },
    [`compareVersionsOf${K}`]: {
      good: [
        compare('with the present one, in every field', 200, {
          at: '?left=1',
          answer: {
            left: version(1, {}),
            right: version(2, { reason: 'it burns' }),
            isEqual: false,
            diff: some({ patch: [{ op: 'replace', path: `/definition/${pointer}`, value: now }] }),
          },
        }),
        compare('a version with itself', 200, { at: '?left=2&right=2', answer: some({ isEqual: true }) }),
      ],
      bad: [
        compare('nothing', 400, { fields: ['left'] }),
        compare('an unknown version', 404, { at: '?left=9' }),
        compare('of an unknown one', 404, unknown(kind, '/compare?left=1')),
        compare('a version that is none', 400, { at: '?left=0', fields: ['left'] }),
      ],
    },
  };
}

/** Flags before segments. */
export const FEATURES: CaseTable = { ...resources('flag'), ...resources('segment') };
