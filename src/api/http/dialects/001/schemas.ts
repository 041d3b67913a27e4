import { CONFIG_TYPES } from '../../../../service/names.ts';
import { CHANGE_PROBLEMS, READ_PROBLEMS } from '../../rest/problem-schema.ts';
import {
  ANY,
  COUNT,
  described,
  FLAG,
  NUMBER_FROM_1,
  named,
  nullable,
  type Operation,
  object,
  RESOLVE,
  refTo,
  TEXT,
  TEXTS,
  TIME,
} from '../../rest/schema.ts';

export const ENVIRONMENT = described(
  { type: 'string', 'x-extensible-enum': ['DEVELOPMENT', 'STAGING', 'PRODUCTION', 'TEST'] },
  'Environment; else the configured one, which Conclave-Environment tells',
);
const CONFIG_TYPE = { type: 'string', enum: CONFIG_TYPES };

const CONFIGURATION = named(
  'Configuration',
  object({
    config_key: TEXT,
    config_value: ANY,
    config_type: CONFIG_TYPE,
    environment: ENVIRONMENT,
    service_name: TEXT,
    description: TEXT,
    is_encrypted: FLAG,
    version: described(COUNT, '0 of a default'),
    created_at: nullable(TIME),
    updated_at: nullable(TIME),
    source: { type: 'string', enum: ['own', 'inherited', 'default'] },
    inherited_from: ENVIRONMENT,
  }),
);

const CONFIGURATION_UPDATE = named(
  'ConfigurationUpdate',
  object(
    {
      config_key: described(TEXT, 'As in the path, if it is given'),
      old_value: described(ANY, 'If it is given: what the value must be now'),
      new_value: ANY,
      updated_by: described(TEXT, 'Recorded as what the caller says'),
      reason: TEXT,
      rollback_available: described(FLAG, 'Not looked at'),
      environment: ENVIRONMENT,
      config_type: CONFIG_TYPE,
      is_encrypted: described(FLAG, 'True makes it a secret'),
      description: TEXT,
      schema: described(nullable(TEXT), 'JSON Schema as text'),
      tags: TEXTS,
      changeSet: TEXT,
    },
    ['new_value'],
  ),
);

const ROLLBACK_REQUEST = named(
  'RollbackRequest',
  object(
    {
      service_name: TEXT,
      config_key: TEXT,
      environment: ENVIRONMENT,
      target_version: NUMBER_FROM_1,
      updated_by: TEXT,
      reason: TEXT,
      changeSet: TEXT,
    },
    ['service_name', 'config_key', 'target_version'],
  ),
);

const ROLLBACK_RESULT = named(
  'RollbackResult',
  object({
    success: FLAG,
    configuration: refTo(CONFIGURATION),
    previous_version: COUNT,
    restored_version: NUMBER_FROM_1,
  }),
);

export const COMPONENTS_001 = [CONFIGURATION, CONFIGURATION_UPDATE, ROLLBACK_REQUEST, ROLLBACK_RESULT];

const TAG = 'Services';
const SERVICE = { service_name: described(TEXT, 'Any but watch and rollback') };
const KEY = { ...SERVICE, config_key: described(TEXT, 'With or without the service before it') };
const REVEAL = described({ ...FLAG, default: false }, 'Show secrets themselves, which is recorded');
export const GET_ALL: Operation = {
  operationId: 'getServiceConfiguration',
  summary: 'Everything that holds for a service',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  params: SERVICE,
  query: { environment: ENVIRONMENT, reveal: REVEAL, resolve: RESOLVE },
  answers: {
    200: { description: 'Values by key', schema: { type: 'object', additionalProperties: ANY } },
    ...READ_PROBLEMS,
  },
};

export const GET_ONE: Operation = {
  operationId: 'getServiceConfigurationKey',
  summary: 'What holds for one key of a service',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  params: KEY,
  query: { environment: ENVIRONMENT, reveal: REVEAL, resolve: RESOLVE },
  answers: { 200: { description: 'The configuration', schema: refTo(CONFIGURATION) }, ...READ_PROBLEMS },
};

export const PUT: Operation = {
  operationId: 'putServiceConfigurationKey',
  summary: 'Create or update a configuration of a service',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  isLenient: true,
  params: KEY,
  query: { environment: ENVIRONMENT },
  body: refTo(CONFIGURATION_UPDATE),
  answers: {
    200: { description: 'It was updated', schema: refTo(CONFIGURATION) },
    201: { description: 'It was created', schema: refTo(CONFIGURATION) },
    ...CHANGE_PROBLEMS,
  },
};

export const ROLLBACK: Operation = {
  operationId: 'rollbackServiceConfiguration',
  summary: 'Take a configuration back to an earlier version',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  isLenient: true,
  body: refTo(ROLLBACK_REQUEST),
  answers: { 200: { description: 'It was rolled back', schema: refTo(ROLLBACK_RESULT) }, ...CHANGE_PROBLEMS },
};
