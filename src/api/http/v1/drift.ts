import type { FastifyInstance } from 'fastify';
import type { Drift } from '../../../service/configurations/drift.ts';
import { environmentId } from '../../../service/environments/spelling.ts';
import type { ConfigurationName } from '../../../service/model.ts';
import type { RestContext } from '../rest/context.ts';
import { changeOptions, type ReadQuery, readOptions, sendRead, sendWritten } from '../rest/exchange.ts';
import { CHANGE_PROBLEMS, READ_PROBLEMS } from '../rest/problem-schema.ts';
import {
  CHANGE_FIELDS,
  COUNT,
  FLAG,
  list,
  type Operation,
  object,
  operation,
  refTo,
  strictObject,
  TEXT,
} from '../rest/schema.ts';
import { type ContentBody, contentOf, type NameBody, nameOf } from './requests.ts';
import { CHANGE, CONTENT_FIELDS, ENVIRONMENT_ID, FINDING, NAME_FIELDS, SIDE } from './schemas.ts';
import { findingsOf, sideOf, writtenOf } from './views.ts';

interface DriftQuery extends ReadQuery {
  readonly application?: string;
  readonly environment?: string;
}
interface NamesBody {
  readonly names: readonly NameBody[];
}

/** What plain clients changed past the service, and what a change would meet. */
export function drift(api: FastifyInstance, context: RestContext): void {
  const { service } = context;
  api.get<{ Querystring: DriftQuery }>(
    '/api/v1/drift',
    { schema: operation(LIST) },
    async (request, reply) => {
      const { application, environment } = request.query;
      // It is checked, and always strong: whoever asks for less gets more.
      readOptions(request.query);
      const { revision, result } = await service.drifts.list(request.caller, {
        tenant: request.tenant,
        application,
        environment: environment === undefined ? undefined : environmentId(environment),
      });
      const body = () => ({ items: result.items.map(driftOf), more: result.more });
      return sendRead(request, reply, { revision, body });
    },
  );

  api.post<{ Body: NamesBody }>(
    '/api/v1/drift/adopt',
    { schema: operation(ADOPT) },
    async (request, reply) => {
      const names = namesOf(request.tenant, request.body);
      const answer = await service.drifts.adopt(request.caller, { names, ...changeOptions(request) });
      const { revision, isRepeated } = answer;
      return sendWritten(reply, { revision, isRepeated, body: writtenOf(answer) });
    },
  );

  api.post<{ Body: NamesBody }>(
    '/api/v1/drift/revert',
    { schema: operation(REVERT) },
    async (request, reply) => {
      const names = namesOf(request.tenant, request.body);
      const wanted = { names, ...changeOptions(request) };
      const { revision, reverted } = await service.drifts.revert(request.caller, wanted);
      return sendWritten(reply, { revision, body: { revision, reverted } });
    },
  );
  validate(api, context);
}

function validate(api: FastifyInstance, { service }: RestContext): void {
  api.post<{ Body: NameBody & ContentBody }>(
    '/api/v1/validate',
    { schema: operation(VALIDATE) },
    async (request, reply) => {
      const { reason } = changeOptions(request);
      const { revision, result } = await service.validations.validate(request.caller, {
        name: nameOf(request.tenant, request.body),
        ...contentOf(request.body),
        reason,
      });
      const { isValid, problems, findings, impact } = result;
      const body = () => ({ valid: isValid, errors: problems, warnings: findingsOf(findings), impact });
      return sendRead(request, reply, { revision, body });
    },
  );
}

function namesOf(tenant: string, { names }: NamesBody): readonly ConfigurationName[] {
  return names.map((name, at) => nameOf(tenant, name, `names/${at}/`));
}

function driftOf({ environment, application, key, expected, actual, modRevision, type }: Drift) {
  const name = { environment, application, key };
  return { ...name, drift: type, expected: sideOf(expected), actual: sideOf(actual), revision: modRevision };
}

const TAG = 'Drift and validation';

const LIST: Operation = {
  operationId: 'listDrift',
  summary: 'Plain values that are not what the service put there',
  tag: TAG,
  kind: 'read',
  query: { application: TEXT, environment: ENVIRONMENT_ID },
  answers: {
    200: {
      description: 'The first 1,000',
      schema: object({
        items: list(
          object({
            ...NAME_FIELDS,
            drift: { type: 'string', enum: ['changed', 'missing', 'unmanaged'] },
            expected: SIDE,
            actual: SIDE,
            revision: COUNT,
          }),
        ),
        more: FLAG,
      }),
    },
    ...READ_PROBLEMS,
  },
};

const NAMES = strictObject(
  {
    names: list(strictObject(NAME_FIELDS, ['application', 'environment', 'key'])),
    ...CHANGE_FIELDS,
  },
  ['names'],
);

const ADOPT: Operation = {
  operationId: 'adoptDrift',
  summary: 'Make what stands at the plain keys the configurations',
  tag: TAG,
  kind: 'change',
  body: NAMES,
  answers: { 200: { description: 'What was changed', schema: refTo(CHANGE) }, ...CHANGE_PROBLEMS },
};

const REVERT: Operation = {
  operationId: 'revertDrift',
  summary: 'Put back what the configurations say',
  tag: TAG,
  kind: 'change',
  body: NAMES,
  answers: {
    200: { description: 'How many were put back', schema: object({ revision: COUNT, reverted: COUNT }) },
    ...CHANGE_PROBLEMS,
  },
};

const VALIDATE: Operation = {
  operationId: 'validateConfiguration',
  summary: 'What a change would meet, and whom it would reach; nothing is changed',
  tag: TAG,
  kind: 'change',
  body: strictObject({ ...NAME_FIELDS, ...CONTENT_FIELDS, ...CHANGE_FIELDS }, [
    'application',
    'environment',
    'key',
  ]),
  answers: {
    200: {
      description: 'What was found',
      schema: object({
        valid: FLAG,
        errors: list(object({ field: TEXT, message: TEXT })),
        warnings: list(refTo(FINDING)),
        impact: object({ inheritedBy: list(TEXT), referencedBy: list(TEXT), instances: list(TEXT) }),
      }),
    },
    ...READ_PROBLEMS,
  },
};
