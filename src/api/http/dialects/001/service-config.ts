import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Caller } from '../../../../service/caller.ts';
import type { PutRequest } from '../../../../service/configurations/requests.ts';
import { environmentId, spellEnvironment } from '../../../../service/environments/spelling.ts';
import type { ConfigType, Json, Scope } from '../../../../service/model.ts';
import { checkLabel } from '../../../../service/names.ts';
import { invalid } from '../../../../service/service-error.ts';
import { nameFields, type RestContext } from '../../rest/context.ts';
import { ifMatchOf } from '../../rest/entity-tags.ts';
import { changeOptions, type EffectiveQuery, effectiveOptions, sendWritten } from '../../rest/exchange.ts';
import { lookedUp, lookedUpAll } from '../../rest/lookup.ts';
import { operation } from '../../rest/schema.ts';
import { bareKey, checkService } from './keys.ts';
import { GET_ALL, GET_ONE, PUT, ROLLBACK } from './schemas.ts';
import { configurationOf, effectiveOf } from './views.ts';

interface ServiceParams {
  readonly service_name: string;
}
interface KeyParams extends ServiceParams {
  readonly config_key: string;
}
interface EnvironmentQuery extends EffectiveQuery {
  readonly environment?: string;
}
interface UpdateBody {
  readonly config_key?: string;
  readonly old_value?: Json;
  readonly new_value: Json;
  readonly updated_by?: string;
  readonly environment?: string;
  readonly config_type?: ConfigType;
  readonly is_encrypted?: boolean;
  readonly description?: string;
  readonly schema?: string | null;
  readonly tags?: readonly string[];
}
interface RollbackBody {
  readonly service_name: string;
  readonly config_key: string;
  readonly environment?: string;
  readonly target_version: number;
  readonly updated_by?: string;
}

/** The service's names of fields in 001's words. */
const FIELDS: Readonly<Record<string, string>> = {
  application: 'service_name',
  key: 'config_key',
  value: 'new_value',
  oldValue: 'old_value',
  configType: 'config_type',
  type: 'config_type',
  version: 'target_version',
  user: 'updated_by',
};

/** 001's API of configurations: `/api/v1/config/{service_name}` and below. */
export async function serviceConfig(api: FastifyInstance, context: RestContext): Promise<void> {
  const { service } = context;
  nameFields(api, context, FIELDS);

  api.get<{ Params: ServiceParams; Querystring: EnvironmentQuery }>(
    '/api/v1/config/:service_name',
    { schema: operation(GET_ALL) },
    async (request, reply) => {
      const scope = scopeOf(context, request, request.query.environment);
      echo(reply, scope);
      return lookedUpAll(
        service,
        { request, reply },
        {
          scope,
          reveal: request.query.reveal === true,
          options: effectiveOptions(request.query),
          shape: ({ items }) => Object.fromEntries(items.map(({ key, value }) => [key, value.json])),
        },
      );
    },
  );

  api.get<{ Params: KeyParams; Querystring: EnvironmentQuery }>(
    '/api/v1/config/:service_name/:config_key',
    { schema: operation(GET_ONE) },
    async (request, reply) => {
      const scope = scopeOf(context, request, request.query.environment);
      const key = bareKey(scope.application, request.params.config_key);
      echo(reply, scope);
      return lookedUp(
        service,
        { request, reply },
        {
          name: { ...scope, key },
          reveal: request.query.reveal === true,
          options: effectiveOptions(request.query),
          shape: (view) => effectiveOf(view, scope),
        },
      );
    },
  );

  api.put<{ Params: KeyParams; Querystring: EnvironmentQuery; Body: UpdateBody }>(
    '/api/v1/config/:service_name/:config_key',
    { schema: operation(PUT) },
    async (request, reply) => {
      const { body, params } = request;
      const scope = scopeOf(context, request, request.query.environment ?? body.environment);
      const key = bareKey(scope.application, params.config_key);
      if (body.config_key !== undefined && bareKey(scope.application, body.config_key) !== key) {
        throw invalid({ field: 'config_key', message: 'is another one than that of the path' });
      }
      const answer = await put(context, request, { name: { ...scope, key }, body });
      const { after, type } = answer.items[0]!;
      echo(reply, scope);
      return sendWritten(reply, {
        revision: answer.revision,
        isRepeated: answer.isRepeated,
        etag: after.etag,
        status: type === 'created' ? 201 : 200,
        body: configurationOf(after),
      });
    },
  );

  api.post<{ Body: RollbackBody }>(
    '/api/v1/config/rollback',
    { schema: operation(ROLLBACK) },
    async (request, reply) => {
      const { service_name: application, target_version: version, updated_by } = request.body;
      checkService(application);
      const environment = environmentOf(context, request.body.environment);
      const key = bareKey(application, request.body.config_key);
      const answer = await service.history.rollback(claimedBy(request.caller, updated_by), {
        ref: { tenant: request.tenant, environment, application, key },
        version,
        ifMatch: ifMatchOf(request.headers['if-match']),
        ...changeOptions(request),
      });
      const { before, after } = answer.items[0]!;
      return sendWritten(reply, {
        revision: answer.revision,
        isRepeated: answer.isRepeated,
        etag: after.etag,
        body: {
          success: true,
          configuration: configurationOf(after),
          previous_version: before?.version ?? 0,
          restored_version: version,
        },
      });
    },
  );
}

/** With `If-None-Match: *` only what is not there yet is made. */
async function put(
  { service: { configurations } }: RestContext,
  request: FastifyRequest,
  { name, body }: { readonly name: PutRequest['name']; readonly body: UpdateBody },
) {
  const caller = claimedBy(request.caller, body.updated_by);
  const content = {
    name,
    value: { json: body.new_value },
    configType: body.config_type,
    ...(body.is_encrypted === true ? { type: 'secret' as const } : {}),
    description: body.description,
    schema: body.schema,
    tags: body.tags,
    ...changeOptions(request),
  };
  const { 'if-none-match': noneMatch } = request.headers;
  if (noneMatch !== undefined) {
    if (noneMatch.trim() !== '*') throw invalid({ field: 'If-None-Match', message: 'must be * in a change' });
    return configurations.create(caller, content);
  }
  const oldValue = Object.hasOwn(body, 'old_value') ? { oldValue: body.old_value! } : {};
  return configurations.put(caller, {
    ...content,
    ...oldValue,
    ifMatch: ifMatchOf(request.headers['if-match']),
  });
}

function scopeOf(
  context: RestContext,
  { tenant, params }: { readonly tenant: string; readonly params: ServiceParams },
  environment: string | undefined,
): Scope {
  checkService(params.service_name);
  return { tenant, environment: environmentOf(context, environment), application: params.service_name };
}

/** In any spelling; left out, the configured one. @throws ServiceError `invalid` */
export function environmentOf({ defaultEnvironment }: RestContext, spelling: string | undefined): string {
  return spelling === undefined ? defaultEnvironment : environmentId(spelling);
}

/** Says which environment was meant, also when it was left out. */
export function echo(reply: FastifyReply, { environment }: Pick<Scope, 'environment'>): void {
  reply.header('conclave-environment', spellEnvironment(environment, 'long'));
}

/** Who asks decides; whom the body names is recorded as said. */
export function claimedBy(caller: Caller, claimed: string | undefined): Caller {
  if (claimed === undefined) return caller;
  checkLabel('user', claimed);
  return { ...caller, actor: { ...caller.actor, claimed } };
}
