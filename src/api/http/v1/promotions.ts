import type { FastifyInstance } from 'fastify';
import { environmentId } from '../../../service/environments/spelling.ts';
import type { RestContext } from '../rest/context.ts';
import { changeOptions, type ReadQuery, readOptions, sendRead, sendWritten } from '../rest/exchange.ts';
import { CHANGE_PROBLEMS, READ_PROBLEMS } from '../rest/problem-schema.ts';
import {
  ANY,
  CHANGE_FIELDS,
  COUNT,
  described,
  FLAG,
  list,
  named,
  nullable,
  type Operation,
  object,
  operation,
  refTo,
  strictObject,
  TEXT,
  TEXTS,
  TIME,
} from '../rest/schema.ts';
import { FEATURE, featureOf } from './feature-shapes.ts';
import { CHANGE, DRY_RUN, ENVIRONMENT_ID, NAME_FIELDS } from './schemas.ts';
import { writtenOf } from './views.ts';

interface PromoteBody {
  readonly application: string;
  readonly from: string;
  readonly to: string;
  readonly keys?: readonly string[];
  readonly deleteMissing?: boolean;
  readonly dryRun?: boolean;
}
interface PromoteFlagsBody {
  readonly application: string;
  readonly from: string;
  readonly to: string;
  readonly flags?: readonly string[];
  readonly segments?: readonly string[];
  readonly dryRun?: boolean;
}
interface NameParams {
  readonly name: string;
}

/** From one environment to another, and named releases. */
export function promotions(api: FastifyInstance, context: RestContext): void {
  api.post<{ Body: PromoteBody }>(
    '/api/v1/promotions',
    { schema: operation(PROMOTE) },
    async (request, reply) => {
      const { application, from, to, keys, deleteMissing, dryRun } = request.body;
      const answer = await context.service.promotion.promote(request.caller, {
        tenant: request.tenant,
        application,
        from: environmentId(from, 'from'),
        to: environmentId(to, 'to'),
        keys,
        deleteMissing,
        dryRun,
        ...changeOptions(request),
      });
      const { revision, isRepeated } = answer;
      return sendWritten(reply, { revision, isRepeated, body: writtenOf(answer) });
    },
  );
  flagPromotions(api, context);
  changeSets(api, context);
}

function flagPromotions(api: FastifyInstance, { service }: RestContext): void {
  api.post<{ Body: PromoteFlagsBody }>(
    '/api/v1/flags/promotions',
    { schema: operation(PROMOTE_FLAGS) },
    async (request, reply) => {
      const { application, from, to, flags, segments, dryRun } = request.body;
      const { revision, isRepeated, changeId, items } = await service.featurePromotion.promote(
        request.caller,
        {
          tenant: request.tenant,
          application,
          from: environmentId(from, 'from'),
          to: environmentId(to, 'to'),
          flags,
          segments,
          dryRun,
          ...changeOptions(request),
        },
      );
      const shown = items.map(({ type, before, after }) => ({
        type,
        before: before === null ? null : featureOf(before),
        after: featureOf(after),
      }));
      return sendWritten(reply, { revision, isRepeated, body: { revision, changeId, items: shown } });
    },
  );
}

function changeSets(api: FastifyInstance, { service }: RestContext): void {
  api.get<{ Querystring: ReadQuery }>(
    '/api/v1/change-sets',
    { schema: operation(LIST) },
    async (request, reply) => {
      const { tenant, query } = request;
      const wanted = { tenant, ...readOptions(query) };
      const { revision, result } = await service.changeSets.list(request.caller, wanted);
      return sendRead(request, reply, { revision, body: () => ({ items: result }) });
    },
  );

  api.get<{ Params: NameParams; Querystring: ReadQuery }>(
    '/api/v1/change-sets/:name',
    { schema: operation(GET) },
    async (request, reply) => {
      const wanted = { tenant: request.tenant, name: request.params.name, ...readOptions(request.query) };
      const { revision, result } = await service.changeSets.get(request.caller, wanted);
      return sendRead(request, reply, { revision, body: () => result });
    },
  );

  api.post<{ Params: NameParams; Body: { force?: boolean; dryRun?: boolean } | null }>(
    '/api/v1/change-sets/:name/rollback',
    { schema: operation(ROLLBACK) },
    async (request, reply) => {
      const { force, dryRun } = request.body ?? {};
      const { reason, idempotencyKey } = changeOptions(request);
      const { revision, changeIds, items, features } = await service.changeSets.rollback(request.caller, {
        tenant: request.tenant,
        name: request.params.name,
        force,
        dryRun,
        reason,
        idempotencyKey,
      });
      const { items: shown } = writtenOf({
        revision,
        changeId: null,
        isRepeated: false,
        items,
        findings: [],
      });
      return sendWritten(reply, {
        revision,
        body: { revision, changeIds, items: shown, features: features.map(featureOf) },
      });
    },
  );
}

