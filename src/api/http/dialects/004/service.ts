import type { FastifyInstance } from 'fastify';
import { SERVICE_ATTRIBUTE } from '../../../../evaluation/model.ts';
import type { Caller } from '../../../../service/caller.ts';
import type { EffectiveMap } from '../../../../service/configurations/reads.ts';
import { environmentId, spellEnvironment } from '../../../../service/environments/spelling.ts';
import type { ScopeRequest } from '../../../../service/flags/flag-reads.ts';
import { objectOf } from '../../../../service/formats/tree.ts';
import { idOf } from '../../../../service/keyspace.ts';
import type { Json } from '../../../../service/model.ts';
import { ServiceError } from '../../../../service/service-error.ts';
import { isObject } from '../../../../service/values/json-limits.ts';
import { nameFields, type RestContext } from '../../rest/context.ts';
import { type EffectiveQuery, effectiveOptions, readOptions } from '../../rest/exchange.ts';
import { lookedUpAll } from '../../rest/lookup.ts';
import { READ_PROBLEMS } from '../../rest/problem-schema.ts';
import { ANY, described, FLAG, type Operation, operation, RESOLVE, TEXT } from '../../rest/schema.ts';

/** Where the flags of the application stand beside its values. */
const FLAGS = 'feature_flags';

/** 004's `GET /v1/config/services/{name}`: everything that holds for an application, nested at the dots of its keys. */
export async function services(api: FastifyInstance, context: RestContext): Promise<void> {
  nameFields(api, context, { application: 'name' });
  api.get<{
    Params: { name: string };
    Querystring: EffectiveQuery & { environment?: string };
  }>('/v1/config/services/:name', { schema: operation(GET) }, async (request, reply) => {
    const { environment: spelled, reveal } = request.query;
    const environment = spelled === undefined ? context.defaultEnvironment : environmentId(spelled);
    const scope = { tenant: request.tenant, environment, application: request.params.name };
    reply.header('conclave-environment', spellEnvironment(environment, 'lower'));
    const options = effectiveOptions(request.query);
    const flags = await flagsOf(context, request.caller, { scope, ...readOptions(request.query) });
    return lookedUpAll(
      context.service,
      { request, reply },
      {
        scope,
        reveal: reveal === true,
        options,
        shape: (map) => shape(map, flags),
        // What flags answer may change by itself, in the course of time.
        tag: Object.keys(flags).length === 0 ? '' : idOf(['flags', JSON.stringify(flags)]),
      },
    );
  });
}

function shape({ items }: EffectiveMap, flags: Flags): unknown {
  const { json } = objectOf(new Map(items.map(({ key, value }) => [key, value.json])), 'nested');
  return isObject(json) && !Object.hasOwn(json, FLAGS) ? { ...json, [FLAGS]: flags } : json;
}

interface Flags {
  readonly [key: string]: Json;
}

/** What they answer the service itself, for nobody in particular: without a value false. None without the right. */
async function flagsOf(
  { service }: RestContext,
  caller: Caller,
  { scope, consistency }: ScopeRequest,
): Promise<Flags> {
  try {
    const { result } = await service.flagReads.answers(caller, {
      scope,
      context: { [SERVICE_ATTRIBUTE]: scope.application },
      consistency,
    });
    return Object.fromEntries([...result].map(([key, { value }]) => [key, value ?? false]));
  } catch (error) {
    if (error instanceof ServiceError && (error.code === 'forbidden' || error.code === 'not-found'))
      return {};
    throw error;
  }
}

const GET: Operation = {
  operationId: 'getService',
  summary: 'Everything that holds for a service, nested at the dots of its keys',
  tag: 'Services',
  kind: 'read',
  isLenient: true,
  params: { name: TEXT },
  query: {
    environment: described(
      { type: 'string', 'x-extensible-enum': ['dev', 'test', 'staging', 'prod'] },
      'Else the configured one, which Conclave-Environment tells',
    ),
    reveal: described({ ...FLAG, default: false }, 'Show secrets themselves, which is recorded'),
    resolve: RESOLVE,
  },
  answers: {
    200: { description: 'The values', schema: { type: 'object', additionalProperties: ANY } },
    ...READ_PROBLEMS,
  },
};
