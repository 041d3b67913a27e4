import type { FastifyInstance } from 'fastify';
import type { MergeTheirs } from '../../../service/configurations/merging.ts';
import { environmentId } from '../../../service/environments/spelling.ts';
import type { Json } from '../../../service/model.ts';
import { invalid } from '../../../service/service-error.ts';
import type { MergeStrategy } from '../../../service/values/merge.ts';
import type { RestContext } from '../rest/context.ts';
import { ifMatchOf } from '../rest/entity-tags.ts';
import { changeOptions, type ReadQuery, readOptions, sendRead, sendWritten } from '../rest/exchange.ts';
import { CHANGE_PROBLEMS, READ_PROBLEMS } from '../rest/problem-schema.ts';
import {
  ANY,
  CHANGE_FIELDS,
  described,
  FLAG,
  list,
  NUMBER_FROM_1,
  type Operation,
  object,
  operation,
  refTo,
  strictObject,
  TEXT,
} from '../rest/schema.ts';
import { type RefBody, refOf } from './requests.ts';
import { CHANGE, DIFF, DRY_RUN, ENVIRONMENT_ID, ID, NAME_FIELDS, REF_FIELDS, SIDE } from './schemas.ts';
import { comparisonOf, differenceOf, writtenOf } from './views.ts';

interface CompareQuery extends ReadQuery {
  readonly left: string;
  readonly right?: string;
  readonly leftVersion?: number;
  readonly rightVersion?: number;
}
interface EnvironmentsQuery extends ReadQuery {
  readonly application: string;
  readonly left: string;
  readonly right: string;
}
interface MergeBody {
  readonly base: number;
  readonly theirs: { readonly value?: Json; readonly version?: number; readonly ref?: RefBody };
  readonly strategy?: MergeStrategy;
  readonly oldValue?: Json;
  readonly dryRun?: boolean;
}

/** Two things beside each other, and two changes made one. */
export function compare(api: FastifyInstance, { service }: RestContext): void {
  api.get<{ Querystring: CompareQuery }>(
    '/api/v1/compare',
    { schema: operation(COMPARE) },
    async (request, reply) => {
      const { tenant, query } = request;
      const { left, right = left, leftVersion, rightVersion } = query;
      const { revision, result } = await service.comparisons.versions(request.caller, {
        left: { ref: { tenant, id: left }, version: leftVersion },
        right: { ref: { tenant, id: right }, version: rightVersion },
        ...readOptions(query),
      });
      return sendRead(request, reply, { revision, body: () => comparisonOf(result) });
    },
  );

  api.get<{ Querystring: EnvironmentsQuery }>(
    '/api/v1/compare/environments',
    { schema: operation(COMPARE_ENVIRONMENTS) },
    async (request, reply) => {
      const { tenant, query } = request;
      const { revision, result } = await service.comparisons.environments(request.caller, {
        tenant,
        application: query.application,
        left: environmentId(query.left, 'left'),
        right: environmentId(query.right, 'right'),
        ...readOptions(query),
      });
      const body = () => ({ items: result.items.map(differenceOf), more: result.more });
      return sendRead(request, reply, { revision, body });
    },
  );

  api.post<{ Params: { id: string }; Body: MergeBody }>(
    '/api/v1/configurations/:id/merge',
    { schema: operation(MERGE) },
    async (request, reply) => {
      const { tenant, body } = request;
      const { base, strategy, dryRun, oldValue } = body;
      const { merged, conflicts, written } = await service.merging.merge(request.caller, {
        ref: { tenant, id: request.params.id },
        base,
        theirs: theirsOf(tenant, body.theirs),
        strategy,
        dryRun,
        oldValue,
        ifMatch: ifMatchOf(request.headers['if-match']),
        ...changeOptions(request),
      });
      const result = { merged, conflicts, saved: written !== null && dryRun !== true };
      if (written === null)
        return sendWritten(reply, { revision: 0, status: 409, body: { ...result, change: null } });
      const { revision, isRepeated } = written;
      return sendWritten(reply, { revision, isRepeated, body: { ...result, change: writtenOf(written) } });
    },
  );
}

