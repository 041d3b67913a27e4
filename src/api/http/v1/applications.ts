import type { FastifyInstance } from 'fastify';
import type { ApplicationAnswer, ApplicationInput } from '../../../service/applications/applications.ts';
import type { CrossKeyRule, Json } from '../../../service/model.ts';
import { nameFields, type RestContext } from '../rest/context.ts';
import { ifMatchOf } from '../rest/entity-tags.ts';
import {
  changeOptions,
  type ReadQuery,
  readOptions,
  sendRead,
  sendWritten,
  type Written,
} from '../rest/exchange.ts';
import { CHANGE_PROBLEMS, READ_PROBLEMS } from '../rest/problem-schema.ts';
import {
  ANY,
  CHANGE_FIELDS,
  described,
  list,
  NUMBER_FROM_1,
  named,
  type Operation,
  object,
  operation,
  type Properties,
  refTo,
  strictObject,
  TEXT,
  TIME,
} from '../rest/schema.ts';

interface NameParams {
  readonly name: string;
}
interface ApplicationBody {
  readonly description?: string;
  readonly defaults?: Readonly<Record<string, Json>>;
  readonly rules?: readonly CrossKeyRule[];
}

const PATH = '/api/v1/applications';

/** The applications of a tenant: what holds by default, and rules over several keys. */
export async function applications(api: FastifyInstance, context: RestContext): Promise<void> {
  nameFields(api, context, { application: 'name' });
  const { service } = context;

  api.get<{ Querystring: ReadQuery }>(PATH, { schema: operation(LIST) }, async (request, reply) => {
    const wanted = { tenant: request.tenant, ...readOptions(request.query) };
    const { revision, result } = await service.applications.list(request.caller, wanted);
    return sendRead(request, reply, { revision, body: () => ({ items: result }) });
  });

  api.post<{ Body: ApplicationBody & NameParams }>(
    PATH,
    { schema: operation(CREATE) },
    async (request, reply) => {
      const { name } = request.body;
      const answer = await service.applications.create(request.caller, {
        tenant: request.tenant,
        name,
        ...inputOf(request.body),
        ...changeOptions(request),
      });
      return sendWritten(reply, { ...writtenOf(answer), status: 201, location: `${PATH}/${name}` });
    },
  );
  single(api, context);
}

function single(api: FastifyInstance, { service }: RestContext): void {
  const path = `${PATH}/:name`;
  api.get<{ Params: NameParams; Querystring: ReadQuery }>(
    path,
    { schema: operation(GET) },
    async (request, reply) => {
      const wanted = { tenant: request.tenant, name: request.params.name, ...readOptions(request.query) };
      const { revision, result } = await service.applications.get(request.caller, wanted);
      return sendRead(request, reply, { revision, etag: result.etag, body: () => result });
    },
  );

  api.put<{ Params: NameParams; Body: ApplicationBody }>(
    path,
    { schema: operation(UPDATE) },
    async (request, reply) => {
      const answer = await service.applications.update(request.caller, {
        tenant: request.tenant,
        name: request.params.name,
        ...inputOf(request.body),
        ifMatch: ifMatchOf(request.headers['if-match']),
        ...changeOptions(request),
      });
      return sendWritten(reply, writtenOf(answer));
    },
  );

  api.delete<{ Params: NameParams }>(path, { schema: operation(DELETE) }, async (request, reply) => {
    const { revision } = await service.applications.delete(request.caller, {
      tenant: request.tenant,
      name: request.params.name,
      ifMatch: ifMatchOf(request.headers['if-match']),
      ...changeOptions(request),
    });
    return sendWritten(reply, { revision });
  });
}

function inputOf({ description, defaults, rules }: ApplicationBody): ApplicationInput {
  return { description, defaults, rules };
}

function writtenOf({ revision, isRepeated, application }: ApplicationAnswer): Written {
  return { revision, isRepeated, etag: application.etag, body: application };
}

const CONTENT: Properties = {
  description: TEXT,
  defaults: described(
    { type: 'object', additionalProperties: ANY },
    'What holds where no environment has a value',
  ),
  rules: described(
    list(strictObject({ name: TEXT, expression: TEXT, message: TEXT }, ['name', 'expression', 'message'])),
    'Each an expression in CEL over config, a map from key to value, that must be true in every environment',
  ),
};

const APPLICATION = named(
  'Application',
  object({
    tenant: TEXT,
    name: TEXT,
    ...CONTENT,
    createdBy: TEXT,
    createdAt: TIME,
    updatedBy: TEXT,
    updatedAt: TIME,
    version: NUMBER_FROM_1,
    etag: TEXT,
  }),
);
const CREATION = named(
  'CreateApplicationRequest',
  strictObject({ name: TEXT, ...CONTENT, ...CHANGE_FIELDS }, ['name']),
);
const CHANGE = named('UpdateApplicationRequest', strictObject({ ...CONTENT, ...CHANGE_FIELDS }));

export const APPLICATION_COMPONENTS = [APPLICATION, CREATION, CHANGE];

const TAG = 'Applications';
const ONE = { description: 'The application', schema: refTo(APPLICATION) };
const params = { name: TEXT };

const LIST: Operation = {
  operationId: 'listApplications',
  summary: 'Applications, by name',
  tag: TAG,
  kind: 'read',
  answers: {
    200: { description: 'All of them', schema: object({ items: list(refTo(APPLICATION)) }) },
    ...READ_PROBLEMS,
  },
};
const CREATE: Operation = {
  operationId: 'createApplication',
  summary: 'Make an application; its first configuration does so, too',
  tag: TAG,
  kind: 'change',
  body: refTo(CREATION),
  answers: { 201: ONE, ...CHANGE_PROBLEMS },
};
const GET: Operation = {
  operationId: 'getApplication',
  summary: 'An application',
  tag: TAG,
  kind: 'read',
  params,
  answers: { 200: ONE, ...READ_PROBLEMS },
};
const UPDATE: Operation = {
  operationId: 'updateApplication',
  summary: 'Change an application; what is left out stays',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  params,
  body: refTo(CHANGE),
  answers: { 200: ONE, ...CHANGE_PROBLEMS },
};
const DELETE: Operation = {
  operationId: 'deleteApplication',
  summary: 'Delete an application that has no configurations',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  params,
  answers: { 204: { description: 'It was deleted', schema: null }, ...CHANGE_PROBLEMS },
};
