import { createHash } from 'node:crypto';
import swagger from '@fastify/swagger';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { VERSION } from '../../../lib/version.ts';
import { docsPage } from './docs-page.ts';
import { isNoneMatch } from './entity-tags.ts';
import type { DocumentedSchema } from './schema.ts';

/**
 * Serves the OpenAPI document of all routes at `/openapi.json`, and as a page for people at `/docs`. Both are open to
 * everybody, and say nothing of what is stored.
 */
export async function serveDocument(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.0.3',
      info: {
        title: 'Configuration Service API',
        version: VERSION,
        description: 'Applications, environments, configurations and their versions',
      },
      components: {
        securitySchemes: {
          basic: { type: 'http', scheme: 'basic' },
          bearer: { type: 'http', scheme: 'bearer' },
        },
      },
      // Needed once the store wants to know who asks.
      security: [{}, { basic: [] }, { bearer: [] }],
    },
    refResolver: {
      buildLocalReference: ({ $id }, _base, _fragment, at) =>
        typeof $id === 'string' ? $id : `schema-${at}`,
    },
    transform: ({ schema, url }) => {
      const { shownHeaders, ...rest } = (schema ?? {}) as unknown as DocumentedSchema;
      return { schema: shownHeaders === undefined ? rest : { ...rest, headers: shownHeaders }, url };
    },
  });
  let document: Served | null = null;
  let page: Served | null = null;
  app.get('/openapi.json', { schema: { hide: true } as object }, async (request, reply) => {
    document ??= served(JSON.stringify(app.swagger()), 'application/json; charset=utf-8');
    return send(document, { request, reply });
  });
  app.get('/docs', { schema: { hide: true } as object }, async (request, reply) => {
    page ??= served(docsPage(app.swagger()), 'text/html; charset=utf-8');
    // Nothing is loaded from anywhere, and nothing runs.
    reply.header('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'");
    return send(page, { request, reply });
  });
}

interface Served {
  readonly text: string;
  readonly etag: string;
  readonly mediaType: string;
}

function served(text: string, mediaType: string): Served {
  const etag = createHash('sha256').update(text).digest('base64url').slice(0, 22);
  return { text, etag, mediaType };
}

function send(
  { text, etag, mediaType }: Served,
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
): FastifyReply {
  reply.header('etag', `"${etag}"`).header('cache-control', 'no-cache');
  if (isNoneMatch(request.headers['if-none-match'], etag)) return reply.code(304).send();
  return reply.type(mediaType).send(text);
}
