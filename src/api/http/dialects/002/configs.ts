import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { WriteAnswer } from '../../../../service/configurations/apply.ts';
import type { ConfigurationRef } from '../../../../service/configurations/refs.ts';
import { environmentId } from '../../../../service/environments/spelling.ts';
import { nameFields, type RestContext } from '../../rest/context.ts';
import { ifMatchOf } from '../../rest/entity-tags.ts';
import {
  changeOptions,
  type EffectiveQuery,
  effectiveOptions,
  type ReadQuery,
  readOptions,
  sendRead,
  sendWritten,
  type Written,
} from '../../rest/exchange.ts';
import { lookedUp } from '../../rest/lookup.ts';
import { operation } from '../../rest/schema.ts';
import {
  CREATION,
  DELETION,
  GET,
  LIST,
  LOOKUP,
  ONE_VERSION,
  ROLLBACK,
  UPDATING,
  VERSIONS,
} from './operations.ts';
import { contentOf, defaultValueOf, type TextContent, versionOf } from './values.ts';
import { responseOf, summaryOf, valueOf, versionOfView } from './views.ts';

interface ConfigParams {
  readonly configId: string;
}
interface VersionParams extends ConfigParams {
  readonly versionId: string;
}
interface ListQuery extends ReadQuery {
  readonly application?: string;
  readonly environment?: string;
  readonly page?: number;
  readonly size?: number;
  readonly keyPrefix?: string;
  readonly tag?: string;
  readonly search?: string;
}
interface LookupQuery extends EffectiveQuery {
  readonly key: string;
  readonly application: string;
  readonly environment: string;
  readonly default?: string;
}
interface CreateBody extends TextContent {
  readonly key: string;
  readonly application: string;
  readonly environment: string;
}

/** The service's names of fields in 002's words. */
export const FIELDS_002: Readonly<Record<string, string>> = { type: 'valueType', version: 'versionId' };

/** 002's API of configurations: `/configs` and below. */
export async function configs(api: FastifyInstance, context: RestContext): Promise<void> {
  nameFields(api, context, { ...FIELDS_002, id: 'configId' });
  collection(api, context);
  single(api, context);
  versions(api, context);
}

function collection(api: FastifyInstance, { service }: RestContext): void {
  api.get<{ Querystring: ListQuery }>('/configs', { schema: operation(LIST) }, async (request, reply) => {
    const { query, tenant } = request;
    const { environment: spelled, application, page, size, keyPrefix, tag, search } = query;
    const environment = spelled === undefined ? undefined : environmentId(spelled);
    const filter = { tenant, environment, application, page, size, keyPrefix, tag, search };
    const { revision, result } = await service.reads.list(request.caller, {
      ...filter,
      ...readOptions(query),
    });
    const body = () => ({
      content: result.items.map(summaryOf),
      page: result.page,
      size: result.size,
      totalElements: result.total,
      totalPages: Math.ceil(result.total / result.size),
    });
    return sendRead(request, reply, { revision, etag: result.etag, body });
  });

  api.post<{ Body: CreateBody }>('/configs', { schema: operation(CREATION) }, async (request, reply) => {
    const { key, application, environment: spelled } = request.body;
    const environment = environmentId(spelled);
    const answer = await service.configurations.create(request.caller, {
      name: { tenant: request.tenant, environment, application, key },
      ...contentOf(request.body),
      ...changeOptions(request),
    });
    const { id } = answer.items[0]!.after;
    return sendWritten(reply, { ...writtenOf(answer), status: 201, location: `/configs/${id}` });
  });

  api.get<{ Querystring: LookupQuery }>(
    '/configs/lookup',
    { schema: operation(LOOKUP) },
    async (request, reply) => {
      const { key, application, environment, default: otherwise, reveal = true } = request.query;
      const name = { tenant: request.tenant, environment: environmentId(environment), application, key };
      return lookedUp(
        service,
        { request, reply },
        {
          name,
          reveal,
          options: effectiveOptions(request.query),
          shape: valueOf,
          ...(otherwise === undefined ? {} : { otherwise: () => defaultValueOf(key, otherwise) }),
        },
      );
    },
  );
}