const KIND = { type: 'string', enum: ['configuration', 'flag', 'segment'] };

const CHANGE_SET = named(
  'ChangeSet',
  object({
    tenant: TEXT,
    name: TEXT,
    changes: described(TEXTS, 'In the order in which they were made'),
    items: list(object({ kind: KIND, id: TEXT, tenant: TEXT, ...NAME_FIELDS, before: COUNT, after: COUNT }), {
      description: 'Each configuration, flag and segment with its versions before the set and after',
    }),
    rolledBackAt: nullable(TIME),
    createdBy: TEXT,
    createdAt: TIME,
    updatedAt: TIME,
  }),
);

export const PROMOTION_COMPONENTS = [CHANGE_SET];

const TAG = 'Promotion and releases';

const PROMOTE: Operation = {
  operationId: 'promote',
  summary: 'Take the configurations of an application from one environment to another',
  tag: TAG,
  kind: 'change',
  body: strictObject(
    {
      application: TEXT,
      from: ENVIRONMENT_ID,
      to: ENVIRONMENT_ID,
      keys: described(TEXTS, 'Else all that from has itself'),
      deleteMissing: described(FLAG, 'Also delete what from does not have'),
      dryRun: DRY_RUN,
      ...CHANGE_FIELDS,
    },
    ['application', 'from', 'to'],
  ),
  answers: { 200: { description: 'What was changed', schema: refTo(CHANGE) }, ...CHANGE_PROBLEMS },
};

const PROMOTE_FLAGS: Operation = {
  operationId: 'promoteFlags',
  summary: 'Take flags and segments of an application from one environment to another',
  tag: TAG,
  kind: 'change',
  body: strictObject(
    {
      application: TEXT,
      from: ENVIRONMENT_ID,
      to: ENVIRONMENT_ID,
      flags: described(TEXTS, 'Where neither is named, all that from has itself'),
      segments: TEXTS,
      dryRun: DRY_RUN,
      ...CHANGE_FIELDS,
    },
    ['application', 'from', 'to'],
  ),
  answers: {
    200: {
      description: 'What was changed',
      schema: object({
        revision: COUNT,
        changeId: nullable(TEXT),
        items: list(object({ type: TEXT, before: ANY, after: refTo(FEATURE) })),
      }),
    },
    ...CHANGE_PROBLEMS,
  },
};

const LIST: Operation = {
  operationId: 'listChangeSets',
  summary: 'Named releases, the newest first',
  tag: TAG,
  kind: 'read',
  answers: {
    200: { description: 'All of them', schema: object({ items: list(refTo(CHANGE_SET)) }) },
    ...READ_PROBLEMS,
  },
};

const GET: Operation = {
  operationId: 'getChangeSet',
  summary: 'A named release',
  tag: TAG,
  kind: 'read',
  params: { name: TEXT },
  answers: { 200: { description: 'The release', schema: refTo(CHANGE_SET) }, ...READ_PROBLEMS },
};

const ROLLBACK: Operation = {
  operationId: 'rollbackChangeSet',
  summary: 'Take everything of a release back (configurations, flags and segments) to what it was before',
  tag: TAG,
  kind: 'change',
  params: { name: TEXT },
  body: nullable(
    strictObject({
      force: described(FLAG, 'Also where somebody has changed something since'),
      dryRun: DRY_RUN,
      reason: CHANGE_FIELDS['reason']!,
      changeDescription: CHANGE_FIELDS['changeDescription']!,
    }),
  ),
  answers: {
    200: {
      description: 'What was changed',
      schema: object({
        revision: COUNT,
        changeIds: TEXTS,
        items: list(object({})),
        features: list(refTo(FEATURE)),
      }),
    },
    ...CHANGE_PROBLEMS,
  },
};
