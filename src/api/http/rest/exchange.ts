import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Caller } from '../../../service/caller.ts';
import type { ChangeOptions } from '../../../service/commit.ts';
import type { EffectiveOptions, ReadOptions } from '../../../service/configurations/reads.ts';
import type { Json } from '../../../service/model.ts';
import { LENGTHS } from '../../../service/names.ts';
import type { Consistency } from '../../../service/projection.ts';
import { invalid } from '../../../service/service-error.ts';
import { isObject } from '../../../service/values/json-limits.ts';
import { isNoneMatch } from './entity-tags.ts';
import { headerText } from './identity.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks; set before the body is read. */
    caller: Caller;
    tenant: string;
    /** It stays open for long, and does not count among the requests under way any more. */
    letGo: () => void;
  }
}

/** Parameters that every read takes. */
export interface ReadQuery {
  readonly consistency?: Consistency['type'];
  readonly maxStalenessMs?: number;
}

/** Parameters of reads of what holds in an environment. */
export interface EffectiveQuery extends ReadQuery {
  readonly reveal?: boolean;
  readonly resolve?: boolean;
}

/** Of a bounded read that does not say so itself. */
const MAX_STALENESS_MS_DEFAULT = 1_000;

/** How fresh the answer must be. @throws ServiceError `invalid` for a bound without its consistency */
export function readOptions({ consistency, maxStalenessMs }: ReadQuery): ReadOptions {
  if (maxStalenessMs !== undefined && consistency !== 'bounded') {
    throw invalid({ field: 'maxStalenessMs', message: 'goes with consistency=bounded' });
  }
  switch (consistency) {
    case 'eventual':
      return { consistency: { type: 'eventual' } };
    case 'bounded':
      return { consistency: { type: 'bounded', maxStalenessMs: maxStalenessMs ?? MAX_STALENESS_MS_DEFAULT } };
    default:
      return {};
  }
}

/** As `readOptions`, and whether references to other keys are filled in. @throws ServiceError `invalid` */
export function effectiveOptions(query: EffectiveQuery): Omit<EffectiveOptions, 'reveal'> {
  return { ...readOptions(query), resolve: query.resolve };
}

/**
 * What a change says of itself: `reason` or `changeDescription`, and `changeSet`, in the body or the query, and the
 * header `Idempotency-Key`.
 *
 * @throws ServiceError `invalid`
 */
export function changeOptions(request: FastifyRequest): ChangeOptions {
  const key = request.headers['idempotency-key'];
  return {
    reason: saidIn(request, 'reason') ?? saidIn(request, 'changeDescription'),
    changeSet: saidIn(request, 'changeSet'),
    idempotencyKey: key === undefined ? undefined : keyOf(headerText(key)),
  };
}

function keyOf(header: string): string {
  if (header.length === 0 || header.length > LENGTHS.idempotencyKey) {
    throw invalid({ field: 'Idempotency-Key', message: `must be 1 to ${LENGTHS.idempotencyKey} characters` });
  }
  return header;
}

function saidIn({ body, query }: FastifyRequest, field: string): string | undefined {
  const said = [body, query].flatMap((part) => {
    const value = isObject(part as Json) ? (part as { readonly [name: string]: Json })[field] : undefined;
    return value === undefined || value === null ? [] : [value];
  })[0];
  if (said !== undefined && typeof said !== 'string') throw invalid({ field, message: 'must be a string' });
  return said;
}

/** What was read, and what it is known by. */
export interface Representation {
  /** 0 = it does not come from the store. */
  readonly revision: number;
  /** Without quotes; undefined = it has none. */
  readonly etag?: string;
  /** Made only when it is sent. */
  readonly body: () => unknown;
  /** Default: JSON. */
  readonly mediaType?: string;
  /** It shows secrets: nobody may keep it. */
  readonly isSecret?: boolean;
}

/** Answers a read: 304 when the caller has it already. */
export function sendRead(
  request: FastifyRequest,
  reply: FastifyReply,
  { revision, etag, body, mediaType, isSecret }: Representation,
): FastifyReply {
  const isKnown = etag !== undefined && isNoneMatch(request.headers['if-none-match'], etag);
  if (revision > 0) reply.header('conclave-revision', revision);
  reply.header('cache-control', isSecret === true ? 'no-store' : 'private, no-cache');
  if (etag !== undefined) reply.header('etag', `"${etag}"`);
  if (isKnown) return reply.code(304).send();
  return sendBody(reply, body(), mediaType);
}

/** What a change did. */
export interface Written {
  /** 0 = nothing was done. */
  readonly revision: number;
  readonly isRepeated?: boolean;
  /** Of what it left; undefined = it left several things, or none. */
  readonly etag?: string;
  /** Default: 200, or 204 without a body. */
  readonly status?: number;
  /** Where what it made is. */
  readonly location?: string;
  readonly body?: unknown;
}

/** Answers a change. */
export function sendWritten(
  reply: FastifyReply,
  { revision, isRepeated, etag, status, location, body }: Written,
): FastifyReply {
  if (revision > 0) reply.header('conclave-revision', revision);
  reply.header('cache-control', 'no-store');
  if (isRepeated === true) reply.header('idempotency-replayed', 'true');
  if (etag !== undefined) reply.header('etag', `"${etag}"`);
  if (location !== undefined) reply.header('location', location);
  if (body === undefined) return reply.code(status ?? 204).send();
  reply.code(status ?? 200);
  return sendBody(reply, body);
}

function sendBody(reply: FastifyReply, body: unknown, mediaType?: string): FastifyReply {
  if (mediaType !== undefined) return reply.type(mediaType).send(body);
  return reply.type('application/json; charset=utf-8').send(JSON.stringify(body));
}
