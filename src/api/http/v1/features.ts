import type { FastifyInstance, FastifyRequest } from 'fastify';
import { environmentId } from '../../../service/environments/spelling.ts';
import { nameIn } from '../../../service/flags/feature-content.ts';
import type { FeatureRef } from '../../../service/flags/feature-refs.ts';
import type { FeatureKind, Json } from '../../../service/model.ts';
import type { RestContext } from '../rest/context.ts';
import { ifMatchOf } from '../rest/entity-tags.ts';
import { changeOptions, type ReadQuery, readOptions, sendRead, sendWritten } from '../rest/exchange.ts';
import { operation } from '../rest/schema.ts';
import { featureOperations } from './feature-operations.ts';
import { FEATURE_PATHS, featureOf, featureVersionOf, featureWritten } from './feature-shapes.ts';

interface IdParams {
  readonly id: string;
}
interface ListQuery extends ReadQuery {
  readonly application?: string;
  readonly environment?: string;
  readonly key?: string;
  readonly keyPrefix?: string;
  readonly tag?: string;
  readonly enabled?: boolean;
  readonly search?: string;
  readonly page?: number;
  readonly size?: number;
}
interface ContentBody {
  readonly description?: string;
  readonly tags?: readonly string[];
  readonly definition?: Json;
}
interface CreationBody extends ContentBody {
  readonly application: string;
  readonly environment: string;
  readonly key: string;
}

/** Flags, or segments, as resources: the same routes for both. */
export function features(api: FastifyInstance, context: RestContext, kind: FeatureKind): void {
  collection(api, context, kind);
  single(api, context, kind);
  changes(api, context, kind);
  history(api, context, kind);
}

function collection(api: FastifyInstance, { service }: RestContext, kind: FeatureKind): void {
  const path = FEATURE_PATHS[kind];
  const { LIST, CREATE, EFFECTIVE } = featureOperations(kind);
  api.get<{ Querystring: ListQuery }>(path, { schema: operation(LIST) }, async (request, reply) => {
    const { consistency: _, maxStalenessMs: __, environment, ...filter } = request.query;
    const { revision, result } = await service.featureReads.list(request.caller, {
      ...filter,
      kind,
      tenant: request.tenant,
      environment: environment === undefined ? undefined : environmentId(environment),
      ...readOptions(request.query),
    });
    const { etag, items, page, size, total } = result;
    return sendRead(request, reply, {
      revision,
      etag,
      body: () => ({ items: items.map(featureOf), page, size, total }),
    });
  });

  api.post<{ Body: CreationBody }>(path, { schema: operation(CREATE) }, async (request, reply) => {
    const { application, environment, key, description, tags, definition } = request.body;
    const scope = { tenant: request.tenant, environment: environmentId(environment), application };
    const answer = await service.features.create(request.caller, {
      name: nameIn(kind, scope, key),
      description,
      tags,
      definition,
      ...changeOptions(request),
    });
    const location = `${path}/${answer.items[0]!.after.id}`;
    return sendWritten(reply, { ...featureWritten(answer), status: 201, location });
  });

  api.get<{ Querystring: ReadQuery & { application: string; environment: string } }>(
    `${path}/effective`,
    { schema: operation(EFFECTIVE) },
    async (request, reply) => {
      const { application, environment } = request.query;
      const scope = { tenant: request.tenant, environment: environmentId(environment), application };
      const wanted = { kind, scope, ...readOptions(request.query) };
      const { revision, result } = await service.featureReads.effective(request.caller, wanted);
      const { etag, items } = result;
      return sendRead(request, reply, { revision, etag, body: () => ({ items: items.map(featureOf) }) });
    },
  );
}

