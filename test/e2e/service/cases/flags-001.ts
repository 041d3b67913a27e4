import { hasFeature, ON_OFF, SOME_FIELDS } from '../flag-cases.ts';
import { type CaseTable, casesOf, ETAG, LOCKED, REASONED, STALE, some, TIME } from '../operation-cases.ts';

const at = (key: string, application = 'f001') => ({ application, environment: 'production', key });
const PATH = '/api/v1/feature-flags';
const PROD = '?environment=PRODUCTION';
const list = casesOf('GET', `${PATH}/f001-list${PROD}`);
const put = casesOf('PUT', `${PATH}/changed-by-001${PROD}`);
const WHOLE = {
  flag_name: 'changed-by-001',
  service_name: 'f001',
  enabled: true,
  rollout_percentage: 12.34,
  target_services: ['web', 'mail'],
  conditions: { plan: 'gold' },
  description: 'Beta',
};

/** A flag as 001 shows it, with every field. */
const shown = (fields: object) => ({
  environment: 'PRODUCTION',
  version: 1,
  updated_at: TIME,
  ...WHOLE,
  ...fields,
});
const named = (name: string) => ({ path: `${PATH}/${name}${PROD}` });

/** Flags by 001's paths, under the ids of its document, and what they answered. */
export const FLAGS_001: CaseTable = {
  listServiceFeatureFlags: {
    given: [
      hasFeature('flag', at('a', 'f001-list'), ON_OFF, { description: 'A' }),
      hasFeature('flag', { ...at('b', 'f001-list'), environment: 'staging' }, ON_OFF),
    ],
    good: [
      list('all that hold, with every field', 200, {
        answer: [
          shown({
            flag_name: 'a',
            service_name: 'f001-list',
            rollout_percentage: 100,
            target_services: [],
            conditions: {},
            description: 'A',
            source: 'own',
          }),
        ],
        answerHeaders: { etag: ETAG, 'conclave-environment': 'PRODUCTION' },
      }),
    ],
    bad: [
      list('an unknown service', 404, { path: `${PATH}/nobody${PROD}`, fields: ['service_name'] }),
      list('an unknown environment', 404, {
        path: `${PATH}/f001-list?environment=moon`,
        fields: ['environment'],
      }),
      list('an environment that is none', 400, {
        path: `${PATH}/f001-list?environment=%21`,
        fields: ['environment'],
      }),
    ],
  },
  putServiceFeatureFlag: {
    given: [
      hasFeature('flag', at('twice'), ON_OFF),
      hasFeature('flag', at('twice', 'f001-other'), ON_OFF),
      hasFeature('flag', at('several'), {
        type: 'string',
        variants: { a: 'x', b: 'y', c: 'z' },
        fallthrough: { variant: null },
      }),
    ],
    good: [
      put('a new one with every field', 201, {
        body: { ...WHOLE, environment: 'PRODUCTION', tags: ['t'], updated_by: 'eve', reason: 'new' },
        answer: shown({}),
        answerHeaders: { etag: ETAG, 'conclave-environment': 'PRODUCTION' },
      }),
      put('a share alone, by the name alone', 200, {
        body: { rollout_percentage: 100 },
        answer: shown({ rollout_percentage: 100, version: 2 }),
      }),
      put('each field by itself', 200, {
        body: { enabled: false, target_services: [], conditions: {}, description: '' },
        answer: shown({
          enabled: false,
          rollout_percentage: 100,
          target_services: [],
          conditions: {},
          description: '',
          version: 3,
        }),
      }),
      put('a new one of which nothing is said: off, for nobody', 201, {
        path: `${PATH}/quiet${PROD}&service_name=f001`,
        body: {},
        answer: some({ enabled: false, rollout_percentage: 0, target_services: [], conditions: {} }),
      }),
    ],
    bad: [
      put('another name than that of the path', 400, {
        body: { ...WHOLE, flag_name: 'other' },
        fields: ['flag_name'],
      }),
      put('an unknown one of no service', 404, {
        ...named('never-made'),
        body: {},
        fields: ['service_name'],
      }),
      put('one of several services', 409, { ...named('twice'), body: {}, fields: ['service_name'] }),
      put('a name that is none', 400, {
        path: `${PATH}/a%20b${PROD}&service_name=f001`,
        body: {},
        fields: ['flag_name'],
      }),
      put('a share beyond everybody', 400, {
        body: { rollout_percentage: 101 },
        fields: ['rollout_percentage'],
      }),
      put('a share with three decimals', 400, {
        body: { rollout_percentage: 0.001 },
        fields: ['rollout_percentage'],
      }),
      put('a share of which the variant is not clear', 400, {
        ...named('several'),
        body: { rollout_percentage: 10 },
        fields: ['variant'],
      }),
      put('a switch that is none', 400, { body: { enabled: 'on' }, fields: ['enabled'] }),
      put('services that are none', 400, { body: { target_services: 'web' }, fields: ['target_services'] }),
      put('a service without a name', 400, { body: { target_services: [''] }, fields: SOME_FIELDS }),
      put('conditions that are none', 400, { body: { conditions: ['plan'] }, fields: ['conditions'] }),
      put('several at once', 400, {
        body: { enabled: 1, rollout_percentage: 'x' },
        fields: ['enabled', 'rollout_percentage'],
      }),
      put('an unknown environment', 400, {
        path: `${PATH}/changed-by-001?environment=MOON&service_name=f001`,
        body: {},
        fields: ['environment'],
      }),
      put('a stale entity tag', 412, { body: { enabled: true }, headers: STALE }),
      put('a change of what is locked', 409, {
        path: `${PATH}/changed-by-001?environment=${LOCKED}&service_name=f001`,
        body: {},
      }),
      put('a change without the reason that its environment wants', 400, {
        path: `${PATH}/changed-by-001?environment=${REASONED}&service_name=f001`,
        body: {},
        fields: ['reason'],
      }),
    ],
  },
  addFlagEvaluations: {
    given: [hasFeature('flag', at('counted', 'counts'), ON_OFF)],
    good: [
      casesOf('POST', '/api/v1/flags/evaluations')('counts of a client', 204, {
        body: {
          application: 'counts',
          environment: 'PROD',
          counts: [
            { flag: 'counted', variant: 'on', reason: 'STATIC', count: 3, service: '=cmd' },
            { flag: 'counted', variant: null, reason: 'ERROR', count: 1 },
          ],
        },
        answer: null,
      }),
    ],
    bad: wrongCounts(),
  },
  flagEvaluations: {
    good: [
      casesOf('GET', `${PATH}/counts/evaluations${PROD}`)('a line for each, with every field', 200, {
        answer:
          /^(?:\{"hour":"\d{4}-\d\d-\d\dT\d\d:00:00Z","application":"counts","environment":"production","flag":"counted","variant":(?:null|"on"),"reason":"(?:ERROR|STATIC)","service":(?:null|"=cmd"),"count":\d+\}\n){2}$/,
        answerHeaders: { 'content-type': 'application/x-ndjson; charset=utf-8' },
      }),
      casesOf('GET', `${PATH}/counts/evaluations${PROD}&format=csv&flag=counted&service=%3Dcmd`)(
        'as CSV',
        200,
        {
          answer:
            /^hour,application,environment,flag,variant,reason,service,count\r\n[^,]+,counts,production,counted,on,STATIC,'=cmd,\d+\r\n$/,
          answerHeaders: { 'content-type': 'text/csv; charset=utf-8' },
        },
      ),
      casesOf('GET', `${PATH}/counts/evaluations${PROD}&from=2020-01-01&to=2020-01-02`)(
        'of a time without',
        200,
        {
          answer: '',
        },
      ),
    ],
    bad: (
      [
        ['no environment', '/counts/evaluations', 400, 'environment'],
        ['an unknown application', `/nobody/evaluations${PROD}`, 404, 'application'],
        ['a time that is none', `/counts/evaluations${PROD}&from=yesterday`, 400, 'from'],
        ['an end that is none', `/counts/evaluations${PROD}&to=never`, 400, 'to'],
        ['too long a time', `/counts/evaluations${PROD}&from=2020-01-01`, 400, 'from'],
        ['a format that is none', `/counts/evaluations${PROD}&format=pdf`, 400, 'format'],
        ['an unknown parameter', `/counts/evaluations${PROD}&since=1`, 400, 'since'],
      ] as const
    ).map(([title, at, status, field]) => casesOf('GET', PATH + at)(title, status, { fields: [field] })),
  },
};

