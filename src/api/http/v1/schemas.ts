import { CONFIG_TYPES } from '../../../service/names.ts';
import {
  ANY,
  CHANGE_FIELDS,
  COUNT,
  described,
  FLAG,
  list,
  NUMBER_FROM_1,
  named,
  nullable,
  object,
  type Properties,
  refTo,
  type Schema,
  strictObject,
  TEXT,
  TEXTS,
  TIME,
  VALUE_TYPE,
} from '../rest/schema.ts';

/** Any spelling of an environment comes in; the canonical id goes out. */
export const ENVIRONMENT_ID: Schema = described(
  { type: 'string', 'x-extensible-enum': ['development', 'test', 'staging', 'production'] },
  'An environment, in any spelling',
);

/** What every path of one configuration has. */
export const ID: Properties = { id: described(TEXT, 'Configuration id') };

const CONFIG_TYPE = described({ type: 'string', enum: CONFIG_TYPES }, 'What it is for');

export const NAME_FIELDS: Properties = { application: TEXT, environment: ENVIRONMENT_ID, key: TEXT };

/** A configuration in a request: its id, or its name. */
export const REF_FIELDS: Properties = {
  id: described(TEXT, 'Or application, environment and key'),
  ...NAME_FIELDS,
};

export const CONTENT_FIELDS: Properties = {
  value: described(ANY, 'Any JSON'),
  type: described(VALUE_TYPE, 'Else that of the present value, or the finest that fits'),
  configType: CONFIG_TYPE,
  description: TEXT,
  schema: described(nullable(TEXT), 'JSON Schema (2020-12) as text; null: none'),
  tags: TEXTS,
  expiresAt: described(nullable(TIME), 'When it ends by itself; null: never'),
  ttlSeconds: described({ type: 'number' }, 'Instead of expiresAt: how long it lives from now'),
};

export const OLD_VALUE = described(ANY, 'What the value must be now');

const SHOWN: Properties = {
  type: VALUE_TYPE,
  value: described(ANY, 'Any JSON; of a secret its mask'),
  masked: described(FLAG, 'The value is not shown'),
};

export const SIDE: Schema = nullable(object(SHOWN));

const CONFIGURATION_FIELDS: Properties = {
  id: TEXT,
  tenant: TEXT,
  ...NAME_FIELDS,
  ...SHOWN,
  configType: CONFIG_TYPE,
  description: TEXT,
  schema: nullable(TEXT),
  tags: TEXTS,
  expiresAt: nullable(TIME),
  version: NUMBER_FROM_1,
  createdBy: TEXT,
  createdAt: TIME,
  updatedBy: TEXT,
  updatedAt: TIME,
  changeId: described(TEXT, 'The change that made this version'),
  etag: described(TEXT, 'What If-Match takes, in quotes'),
  revision: described(NUMBER_FROM_1, 'Of the store, at which it was last changed'),
};

export const CONFIGURATION = named('ConfigurationResource', object(CONFIGURATION_FIELDS));

export const VERSION_FIELDS: Properties = {
  configurationId: TEXT,
  version: NUMBER_FROM_1,
  ...SHOWN,
  configType: CONFIG_TYPE,
  description: TEXT,
  schema: nullable(TEXT),
  tags: TEXTS,
  expiresAt: nullable(TIME),
  createdBy: TEXT,
  createdAt: TIME,
  changeId: TEXT,
  reason: TEXT,
  deleted: described(FLAG, 'It is the version of a deletion'),
  revision: NUMBER_FROM_1,
};

export const VERSION = named('VersionResource', object(VERSION_FIELDS));

export const EFFECTIVE = named(
  'EffectiveValue',
  object({
    key: TEXT,
    source: { type: 'string', enum: ['own', 'inherited', 'default'] },
    environment: described(nullable(TEXT), 'Where it comes from; null for a default'),
    ...SHOWN,
    configType: CONFIG_TYPE,
    description: TEXT,
    id: nullable(TEXT),
    version: nullable(COUNT),
    createdAt: nullable(TIME),
    updatedAt: nullable(TIME),
    etag: TEXT,
  }),
);

export const FINDING = named(
  'Finding',
  object({
    severity: { type: 'string', enum: ['error', 'warning'] },
    check: { type: 'string', enum: ['schema', 'rule', 'reference', 'secret'] },
    field: TEXT,
    message: TEXT,
  }),
);

/** A configuration as a change left it. */
export const CHANGED = named(
  'ChangedConfiguration',
  object({
    ...CONFIGURATION_FIELDS,
    warnings: described(list(refTo(FINDING)), 'What is suspicious about the change, but not wrong'),
  }),
);

export const CHANGE = named(
  'ChangeResult',
  object({
    revision: described(COUNT, 'At which it was made'),
    changeId: described(nullable(TEXT), 'Null: nothing was changed'),
    items: list(
      object({
        type: { type: 'string', enum: ['created', 'updated', 'deleted', 'unchanged'] },
        before: { nullable: true, allOf: [refTo(CONFIGURATION)] },
        after: refTo(CONFIGURATION),
      }),
    ),
    warnings: list(refTo(FINDING)),
  }),
);

export const DIFF: Schema = nullable(
  object({
    changes: described(
      list(
        object({
          type: { type: 'string', enum: ['added', 'removed', 'changed'] },
          pointer: described(TEXT, 'Where, as a JSON pointer'),
          before: ANY,
          after: ANY,
          lines: nullable(
            list(object({ type: { type: 'string', enum: ['added', 'removed', 'same'] }, text: TEXT })),
          ),
        }),
      ),
      'For people',
    ),
    patch: described(
      list(object({ op: { type: 'string', enum: ['add', 'replace', 'remove'] }, path: TEXT, value: ANY })),
      'For programs: a JSON Patch (RFC 6902) that makes the right of the left',
    ),
  }),
);

export const DRY_RUN = described({ ...FLAG, default: false }, 'Check and answer, but change nothing');

export const CREATION = named(
  'CreateConfigurationResource',
  strictObject({ ...NAME_FIELDS, ...CONTENT_FIELDS, ...CHANGE_FIELDS }, [
    'application',
    'environment',
    'key',
    'value',
  ]),
);

export const UPDATE = named(
  'UpdateConfigurationResource',
  strictObject({ ...CONTENT_FIELDS, oldValue: OLD_VALUE, ...CHANGE_FIELDS }),
);

/** Null takes a member away, where there is something without it. */
export const PATCH = named(
  'PatchConfigurationResource',
  strictObject({
    ...CONTENT_FIELDS,
    value: described(ANY, 'A merge patch of the value itself'),
    type: nullable({ type: 'string' }),
    configType: nullable({ type: 'string' }),
    description: nullable(TEXT),
    tags: nullable(TEXTS),
    oldValue: OLD_VALUE,
    ...CHANGE_FIELDS,
  }),
);
