import type { FastifyInstance } from 'fastify';
import type { BulkItem } from '../../../service/configurations/configurations.ts';
import type { ItemAction } from '../../../service/configurations/requests.ts';
import { environmentId } from '../../../service/environments/spelling.ts';
import type { Json } from '../../../service/model.ts';
import type { RestContext } from '../rest/context.ts';
import {
  changeOptions,
  type EffectiveQuery,
  effectiveOptions,
  type ReadQuery,
  readOptions,
  sendRead,
  sendWritten,
} from '../rest/exchange.ts';
import { lookedUp, lookedUpAll } from '../rest/lookup.ts';
import { CHANGE_PROBLEMS, PROBLEM, READ_PROBLEMS } from '../rest/problem-schema.ts';
import {
  ANY,
  CHANGE_FIELDS,
  described,
  FLAG,
  list,
  type Operation,
  object,
  operation,
  RESOLVE,
  refTo,
  strictObject,
  TEXT,
  TEXTS,
} from '../rest/schema.ts';
import { type ContentBody, contentOf, type NameBody, nameOf, type RefBody, refOf } from './requests.ts';
import {
  CHANGE,
  CONTENT_FIELDS,
  DRY_RUN,
  EFFECTIVE,
  ENVIRONMENT_ID,
  NAME_FIELDS,
  OLD_VALUE,
  REF_FIELDS,
} from './schemas.ts';
import { effectiveOf, writtenOf } from './views.ts';

interface ScopeQuery extends EffectiveQuery {
  readonly application: string;
  readonly environment: string;
}
type ItemBody = RefBody &
  ContentBody & {
    readonly action: ItemAction;
    readonly mergePatch?: Json;
    readonly oldValue?: Json;
    readonly ifMatch?: readonly string[];
  };

/** Many configurations at once: what holds for many keys, and changes that are made together or not at all. */
export function bulk(api: FastifyInstance, context: RestContext): void {
  effectiveValues(api, context);
  const { service } = context;

  api.post<{
    Body: { application: string; environment: string; keys: string[]; reveal?: boolean; resolve?: boolean };
    Querystring: ReadQuery;
  }>('/api/v1/bulk/get', { schema: operation(BULK_GET) }, async (request, reply) => {
    const { application, environment, keys, reveal, resolve } = request.body;
    const scope = { tenant: request.tenant, environment: environmentId(environment), application };
    const wanted = { scope, keys, reveal, resolve, ...readOptions(request.query) };
    const { revision, result } = await service.reads.getMany(request.caller, wanted);
    const found = new Set(result.items.map(({ key }) => key));
    const missing = [...new Set(keys)].filter((key) => !found.has(key));
    const body = () => ({ items: result.items.map(effectiveOf), missing });
    return sendRead(request, reply, { revision, body, isSecret: reveal === true });
  });

  api.post<{ Body: { items: ItemBody[]; dryRun?: boolean } }>(
    '/api/v1/bulk',
    { schema: operation(BULK) },
    async (request, reply) => {
      const { tenant, body } = request;
      const answer = await service.configurations.bulk(request.caller, {
        tenant,
        items: body.items.map((item, at) => itemOf(tenant, item, `items/${at}/`)),
        dryRun: body.dryRun,
        ...changeOptions(request),
      });
      const { revision, isRepeated } = answer;
      return sendWritten(reply, { revision, isRepeated, body: writtenOf(answer) });
    },
  );
}

function effectiveValues(api: FastifyInstance, { service }: RestContext): void {
  api.get<{ Querystring: ScopeQuery }>(
    '/api/v1/effective',
    { schema: operation(ALL_EFFECTIVE) },
    async (request, reply) => {
      const { application, environment, reveal } = request.query;
      const scope = { tenant: request.tenant, environment: environmentId(environment), application };
      return lookedUpAll(
        service,
        { request, reply },
        {
          scope,
          reveal: reveal === true,
          options: effectiveOptions(request.query),
          shape: ({ items }) => ({ items: items.map(effectiveOf) }),
        },
      );
    },
  );

  api.get<{ Querystring: NameBody & EffectiveQuery }>(
    '/api/v1/lookup',
    { schema: operation(LOOKUP) },
    async (request, reply) =>
      lookedUp(
        service,
        { request, reply },
        {
          name: nameOf(request.tenant, request.query),
          reveal: request.query.reveal === true,
          options: effectiveOptions(request.query),
          shape: effectiveOf,
        },
      ),
  );
}

function itemOf(tenant: string, item: ItemBody, place: string): BulkItem {
  const { action, mergePatch, oldValue, ifMatch } = item;
  return {
    action,
    ref: refOf(tenant, item, place),
    ...contentOf(item),
    mergePatch,
    oldValue,
    ifMatch,
  };
}

const TAG = 'Many at once';
const REVEAL = described({ ...FLAG, default: false }, 'Show secrets themselves, which is recorded');
const SCOPE = { application: TEXT, environment: ENVIRONMENT_ID };

const ALL_EFFECTIVE: Operation = {
  operationId: 'getEffectiveValues',
  summary: 'Everything that holds for an application in an environment, and where it comes from',
  tag: TAG,
  kind: 'read',
  query: { ...SCOPE, reveal: REVEAL, resolve: RESOLVE },
  required: ['application', 'environment'],
  answers: {
    200: { description: 'The values', schema: object({ items: list(refTo(EFFECTIVE)) }) },
    ...READ_PROBLEMS,
  },
};

const LOOKUP: Operation = {
  operationId: 'lookupEffectiveValue',
  summary: 'What holds for one key, and where it comes from',
  tag: TAG,
  kind: 'read',
  query: { ...NAME_FIELDS, reveal: REVEAL, resolve: RESOLVE },
  required: ['application', 'environment', 'key'],
  answers: { 200: { description: 'The value', schema: refTo(EFFECTIVE) }, ...READ_PROBLEMS },
};

const BULK_GET: Operation = {
  operationId: 'bulkGet',
  summary: 'What holds for many keys',
  tag: TAG,
  kind: 'read',
  body: strictObject({ ...SCOPE, keys: { ...TEXTS, maxItems: 1_000 }, reveal: REVEAL, resolve: RESOLVE }, [
    'application',
    'environment',
    'keys',
  ]),
  answers: {
    200: {
      description: 'What holds, and the keys for which nothing does',
      schema: object({ items: list(refTo(EFFECTIVE)), missing: TEXTS }),
    },
    ...READ_PROBLEMS,
  },
};

const BULK: Operation = {
  operationId: 'bulkChange',
  summary: 'Up to 40 changes that are made together or not at all',
  tag: TAG,
  kind: 'change',
  body: strictObject(
    {
      items: list(
        strictObject(
          {
            action: { type: 'string', enum: ['create', 'update', 'put', 'delete'] },
            ...REF_FIELDS,
            ...CONTENT_FIELDS,
            mergePatch: described(ANY, 'Instead of value: a JSON Merge Patch of it'),
            oldValue: OLD_VALUE,
            ifMatch: described(TEXTS, 'Entity tags without quotes'),
          },
          ['action'],
        ),
      ),
      dryRun: DRY_RUN,
      ...CHANGE_FIELDS,
    },
    ['items'],
  ),
  answers: {
    200: { description: 'What was changed', schema: refTo(CHANGE) },
    ...CHANGE_PROBLEMS,
    412: { description: 'ifMatch of an item names another revision', schema: refTo(PROBLEM) },
  },
};
