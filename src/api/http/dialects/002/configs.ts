import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { WriteAnswer } from '../../../../service/configurations/apply.ts';
import type { ConfigurationRef } from '../../../../service/configurations/refs.ts';
import { environmentId } from '../../../../service/environments/spelling.ts';
import { nameFields, type RestContext } from '../../rest/context.ts';
import { ifMatchOf } from '../../rest/entity-tags.ts';
import {
  changeOptions,
  type ReadQuery,
  readOptions,
  sendRead,
  sendWritten,
  type Written,
} from '../../rest/exchange.ts';
import { lookedUp } from '../../rest/lookup.ts';
import { COUNT, described, FLAG, list, type Operation, operation, refTo, TEXT } from '../../rest/schema.ts';
import {
  BAD_REQUEST,
  CREATE,
  ENVIRONMENT,
  PAGE,
  RESPONSE,
  UNAUTHORIZED,
  UPDATE,
  VALUE,
  VERSION,
} from './schemas.ts';
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
interface LookupQuery extends ReadQuery {
  readonly key: string;
  readonly application: string;
  readonly environment: string;
  readonly default?: string;
  readonly reveal?: boolean;
}
interface CreateBody extends TextContent {
  readonly key: string;
  readonly application: string;
  readonly environment: string;
}

/** The service's names of fields in 002's words. */
export const FIELDS_002: Readonly<Record<string, string>> = { type: 'valueType', version: 'versionId' };

const TAG = 'Configurations';
const CONFIG_ID = { configId: described(TEXT, 'Configuration ID') };
const UNAUTHENTICATED = { description: 'Authentication required', schema: refTo(UNAUTHORIZED) };
const WRONG = { description: 'Invalid request', schema: refTo(BAD_REQUEST) };
const ABSENT = { description: 'Configuration not found', schema: refTo(BAD_REQUEST) };
const VERSION_ABSENT = { description: 'Configuration or version not found', schema: refTo(BAD_REQUEST) };
const CONFLICT = { description: 'It is there already, or in another state', schema: refTo(BAD_REQUEST) };
const STALE = { description: 'If-Match names another revision', schema: refTo(BAD_REQUEST) };

/** 002's API of configurations: `/configs` and below. */
export async function configs(api: FastifyInstance, context: RestContext): Promise<void> {
  nameFields(api, context, FIELDS_002);
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
          options: readOptions(request.query),
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

const LIST: Operation = {
  operationId: 'listConfigurations',
  summary: 'List configurations',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  query: {
    application: TEXT,
    environment: ENVIRONMENT,
    page: { ...COUNT, default: 0 },
    size: { type: 'integer', default: 20 },
    keyPrefix: described(TEXT, 'Keys that begin so'),
    tag: described(TEXT, 'Those that have this tag'),
    search: described(TEXT, 'Words that stand in key, application, tags or description'),
  },
  answers: {
    200: { description: 'List of configurations', schema: PAGE },
    400: WRONG,
    401: UNAUTHENTICATED,
  },
};

const CREATION: Operation = {
  operationId: 'createConfiguration',
  summary: 'Create a new configuration',
  tag: TAG,
  kind: 'change',
  isLenient: true,
  body: refTo(CREATE),
  answers: {
    201: { description: 'Configuration created successfully', schema: refTo(RESPONSE) },
    400: WRONG,
    401: UNAUTHENTICATED,
    409: CONFLICT,
  },
};

const LOOKUP: Operation = {
  operationId: 'lookupConfiguration',
  summary: 'Look up configuration by key',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  query: {
    key: TEXT,
    application: TEXT,
    environment: ENVIRONMENT,
    default: described(TEXT, 'The value when there is none'),
    reveal: described({ ...FLAG, default: true }, 'Show a secret itself, which is recorded'),
  },
  required: ['key', 'application', 'environment'],
  answers: {
    200: { description: 'Configuration value', schema: refTo(VALUE) },
    400: WRONG,
    401: UNAUTHENTICATED,
    404: ABSENT,
  },
};

const GET: Operation = {
  operationId: 'getConfiguration',
  summary: 'Get configuration by ID',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  params: CONFIG_ID,
  answers: {
    200: { description: 'Configuration details', schema: refTo(RESPONSE) },
    401: UNAUTHENTICATED,
    404: ABSENT,
  },
};

const UPDATING: Operation = {
  operationId: 'updateConfiguration',
  summary: 'Update configuration',
  tag: TAG,
  kind: 'change',
  isLenient: true,
  params: CONFIG_ID,
  body: refTo(UPDATE),
  answers: {
    200: { description: 'Configuration updated successfully', schema: refTo(RESPONSE) },
    400: WRONG,
    401: UNAUTHENTICATED,
    404: ABSENT,
    409: CONFLICT,
    412: STALE,
  },
};

const DELETION: Operation = {
  operationId: 'deleteConfiguration',
  summary: 'Delete configuration',
  tag: TAG,
  kind: 'change',
  isLenient: true,
  params: CONFIG_ID,
  answers: {
    204: { description: 'Configuration deleted successfully', schema: null },
    401: UNAUTHENTICATED,
    404: ABSENT,
    409: CONFLICT,
    412: STALE,
  },
};

const VERSIONS: Operation = {
  operationId: 'getConfigurationVersions',
  summary: 'Get configuration version history',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  params: CONFIG_ID,
  query: {
    before: described(COUNT, 'Only versions below this one; the header Link has that of the next page'),
    size: described({ type: 'integer', default: 100 }, 'Versions of one page, newest first'),
  },
  answers: {
    200: { description: 'Configuration version history', schema: list(refTo(VERSION)) },
    400: WRONG,
    401: UNAUTHENTICATED,
    404: ABSENT,
  },
};

const ONE_VERSION: Operation = {
  operationId: 'getConfigurationVersion',
  summary: 'Get specific configuration version',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  params: { ...CONFIG_ID, versionId: described(TEXT, 'Version ID, or version number') },
  answers: {
    200: { description: 'Configuration version details', schema: refTo(VERSION) },
    401: UNAUTHENTICATED,
    404: VERSION_ABSENT,
  },
};

const ROLLBACK: Operation = {
  operationId: 'rollbackConfiguration',
  summary: 'Rollback to specific configuration version',
  tag: TAG,
  kind: 'change',
  isLenient: true,
  params: { ...CONFIG_ID, versionId: described(TEXT, 'Version ID, or version number') },
  answers: {
    200: { description: 'Configuration rolled back successfully', schema: refTo(RESPONSE) },
    400: WRONG,
    401: UNAUTHENTICATED,
    404: VERSION_ABSENT,
    409: CONFLICT,
    412: STALE,
  },
};
