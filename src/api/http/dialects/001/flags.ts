import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type FlagDefinition, WHOLE } from '../../../../evaluation/model.ts';
import { spellEnvironment } from '../../../../service/environments/spelling.ts';
import type { FeatureView } from '../../../../service/flags/feature-apply.ts';
import { type FeatureContent, type FeatureInput, nameIn } from '../../../../service/flags/feature-content.ts';
import { rolloutShareOf, withRollout } from '../../../../service/flags/rollout.ts';
import type { FeatureName, Json } from '../../../../service/model.ts';
import { invalid, ServiceError } from '../../../../service/service-error.ts';
import { nameFields, type RestContext } from '../../rest/context.ts';
import { ifMatchOf } from '../../rest/entity-tags.ts';
import { changeOptions, type ReadQuery, readOptions, sendRead, sendWritten } from '../../rest/exchange.ts';
import { CHANGE_PROBLEMS, READ_PROBLEMS } from '../../rest/problem-schema.ts';
import {
  ANY,
  CHANGE_FIELDS,
  described,
  FLAG,
  list,
  NUMBER_FROM_1,
  named,
  type Operation,
  object,
  operation,
  refTo,
  type Schema,
  TEXT,
  TEXTS,
  TIME,
} from '../../rest/schema.ts';
import { claimedBy, echo, environmentOf } from './service-config.ts';

interface ListParams {
  readonly service_name: string;
}
interface FlagParams {
  readonly flag_name: string;
}
interface ListQuery extends ReadQuery {
  readonly environment?: string;
}
interface UpdateQuery {
  readonly environment?: string;
  readonly service_name?: string;
}
interface UpdateBody {
  readonly flag_name?: string;
  readonly service_name?: string;
  readonly environment?: string;
  readonly enabled?: boolean;
  readonly rollout_percentage?: number;
  readonly target_services?: readonly string[];
  readonly conditions?: { readonly [attribute: string]: Json };
  readonly description?: string;
  readonly tags?: readonly string[];
  readonly updated_by?: string;
}

/** Flags of one name that are looked at to see whether it is clear which is meant. */
const NAMESAKES_MAX = 2;

/** 001's API of flags: `/api/v1/feature-flags/{service_name}` to list, `/api/v1/feature-flags/{flag_name}` to change. */
export async function serviceFlags(api: FastifyInstance, context: RestContext): Promise<void> {
  const { service } = context;
  nameFields(api, context, { application: 'service_name', key: 'flag_name', share: 'rollout_percentage' });

  api.get<{ Params: ListParams; Querystring: ListQuery }>(
    '/api/v1/feature-flags/:service_name',
    { schema: operation(LIST) },
    async (request, reply) => {
      const { tenant, query, params, caller } = request;
      const environment = environmentOf(context, query.environment);
      const scope = { tenant, environment, application: params.service_name };
      echo(reply, scope);
      const { revision, result } = await service.featureReads.effective(caller, {
        kind: 'flag',
        scope,
        ...readOptions(query),
      });
      return sendRead(request, reply, { revision, etag: result.etag, body: () => result.items.map(flagOf) });
    },
  );

  api.put<{ Params: FlagParams; Querystring: UpdateQuery; Body: UpdateBody }>(
    '/api/v1/feature-flags/:flag_name',
    { schema: operation(UPDATE) },
    async (request, reply) => {
      const { body } = request;
      const ref = await meant(context, request);
      const answer = await service.features.revise(
        claimedBy(request.caller, body.updated_by),
        {
          action: 'put',
          ref,
          body,
          ifMatch: ifMatchOf(request.headers['if-match']),
          ...changeOptions(request),
        },
        (before) => inputFrom001(body, before),
      );
      const { after, type } = answer.items[0]!;
      echo(reply, ref);
      return sendWritten(reply, {
        revision: answer.revision,
        isRepeated: answer.isRepeated,
        etag: after.etag,
        status: type === 'created' ? 201 : 200,
        body: flagOf(after),
      });
    },
  );
}

/**
 * The flag of this name, whichever service it is of. Where several services have one, or none has, the request must say
 * which service it means.
 *
 * @throws ServiceError `conflict`, `not-found`
 */
async function meant(
  context: RestContext,
  request: FastifyRequest<{ Params: FlagParams; Querystring: UpdateQuery; Body: UpdateBody }>,
): Promise<FeatureName> {
  const { tenant, params, query, body, caller } = request;
  const key = params.flag_name;
  if (body.flag_name !== undefined && body.flag_name !== key) {
    throw invalid({ field: 'flag_name', message: 'is another one than that of the path' });
  }
  const environment = environmentOf(context, query.environment ?? body.environment);
  const said = query.service_name ?? body.service_name;
  if (said !== undefined) return nameIn('flag', { tenant, environment, application: said }, key);
  const { result } = await context.service.featureReads.list(caller, {
    kind: 'flag',
    tenant,
    environment,
    key,
    size: NAMESAKES_MAX,
  });
  const [only, other] = result.items;
  if (only !== undefined && other === undefined) return nameIn('flag', only, key);
  const message =
    only === undefined
      ? `there is no flag ${key} in ${environment}: to make one, name its service`
      : `several services have a flag ${key} in ${environment}: name the one that is meant`;
  throw new ServiceError(only === undefined ? 'not-found' : 'conflict', message, {
    problems: [{ field: 'service_name', message }],
  });
}