function wrongCounts() {
  const add = casesOf('POST', '/api/v1/flags/evaluations');
  const scope = { application: 'counts', environment: 'PROD' };
  const count = { flag: 'counted', reason: 'STATIC', count: 1 };
  const counts = [count];
  return [
    add('nothing', 400, { body: {}, fields: ['application', 'environment', 'counts'] }),
    add('an unknown application', 404, {
      body: { ...scope, application: 'nobody', counts },
      fields: ['application'],
    }),
    add('an unknown environment', 404, {
      body: { ...scope, environment: 'moon', counts },
      fields: ['environment'],
    }),
    add('half a count', 400, {
      body: { ...scope, counts: [{ flag: 'counted' }] },
      fields: ['counts/0/reason', 'counts/0/count'],
    }),
    add('a count of nothing', 400, {
      body: { ...scope, counts: [{ ...count, count: 0 }] },
      fields: ['counts/0/count'],
    }),
    add('a flag without a name', 400, {
      body: { ...scope, counts: [{ ...count, flag: '' }] },
      fields: ['counts/0/flag'],
    }),
    add('too many', 400, {
      body: { ...scope, counts: Array.from({ length: 1_001 }, () => count) },
      fields: ['counts'],
    }),
    add('an unknown field', 400, { body: { ...scope, counts, user: 'ada' }, fields: ['user'] }),
  ];
}
