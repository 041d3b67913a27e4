import { CHANGE_PROBLEMS, READ_PROBLEMS } from '../rest/problem-schema.ts';
import {
  CHANGE_FIELDS,
  COUNT,
  described,
  list,
  NUMBER_FROM_1,
  nullable,
  type Operation,
  object,
  refTo,
  strictObject,
  TEXT,
  TIME,
  VALUE_TYPE,
} from '../rest/schema.ts';
import {
  CHANGED,
  CONFIGURATION,
  CREATION,
  ENVIRONMENT_ID,
  ID,
  PATCH,
  UPDATE,
  VERSION,
  VERSION_FIELDS,
} from './schemas.ts';

const TAG = 'Configurations in JSON';
const ONE = { description: 'The configuration', schema: refTo(CONFIGURATION) };
const WRITTEN = { description: 'The configuration as it is now', schema: refTo(CHANGED) };
const ONE_VERSION = { description: 'The version', schema: refTo(VERSION) };

export const LIST: Operation = {
  operationId: 'listConfigurationResources',
  summary: 'Configurations, filtered and searched',
  tag: TAG,
  kind: 'read',
  query: {
    application: TEXT,
    environment: ENVIRONMENT_ID,
    keyPrefix: described(TEXT, 'Keys that begin so'),
    tag: TEXT,
    type: VALUE_TYPE,
    search: described(TEXT, 'Words that stand in key, application, tags or description'),
    page: { ...COUNT, default: 0 },
    size: described({ type: 'integer', default: 20 }, 'From 1 to 1,000'),
  },
  answers: {
    200: {
      description: 'A page, in the order of application, environment and key',
      schema: object({ items: list(refTo(CONFIGURATION)), page: COUNT, size: COUNT, total: COUNT }),
    },
    ...READ_PROBLEMS,
  },
};

export const CREATE: Operation = {
  operationId: 'createConfigurationResource',
  summary: 'Create a configuration',
  tag: TAG,
  kind: 'change',
  body: refTo(CREATION),
  answers: { 201: WRITTEN, ...CHANGE_PROBLEMS },
};

export const GET: Operation = {
  operationId: 'getConfigurationResource',
  summary: 'A configuration',
  tag: TAG,
  kind: 'read',
  params: ID,
  answers: { 200: ONE, ...READ_PROBLEMS },
};

export const PUT: Operation = {
  operationId: 'updateConfigurationResource',
  summary: 'Update a configuration; what is left out stays',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  params: ID,
  body: refTo(UPDATE),
  answers: { 200: WRITTEN, ...CHANGE_PROBLEMS },
};

export const PATCHING: Operation = {
  operationId: 'patchConfigurationResource',
  summary: 'Change parts of a configuration and of its value (JSON Merge Patch)',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  params: ID,
  body: refTo(PATCH),
  bodyTypes: ['application/merge-patch+json', 'application/json'],
  answers: { 200: WRITTEN, ...CHANGE_PROBLEMS },
};

export const DELETE: Operation = {
  operationId: 'deleteConfigurationResource',
  summary: 'Delete a configuration; its versions stay',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  params: ID,
  answers: { 204: { description: 'It was deleted', schema: null }, ...CHANGE_PROBLEMS },
};

export const UNDELETE: Operation = {
  operationId: 'undeleteConfiguration',
  summary: 'Bring back what was deleted, or has expired',
  tag: TAG,
  kind: 'change',
  params: ID,
  answers: { 200: WRITTEN, ...CHANGE_PROBLEMS },
};

export const ROLLBACK: Operation = {
  operationId: 'rollbackConfigurationResource',
  summary: 'Make a new version that is what an old one was',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  params: ID,
  body: strictObject({ version: NUMBER_FROM_1, ...CHANGE_FIELDS }, ['version']),
  answers: { 200: WRITTEN, ...CHANGE_PROBLEMS },
};

export const VERSIONS: Operation = {
  operationId: 'listVersions',
  summary: 'Versions, newest first, of deleted configurations, too',
  tag: TAG,
  kind: 'read',
  params: ID,
  query: {
    before: described(COUNT, 'Only versions below this one'),
    size: described({ type: 'integer', default: 100 }, 'From 1 to 1,000'),
  },
  answers: {
    200: {
      description: 'A page; next is the before of the one after it',
      schema: object({ items: list(refTo(VERSION)), next: nullable(COUNT) }),
    },
    ...READ_PROBLEMS,
  },
};

export const VERSION_BY_NUMBER: Operation = {
  operationId: 'getVersion',
  summary: 'One version',
  tag: TAG,
  kind: 'read',
  params: { ...ID, version: NUMBER_FROM_1 },
  answers: { 200: ONE_VERSION, ...READ_PROBLEMS },
};

export const AS_OF: Operation = {
  operationId: 'getConfigurationAsOf',
  summary: 'What a configuration was at a time, or at a revision of the store',
  tag: TAG,
  kind: 'read',
  params: ID,
  query: { time: TIME, revision: NUMBER_FROM_1 },
  answers: {
    200: ONE_VERSION,
    ...READ_PROBLEMS,
    410: { description: 'That version was not kept', schema: READ_PROBLEMS[404]!.schema },
  },
};

export const ALL_AS_OF: Operation = {
  operationId: 'getConfigurationsAsOf',
  summary: 'What an environment itself had of an application at a time, or at a revision of the store',
  tag: TAG,
  kind: 'read',
  query: {
    application: TEXT,
    environment: ENVIRONMENT_ID,
    keyPrefix: described(TEXT, 'Keys that begin so'),
    time: TIME,
    revision: NUMBER_FROM_1,
  },
  required: ['application', 'environment'],
  answers: {
    200: {
      description: 'The versions that stood, in the order of their keys',
      schema: object({ items: list(object({ key: TEXT, ...VERSION_FIELDS })) }),
    },
    ...READ_PROBLEMS,
    410: { description: 'One of the versions was not kept', schema: READ_PROBLEMS[404]!.schema },
    413: { description: 'There are more than 1,000', schema: READ_PROBLEMS[404]!.schema },
  },
};
