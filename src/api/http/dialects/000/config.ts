import type { FastifyInstance } from 'fastify';
import { environmentId } from '../../../../service/environments/spelling.ts';
import type { ConfigurationName } from '../../../../service/model.ts';
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
} from '../../rest/exchange.ts';
import { lookedUp } from '../../rest/lookup.ts';
import { CHANGE_PROBLEMS, READ_PROBLEMS } from '../../rest/problem-schema.ts';
import {
  COUNT,
  described,
  FLAG,
  list,
  named,
  type Operation,
  object,
  operation,
  RESOLVE,
  refTo,
  TEXT,
} from '../../rest/schema.ts';
import { FIELDS_002, writtenOf } from '../002/configs.ts';
import { CREATE, ENVIRONMENT, RESPONSE, VALUE, VERSION } from '../002/schemas.ts';
import { contentOf, defaultValueOf, type TextContent } from '../002/values.ts';
import { valueOf, versionOfView } from '../002/views.ts';

interface NameFields {
  readonly key: string;
  readonly application: string;
  readonly environment: string;
}
type SetBody = NameFields & TextContent;

/** 000's API of configurations, in 002's field names: `/config/get`, `/config/set`, `/config/validate`, `/config/history`. */
export async function config(api: FastifyInstance, context: RestContext): Promise<void> {
  const { service } = context;
  nameFields(api, context, FIELDS_002);

  api.get<{ Querystring: EffectiveQuery & NameFields & { default?: string } }>(
    '/config/get',
    { schema: operation(GET) },
    async (request, reply) => {
      const { key, default: otherwise, reveal } = request.query;
      return lookedUp(
        service,
        { request, reply },
        {
          name: nameOf(request.tenant, request.query),
          reveal: reveal === true,
          options: effectiveOptions(request.query),
          shape: valueOf,
          ...(otherwise === undefined ? {} : { otherwise: () => defaultValueOf(key, otherwise) }),
        },
      );
    },
  );

  api.post<{ Body: SetBody }>('/config/set', { schema: operation(SET) }, async (request, reply) => {
    const answer = await service.configurations.put(request.caller, {
      name: nameOf(request.tenant, request.body),
      ...contentOf(request.body),
      ifMatch: ifMatchOf(request.headers['if-match']),
      ...changeOptions(request),
    });
    const status = answer.items[0]!.type === 'created' ? 201 : 200;
    return sendWritten(reply, { ...writtenOf(answer), status });
  });

  api.post<{ Body: SetBody }>('/config/validate', { schema: operation(VALIDATE) }, async (request, reply) => {
    const { reason } = changeOptions(request);
    const { revision, result } = await service.validations.validate(request.caller, {
      name: nameOf(request.tenant, request.body),
      ...contentOf(request.body),
      reason,
    });
    const { isValid, problems, findings, impact } = result;
    const errors = problems.map(({ field, message }) => ({ field: FIELDS_002[field] ?? field, message }));
    const warnings = findings.map(({ field, message }) => ({ field, message }));
    return sendRead(request, reply, { revision, body: () => ({ valid: isValid, errors, warnings, impact }) });
  });

  api.get<{ Querystring: ReadQuery & NameFields & { before?: number; size?: number } }>(
    '/config/history',
    { schema: operation(HISTORY) },
    async (request, reply) => {
      const { before, size } = request.query;
      const ref = nameOf(request.tenant, request.query);
      const wanted = { ref, before, size, ...readOptions(request.query) };
      const { revision, result } = await service.history.versions(request.caller, wanted);
      const body = () => ({ versions: result.items.map(versionOfView), next: result.next });
      return sendRead(request, reply, { revision, body });
    },
  );
}

function nameOf(tenant: string, { key, application, environment }: NameFields): ConfigurationName {
  return { tenant, environment: environmentId(environment), application, key };
}

const FIELD_PROBLEMS = list(object({ field: TEXT, message: TEXT }));

const SET_REQUEST = named('SetConfigurationRequest', {
  ...CREATE,
  $id: 'SetConfigurationRequest',
  required: ['key', 'application', 'environment'],
});

const VALIDATION = named(
  'ValidationResult',
  object({
    valid: FLAG,
    errors: described(FIELD_PROBLEMS, 'Why it would be refused'),
    warnings: described(FIELD_PROBLEMS, 'What is suspicious, but not wrong'),
    impact: object({
      inheritedBy: described(list(TEXT), 'Environments that would show the value, too'),
      referencedBy: described(list(TEXT), 'Keys of the same application that refer to it'),
      instances: described(list(TEXT), 'Instances that run the application there'),
    }),
  }),
);

export const COMPONENTS_000 = [SET_REQUEST, VALIDATION];

const TAG = 'Config';
const NAME = { key: TEXT, application: TEXT, environment: ENVIRONMENT };
const REQUIRED = ['key', 'application', 'environment'];

const GET: Operation = {
  operationId: 'configGet',
  summary: 'What holds for a key',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  query: {
    ...NAME,
    default: described(TEXT, 'The value when there is none'),
    reveal: described({ ...FLAG, default: false }, 'Show a secret itself, which is recorded'),
    resolve: RESOLVE,
  },
  required: REQUIRED,
  answers: { 200: { description: 'The value', schema: refTo(VALUE) }, ...READ_PROBLEMS },
};

const SET: Operation = {
  operationId: 'configSet',
  summary: 'Create or update a configuration',
  tag: TAG,
  kind: 'change',
  isConditional: true,
  isLenient: true,
  body: refTo(SET_REQUEST),
  answers: {
    200: { description: 'It was updated', schema: refTo(RESPONSE) },
    201: { description: 'It was created', schema: refTo(RESPONSE) },
    ...CHANGE_PROBLEMS,
  },
};

const VALIDATE: Operation = {
  operationId: 'configValidate',
  summary: 'Try a change without making it',
  tag: TAG,
  kind: 'change',
  isLenient: true,
  body: refTo(SET_REQUEST),
  answers: {
    200: { description: 'What the change would meet', schema: refTo(VALIDATION) },
    ...READ_PROBLEMS,
  },
};

const HISTORY: Operation = {
  operationId: 'configHistory',
  summary: 'Versions of a configuration, newest first',
  tag: TAG,
  kind: 'read',
  isLenient: true,
  query: {
    ...NAME,
    before: described(COUNT, 'Only versions below this one'),
    size: described({ type: 'integer', default: 100 }, 'Versions of one page'),
  },
  required: REQUIRED,
  answers: {
    200: {
      description: 'A page of versions',
      schema: object({ versions: list(refTo(VERSION)), next: { ...COUNT, nullable: true } }),
    },
    ...READ_PROBLEMS,
  },
};
