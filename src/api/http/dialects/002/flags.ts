import type { FastifyInstance, FastifyRequest } from 'fastify';
import { environmentId } from '../../../../service/environments/spelling.ts';
import type { FeaturesAnswer } from '../../../../service/flags/feature-apply.ts';
import { nameIn } from '../../../../service/flags/feature-content.ts';
import type { FeatureListRequest, FeaturePage } from '../../../../service/flags/feature-reads.ts';
import type { FeatureRef } from '../../../../service/flags/feature-refs.ts';
import type { Json } from '../../../../service/model.ts';
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
import { operation } from '../../rest/schema.ts';
import {
  CHECK_FLAG,
  CHECK_FLAG_BY_POST,
  CREATION_OF_FLAG,
  GET_FLAG,
  LIST_FLAGS,
  UPDATING_FLAG,
} from './flag-schemas.ts';
import { checkOf, type FlagBody, flagOf, inputFrom002, inWords002 } from './flag-shapes.ts';

interface FlagParams {
  readonly flagId: string;
}
/** As a list is asked for. */
export interface FlagListQuery extends ReadQuery {
  readonly application?: string;
  readonly environment?: string;
  readonly page?: number;
  readonly size?: number;
  readonly keyPrefix?: string;
  readonly tag?: string;
  readonly enabled?: boolean;
  readonly search?: string;
}
/** A flag by name. */
export interface FlagNameFields {
  readonly key: string;
  readonly application: string;
  readonly environment: string;
}
interface CheckQuery extends ReadQuery, FlagNameFields {
  readonly userId?: string;
  readonly [attribute: string]: unknown;
}
interface CheckBody extends FlagNameFields {
  readonly userId?: string;
  readonly context?: { readonly [attribute: string]: Json };
}

/** 002's API of flags: `/feature-flags` and below. */
export async function featureFlags(api: FastifyInstance, context: RestContext): Promise<void> {
  nameFields(api, context, { id: 'flagId' });
  collection(api, context);
  single(api, context);
  checks(api, context);
}

function collection(api: FastifyInstance, { service }: RestContext): void {
  const path = '/feature-flags';
  api.get<{ Querystring: FlagListQuery }>(path, { schema: operation(LIST_FLAGS) }, async (request, reply) => {
    const { revision, result } = await service.featureReads.list(request.caller, flagFilterOf(request));
    return sendRead(request, reply, { revision, etag: result.etag, body: () => flagPageOf(result) });
  });

  api.post<{ Body: FlagBody & FlagNameFields }>(
    path,
    { schema: operation(CREATION_OF_FLAG) },
    async (request, reply) => {
      const answer = await createdFlag(service, request);
      const { id } = answer.items[0]!.after;
      return sendWritten(reply, { ...flagWritten(answer), status: 201, location: `${path}/${id}` });
    },
  );
}

function single(api: FastifyInstance, { service }: RestContext): void {
  const path = '/feature-flags/:flagId';
  api.get<{ Params: FlagParams; Querystring: ReadQuery }>(
    path,
    { schema: operation(GET_FLAG) },
    async (request, reply) => {
      const { revision, result } = await service.featureReads.get(request.caller, {
        ref: refOf(request),
        ...readOptions(request.query),
      });
      return sendRead(request, reply, { revision, etag: result.etag, body: () => flagOf(result) });
    },
  );

  api.put<{ Params: FlagParams; Body: FlagBody }>(
    path,
    { schema: operation(UPDATING_FLAG) },
    async (request, reply) => {
      const answer = await updatedFlag(service, request, refOf(request));
      return sendWritten(reply, flagWritten(answer));
    },
  );
}

function checks(api: FastifyInstance, { service }: RestContext): void {
  const path = '/feature-flags/check';
  api.get<{ Querystring: CheckQuery }>(path, { schema: operation(CHECK_FLAG) }, async (request, reply) => {
    const { key, application, environment, userId, consistency, maxStalenessMs, ...attributes } =
      request.query;
    const { revision, result } = await service.flagReads.check(request.caller, {
      scope: { tenant: request.tenant, environment: environmentId(environment), application },
      key,
      context: contextOf(userId, attributes),
      ...readOptions({ ...(consistency && { consistency }), ...(maxStalenessMs && { maxStalenessMs }) }),
    });
    return sendRead(request, reply, { revision, body: () => checkOf(result) });
  });

  api.post<{ Body: CheckBody; Querystring: ReadQuery }>(
    path,
    { schema: operation(CHECK_FLAG_BY_POST) },
    async (request, reply) => {
      const { key, application, environment, userId, context = {} } = request.body;
      const { revision, result } = await service.flagReads.check(request.caller, {
        scope: { tenant: request.tenant, environment: environmentId(environment), application },
        key,
        context: contextOf(userId, context),
        ...readOptions(request.query),
      });
      return sendRead(request, reply, { revision, body: () => checkOf(result) });
    },
  );
}

/** The user is known by both names. */
function contextOf(userId: string | undefined, attributes: { readonly [name: string]: unknown }) {
  return userId === undefined ? attributes : { ...attributes, userId, targetingKey: userId };
}

/** What a list in 002's words asks for. @throws ServiceError `invalid` */
export function flagFilterOf({
  query,
  tenant,
}: FastifyRequest<{ Querystring: FlagListQuery }>): FeatureListRequest {
  const { environment, application, page, size, keyPrefix, tag, enabled, search } = query;
  return {
    kind: 'flag',
    tenant,
    environment: environment === undefined ? undefined : environmentId(environment),
    application,
    page,
    size,
    keyPrefix,
    tag,
    enabled,
    search,
    ...readOptions(query),
  };
}

export function flagPageOf({ items, page, size, total }: FeaturePage) {
  return {
    content: items.map(flagOf),
    page,
    size,
    totalElements: total,
    totalPages: Math.ceil(total / size),
  };
}

/** Makes a flag of a body in 002's words. @throws ServiceError */
export async function createdFlag(
  service: RestContext['service'],
  request: FastifyRequest<{ Body: FlagBody & FlagNameFields }>,
): Promise<FeaturesAnswer> {
  const { body, tenant, caller } = request;
  const scope = { tenant, environment: environmentId(body.environment), application: body.application };
  return inWords002(body, () =>
    service.features.revise(
      caller,
      { action: 'create', ref: nameIn('flag', scope, body.key), body, ...changeOptions(request) },
      (before) => inputFrom002(body, before),
    ),
  );
}

/** Changes a flag by a body in 002's words. @throws ServiceError */
export async function updatedFlag(
  service: RestContext['service'],
  request: FastifyRequest<{ Params: unknown; Body: FlagBody }>,
  ref: FeatureRef,
): Promise<FeaturesAnswer> {
  const { body, caller, headers } = request;
  const change = { ref, body, ifMatch: ifMatchOf(headers['if-match']), ...changeOptions(request) };
  return inWords002(body, () =>
    service.features.revise(caller, { ...change, action: 'update' }, (before) => inputFrom002(body, before)),
  );
}

/** The answer of a change of one flag. */
export function flagWritten({ revision, isRepeated, items }: FeaturesAnswer): Written {
  const { after } = items[0]!;
  return { revision, isRepeated, etag: after.etag, body: flagOf(after) };
}

function refOf({ tenant, params }: FastifyRequest<{ Params: FlagParams }>): FeatureRef {
  return { kind: 'flag', tenant, id: params.flagId };
}
