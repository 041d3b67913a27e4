import {
  type CaseTable,
  casesOf,
  ETAG,
  given,
  has,
  LOCKED,
  MASK,
  STALE,
  some,
  TIME,
  TOO_LARGE,
} from '../operation-cases.ts';

const SERVICE = 'portfolio_management_service';
const at = (key: string, environment = 'production') => ({ application: SERVICE, environment, key });
const PATH = `/api/v1/config/${SERVICE}`;
const all = casesOf('GET', PATH);
const one = casesOf('GET', `${PATH}/risk_threshold`);
const put = casesOf('PUT', `${PATH}/limit`);
const rollback = casesOf('POST', '/api/v1/config/rollback');
const nested = casesOf('GET', '/v1/config/services/payment-service');
const PRODUCTION = '?environment=PRODUCTION';
const BACK = {
  service_name: SERVICE,
  config_key: 'portfolio_management.rolled',
  environment: 'PRODUCTION',
  target_version: 1,
  updated_by: 'risk_manager_001',
  reason: 'too low',
};

/** 001's Configuration, every field of it and our own beside. */
const configuration = (fields: object) => ({
  config_type: 'APPLICATION_CONFIG',
  environment: 'PRODUCTION',
  service_name: SERVICE,
  description: '',
  is_encrypted: false,
  version: 1,
  created_at: TIME,
  updated_at: TIME,
  ...fields,
});

