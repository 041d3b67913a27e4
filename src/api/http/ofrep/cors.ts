import type { IncomingMessage } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { crossOrigin } from '../../../lib/cross-origin.ts';
import { requestTarget } from '../../../lib/request-target.ts';

/** Paths of OFREP, by themselves and below a scope. */
const OFREP = /^\/(?:flags\/[^/]+\/[^/]+\/)?ofrep\//;

const METHODS = 'GET, POST, OPTIONS';
const REQUEST_HEADERS = [
  'content-type',
  'authorization',
  'x-api-key',
  'if-none-match',
  'last-event-id',
  'x-conclave-application',
  'x-conclave-environment',
  'x-conclave-tenant',
  'x-conclave-user',
].join(', ');
/** How long a browser may remember what it was told. */
const MAX_AGE_SECONDS = 600;

/** Whether a page of one of these origins evaluates flags: it is none of another site then. */
export function mayEvaluate(request: IncomingMessage, origins: readonly string[]): boolean {
  return OFREP.test(requestTarget(request.url).path) && crossOrigin(request, origins).allowed !== null;
}

/** Lets the web pages of these origins evaluate flags. Browsers ask before, without a login. */
export function allowOrigins(app: FastifyInstance, origins: readonly string[]): void {
  app.addHook('onRequest', async (request, reply) => {
    if (!OFREP.test(requestTarget(request.url).path)) return undefined;
    const { allowed } = crossOrigin(request.raw, origins);
    if (allowed !== '*') reply.header('vary', 'Origin');
    if (allowed !== null) {
      reply.header('access-control-allow-origin', allowed);
      reply.header('access-control-expose-headers', 'etag, retry-after, conclave-revision');
    }
    if (request.method !== 'OPTIONS') return undefined;
    if (allowed !== null) {
      reply.header('access-control-allow-methods', METHODS);
      reply.header('access-control-allow-headers', REQUEST_HEADERS);
      reply.header('access-control-max-age', MAX_AGE_SECONDS);
    }
    return reply.code(204).send();
  });
}
