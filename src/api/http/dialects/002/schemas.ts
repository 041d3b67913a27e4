import { CONFIG_TYPES } from '../../../../service/names.ts';
import {
  CHANGE_FIELDS,
  COUNT,
  described,
  FLAG,
  list,
  NUMBER_FROM_1,
  named,
  nullable,
  object,
  refTo,
  type Schema,
  TEXT,
  TEXTS,
  TIME,
} from '../../rest/schema.ts';
import { COARSE_TYPES, SUBTYPES } from './values.ts';

/** The standard environments as 002 writes them; a tenant's own are taken besides, and any dialect's spelling. */
export const ENVIRONMENT: Schema = {
  type: 'string',
  'x-extensible-enum': ['DEV', 'TEST', 'STAGING', 'PROD'],
  description: 'Environment',
};

const VALUE_TYPE = described({ type: 'string', enum: COARSE_TYPES }, 'Value type');
const SUBTYPE = described({ type: 'string', enum: SUBTYPES }, 'The finer type');
const CONFIG_TYPE = described({ type: 'string', enum: CONFIG_TYPES }, 'What it is for');
const TAGS = described(TEXTS, 'Tags for categorization');
const USER = described(TEXT, 'Who did it');

const IDENTITY = {
  id: described(TEXT, 'Configuration ID'),
  key: described(TEXT, 'Configuration key'),
  application: described(TEXT, 'Application name'),
  environment: ENVIRONMENT,
};

const CONTENT = {
  description: described(TEXT, 'Configuration description'),
  value: described(TEXT, 'Configuration value, as text'),
  valueType: VALUE_TYPE,
  valueSubtype: SUBTYPE,
  schema: described(nullable(TEXT), 'JSON Schema for validation, as text; empty or null: none'),
  tags: TAGS,
  configType: CONFIG_TYPE,
  expiresAt: described(nullable(TIME), 'When it ends by itself; null: never'),
  ttlSeconds: described({ type: 'number' }, 'Instead of expiresAt: how long it lives from now'),
};

export const SUMMARY = named(
  'ConfigurationSummary',
  object({
    ...IDENTITY,
    description: CONTENT.description,
    valueType: VALUE_TYPE,
    valueSubtype: SUBTYPE,
    tags: TAGS,
    version: NUMBER_FROM_1,
    createdAt: TIME,
    updatedAt: TIME,
  }),
);

export const CREATE = named(
  'CreateConfigurationRequest',
  object(
    {
      key: IDENTITY.key,
      application: IDENTITY.application,
      environment: ENVIRONMENT,
      ...CONTENT,
      ...CHANGE_FIELDS,
    },
    ['key', 'application', 'environment', 'valueType', 'value'],
  ),
);

export const UPDATE = named('UpdateConfigurationRequest', object({ ...CONTENT, ...CHANGE_FIELDS }));

const FIELD_PROBLEM = object({ field: TEXT, message: TEXT });

export const RESPONSE = named(
  'ConfigurationResponse',
  object({
    ...IDENTITY,
    description: CONTENT.description,
    value: described(TEXT, 'Configuration value, as text; of a secret its mask'),
    valueType: VALUE_TYPE,
    valueSubtype: SUBTYPE,
    schema: described(TEXT, 'JSON Schema for validation'),
    tags: TAGS,
    version: described(NUMBER_FROM_1, 'Current version number'),
    createdBy: USER,
    createdAt: TIME,
    updatedBy: USER,
    updatedAt: TIME,
    configType: CONFIG_TYPE,
    expiresAt: TIME,
    warnings: described(list(FIELD_PROBLEM), 'What is suspicious about a change, but not wrong'),
  }),
);

export const VERSION = named(
  'ConfigurationVersion',
  object({
    id: described(TEXT, 'Version ID'),
    configId: described(TEXT, 'Configuration ID'),
    version: described(NUMBER_FROM_1, 'Version number'),
    value: described(TEXT, 'Configuration value at this version'),
    valueType: VALUE_TYPE,
    valueSubtype: SUBTYPE,
    createdBy: USER,
    createdAt: TIME,
    changeDescription: described(TEXT, 'Description of changes in this version'),
    deleted: described(FLAG, 'It is the version of a deletion'),
    revision: described(NUMBER_FROM_1, 'Of the store, at which it was made'),
  }),
);

export const VALUE = named(
  'ConfigurationValue',
  object({
    key: IDENTITY.key,
    value: CONTENT.value,
    valueType: VALUE_TYPE,
    valueSubtype: SUBTYPE,
    version: described(COUNT, 'Current version number; 0 of a default'),
    source: { type: 'string', enum: ['own', 'inherited', 'default'] },
    environment: described(ENVIRONMENT, 'Where it comes from'),
  }),
);

export const PAGE = object({
  content: list(refTo(SUMMARY)),
  page: COUNT,
  size: NUMBER_FROM_1,
  totalElements: COUNT,
  totalPages: COUNT,
});

/** How failures are told on 002's paths. */
export const BAD_REQUEST = named('BadRequest', object({ message: TEXT, errors: list(FIELD_PROBLEM) }));
export const UNAUTHORIZED = named('Unauthorized', object({ message: TEXT, errors: list(FIELD_PROBLEM) }));

export const COMPONENTS_002 = [SUMMARY, CREATE, UPDATE, RESPONSE, VERSION, VALUE, BAD_REQUEST, UNAUTHORIZED];