/** 001's paths, and 004's. */
export const SERVICES: CaseTable = {
  getServiceConfiguration: {
    given: [
      has(at('risk_threshold', 'staging'), 0.05, { configType: 'BUSINESS_RULE', description: 'A bound' }),
      has(at('risk_threshold'), 0.04, { configType: 'BUSINESS_RULE', description: 'A bound' }),
      has(at('own.map'), { a: [1, null] }),
      has(at('token'), 'in the map', { type: 'secret' }),
      given('PUT', `/api/v1/applications/${SERVICE}`, { defaults: { 'retry.max': 3 } }),
    ],
    good: [
      all('all that holds, by key', 200, {
        at: PRODUCTION,
        answer: { risk_threshold: 0.04, 'own.map': { a: [1, null] }, 'retry.max': 3, token: MASK },
        answerHeaders: { 'conclave-environment': 'PRODUCTION', etag: ETAG },
      }),
      all('secrets, when they are to be revealed', 200, {
        at: `${PRODUCTION}&reveal=true`,
        answer: some({ token: 'in the map' }),
        reveals: true,
      }),
      all('of the configured environment, when none is named', 200, {
        answer: { 'retry.max': 3 },
        answerHeaders: { 'conclave-environment': 'DEVELOPMENT' },
      }),
    ],
    bad: [
      all('of an unknown service', 404, { path: '/api/v1/config/nobody', fields: ['service_name'] }),
      all('of a service whose name is used', 400, {
        path: '/api/v1/config/rollback',
        fields: ['service_name'],
      }),
      all('of a service that is none', 400, { path: '/api/v1/config/a%2Fb', fields: ['service_name'] }),
      all('of an unknown environment', 404, { at: '?environment=moon', fields: ['environment'] }),
      all('a reveal that is none', 400, { at: `${PRODUCTION}&reveal=yes`, fields: ['reveal'] }),
    ],
  },
  getServiceConfigurationKey: {
    good: [
      one('one, with every field', 200, {
        at: PRODUCTION,
        answer: configuration({
          config_key: 'risk_threshold',
          config_value: 0.04,
          config_type: 'BUSINESS_RULE',
          description: 'A bound',
          source: 'own',
        }),
        answerHeaders: { etag: ETAG },
      }),
      one('one with its service before it', 200, {
        path: `${PATH}/portfolio_management.risk_threshold${PRODUCTION}`,
        answer: some({ config_key: 'risk_threshold' }),
      }),
      one('a secret masked', 200, {
        path: `${PATH}/token${PRODUCTION}`,
        answer: some({ config_value: MASK, is_encrypted: true, config_type: 'SECRET' }),
      }),
      one('a default', 200, {
        path: `${PATH}/retry.max${PRODUCTION}`,
        answer: some({ config_value: 3, version: 0, created_at: null, updated_at: null, source: 'default' }),
      }),
    ],
    bad: [
      one('an unknown key', 404, { path: `${PATH}/none${PRODUCTION}`, fields: ['config_key'] }),
      one('a key that is none', 400, { path: `${PATH}/a%20b${PRODUCTION}`, fields: ['config_key'] }),
      one('of an unknown service', 404, { path: '/api/v1/config/nobody/k', fields: ['service_name'] }),
      one('of an environment that is none', 400, { at: '?environment=%21', fields: ['environment'] }),
    ],
  },
  putServiceConfigurationKey: {
    good: [
      put('a new one', 201, {
        at: PRODUCTION,
        body: { new_value: 0.05, old_value: null, updated_by: 'risk_manager_001', reason: 'start' },
        answer: configuration({ config_key: 'limit', config_value: 0.05 }),
        answerHeaders: { etag: ETAG, 'conclave-environment': 'PRODUCTION' },
      }),
      put('another value, with every field', 200, {
        body: {
          config_key: `${SERVICE}.limit`,
          environment: 'PRODUCTION',
          old_value: 0.05,
          new_value: 0.04,
          updated_by: 'risk_manager_001',
          reason: 'Reduce risk exposure due to market volatility',
          rollback_available: true,
          description: 'A bound',
          config_type: 'BUSINESS_RULE',
          tags: ['risk'],
          schema: '{"maximum":1}',
        },
        answer: configuration({
          config_key: 'limit',
          config_value: 0.04,
          config_type: 'BUSINESS_RULE',
          description: 'A bound',
          version: 2,
        }),
      }),
      put('a secret', 201, {
        path: `${PATH}/key${PRODUCTION}`,
        body: { new_value: 'put to be masked', is_encrypted: true },
        answer: some({ config_value: MASK, is_encrypted: true, config_type: 'SECRET' }),
      }),
    ],
    bad: [
      put('nothing', 400, { at: PRODUCTION, body: {}, fields: ['new_value'] }),
      put('another key than that of the path', 400, {
        at: PRODUCTION,
        body: { config_key: 'other', new_value: 1 },
        fields: ['config_key'],
      }),
      put('a value against its schema', 400, {
        at: PRODUCTION,
        body: { new_value: 2 },
        fields: ['new_value'],
      }),
      put('another old value', 409, {
        at: PRODUCTION,
        body: { old_value: 1, new_value: 0 },
        fields: ['old_value'],
      }),
      put('what is there, when nothing may be', 409, {
        at: PRODUCTION,
        headers: { 'if-none-match': '*' },
        body: { new_value: 0 },
        fields: ['config_key'],
      }),
      put('a stale entity tag', 412, { at: PRODUCTION, headers: STALE, body: { new_value: 0 } }),
      put('a value over the limit', 413, {
        at: PRODUCTION,
        body: { new_value: TOO_LARGE },
        fields: ['new_value'],
      }),
      put('an unknown environment', 400, {
        at: '?environment=moon',
        body: { new_value: 1 },
        fields: ['environment'],
      }),
      put('what is locked', 409, { at: `?environment=${LOCKED}`, body: { new_value: 1 } }),
      put('a service whose name is used', 400, {
        path: '/api/v1/config/watch/k',
        body: { new_value: 1 },
        fields: ['service_name'],
      }),
      put('a user too long', 400, {
        at: PRODUCTION,
        body: { new_value: 0, updated_by: 'u'.repeat(101) },
        fields: ['updated_by'],
      }),
      put('a type that is none', 400, {
        at: PRODUCTION,
        body: { new_value: 0, config_type: 'X' },
        fields: ['config_type'],
      }),
    ],
  },
  rollbackServiceConfiguration: {
    given: [has(at('rolled'), 0.05), has(at('rolled'), 0.04)],
    good: [
      rollback('to an earlier version, with every field', 200, {
        body: BACK,
        answer: {
          success: true,
          configuration: configuration({ config_key: 'rolled', config_value: 0.05, version: 3 }),
          previous_version: 2,
          restored_version: 1,
        },
        answerHeaders: { etag: ETAG },
      }),
    ],
    bad: [
      rollback('nothing', 400, { body: {}, fields: ['service_name', 'config_key', 'target_version'] }),
      rollback('to a version that is none', 400, {
        body: { ...BACK, target_version: 0 },
        fields: ['target_version'],
      }),
      rollback('to an unknown version', 404, {
        body: { ...BACK, target_version: 9 },
        fields: ['target_version'],
      }),
      rollback('of an unknown key', 404, { body: { ...BACK, config_key: 'none' }, fields: ['config_key'] }),
      rollback('of an environment that is none', 400, {
        body: { ...BACK, environment: '!' },
        fields: ['environment'],
      }),
      rollback('with a stale entity tag', 412, { body: BACK, headers: STALE }),
    ],
  },
  getService: {
    given: [
      has({ application: 'payment-service', environment: 'staging', key: 'database_url' }, 'postgres://db'),
      has({ application: 'payment-service', environment: 'staging', key: 'pool.max' }, 100),
      has({ application: 'payment-service', environment: 'staging', key: 'pool.min' }, 1),
      has({ application: 'payment-service', environment: 'staging', key: 'api.key' }, 'nested', {
        type: 'secret',
      }),
    ],
    good: [
      nested('all that holds, nested at the dots', 200, {
        at: '?environment=staging',
        answer: {
          database_url: 'postgres://db',
          pool: { max: 100, min: 1 },
          api: { key: MASK },
          feature_flags: {},
        },
        answerHeaders: { 'conclave-environment': 'staging', etag: ETAG },
      }),
      nested('of the configured environment, when none is named', 200, {
        answer: { feature_flags: {} },
        answerHeaders: { 'conclave-environment': 'dev' },
      }),
    ],
    bad: [
      nested('of an unknown service', 404, { path: '/v1/config/services/nobody', fields: ['name'] }),
      nested('of a service that is none', 400, { path: '/v1/config/services/a%2Fb', fields: ['name'] }),
      nested('of an unknown environment', 404, { at: '?environment=moon', fields: ['environment'] }),
    ],
  },
};