function theirsOf(tenant: string, theirs: MergeBody['theirs']): MergeTheirs {
  const { value, version, ref } = theirs;
  if ([value, version, ref].filter((part) => part !== undefined).length !== 1) {
    throw invalid({ field: 'theirs', message: 'must have one of value, version and ref' });
  }
  if (value !== undefined) return { value: { json: value } };
  return version === undefined ? { ref: refOf(tenant, ref!, 'theirs/ref/') } : { version };
}

const TAG = 'Compare and merge';
const SIDE_OF_COMPARISON = object({
  id: TEXT,
  tenant: TEXT,
  ...NAME_FIELDS,
  version: NUMBER_FROM_1,
  type: TEXT,
  value: ANY,
  masked: FLAG,
});

const COMPARE: Operation = {
  operationId: 'compareVersions',
  summary: 'What differs between two versions, of one configuration or of two',
  tag: TAG,
  kind: 'read',
  query: {
    left: described(TEXT, 'Configuration id'),
    right: described(TEXT, 'Configuration id; else that of left'),
    leftVersion: described(NUMBER_FROM_1, 'Else the present one'),
    rightVersion: described(NUMBER_FROM_1, 'Else the present one'),
  },
  required: ['left'],
  answers: {
    200: {
      description: 'What differs; secrets are compared, never shown',
      schema: object({
        left: SIDE_OF_COMPARISON,
        right: SIDE_OF_COMPARISON,
        equal: FLAG,
        valueEqual: FLAG,
        diff: DIFF,
        fields: list(object({ name: TEXT, before: ANY, after: ANY })),
      }),
    },
    ...READ_PROBLEMS,
  },
};

const COMPARE_ENVIRONMENTS: Operation = {
  operationId: 'compareEnvironments',
  summary: 'What holds for an application in one environment and not, or otherwise, in another',
  tag: TAG,
  kind: 'read',
  query: { application: TEXT, left: ENVIRONMENT_ID, right: ENVIRONMENT_ID },
  required: ['application', 'left', 'right'],
  answers: {
    200: {
      description: 'The first 1,000 keys that differ',
      schema: object({
        items: list(
          object({
            key: TEXT,
            difference: { type: 'string', enum: ['added', 'removed', 'changed'] },
            left: SIDE,
            right: SIDE,
            diff: DIFF,
          }),
        ),
        more: FLAG,
      }),
    },
    ...READ_PROBLEMS,
  },
};

const MERGED = object({
  merged: described(ANY, 'With ours where there are conflicts, unless the strategy is theirs'),
  conflicts: list(object({ pointer: TEXT, base: ANY, ours: ANY, theirs: ANY })),
  saved: FLAG,
  change: { nullable: true, allOf: [refTo(CHANGE)] },
});

const MERGE: Operation = {
  operationId: 'mergeConfiguration',
  summary:
    'Merge another change of the same value into the present one, from the version that both began with',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  params: ID,
  body: strictObject(
    {
      base: described(NUMBER_FROM_1, 'The version that both sides began with'),
      theirs: described(
        strictObject({ value: ANY, version: NUMBER_FROM_1, ref: strictObject(REF_FIELDS) }),
        'A value, a version of the same configuration, or another configuration',
      ),
      strategy: described(
        { type: 'string', enum: ['ours', 'theirs', 'manual'], default: 'manual' },
        'Which side wins where both changed the same; manual: nothing is saved then',
      ),
      oldValue: described(ANY, 'What the value must be now'),
      dryRun: DRY_RUN,
      ...CHANGE_FIELDS,
    },
    ['base', 'theirs'],
  ),
  answers: {
    200: { description: 'The merge', schema: MERGED },
    ...CHANGE_PROBLEMS,
    409: { description: 'There are conflicts that nobody has decided, or another problem', schema: MERGED },
  },
};
