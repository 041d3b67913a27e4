import type { FastifyInstance } from 'fastify';
import type { EnvironmentAnswer, EnvironmentInput } from '../../../service/environments/environments.ts';
import { environmentId } from '../../../service/environments/spelling.ts';
import { nameFields, type RestContext } from './context.ts';
import { ifMatchOf } from './entity-tags.ts';
import {
  ENVIRONMENT,
  ENVIRONMENT_CREATION,
  ENVIRONMENT_UPDATE,
  type EnvironmentBody,
  environmentOf,
} from './environment-shape.ts';
import {
  changeOptions,
  type ReadQuery,
  readOptions,
  sendRead,
  sendWritten,
  type Written,
} from './exchange.ts';
import { CHANGE_PROBLEMS, READ_PROBLEMS } from './problem-schema.ts';
import { list, type Operation, object, operation, refTo, TEXT } from './schema.ts';

/** Where the collection is, and what its operations are called in the document. */
export interface EnvironmentPlace {
  readonly path: string;
  readonly tag: string;
  /** Before the operation's id. */
  readonly prefix: string;
}

interface IdParams {
  readonly id: string;
}

/** The environments of a tenant as a collection. */
export function environmentRoutes(api: FastifyInstance, context: RestContext, place: EnvironmentPlace): void {
  nameFields(api, context, { environment: 'id' });
  collection(api, context, place);
  single(api, context, place);
}

function collection(api: FastifyInstance, { service }: RestContext, place: EnvironmentPlace): void {
  const operations = operationsOf(place);
  api.get<{ Querystring: ReadQuery }>(
    place.path,
    { schema: operation(operations.list) },
    async (request, reply) => {
      const { tenant, caller, query } = request;
      const { revision, result } = await service.environments.list(caller, { tenant, ...readOptions(query) });
      return sendRead(request, reply, { revision, body: () => ({ items: result.map(environmentOf) }) });
    },
  );

  api.post<{ Body: EnvironmentBody & IdParams }>(
    place.path,
    { schema: operation(operations.create) },
    async (request, reply) => {
      const id = environmentId(request.body.id, 'id');
      const answer = await service.environments.create(request.caller, {
        tenant: request.tenant,
        id,
        ...inputOf(request.body),
        ...changeOptions(request),
      });
      return sendWritten(reply, { ...writtenOf(answer), status: 201, location: `${place.path}/${id}` });
    },
  );
}

function single(api: FastifyInstance, { service }: RestContext, place: EnvironmentPlace): void {
  const operations = operationsOf(place);
  const path = `${place.path}/:id`;
  api.get<{ Params: IdParams; Querystring: ReadQuery }>(
    path,
    { schema: operation(operations.get) },
    async (request, reply) => {
      const ref = { tenant: request.tenant, id: environmentId(request.params.id, 'id') };
      const answer = await service.environments.get(request.caller, {
        ...ref,
        ...readOptions(request.query),
      });
      const { revision, result } = answer;
      return sendRead(request, reply, { revision, etag: result.etag, body: () => environmentOf(result) });
    },
  );

  api.put<{ Params: IdParams; Body: EnvironmentBody }>(
    path,
    { schema: operation(operations.update) },
    async (request, reply) => {
      const answer = await service.environments.update(request.caller, {
        tenant: request.tenant,
        id: environmentId(request.params.id, 'id'),
        ...inputOf(request.body),
        ifMatch: ifMatchOf(request.headers['if-match']),
        ...changeOptions(request),
      });
      return sendWritten(reply, writtenOf(answer));
    },
  );

  api.delete<{ Params: IdParams }>(path, { schema: operation(operations.remove) }, async (request, reply) => {
    const { revision } = await service.environments.delete(request.caller, {
      tenant: request.tenant,
      id: environmentId(request.params.id, 'id'),
      ifMatch: ifMatchOf(request.headers['if-match']),
      ...changeOptions(request),
    });
    return sendWritten(reply, { revision });
  });
}

function inputOf({ description, parent, rules }: EnvironmentBody): EnvironmentInput {
  const source = rules?.promoteOnlyFrom;
  return {
    description,
    parent: typeof parent === 'string' ? environmentId(parent, 'parent') : parent,
    rules:
      typeof source === 'string'
        ? { ...rules, promoteOnlyFrom: environmentId(source, 'rules/promoteOnlyFrom') }
        : rules,
  };
}

function writtenOf({ revision, isRepeated, environment }: EnvironmentAnswer): Written {
  return { revision, isRepeated, etag: environment.etag, body: environmentOf(environment) };
}

function operationsOf({
  tag,
  prefix,
}: EnvironmentPlace): Readonly<Record<'list' | 'create' | 'get' | 'update' | 'remove', Operation>> {
  const one = { description: 'The environment', schema: refTo(ENVIRONMENT) };
  const params = { id: TEXT };
  return {
    list: {
      operationId: `${prefix}ListEnvironments`,
      summary: 'Environments: the standard ones, then the tenant’s own',
      tag,
      kind: 'read',
      answers: {
        200: { description: 'All of them', schema: object({ items: list(refTo(ENVIRONMENT)) }) },
        ...READ_PROBLEMS,
      },
    },
    create: {
      operationId: `${prefix}CreateEnvironment`,
      summary: 'Make an environment',
      tag,
      kind: 'change',
      body: refTo(ENVIRONMENT_CREATION),
      answers: { 201: one, ...CHANGE_PROBLEMS },
    },
    get: {
      operationId: `${prefix}GetEnvironment`,
      summary: 'An environment',
      tag,
      kind: 'read',
      params,
      answers: { 200: one, ...READ_PROBLEMS },
    },
    update: {
      operationId: `${prefix}UpdateEnvironment`,
      summary: 'Change an environment; what is left out stays',
      tag,
      kind: 'change',
      isConditional: true,
      params,
      body: refTo(ENVIRONMENT_UPDATE),
      answers: { 200: one, ...CHANGE_PROBLEMS },
    },
    remove: {
      operationId: `${prefix}DeleteEnvironment`,
      summary: 'Delete one of the tenant’s own environments, with nothing in it',
      tag,
      kind: 'change',
      isConditional: true,
      params,
      answers: { 204: { description: 'It was deleted', schema: null }, ...CHANGE_PROBLEMS },
    },
  };
}
