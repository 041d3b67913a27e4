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
  type Operation,
  object,
  refTo,
  type Schema,
  TEXT,
  TEXTS,
  TIME,
} from '../../rest/schema.ts';
import { RULE_OPERATORS } from './flag-shapes.ts';
import { CHANGE_FAILURES, failure, OTHER_TYPE, READ_FAILURES, STALE } from './operations.ts';
import { ENVIRONMENT } from './schemas.ts';

const RULE = named(
  'FeatureFlagRule',
  object({
    attribute: described(TEXT, 'User attribute to match (e.g., userId, role, region); none: everybody'),
    operator: described({ type: 'string', enum: RULE_OPERATORS }, 'Comparison operator'),
    values: described(TEXTS, 'Values to compare against'),
    percentage: described(
      { type: 'integer', minimum: 0, maximum: 100 },
      'Percentage of users who should see the feature (for gradual rollout)',
    ),
    exactPercentage: described({ type: 'number', minimum: 0, maximum: 100 }, 'The same with two decimals'),
  }),
);

const IDENTITY = {
  key: described(TEXT, 'Feature flag key'),
  application: described(TEXT, 'Application name'),
  environment: ENVIRONMENT,
};
const VALUE: Schema = { type: 'object', description: 'Additional values for the feature flag' };
const DEFINITION: Schema = described(
  ANY,
  'The whole flag in its own words: variants, targets, rules, schedule',
);

const CONTENT = {
  description: described(TEXT, 'Feature flag description'),
  enabled: described(FLAG, 'Whether the feature is enabled'),
  rules: described(list(refTo(RULE)), 'Targeting rules: the first match wins'),
  value: VALUE,
  tags: described(TEXTS, 'Tags for categorization'),
  definition: DEFINITION,
};

export const CREATE_FLAG = named(
  'CreateFeatureFlagRequest',
  object({ ...IDENTITY, ...CONTENT, enabled: { ...CONTENT.enabled, default: false }, ...CHANGE_FIELDS }, [
    'key',
    'application',
    'environment',
    'description',
  ]),
);

export const UPDATE_FLAG = named(
  'UpdateFeatureFlagRequest',
  object({ ...CONTENT, value: nullable(VALUE), ...CHANGE_FIELDS }),
);

export const FEATURE_FLAG = named(
  'FeatureFlag',
  object({
    id: described(TEXT, 'Feature flag ID'),
    ...IDENTITY,
    ...CONTENT,
    version: described(NUMBER_FROM_1, 'Current version number'),
    createdBy: described(TEXT, 'User who created the feature flag'),
    createdAt: TIME,
    updatedBy: described(TEXT, 'User who last updated the feature flag'),
    updatedAt: TIME,
  }),
);

const CHECK_REQUEST = named(
  'CheckFeatureFlagRequest',
  object({ ...IDENTITY, userId: TEXT, context: described({ type: 'object' }, 'Attributes by name') }, [
    'key',
    'application',
    'environment',
  ]),
);

export const FLAG_COMPONENTS_002 = [RULE, CREATE_FLAG, UPDATE_FLAG, FEATURE_FLAG, CHECK_REQUEST];

export const FLAG_PAGE = object({
  content: list(refTo(FEATURE_FLAG)),
  page: COUNT,
  size: NUMBER_FROM_1,
  totalElements: COUNT,
  totalPages: COUNT,
});

const TAG = 'FeatureFlags';
const FLAG_ID = { flagId: described(TEXT, 'Feature flag ID') };
const ABSENT = failure('Feature flag not found');
const ONE = refTo(FEATURE_FLAG);

/** Which flags a list shows. */
export const FLAG_FILTER = {
  application: TEXT,
  environment: ENVIRONMENT,
  page: { ...COUNT, default: 0 },
  size: { type: 'integer', default: 20 },
  keyPrefix: described(TEXT, 'Keys that begin so'),
  tag: described(TEXT, 'Those that have this tag'),
  enabled: FLAG,
  search: described(TEXT, 'Words that stand in key, application, tags or description'),
};

export const LIST_FLAGS: Operation = {
  operationId: 'listFeatureFlags',
  summary: 'List feature flags',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  query: FLAG_FILTER,
  answers: {
    200: { description: 'List of feature flags', schema: FLAG_PAGE },
    ...READ_FAILURES,
  },
};

export const CREATION_OF_FLAG: Operation = {
  operationId: 'createFeatureFlag',
  summary: 'Create a new feature flag',
  tag: TAG,
  kind: 'change',
  isLenient: true,
  body: refTo(CREATE_FLAG),
  answers: {
    201: { description: 'Feature flag created successfully', schema: ONE },
    ...CHANGE_FAILURES,
    ...OTHER_TYPE,
  },
};

export const GET_FLAG: Operation = {
  operationId: 'getFeatureFlag',
  summary: 'Get feature flag by ID',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  params: FLAG_ID,
  answers: {
    200: { description: 'Feature flag details', schema: ONE },
    ...READ_FAILURES,
    404: ABSENT,
  },
};

export const UPDATING_FLAG: Operation = {
  operationId: 'updateFeatureFlag',
  summary: 'Update feature flag',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  isLenient: true,
  params: FLAG_ID,
  body: refTo(UPDATE_FLAG),
  answers: {
    200: { description: 'Feature flag updated successfully', schema: ONE },
    ...CHANGE_FAILURES,
    ...OTHER_TYPE,
    404: ABSENT,
    412: STALE,
  },
};

const CHECKED = object({
  key: TEXT,
  enabled: FLAG,
  value: { type: 'object' },
  reason: described(TEXT, 'As OpenFeature has it'),
  variant: TEXT,
  errorCode: TEXT,
  errorDetails: TEXT,
});
const CHECK_ANSWERS = {
  200: { description: 'Feature flag status', schema: CHECKED },
  ...READ_FAILURES,
  404: ABSENT,
};

export const CHECK_FLAG: Operation = {
  operationId: 'checkFeatureFlag',
  summary: 'Check if feature flag is enabled',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  query: {
    ...IDENTITY,
    userId: described(TEXT, 'Whom for; all further parameters are attributes'),
  },
  required: ['key', 'application', 'environment'],
  answers: CHECK_ANSWERS,
};

/** Beyond 002: with attributes of any type. */
export const CHECK_FLAG_BY_POST: Operation = {
  operationId: 'checkFeatureFlagInContext',
  summary: 'Check if feature flag is enabled, for a context of any attributes',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  body: refTo(CHECK_REQUEST),
  answers: { ...CHECK_ANSWERS, ...OTHER_TYPE, 413: failure('The request is too large') },
};
