import { type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import type { Kv } from '../../kv/kv.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Caller } from '../../service/caller.ts';
import { environmentId } from '../../service/environments/spelling.ts';
import type { ValueType } from '../../service/model.ts';
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
export async function restFace({ service, logger, ...defaults }: RestOptions): Promise<ServiceFace> {
  const app = fastify();
  const callerOf = (request: FastifyRequest, reply: FastifyReply): Caller => {
    const control = new AbortController();
    reply.raw.once('close', () => control.abort());
    const user = request.headers['x-conclave-user'];
    const name = typeof user === 'string' ? user : 'anonymous';
    const agent = request.headers['user-agent'] ?? null;
    const actor = { name, isAuthenticated: false, claimed: null, address: request.ip, agent };
    return { actor, principal: { type: 'anonymous' }, signal: control.signal };
  };

  app.post<{ readonly Body: NewConfiguration }>('/configs', async (request, reply) => {
    const { key, application, valueType, value } = request.body;
    const environment = environmentId(request.body.environment);
    const name = { tenant: defaults.tenant, environment, application, key };
    const type = valueType === 'NUMBER' ? 'float' : (valueType.toLowerCase() as ValueType);
    const created = { name, type, value: { text: value } };
    const { revision, items } = await service.configurations.create(callerOf(request, reply), created);
    reply.code(201).header('conclave-revision', String(revision));
    return items[0];
  });

  app.get<{
    readonly Params: { readonly application: string };
    readonly Querystring: { readonly environment?: string };
  }>('/v1/config/services/:application', async (request, reply) => {
    const { result, revision } = await service.reads.effective(callerOf(request, reply), {
      scope: {
        tenant: defaults.tenant,
        environment: environmentId(request.query.environment ?? defaults.environment),
        application: request.params.application,
      },
    });
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

/** As 002 has it. */
interface NewConfiguration {
  readonly key: string;
  readonly application: string;
  readonly environment: string;
  readonly valueType: string;
  readonly value: string;
}