function single(api: FastifyInstance, { service }: RestContext): void {
  const path = '/configs/:configId';
  api.get<{ Params: ConfigParams; Querystring: ReadQuery }>(
    path,
    { schema: operation(GET) },
    async (request, reply) => {
      const answer = await service.reads.get(request.caller, {
        ref: refOf(request),
        ...readOptions(request.query),
      });
      const { revision, result } = answer;
      return sendRead(request, reply, { revision, etag: result.etag, body: () => responseOf(result) });
    },
  );

  api.put<{ Params: ConfigParams; Body: TextContent }>(
    path,
    { schema: operation(UPDATING) },
    async (request, reply) => {
      const answer = await service.configurations.update(request.caller, {
        ref: refOf(request),
        ...contentOf(request.body),
        ifMatch: ifMatchOf(request.headers['if-match']),
        ...changeOptions(request),
      });
      return sendWritten(reply, writtenOf(answer));
    },
  );

  api.delete<{ Params: ConfigParams }>(path, { schema: operation(DELETION) }, async (request, reply) => {
    const { revision, isRepeated } = await service.configurations.delete(request.caller, {
      ref: refOf(request),
      ifMatch: ifMatchOf(request.headers['if-match']),
      ...changeOptions(request),
    });
    return sendWritten(reply, { revision, isRepeated });
  });
}

function versions(api: FastifyInstance, { service }: RestContext): void {
  api.get<{ Params: ConfigParams; Querystring: ReadQuery & { before?: number; size?: number } }>(
    '/configs/:configId/versions',
    { schema: operation(VERSIONS) },
    async (request, reply) => {
      const { before, size } = request.query;
      const wanted = { ref: refOf(request), before, size, ...readOptions(request.query) };
      const { revision, result } = await service.history.versions(request.caller, wanted);
      if (result.next !== null) reply.header('link', nextLink(request, result.next));
      return sendRead(request, reply, { revision, body: () => result.items.map(versionOfView) });
    },
  );

  api.get<{ Params: VersionParams; Querystring: ReadQuery }>(
    '/configs/:configId/versions/:versionId',
    { schema: operation(ONE_VERSION) },
    async (request, reply) => {
      const { configId, versionId } = request.params;
      const wanted = {
        ref: refOf(request),
        version: versionOf(configId, versionId),
        ...readOptions(request.query),
      };
      const { revision, result } = await service.history.version(request.caller, wanted);
      return sendRead(request, reply, { revision, body: () => versionOfView(result) });
    },
  );

  api.post<{ Params: VersionParams }>(
    '/configs/:configId/rollback/:versionId',
    { schema: operation(ROLLBACK) },
    async (request, reply) => {
      const { configId, versionId } = request.params;
      const answer = await service.history.rollback(request.caller, {
        ref: refOf(request),
        version: versionOf(configId, versionId),
        ifMatch: ifMatchOf(request.headers['if-match']),
        ...changeOptions(request),
      });
      return sendWritten(reply, writtenOf(answer));
    },
  );
}

/** The answer of a change of one configuration. */
export function writtenOf({ revision, isRepeated, items, findings }: WriteAnswer): Written {
  const { after } = items[0]!;
  return { revision, isRepeated, etag: after.etag, body: responseOf(after, findings) };
}

function refOf({ tenant, params }: FastifyRequest<{ Params: ConfigParams }>): ConfigurationRef {
  return { tenant, id: params.configId };
}

function nextLink({ url }: FastifyRequest, before: number): string {
  const [path = '', query = ''] = url.split('?', 2);
  const parameters = new URLSearchParams(query);
  parameters.set('before', String(before));
  return `<${path}?${parameters.toString()}>; rel="next"`;
}
