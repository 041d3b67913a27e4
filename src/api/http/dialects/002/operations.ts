import { COUNT, described, FLAG, list, type Operation, RESOLVE, refTo, TEXT } from '../../rest/schema.ts';
import {
  BAD_REQUEST,
  CREATE,
  ENVIRONMENT,
  PAGE,
  RESPONSE,
  UNAUTHORIZED,
  UPDATE,
  VALUE,
  VERSION,
} from './schemas.ts';

const TAG = 'Configurations';
const CONFIG_ID = { configId: described(TEXT, 'Configuration ID') };
/** What a failure is told by on 002's paths. */
export const failure = (description: string) => ({ description, schema: refTo(BAD_REQUEST) });
const UNAUTHENTICATED = { description: 'Authentication required', schema: refTo(UNAUTHORIZED) };
const WRONG = failure('Invalid request');
const ABSENT = failure('Configuration not found');
const VERSION_ABSENT = failure('Configuration or version not found');
const CONFLICT = failure('It is there already, or in another state');
/** Of what honours If-Match. */
export const STALE = failure('If-Match names another revision');
/** Of every read, beside what the seed's document lists. */
export const READ_FAILURES = {
  400: WRONG,
  401: UNAUTHENTICATED,
  403: failure('Not permitted'),
  503: failure('The store does not answer'),
};
/** Of every change. */
export const CHANGE_FAILURES = {
  ...READ_FAILURES,
  409: CONFLICT,
  413: failure('The request is too large'),
  422: failure('The idempotency key was used for another request'),
  504: failure('Whether it was done is not known'),
};
/** Of what takes a body. */
export const OTHER_TYPE = { 415: failure('The body is of another type than is taken') };

export const LIST: Operation = {
  operationId: 'listConfigurations',
  summary: 'List configurations',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  query: {
    application: TEXT,
    environment: ENVIRONMENT,
    page: { ...COUNT, default: 0 },
    size: { type: 'integer', default: 20 },
    keyPrefix: described(TEXT, 'Keys that begin so'),
    tag: described(TEXT, 'Those that have this tag'),
    search: described(TEXT, 'Words that stand in key, application, tags or description'),
  },
  answers: {
    200: { description: 'List of configurations', schema: PAGE },
    ...READ_FAILURES,
  },
};

export const CREATION: Operation = {
  operationId: 'createConfiguration',
  summary: 'Create a new configuration',
  tag: TAG,
  kind: 'change',
  isLenient: true,
  body: refTo(CREATE),
  answers: {
    201: { description: 'Configuration created successfully', schema: refTo(RESPONSE) },
    ...CHANGE_FAILURES,
    ...OTHER_TYPE,
  },
};

export const LOOKUP: Operation = {
  operationId: 'lookupConfiguration',
  summary: 'Look up configuration by key',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  query: {
    key: TEXT,
    application: TEXT,
    environment: ENVIRONMENT,
    default: described(TEXT, 'The value when there is none'),
    reveal: described({ ...FLAG, default: true }, 'Show a secret itself, which is recorded'),
    resolve: RESOLVE,
  },
  required: ['key', 'application', 'environment'],
  answers: {
    200: { description: 'Configuration value', schema: refTo(VALUE) },
    ...READ_FAILURES,
    404: ABSENT,
  },
};

export const GET: Operation = {
  operationId: 'getConfiguration',
  summary: 'Get configuration by ID',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  params: CONFIG_ID,
  answers: {
    200: { description: 'Configuration details', schema: refTo(RESPONSE) },
    ...READ_FAILURES,
    404: ABSENT,
  },
};

export const UPDATING: Operation = {
  operationId: 'updateConfiguration',
  summary: 'Update configuration',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  isLenient: true,
  params: CONFIG_ID,
  body: refTo(UPDATE),
  answers: {
    200: { description: 'Configuration updated successfully', schema: refTo(RESPONSE) },
    ...CHANGE_FAILURES,
    ...OTHER_TYPE,
    404: ABSENT,
    412: STALE,
  },
};

export const DELETION: Operation = {
  operationId: 'deleteConfiguration',
  summary: 'Delete configuration',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  isLenient: true,
  params: CONFIG_ID,
  answers: {
    204: { description: 'Configuration deleted successfully', schema: null },
    ...CHANGE_FAILURES,
    404: ABSENT,
    412: STALE,
  },
};

export const VERSIONS: Operation = {
  operationId: 'getConfigurationVersions',
  summary: 'Get configuration version history',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  params: CONFIG_ID,
  query: {
    before: described(COUNT, 'Only versions below this one; the header Link has that of the next page'),
    size: described({ type: 'integer', default: 100 }, 'Versions of one page, newest first'),
  },
  answers: {
    200: { description: 'Configuration version history', schema: list(refTo(VERSION)) },
    ...READ_FAILURES,
    404: ABSENT,
  },
};

export const ONE_VERSION: Operation = {
  operationId: 'getConfigurationVersion',
  summary: 'Get specific configuration version',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  params: { ...CONFIG_ID, versionId: described(TEXT, 'Version ID, or version number') },
  answers: {
    200: { description: 'Configuration version details', schema: refTo(VERSION) },
    ...READ_FAILURES,
    404: VERSION_ABSENT,
  },
};

export const ROLLBACK: Operation = {
  operationId: 'rollbackConfiguration',
  summary: 'Rollback to specific configuration version',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  isLenient: true,
  params: { ...CONFIG_ID, versionId: described(TEXT, 'Version ID, or version number') },
  answers: {
    200: { description: 'Configuration rolled back successfully', schema: refTo(RESPONSE) },
    ...CHANGE_FAILURES,
    404: VERSION_ABSENT,
    412: STALE,
  },
};
