import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { WriteAnswer } from '../../../service/configurations/apply.ts';
import type { PointInTime } from '../../../service/configurations/points-in-time.ts';
import { environmentId } from '../../../service/environments/spelling.ts';
import type { Json, ValueType } from '../../../service/model.ts';
import { invalid } from '../../../service/service-error.ts';
import type { RestContext } from '../rest/context.ts';
import { ifMatchOf } from '../rest/entity-tags.ts';
import {
  changeOptions,
  type ReadQuery,
  readOptions,
  sendRead,
  sendWritten,
  type Written,
} from '../rest/exchange.ts';
import { operation } from '../rest/schema.ts';
import {
  ALL_AS_OF,
  AS_OF,
  CREATE,
  DELETE,
  GET,
  LIST,
  PATCHING,
  PUT,
  ROLLBACK,
  UNDELETE,
  VERSION_BY_NUMBER,
  VERSIONS,
} from './configuration-operations.ts';
import { type ContentBody, contentOf, type NameBody, nameOf, patchOf } from './requests.ts';
import { configurationOf, findingsOf, versionOf } from './views.ts';

interface IdParams {
  readonly id: string;
}
interface ListQuery extends ReadQuery {
  readonly application?: string;
  readonly environment?: string;
  readonly keyPrefix?: string;
  readonly tag?: string;
  readonly type?: ValueType;
  readonly search?: string;
  readonly page?: number;
  readonly size?: number;
}
interface AsOfQuery extends ReadQuery {
  readonly application: string;
  readonly environment: string;
  readonly keyPrefix?: string;
  readonly time?: string;
  readonly revision?: number;
}
type UpdateBody = ContentBody & { readonly oldValue?: Json };

/** Our own configurations: as 002's, but with values in JSON and the finer types. */
export function configurations(api: FastifyInstance, context: RestContext): void {
  collection(api, context);
  single(api, context);
  changes(api, context);
  history(api, context);
  allAsOf(api, context);
}

function collection(api: FastifyInstance, { service }: RestContext): void {
  const path = '/api/v1/configurations';
  api.get<{ Querystring: ListQuery }>(path, { schema: operation(LIST) }, async (request, reply) => {
    const { consistency: _, maxStalenessMs: __, environment, ...filter } = request.query;
    const { revision, result } = await service.reads.list(request.caller, {
      ...filter,
      tenant: request.tenant,
      environment: environment === undefined ? undefined : environmentId(environment),
      ...readOptions(request.query),
    });
    const { etag, items, page, size, total } = result;
    const body = () => ({ items: items.map(configurationOf), page, size, total });
    return sendRead(request, reply, { revision, etag, body });
  });

  api.post<{ Body: NameBody & ContentBody }>(path, { schema: operation(CREATE) }, async (request, reply) => {
    const answer = await service.configurations.create(request.caller, {
      name: nameOf(request.tenant, request.body),
      ...contentOf(request.body),
      ...changeOptions(request),
    });
    const location = `${path}/${answer.items[0]!.after.id}`;
    return sendWritten(reply, { ...oneWritten(answer), status: 201, location });
  });
}

function single(api: FastifyInstance, { service }: RestContext): void {
  const path = '/api/v1/configurations/:id';
  api.get<{ Params: IdParams; Querystring: ReadQuery }>(
    path,
    { schema: operation(GET) },
    async (request, reply) => {
      const answer = await service.reads.get(request.caller, {
        ref: refOf(request),
        ...readOptions(request.query),
      });
      const { revision, result } = answer;
      return sendRead(request, reply, { revision, etag: result.etag, body: () => configurationOf(result) });
    },
  );

  api.put<{ Params: IdParams; Body: UpdateBody }>(
    path,
    { schema: operation(PUT) },
    async (request, reply) => {
      const answer = await service.configurations.update(request.caller, {
        ...contentOf(request.body),
        ...conditionsOf(request),
      });
      return sendWritten(reply, oneWritten(answer));
    },
  );

  api.patch<{ Params: IdParams; Body: UpdateBody }>(
    path,
    { schema: operation(PATCHING) },
    async (request, reply) => {
      const answer = await service.configurations.update(request.caller, {
        ...patchOf(request.body as ContentBody & { readonly [field: string]: unknown }),
        ...conditionsOf(request),
      });
      return sendWritten(reply, oneWritten(answer));
    },
  );
}