/** 001's figure is a last rule about everybody; a new flag is off, for nobody. */
function inputFrom001(body: UpdateBody, before: FeatureContent | null): FeatureInput {
  const { enabled, rollout_percentage: percentage, target_services, conditions, description, tags } = body;
  let flag = (before?.definition ?? NEW_FLAG) as FlagDefinition;
  if (percentage !== undefined || before === null)
    flag = withRollout(flag, { share: shareOf(percentage ?? 0) });
  const definition = {
    ...flag,
    ...(enabled === undefined ? {} : { enabled }),
    ...(target_services === undefined ? {} : { targetServices: target_services }),
    ...(conditions === undefined ? {} : { conditions }),
  };
  return { description, tags, definition: definition as unknown as Json };
}

const NEW_FLAG = {
  type: 'boolean',
  enabled: false,
  variants: { on: true, off: false },
  offVariant: 'off',
  fallthrough: { variant: 'off' },
  rules: [],
};

function shareOf(percentage: number): number {
  const share = Math.round(percentage * 100);
  if (Math.abs(share - percentage * 100) <= 1e-6 && share >= 0 && share <= WHOLE) return share;
  throw invalid({ field: 'share', message: 'must be from 0 to 100, with two decimals at most' });
}

/** A flag as 001 shows it. */
function flagOf(view: FeatureView & { readonly source?: 'own' | 'inherited' }) {
  const flag = view.definition as FlagDefinition;
  return {
    flag_name: view.key,
    enabled: flag.enabled,
    rollout_percentage: rolloutShareOf(flag) / 100,
    target_services: flag.targetServices,
    conditions: flag.conditions,
    description: view.description,
    service_name: view.application,
    environment: spellEnvironment(view.environment, 'long'),
    version: view.version,
    updated_at: view.updatedAt,
    ...(view.source === undefined ? {} : { source: view.source }),
  };
}

const ENVIRONMENT: Schema = {
  type: 'string',
  'x-extensible-enum': ['DEVELOPMENT', 'STAGING', 'PRODUCTION', 'TEST'],
  description: 'Environment; else the configured one, which Conclave-Environment tells',
};
const CONTENT = {
  enabled: FLAG,
  rollout_percentage: described({ type: 'number', minimum: 0, maximum: 100 }, 'With two decimals at most'),
  target_services: described(TEXTS, 'Services that it is meant for; none: all'),
  conditions: described({ type: 'object', additionalProperties: ANY }, 'Attributes and what each must equal'),
  description: TEXT,
};

const SERVICE_FLAG = named(
  'ServiceFeatureFlag',
  object({
    flag_name: TEXT,
    ...CONTENT,
    service_name: TEXT,
    environment: ENVIRONMENT,
    version: NUMBER_FROM_1,
    updated_at: TIME,
    source: { type: 'string', enum: ['own', 'inherited'] },
  }),
);
const FLAG_UPDATE = named(
  'FeatureFlagUpdate',
  object({
    flag_name: described(TEXT, 'As in the path, if it is given'),
    service_name: described(TEXT, 'Needed where it is not clear, and to make a flag'),
    environment: ENVIRONMENT,
    ...CONTENT,
    tags: TEXTS,
    updated_by: described(TEXT, 'Recorded as what the caller says'),
    ...CHANGE_FIELDS,
  }),
);
export const FLAG_COMPONENTS_001 = [SERVICE_FLAG, FLAG_UPDATE];

const TAG = 'Service flags';

const LIST: Operation = {
  operationId: 'listServiceFeatureFlags',
  summary: 'The flags that hold for a service, inherited ones included',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  params: { service_name: TEXT },
  query: { environment: ENVIRONMENT },
  answers: {
    200: { description: 'In the order of their names', schema: list(refTo(SERVICE_FLAG)) },
    ...READ_PROBLEMS,
  },
};
const UPDATE: Operation = {
  operationId: 'putServiceFeatureFlag',
  summary: 'Change a flag, or make one',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  isLenient: true,
  params: { flag_name: TEXT },
  query: { environment: ENVIRONMENT, service_name: TEXT },
  body: refTo(FLAG_UPDATE),
  answers: {
    200: { description: 'It was changed', schema: refTo(SERVICE_FLAG) },
    201: { description: 'It was made', schema: refTo(SERVICE_FLAG) },
    ...CHANGE_PROBLEMS,
  },
};
