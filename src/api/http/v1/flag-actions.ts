import type { FastifyInstance } from 'fastify';
import { type Ramp, WHOLE } from '../../../evaluation/model.ts';
import { environmentId } from '../../../service/environments/spelling.ts';
import type { Json } from '../../../service/model.ts';
import { invalid } from '../../../service/service-error.ts';
import type { RestContext } from '../rest/context.ts';
import { changeOptions, type ReadQuery, readOptions, sendRead, sendWritten } from '../rest/exchange.ts';
import { CHANGE_PROBLEMS, READ_PROBLEMS } from '../rest/problem-schema.ts';
import {
  ANY,
  CHANGE_FIELDS,
  COUNT,
  described,
  FLAG,
  list,
  nullable,
  type Operation,
  object,
  operation,
  refTo,
  strictObject,
  TEXT,
} from '../rest/schema.ts';
import { FEATURE, featureOf, featureWritten } from './feature-shapes.ts';
import { changeOf } from './features.ts';
import { ENVIRONMENT_ID, ID } from './schemas.ts';

interface IdParams {
  readonly id: string;
}
interface ScopeQuery extends ReadQuery {
  readonly application: string;
  readonly environment: string;
}
interface RolloutBody {
  readonly percentage: number;
  readonly variant?: string;
  readonly ramp?: Json;
}
interface EvaluateBody {
  readonly application: string;
  readonly environment: string;
  readonly key: string;
  readonly context?: { readonly [attribute: string]: Json };
  readonly at?: string;
}

const PATH = '/api/v1/flags';

/** What is done with flags beside editing them. */
export function flagActions(api: FastifyInstance, context: RestContext): void {
  switches(api, context);
  explanations(api, context);
  exchange(api, context);
}

function switches(api: FastifyInstance, { service }: RestContext): void {
  for (const enabled of [true, false]) {
    api.post<{ Params: IdParams }>(
      `${PATH}/:id/${enabled ? 'enable' : 'disable'}`,
      { schema: operation(enabled ? ENABLE : DISABLE) },
      async (request, reply) => {
        const answer = await service.features.enable(request.caller, {
          ...changeOf(request, 'flag'),
          enabled,
        });
        return sendWritten(reply, featureWritten(answer));
      },
    );
  }

  api.post<{ Params: IdParams; Body: RolloutBody }>(
    `${PATH}/:id/rollout`,
    { schema: operation(ROLLOUT) },
    async (request, reply) => {
      const { percentage, variant, ramp } = request.body;
      const answer = await service.features.rollout(request.caller, {
        ...changeOf(request, 'flag'),
        share: shareOf(percentage),
        variant,
        ramp: ramp as Ramp | null | undefined,
      });
      return sendWritten(reply, featureWritten(answer));
    },
  );
}

/** @throws ServiceError `invalid` for more than two decimals */
function shareOf(percentage: number): number {
  const share = Math.round(percentage * 100);
  if (Math.abs(share - percentage * 100) <= 1e-6 && share >= 0 && share <= WHOLE) return share;
  throw invalid({ field: 'percentage', message: 'must be from 0 to 100, with two decimals at most' });
}

function explanations(api: FastifyInstance, { service }: RestContext): void {
  api.post<{ Body: EvaluateBody; Querystring: ReadQuery }>(
    `${PATH}/explain`,
    { schema: operation(EXPLAIN) },
    async (request, reply) => {
      const { application, environment, key, context = {}, at } = request.body;
      const { revision, result } = await service.flagReads.explain(request.caller, {
        scope: { tenant: request.tenant, environment: environmentId(environment), application },
        key,
        context,
        atMs: at === undefined ? undefined : timeOf(at),
        ...readOptions(request.query),
      });
      const { evaluation, matched, lines } = result;
      const { value, variant, reason, errorCode, errorMessage, flagMetadata } = evaluation;
      const body = () => ({
        key,
        value: value ?? null,
        variant: variant ?? null,
        reason,
        errorCode: errorCode ?? null,
        errorDetails: errorMessage ?? null,
        metadata: flagMetadata,
        matched,
        lines,
      });
      return sendRead(request, reply, { revision, body });
    },
  );

  api.get<{ Querystring: ReadQuery & { application?: string; environment?: string; days?: number } }>(
    `${PATH}/stale`,
    { schema: operation(STALE) },
    async (request, reply) => {
      const { application, environment, days } = request.query;
      const { revision, result } = await service.staleFlags.report(request.caller, {
        tenant: request.tenant,
        application,
        environment: environment === undefined ? undefined : environmentId(environment),
        days,
        ...readOptions(request.query),
      });
      const body = () => ({
        items: result.map(({ flag, reasons, unchangedDays }) => ({
          flag: featureOf(flag),
          reasons,
          unchangedDays,
        })),
      });
      return sendRead(request, reply, { revision, body });
    },
  );
}

function timeOf(at: string): number {
  const ms = Date.parse(at);
  if (Number.isNaN(ms)) throw invalid({ field: 'at', message: 'is no time in ISO 8601' });
  return ms;
}