function changes(api: FastifyInstance, { service }: RestContext): void {
  const path = '/api/v1/configurations/:id';
  api.delete<{ Params: IdParams }>(path, { schema: operation(DELETE) }, async (request, reply) => {
    const { revision, isRepeated } = await service.configurations.delete(request.caller, {
      ref: refOf(request),
      ifMatch: ifMatchOf(request.headers['if-match']),
      ...changeOptions(request),
    });
    return sendWritten(reply, { revision, isRepeated });
  });

  api.post<{ Params: IdParams }>(
    `${path}/undelete`,
    { schema: operation(UNDELETE) },
    async (request, reply) => {
      const answer = await service.configurations.undelete(request.caller, {
        ref: refOf(request),
        ...changeOptions(request),
      });
      return sendWritten(reply, oneWritten(answer));
    },
  );

  api.post<{ Params: IdParams; Body: { version: number } }>(
    `${path}/rollback`,
    { schema: operation(ROLLBACK) },
    async (request, reply) => {
      const answer = await service.history.rollback(request.caller, {
        ref: refOf(request),
        version: request.body.version,
        ifMatch: ifMatchOf(request.headers['if-match']),
        ...changeOptions(request),
      });
      return sendWritten(reply, oneWritten(answer));
    },
  );
}

function history(api: FastifyInstance, { service }: RestContext): void {
  const path = '/api/v1/configurations/:id';
  api.get<{ Params: IdParams; Querystring: ReadQuery & { before?: number; size?: number } }>(
    `${path}/versions`,
    { schema: operation(VERSIONS) },
    async (request, reply) => {
      const { before, size } = request.query;
      const wanted = { ref: refOf(request), before, size, ...readOptions(request.query) };
      const { revision, result } = await service.history.versions(request.caller, wanted);
      const body = () => ({ items: result.items.map(versionOf), next: result.next });
      return sendRead(request, reply, { revision, body });
    },
  );

  api.get<{ Params: IdParams & { version: number }; Querystring: ReadQuery }>(
    `${path}/versions/:version`,
    { schema: operation(VERSION_BY_NUMBER) },
    async (request, reply) => {
      const { version } = request.params;
      const wanted = { ref: refOf(request), version, ...readOptions(request.query) };
      const { revision, result } = await service.history.version(request.caller, wanted);
      return sendRead(request, reply, { revision, body: () => versionOf(result) });
    },
  );

  api.get<{ Params: IdParams; Querystring: ReadQuery & { time?: string; revision?: number } }>(
    `${path}/as-of`,
    { schema: operation(AS_OF) },
    async (request, reply) => {
      const wanted = { ref: refOf(request), at: pointOf(request.query), ...readOptions(request.query) };
      const { revision, result } = await service.history.asOf(request.caller, wanted);
      return sendRead(request, reply, { revision, body: () => versionOf(result) });
    },
  );
}

function allAsOf(api: FastifyInstance, { service }: RestContext): void {
  api.get<{ Querystring: AsOfQuery }>(
    '/api/v1/as-of',
    { schema: operation(ALL_AS_OF) },
    async (request, reply) => {
      const { application, environment, keyPrefix } = request.query;
      const { revision, result } = await service.history.allAsOf(request.caller, {
        scope: { tenant: request.tenant, environment: environmentId(environment), application },
        keyPrefix,
        at: pointOf(request.query),
        ...readOptions(request.query),
      });
      const body = () => ({ items: result.map((version) => versionOf(version)) });
      return sendRead(request, reply, { revision, body });
    },
  );
}

function conditionsOf(request: FastifyRequest<{ Params: IdParams; Body: UpdateBody }>) {
  const { body } = request;
  return {
    ref: refOf(request),
    ifMatch: ifMatchOf(request.headers['if-match']),
    ...(Object.hasOwn(body, 'oldValue') ? { oldValue: body.oldValue! } : {}),
    ...changeOptions(request),
  };
}

function pointOf({ time, revision }: { readonly time?: string; readonly revision?: number }): PointInTime {
  if (time !== undefined && revision === undefined) return { time };
  if (revision !== undefined && time === undefined) return { revision };
  throw invalid({ field: 'time', message: 'either this or revision says when' });
}

function refOf({ tenant, params }: FastifyRequest<{ Params: IdParams }>) {
  return { tenant, id: params.id };
}

/** The answer of a change of one configuration. */
function oneWritten({ revision, isRepeated, items, findings }: WriteAnswer): Written {
  const { after } = items[0]!;
  const body = { ...configurationOf(after), warnings: findingsOf(findings) };
  return { revision, isRepeated, etag: after.etag, body };
}
