import { fastify } from 'fastify';
import type { Kv } from '../../kv/kv.ts';
import type { Logger } from '../../lib/logger.ts';
import { environmentId } from '../../service/environments/spelling.ts';
import type { Service } from '../../service/service.ts';
import { ServiceError } from '../../service/service-error.ts';
import { serviceErrorMapping } from '../service-errors.ts';
import type { ServiceFace } from './http-face.ts';

/** What the service is served with. */
export interface RestOptions {
  readonly service: Service;
  /** Where callers are known. */
  readonly kv: Kv;
  readonly logger: Logger;
  /** Of requests that do not say: their tenant, and their environment by its id. */
  readonly tenant: string;
  readonly environment: string;
  readonly requireIdentity: boolean;
}

/** The effective values of an application, by key. */
export async function restApp({ service, logger, ...defaults }: RestOptions): Promise<ServiceFace> {
  const app = fastify();
  app.get<{
    readonly Params: { readonly application: string };
    readonly Querystring: { readonly environment?: string };
  }>('/v1/config/services/:application', async (request, reply) => {
    const control = new AbortController();
    reply.raw.once('close', () => control.abort());
    const user = request.headers['x-conclave-user'];
    const { result, revision } = await service.reads.effective(
      {
        actor: {
          name: typeof user === 'string' ? user : 'anonymous',
          isAuthenticated: false,
          claimed: null,
          address: request.ip,
          agent: request.headers['user-agent'] ?? null,
        },
        principal: { type: 'anonymous' },
        signal: control.signal,
      },
      {
        scope: {
          tenant: defaults.tenant,
          environment: environmentId(request.query.environment ?? defaults.environment),
          application: request.params.application,
        },
      },
    );
    reply.header('etag', `"${result.etag}"`).header('conclave-revision', String(revision));
    return Object.fromEntries(result.items.map(({ key, value }) => [key, value.json]));
  });
  app.setErrorHandler((error, _request, reply) => {
    if (error instanceof ServiceError) {
      const { http } = serviceErrorMapping(error.code);
      return reply.code(http).send({ message: error.message, errors: error.problems });
    }
    logger.error({ err: error }, 'a request failed: a bug');
    return reply.code(500).send({ message: 'internal error', errors: [] });
  });
  await app.ready();
  return {
    request: (request, response) => app.routing(request, response),
    upgrade: (_request, socket) => {
      socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n');
    },
    close: () => app.close(),
  };
}
