import type { FeatureKind } from '../../../service/model.ts';
import { CHANGE_PROBLEMS, READ_PROBLEMS } from '../rest/problem-schema.ts';
import {
  CHANGE_FIELDS,
  COUNT,
  described,
  FLAG,
  list,
  NUMBER_FROM_1,
  nullable,
  type Operation,
  object,
  refTo,
  strictObject,
  TEXT,
} from '../rest/schema.ts';
import {
  FEATURE,
  FEATURE_COMPARISON,
  FEATURE_CREATION,
  FEATURE_PAGE,
  FEATURE_UPDATE,
  FEATURE_VERSION,
} from './feature-shapes.ts';
import { ENVIRONMENT_ID, ID } from './schemas.ts';

type Names =
  | 'LIST'
  | 'CREATE'
  | 'EFFECTIVE'
  | 'GET'
  | 'PUT'
  | 'PATCH'
  | 'DELETE'
  | 'UNDELETE'
  | 'ROLLBACK'
  | 'VERSIONS'
  | 'VERSION'
  | 'COMPARE';

const TAGS: Readonly<Record<FeatureKind, string>> = { flag: 'Flags', segment: 'Segments' };
const ONE = { description: 'It', schema: refTo(FEATURE) };
const WRITTEN = { description: 'As it is now', schema: refTo(FEATURE) };

/** The operations on resources of a kind. */
export function featureOperations(kind: FeatureKind): Readonly<Record<Names, Operation>> {
  return { ...collectionOf(kind), ...singleOf(kind), ...historyOf(kind) };
}

function idOf(verb: string, kind: FeatureKind): string {
  return `${verb}${kind === 'flag' ? 'Flag' : 'Segment'}`;
}

function collectionOf(kind: FeatureKind): Readonly<Record<'LIST' | 'CREATE' | 'EFFECTIVE', Operation>> {
  const tag = TAGS[kind];
  return {
    LIST: {
      operationId: idOf('listResources', kind),
      summary: `${tag}, filtered and searched`,
      tag,
      kind: 'read',
      query: {
        application: TEXT,
        environment: ENVIRONMENT_ID,
        key: TEXT,
        keyPrefix: described(TEXT, 'Keys that begin so'),
        tag: TEXT,
        ...(kind === 'flag' ? { enabled: FLAG } : {}),
        search: described(TEXT, 'Words that stand in key, application, tags or description'),
        page: { ...COUNT, default: 0 },
        size: described({ type: 'integer', default: 20 }, 'From 1 to 1,000'),
      },
      answers: {
        200: {
          description: 'A page, in the order of application, environment and key',
          schema: FEATURE_PAGE,
        },
        ...READ_PROBLEMS,
      },
    },
    CREATE: {
      operationId: idOf('createResource', kind),
      summary: `Create a ${kind}`,
      tag,
      kind: 'change',
      body: refTo(FEATURE_CREATION),
      answers: { 201: WRITTEN, ...CHANGE_PROBLEMS },
    },
    EFFECTIVE: {
      operationId: idOf('effective', kind),
      summary: `${tag} that hold for an application in an environment, inherited ones included`,
      tag,
      kind: 'read',
      query: { application: TEXT, environment: ENVIRONMENT_ID },
      required: ['application', 'environment'],
      answers: {
        200: { description: 'In the order of their keys', schema: object({ items: list(refTo(FEATURE)) }) },
        ...READ_PROBLEMS,
      },
    },
  };
}

function singleOf(
  kind: FeatureKind,
): Readonly<Record<'GET' | 'PUT' | 'PATCH' | 'DELETE' | 'UNDELETE' | 'ROLLBACK', Operation>> {
  const tag = TAGS[kind];
  const change = { tag, kind: 'change', isConditional: true, params: ID } as const;
  return {
    GET: {
      operationId: idOf('getResource', kind),
      summary: `A ${kind}`,
      tag,
      kind: 'read',
      params: ID,
      answers: { 200: ONE, ...READ_PROBLEMS },
    },
    PUT: {
      operationId: idOf('updateResource', kind),
      summary: `Update a ${kind}; what is left out stays`,
      ...change,
      body: refTo(FEATURE_UPDATE),
      answers: { 200: WRITTEN, ...CHANGE_PROBLEMS },
    },
    PATCH: {
      operationId: idOf('patchResource', kind),
      summary: `Change parts of a ${kind}’s definition (JSON Merge Patch)`,
      ...change,
      body: refTo(FEATURE_UPDATE),
      bodyTypes: ['application/merge-patch+json', 'application/json'],
      answers: { 200: WRITTEN, ...CHANGE_PROBLEMS },
    },
    DELETE: {
      operationId: idOf('deleteResource', kind),
      summary: `Delete a ${kind}; its versions stay`,
      ...change,
      answers: { 204: { description: 'It was deleted', schema: null }, ...CHANGE_PROBLEMS },
    },
    UNDELETE: {
      operationId: idOf('undelete', kind),
      summary: 'Bring back what was deleted',
      ...change,
      isConditional: false,
      answers: { 200: WRITTEN, ...CHANGE_PROBLEMS },
    },
    ROLLBACK: {
      operationId: idOf('rollback', kind),
      summary: 'Make a new version that is what an old one was',
      ...change,
      body: strictObject({ version: NUMBER_FROM_1, ...CHANGE_FIELDS }, ['version']),
      answers: { 200: WRITTEN, ...CHANGE_PROBLEMS },
    },
  };
}

function historyOf(kind: FeatureKind): Readonly<Record<'VERSIONS' | 'VERSION' | 'COMPARE', Operation>> {
  const read = { tag: TAGS[kind], kind: 'read' } as const;
  return {
    VERSIONS: {
      operationId: idOf('versionsOf', kind),
      summary: 'Versions, newest first',
      ...read,
      params: ID,
      query: {
        before: described(COUNT, 'Only versions below this one'),
        size: described({ type: 'integer', default: 20 }, 'From 1 to 100'),
      },
      answers: {
        200: {
          description: 'A page of versions',
          schema: object({ items: list(refTo(FEATURE_VERSION)), next: nullable(COUNT) }),
        },
        ...READ_PROBLEMS,
      },
    },
    VERSION: {
      operationId: idOf('versionOf', kind),
      summary: 'A version',
      ...read,
      params: { ...ID, version: NUMBER_FROM_1 },
      answers: { 200: { description: 'The version', schema: refTo(FEATURE_VERSION) }, ...READ_PROBLEMS },
    },
    COMPARE: {
      operationId: idOf('compareVersionsOf', kind),
      summary: 'What differs between two versions',
      ...read,
      params: ID,
      query: { left: NUMBER_FROM_1, right: described(NUMBER_FROM_1, 'Default: the present one') },
      required: ['left'],
      answers: {
        200: { description: 'Both, and the difference', schema: refTo(FEATURE_COMPARISON) },
        ...READ_PROBLEMS,
      },
    },
  };
}
