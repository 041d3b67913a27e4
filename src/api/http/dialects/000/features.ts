import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { FeatureRef } from '../../../../service/flags/feature-refs.ts';
import { nameFields, type RestContext } from '../../rest/context.ts';
import { ifMatchOf } from '../../rest/entity-tags.ts';
import { changeOptions, type ReadQuery, readOptions, sendRead, sendWritten } from '../../rest/exchange.ts';
import { CHANGE_PROBLEMS, READ_PROBLEMS } from '../../rest/problem-schema.ts';
import { type Operation, operation, refTo, TEXT } from '../../rest/schema.ts';
import { CREATE_FLAG, FEATURE_FLAG, FLAG_FILTER, FLAG_PAGE, UPDATE_FLAG } from '../002/flag-schemas.ts';
import { type FlagBody, flagOf } from '../002/flag-shapes.ts';
import {
  createdFlag,
  type FlagListQuery,
  type FlagNameFields,
  flagFilterOf,
  flagPageOf,
  flagWritten,
  updatedFlag,
} from '../002/flags.ts';

const PATH = '/features/manage';

interface IdParams {
  readonly id: string;
}

/** 000's flags as a collection, in 002's field names: `/features/manage`. */
export async function features(api: FastifyInstance, context: RestContext): Promise<void> {
  nameFields(api, context, {});
  const { service } = context;
  api.get<{ Querystring: FlagListQuery }>(PATH, { schema: operation(LIST) }, async (request, reply) => {
    const { revision, result } = await service.featureReads.list(request.caller, flagFilterOf(request));
    return sendRead(request, reply, { revision, etag: result.etag, body: () => flagPageOf(result) });
  });

  api.post<{ Body: FlagBody & FlagNameFields }>(
    PATH,
    { schema: operation(CREATE) },
    async (request, reply) => {
      const answer = await createdFlag(service, request);
      const location = `${PATH}/${answer.items[0]!.after.id}`;
      return sendWritten(reply, { ...flagWritten(answer), status: 201, location });
    },
  );

  api.get<{ Params: IdParams; Querystring: ReadQuery }>(
    `${PATH}/:id`,
    { schema: operation(GET) },
    async (request, reply) => {
      const wanted = { ref: refOf(request), ...readOptions(request.query) };
      const { revision, result } = await service.featureReads.get(request.caller, wanted);
      return sendRead(request, reply, { revision, etag: result.etag, body: () => flagOf(result) });
    },
  );

  api.put<{ Params: IdParams; Body: FlagBody }>(
    `${PATH}/:id`,
    { schema: operation(UPDATE) },
    async (request, reply) =>
      sendWritten(reply, flagWritten(await updatedFlag(service, request, refOf(request)))),
  );

  api.delete<{ Params: IdParams }>(`${PATH}/:id`, { schema: operation(DELETE) }, async (request, reply) => {
    const { revision, isRepeated } = await service.features.delete(request.caller, {
      ref: refOf(request),
      ifMatch: ifMatchOf(request.headers['if-match']),
      ...changeOptions(request),
    });
    return sendWritten(reply, { revision, isRepeated });
  });
}

function refOf({ tenant, params }: FastifyRequest<{ Params: IdParams }>): FeatureRef {
  return { kind: 'flag', tenant, id: params.id };
}

const TAG = 'Features';
const ONE = { description: 'The flag', schema: refTo(FEATURE_FLAG) };
const ID = { id: TEXT };

const LIST: Operation = {
  operationId: 'manageListFeatures',
  summary: 'Flags, filtered and searched',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  query: FLAG_FILTER,
  answers: { 200: { description: 'A page of flags', schema: FLAG_PAGE }, ...READ_PROBLEMS },
};
const CREATE: Operation = {
  operationId: 'manageCreateFeature',
  summary: 'Create a flag',
  tag: TAG,
  kind: 'change',
  isLenient: true,
  body: refTo(CREATE_FLAG),
  answers: { 201: ONE, ...CHANGE_PROBLEMS },
};
const GET: Operation = {
  operationId: 'manageGetFeature',
  summary: 'A flag',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  params: ID,
  answers: { 200: ONE, ...READ_PROBLEMS },
};
const UPDATE: Operation = {
  operationId: 'manageUpdateFeature',
  summary: 'Update a flag; what is left out stays',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  isLenient: true,
  params: ID,
  body: refTo(UPDATE_FLAG),
  answers: { 200: ONE, ...CHANGE_PROBLEMS },
};
const DELETE: Operation = {
  operationId: 'manageDeleteFeature',
  summary: 'Delete a flag; its versions stay',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  isLenient: true,
  params: ID,
  answers: { 204: { description: 'It was deleted', schema: null }, ...CHANGE_PROBLEMS },
};
