import type { FeaturesAnswer, FeatureView } from '../../../service/flags/feature-apply.ts';
import type { FeatureVersionView } from '../../../service/flags/feature-history.ts';
import type { FeatureKind } from '../../../service/model.ts';
import type { Written } from '../rest/exchange.ts';
import {
  ANY,
  CHANGE_FIELDS,
  COUNT,
  described,
  FLAG,
  list,
  NUMBER_FROM_1,
  named,
  object,
  refTo,
  strictObject,
  TEXT,
  TEXTS,
  TIME,
} from '../rest/schema.ts';
import { DIFF, ENVIRONMENT_ID } from './schemas.ts';

/** What a caller may say of a flag or segment. */
export const CONTENT_FIELDS = {
  description: TEXT,
  tags: TEXTS,
  definition: described(ANY, 'What it decides, in the words of the guide on flags; the key may be left out'),
};

const FIELDS = {
  kind: { type: 'string', enum: ['flag', 'segment'] },
  id: TEXT,
  tenant: TEXT,
  application: TEXT,
  environment: TEXT,
  key: TEXT,
  ...CONTENT_FIELDS,
  version: NUMBER_FROM_1,
  createdBy: TEXT,
  createdAt: TIME,
  updatedBy: TEXT,
  updatedAt: TIME,
  changeId: described(TEXT, 'The change that made this version'),
  etag: described(TEXT, 'What If-Match takes, in quotes'),
  revision: described(NUMBER_FROM_1, 'Of the store, at which it was last changed'),
  source: described({ type: 'string', enum: ['own', 'inherited'] }, 'Where what holds is asked for'),
};

export const FEATURE = named('Feature', object(FIELDS));

export const FEATURE_VERSION = named(
  'FeatureVersion',
  object({
    kind: FIELDS.kind,
    featureId: TEXT,
    version: NUMBER_FROM_1,
    ...CONTENT_FIELDS,
    deleted: described(FLAG, 'It is the version of a deletion'),
    createdBy: TEXT,
    createdAt: TIME,
    changeId: TEXT,
    reason: TEXT,
    revision: NUMBER_FROM_1,
  }),
);

export const FEATURE_COMPARISON = named(
  'FeatureComparison',
  object({ left: refTo(FEATURE_VERSION), right: refTo(FEATURE_VERSION), isEqual: FLAG, diff: DIFF }),
);

export const FEATURE_CREATION = named(
  'CreateFeature',
  strictObject(
    { application: TEXT, environment: ENVIRONMENT_ID, key: TEXT, ...CONTENT_FIELDS, ...CHANGE_FIELDS },
    ['application', 'environment', 'key', 'definition'],
  ),
);

export const FEATURE_UPDATE = named('UpdateFeature', strictObject({ ...CONTENT_FIELDS, ...CHANGE_FIELDS }));

export const FEATURE_COMPONENTS = [
  FEATURE,
  FEATURE_VERSION,
  FEATURE_COMPARISON,
  FEATURE_CREATION,
  FEATURE_UPDATE,
];

export const FEATURE_PAGE = object({ items: list(refTo(FEATURE)), page: COUNT, size: COUNT, total: COUNT });

export function featureOf({ modRevision, ...view }: FeatureView) {
  return { ...view, revision: modRevision };
}

export function featureVersionOf({ isDeleted, ...view }: FeatureVersionView) {
  return { ...view, deleted: isDeleted };
}

/** The answer of a change of one flag or segment. */
export function featureWritten({ revision, isRepeated, items }: FeaturesAnswer): Written {
  const { after } = items[0]!;
  return { revision, isRepeated, etag: after.etag, body: featureOf(after) };
}

/** Where the collection of a kind is. */
export const FEATURE_PATHS: Readonly<Record<FeatureKind, string>> = {
  flag: '/api/v1/flags',
  segment: '/api/v1/segments',
};