function single(api: FastifyInstance, { service }: RestContext, kind: FeatureKind): void {
  const path = `${FEATURE_PATHS[kind]}/:id`;
  const { GET, PUT, PATCH, DELETE } = featureOperations(kind);
  api.get<{ Params: IdParams; Querystring: ReadQuery }>(
    path,
    { schema: operation(GET) },
    async (request, reply) => {
      const wanted = { ref: refOf(request, kind), ...readOptions(request.query) };
      const { revision, result } = await service.featureReads.get(request.caller, wanted);
      return sendRead(request, reply, { revision, etag: result.etag, body: () => featureOf(result) });
    },
  );

  api.put<{ Params: IdParams; Body: ContentBody }>(
    path,
    { schema: operation(PUT) },
    async (request, reply) => {
      const { description, tags, definition } = request.body;
      const content = { description, tags, definition };
      const answer = await service.features.update(request.caller, {
        ...content,
        ...changeOf(request, kind),
      });
      return sendWritten(reply, featureWritten(answer));
    },
  );

  api.patch<{ Params: IdParams; Body: ContentBody }>(
    path,
    { schema: operation(PATCH) },
    async (request, reply) => {
      const { description, tags, definition: definitionPatch } = request.body;
      const content = { description, tags, definitionPatch };
      const answer = await service.features.update(request.caller, {
        ...content,
        ...changeOf(request, kind),
      });
      return sendWritten(reply, featureWritten(answer));
    },
  );

  api.delete<{ Params: IdParams }>(path, { schema: operation(DELETE) }, async (request, reply) => {
    const { revision, isRepeated } = await service.features.delete(request.caller, changeOf(request, kind));
    return sendWritten(reply, { revision, isRepeated });
  });
}

function changes(api: FastifyInstance, { service }: RestContext, kind: FeatureKind): void {
  const path = `${FEATURE_PATHS[kind]}/:id`;
  const { UNDELETE, ROLLBACK } = featureOperations(kind);
  api.post<{ Params: IdParams }>(
    `${path}/undelete`,
    { schema: operation(UNDELETE) },
    async (request, reply) => {
      const answer = await service.features.undelete(request.caller, changeOf(request, kind));
      return sendWritten(reply, featureWritten(answer));
    },
  );

  api.post<{ Params: IdParams; Body: { version: number } }>(
    `${path}/rollback`,
    { schema: operation(ROLLBACK) },
    async (request, reply) => {
      const { version } = request.body;
      const answer = await service.features.rollback(request.caller, { ...changeOf(request, kind), version });
      return sendWritten(reply, featureWritten(answer));
    },
  );
}

function history(api: FastifyInstance, { service }: RestContext, kind: FeatureKind): void {
  const path = `${FEATURE_PATHS[kind]}/:id`;
  const { VERSIONS, VERSION, COMPARE } = featureOperations(kind);
  api.get<{ Params: IdParams; Querystring: ReadQuery & { before?: number; size?: number } }>(
    `${path}/versions`,
    { schema: operation(VERSIONS) },
    async (request, reply) => {
      const { before, size } = request.query;
      const wanted = { ref: refOf(request, kind), before, size, ...readOptions(request.query) };
      const { revision, result } = await service.featureHistory.versions(request.caller, wanted);
      const body = () => ({ items: result.items.map(featureVersionOf), next: result.next });
      return sendRead(request, reply, { revision, body });
    },
  );

  api.get<{ Params: IdParams & { version: number }; Querystring: ReadQuery }>(
    `${path}/versions/:version`,
    { schema: operation(VERSION) },
    async (request, reply) => {
      const { version } = request.params;
      const wanted = { ref: refOf(request, kind), version, ...readOptions(request.query) };
      const { revision, result } = await service.featureHistory.version(request.caller, wanted);
      return sendRead(request, reply, { revision, body: () => featureVersionOf(result) });
    },
  );

  api.get<{ Params: IdParams; Querystring: ReadQuery & { left: number; right?: number } }>(
    `${path}/compare`,
    { schema: operation(COMPARE) },
    async (request, reply) => {
      const { left, right } = request.query;
      const wanted = { ref: refOf(request, kind), left, right, ...readOptions(request.query) };
      const { revision, result } = await service.featureHistory.compare(request.caller, wanted);
      const { isEqual, diff } = result;
      const body = () => ({
        left: featureVersionOf(result.left),
        right: featureVersionOf(result.right),
        isEqual,
        diff,
      });
      return sendRead(request, reply, { revision, body });
    },
  );
}

/** What every change of one feature may say of itself. */
export function changeOf(request: FastifyRequest<{ Params: IdParams; Body: unknown }>, kind: FeatureKind) {
  return {
    ref: refOf(request, kind),
    ifMatch: ifMatchOf(request.headers['if-match']),
    ...changeOptions(request),
  };
}

function refOf({ tenant, params }: FastifyRequest<{ Params: IdParams }>, kind: FeatureKind): FeatureRef {
  return { kind, tenant, id: params.id };
}
