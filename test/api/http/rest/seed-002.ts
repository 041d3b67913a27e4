/** What the document of seed 002 promises: the facts of it. */
export interface PromisedOperation {
  /** Name, place and whether it is required. */
  readonly parameters: readonly (readonly [
    name: string,
    place: 'query' | 'path',
    required: boolean,
    type: string,
  ])[];
  readonly defaults?: Readonly<Record<string, number>>;
  /** The name of the body's schema. */
  readonly body?: string;
  /** What stands in the answers: a schema's name, a list of it, or nothing. */
  readonly answers: Readonly<Record<string, string | readonly [string] | null>>;
}

const ID = ['configId', 'path', true, 'string'] as const;
const VERSION_ID = ['versionId', 'path', true, 'string'] as const;

const FLAG_ID = ['flagId', 'path', true, 'string'] as const;

export const PROMISED_OPERATIONS: Readonly<Record<string, PromisedOperation>> = {
  'get /configs listConfigurations': {
    parameters: [
      ['application', 'query', false, 'string'],
      ['environment', 'query', false, 'string'],
      ['page', 'query', false, 'integer'],
      ['size', 'query', false, 'integer'],
    ],
    defaults: { page: 0, size: 20 },
    answers: { '200': 'page', '401': 'Unauthorized' },
  },
  'post /configs createConfiguration': {
    parameters: [],
    body: 'CreateConfigurationRequest',
    answers: { '201': 'ConfigurationResponse', '400': 'BadRequest', '401': 'Unauthorized' },
  },
  'get /configs/{configId} getConfiguration': {
    parameters: [ID],
    answers: { '200': 'ConfigurationResponse', '404': null, '401': 'Unauthorized' },
  },
  'put /configs/{configId} updateConfiguration': {
    parameters: [ID],
    body: 'UpdateConfigurationRequest',
    answers: { '200': 'ConfigurationResponse', '400': 'BadRequest', '404': null, '401': 'Unauthorized' },
  },
  'delete /configs/{configId} deleteConfiguration': {
    parameters: [ID],
    answers: { '204': null, '404': null, '401': 'Unauthorized' },
  },
  'get /configs/{configId}/versions getConfigurationVersions': {
    parameters: [ID],
    answers: { '200': ['ConfigurationVersion'], '404': null, '401': 'Unauthorized' },
  },
  'get /configs/{configId}/versions/{versionId} getConfigurationVersion': {
    parameters: [ID, VERSION_ID],
    answers: { '200': 'ConfigurationVersion', '404': null, '401': 'Unauthorized' },
  },
  'post /configs/{configId}/rollback/{versionId} rollbackConfiguration': {
    parameters: [ID, VERSION_ID],
    answers: { '200': 'ConfigurationResponse', '404': null, '401': 'Unauthorized' },
  },
  'get /configs/lookup lookupConfiguration': {
    parameters: [
      ['key', 'query', true, 'string'],
      ['application', 'query', true, 'string'],
      ['environment', 'query', true, 'string'],
    ],
    answers: { '200': 'ConfigurationValue', '404': null, '401': 'Unauthorized' },
  },
  'get /feature-flags listFeatureFlags': {
    parameters: [
      ['application', 'query', false, 'string'],
      ['environment', 'query', false, 'string'],
      ['page', 'query', false, 'integer'],
      ['size', 'query', false, 'integer'],
    ],
    defaults: { page: 0, size: 20 },
    answers: { '200': 'page', '401': 'Unauthorized' },
  },
  'post /feature-flags createFeatureFlag': {
    parameters: [],
    body: 'CreateFeatureFlagRequest',
    answers: { '201': 'FeatureFlag', '400': 'BadRequest', '401': 'Unauthorized' },
  },
  'get /feature-flags/{flagId} getFeatureFlag': {
    parameters: [FLAG_ID],
    answers: { '200': 'FeatureFlag', '404': null, '401': 'Unauthorized' },
  },
  'put /feature-flags/{flagId} updateFeatureFlag': {
    parameters: [FLAG_ID],
    body: 'UpdateFeatureFlagRequest',
    answers: { '200': 'FeatureFlag', '400': 'BadRequest', '404': null, '401': 'Unauthorized' },
  },
  'get /feature-flags/check checkFeatureFlag': {
    parameters: [
      ['key', 'query', true, 'string'],
      ['application', 'query', true, 'string'],
      ['environment', 'query', true, 'string'],
      ['userId', 'query', false, 'string'],
    ],
    answers: { '200': null, '404': null, '401': 'Unauthorized' },
  },
};

/** Fields and their types; `!` after one that is required, `[]` after the type of a list's items. */
export const PROMISED_SCHEMAS: Readonly<Record<string, string>> = {
  ConfigurationSummary:
    'id:string key:string application:string environment:string description:string valueType:string createdAt:date-time updatedAt:date-time',
  CreateConfigurationRequest:
    'key!:string application!:string environment!:string description:string valueType!:string value!:string schema:string tags:string[]',
  UpdateConfigurationRequest: 'description:string value:string schema:string tags:string[]',
  ConfigurationResponse:
    'id:string key:string application:string environment:string description:string valueType:string value:string schema:string tags:string[] version:integer createdBy:string createdAt:date-time updatedBy:string updatedAt:date-time',
  ConfigurationVersion:
    'id:string configId:string version:integer value:string createdBy:string createdAt:date-time changeDescription:string',
  ConfigurationValue: 'key:string value:string valueType:string version:integer',
  CreateFeatureFlagRequest:
    'key!:string application!:string environment!:string description!:string enabled:boolean rules:FeatureFlagRule[] value:object tags:string[]',
  UpdateFeatureFlagRequest:
    'description:string enabled:boolean rules:FeatureFlagRule[] value:object tags:string[]',
  FeatureFlag:
    'id:string key:string application:string environment:string description:string enabled:boolean rules:FeatureFlagRule[] value:object tags:string[] version:integer createdBy:string createdAt:date-time updatedBy:string updatedAt:date-time',
  FeatureFlagRule: 'attribute:string operator:string values:string[] percentage:integer',
  BadRequest: 'message:string errors:object[]',
  Unauthorized: 'message:string',
};

export const PROMISED_ENVIRONMENTS = ['DEV', 'TEST', 'STAGING', 'PROD'];
export const PROMISED_VALUE_TYPES = ['STRING', 'NUMBER', 'BOOLEAN', 'JSON', 'SECRET'];
export const PROMISED_PAGE: readonly string[] = ['content', 'page', 'size', 'totalElements', 'totalPages'];
