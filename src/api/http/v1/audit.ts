import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { AuditFilter } from '../../../service/audit/audit-filter.ts';
import type { AuditEntry } from '../../../service/audit/audit-view.ts';
import { type AuditFormat, auditLines } from '../../../service/audit/export.ts';
import { environmentId } from '../../../service/environments/spelling.ts';
import type { Operation } from '../../../service/model.ts';
import { ServiceError } from '../../../service/service-error.ts';
import type { RestContext } from '../rest/context.ts';
import { type ReadQuery, readOptions, sendRead } from '../rest/exchange.ts';
import { operation } from '../rest/schema.ts';
import { EXPORT, LIST, SEAL } from './audit-operations.ts';
import { sideOf } from './views.ts';

interface FilterQuery {
  readonly actor?: string;
  readonly from?: string;
  readonly to?: string;
  readonly operation?: Operation;
  readonly changeSet?: string;
  readonly environment?: string;
  readonly application?: string;
  readonly key?: string;
  readonly keyPrefix?: string;
}
interface ListQuery extends FilterQuery, ReadQuery {
  readonly cursor?: number;
  readonly size?: number;
}
interface ExportQuery extends FilterQuery, ReadQuery {
  readonly format?: AuditFormat;
}

const MEDIA_TYPES: Readonly<Record<AuditFormat, string>> = {
  jsonl: 'application/x-ndjson; charset=utf-8',
  csv: 'text/csv; charset=utf-8',
};

/** Who did what. */
export function audit(api: FastifyInstance, context: RestContext): void {
  const { service } = context;
  const path = '/api/v1/audit';
  api.get<{ Querystring: ListQuery }>(path, { schema: operation(LIST) }, async (request, reply) => {
    const { cursor, size } = request.query;
    const { revision, items, next } = await service.audit.query(request.caller, {
      ...filterOf(request.tenant, request.query),
      ...readOptions(request.query),
      cursor,
      size,
    });
    return sendRead(request, reply, { revision, body: () => ({ items: items.map(entryOf), next }) });
  });

  api.get(`${path}/seal`, { schema: operation(SEAL) }, async (request, reply) => {
    const { count, revision, link } = await service.audit.sealed(request.caller, { tenant: request.tenant });
    const body = () => ({ sealed: count, revision, anchor: `${count}:${link}` });
    return sendRead(request, reply, { revision, body });
  });
  exported(api, context);
}

function exported(api: FastifyInstance, { service, limits }: RestContext): void {
  let underWay = 0;
  const take = (reply: FastifyReply): void => {
    if (underWay >= limits.auditExportsMax) {
      throw new ServiceError('too-many-requests', 'this server has too many exports of the audit under way');
    }
    underWay += 1;
    reply.raw.once('close', () => {
      underWay -= 1;
    });
  };
  api.get<{ Querystring: ExportQuery }>(
    '/api/v1/audit/export',
    { schema: operation(EXPORT) },
    async (request: FastifyRequest<{ Querystring: ExportQuery }>, reply) => {
      take(reply);
      const { format = 'jsonl' } = request.query;
      const entries = service.audit.entries(request.caller, {
        ...filterOf(request.tenant, request.query),
        ...readOptions(request.query),
      });
      const lines = auditLines(await begun(entries), { format, shape: entryOf });
      reply.header('cache-control', 'private, no-store').type(MEDIA_TYPES[format]);
      return reply.send(Readable.from(lines, { objectMode: false }));
    },
  );
}

/** The same, once its first is there: what fails at once is told as ever, and not in the middle of an answer. */
async function begun<T>(source: AsyncGenerator<T>): Promise<AsyncIterable<T>> {
  const first = await source.next();
  return (async function* all() {
    if (first.done === true) return;
    yield first.value;
    yield* source;
  })();
}

function filterOf(tenant: string, query: FilterQuery): AuditFilter {
  const { actor, from, to, changeSet, environment, application, key, keyPrefix } = query;
  return {
    tenant,
    actor,
    from,
    to,
    operation: query.operation,
    changeSet,
    environment: environment === undefined ? undefined : environmentId(environment),
    application,
    key,
    keyPrefix,
  };
}

function entryOf({ actor, items, ...rest }: AuditEntry) {
  const { isAuthenticated: authenticated, name, claimed, address, agent } = actor;
  return {
    ...rest,
    actor: { name, authenticated, claimed, address, agent },
    items: items.map(({ oldValue, newValue, ...item }) => ({
      ...item,
      oldValue: sideOf(oldValue),
      newValue: sideOf(newValue),
    })),
  };
}