function exchange(api: FastifyInstance, { service }: RestContext): void {
  api.get<{ Querystring: ScopeQuery }>(
    `${PATH}/export`,
    { schema: operation(EXPORT) },
    async (request, reply) => {
      const { application, environment } = request.query;
      const { revision, result } = await service.flagReads.exportFlagd(request.caller, {
        scope: { tenant: request.tenant, environment: environmentId(environment), application },
        ...readOptions(request.query),
      });
      const { document, findings } = result;
      return sendRead(request, reply, { revision, body: () => ({ document, findings }) });
    },
  );

  api.post<{
    Querystring: ScopeQuery & { dryRun?: boolean; partial?: boolean };
    Body: Json;
  }>(`${PATH}/import`, { schema: operation(IMPORT) }, async (request, reply) => {
    const { application, environment, dryRun, partial } = request.query;
    const { revision, items, findings } = await service.flagImport.import(request.caller, {
      scope: { tenant: request.tenant, environment: environmentId(environment), application },
      document: request.body,
      dryRun,
      partial,
      ...changeOptions(request),
    });
    return sendWritten(reply, { revision, body: { items, findings } });
  });
}

const TAG = 'Flags';
const SCOPE = { application: TEXT, environment: ENVIRONMENT_ID };
const WRITTEN = { description: 'As it is now', schema: refTo(FEATURE) };
const FINDINGS = list(object({ flag: TEXT, field: TEXT, message: TEXT }));
const SWITCH = {
  tag: TAG,
  kind: 'change',
  isConditional: true,
  params: ID,
  answers: { 200: WRITTEN, ...CHANGE_PROBLEMS },
} as const;

const ENABLE: Operation = { operationId: 'enableFlag', summary: 'Turn a flag on', ...SWITCH };
const DISABLE: Operation = {
  operationId: 'disableFlag',
  summary: 'Turn a flag off for everybody: the kill switch',
  ...SWITCH,
};
const ROLLOUT: Operation = {
  operationId: 'rolloutFlag',
  summary: 'Let a share of everybody in',
  ...SWITCH,
  body: strictObject(
    {
      percentage: described({ type: 'number', minimum: 0, maximum: 100 }, 'With two decimals at most'),
      variant: described(TEXT, 'What those get who are let in; default: what they get now, or what is on'),
      ramp: described(ANY, 'How the share grows by itself: kind (steps or linear) and points (at, share)'),
      ...CHANGE_FIELDS,
    },
    ['percentage'],
  ),
};
const EXPLAIN: Operation = {
  operationId: 'explainFlag',
  summary: 'What a flag answers for a context, and why',
  tag: TAG,
  kind: 'read',
  body: strictObject(
    { ...SCOPE, key: TEXT, context: { type: 'object' }, at: described(TEXT, 'A time; default: now') },
    ['application', 'environment', 'key'],
  ),
  answers: {
    200: {
      description: 'The answer, and the way to it in sentences',
      schema: object({
        key: TEXT,
        value: ANY,
        variant: nullable(TEXT),
        reason: TEXT,
        errorCode: nullable(TEXT),
        errorDetails: nullable(TEXT),
        metadata: { type: 'object', additionalProperties: ANY },
        matched: described(ANY, 'What gave the answer; null after an error'),
        lines: list(TEXT),
      }),
    },
    ...READ_PROBLEMS,
  },
};
const STALE: Operation = {
  operationId: 'staleFlags',
  summary: 'Flags that may go: expired, or long without a change and deciding nothing',
  tag: TAG,
  kind: 'read',
  query: { ...SCOPE, days: described({ ...COUNT, default: 30 }, 'Without a change') },
  answers: {
    200: {
      description: 'The longest unchanged first',
      schema: object({
        items: list(
          object({
            flag: refTo(FEATURE),
            reasons: list({ type: 'string', enum: ['expired', 'answers-everybody-alike', 'disabled'] }),
            unchangedDays: { type: 'integer' },
          }),
        ),
      }),
    },
    ...READ_PROBLEMS,
  },
};
const EXPORT: Operation = {
  operationId: 'exportFlags',
  summary: 'The flags of an application in an environment as flagd’s JSON, as they stand now',
  tag: TAG,
  kind: 'read',
  query: SCOPE,
  required: ['application', 'environment'],
  answers: {
    200: {
      description: 'The document, and what it could not take',
      schema: object({ document: { type: 'object', additionalProperties: ANY }, findings: FINDINGS }),
    },
    ...READ_PROBLEMS,
  },
};
const IMPORT: Operation = {
  operationId: 'importFlags',
  summary: 'Take flags over from flagd’s JSON; those that are not in it stay',
  tag: TAG,
  kind: 'change',
  query: {
    ...SCOPE,
    dryRun: described({ ...FLAG, default: false }, 'Check and answer, but change nothing'),
    partial: described({ ...FLAG, default: false }, 'Leave out what cannot be taken over'),
  },
  required: ['application', 'environment'],
  body: { type: 'object' },
  answers: {
    200: {
      description: 'What became of each',
      schema: object({
        items: list(
          object({
            kind: { type: 'string', enum: ['flag', 'segment'] },
            key: TEXT,
            type: { type: 'string', enum: ['created', 'updated', 'unchanged'] },
          }),
        ),
        findings: list(object({ field: TEXT, message: TEXT })),
      }),
    },
    ...CHANGE_PROBLEMS,
  },
};
