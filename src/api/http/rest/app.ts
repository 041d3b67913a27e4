import type { RequestListener } from 'node:http';
import {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
} from 'fastify';
import type { Logger } from '../../../lib/logger.ts';
import { requestTarget } from '../../../lib/request-target.ts';
import { checkTenant } from '../../../service/names.ts';
import type { Service } from '../../../service/service.ts';
import { invalid, ServiceError } from '../../../service/service-error.ts';
import { Identity, type IdentityOptions } from '../../identity.ts';
import { COMPONENTS, registerDialects } from '../dialects.ts';
import { allowOrigins, mayEvaluate } from '../ofrep/cors.ts';
import { STREAM_LIMITS_DEFAULT, type StreamLimits } from '../streams/limits.ts';
import { LiveStreams } from '../streams/live-streams.ts';
import { HeldRequests, takeJson } from './bodies.ts';
import { headerText, shownBy } from './identity.ts';
import { PATH_PART_LENGTH_MAX, REST_LIMITS_DEFAULT, type RestLimits } from './limits.ts';
import { serveDocument } from './openapi.ts';
import { checkSite, FOR_THIS_SITE } from './other-sites.ts';
import { missing, sendError, sendProblem } from './problems.ts';
import { RouteTable } from './route-table.ts';
import { checkRequests } from './validation.ts';

export interface RestOptions {
  readonly service: Service;
  readonly identity: IdentityOptions;
  readonly logger: Logger;
  /** Default: those of `REST_LIMITS_DEFAULT`. */
  readonly limits?: Partial<RestLimits> | undefined;
  /** Default: those of `STREAM_LIMITS_DEFAULT`. */
  readonly streamLimits?: Partial<StreamLimits> | undefined;
  /** Of requests without `X-Conclave-Tenant`; default: `default`. */
  readonly defaultTenant?: string | undefined;
  /** Canonical id, where a dialect lets the environment be left out; default: `development`. */
  readonly defaultEnvironment?: string | undefined;
  /** Whose web pages may evaluate flags; `*` for all, default: none. */
  readonly corsOrigins?: readonly string[] | undefined;
}

/** Other encodings than none are not taken: what a body holds must show in its length. */
const IDENTITY_ENCODING = /^(?:identity)?$/i;

/**
 * The REST face of the configuration service: every dialect at its own paths, and the document that describes them. It
 * listens nowhere; `restHandler` makes of it what a listener takes.
 */
export async function restApp(options: RestOptions): Promise<FastifyInstance> {
  const { service, logger } = options;
  const limits = { ...REST_LIMITS_DEFAULT, ...options.limits };
  const app = fastify({
    logger: false,
    bodyLimit: limits.bodyBytesMax,
    routerOptions: { maxParamLength: PATH_PART_LENGTH_MAX },
    frameworkErrors: (error: FastifyError, request: FastifyRequest, reply: FastifyReply) =>
      sendError(error, { request, reply, logger }),
  });
  const routes = new RouteTable(app);
  app.decorateRequest('tenant', '');
  app.decorateRequest('caller');
  app.decorateRequest('letGo', () => undefined);
  app.setErrorHandler((error, request, reply) => sendError(error, { request, reply, logger }));
  app.setNotFoundHandler((request, reply) => {
    const { path } = requestTarget(request.url);
    const allowed = routes.methodsOf(path);
    if (allowed.length > 0) reply.header('allow', allowed.join(', '));
    sendProblem(missing(request, allowed), { request, reply });
  });
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  for (const component of COMPONENTS) app.addSchema(component);
  checkRequests(app, COMPONENTS);
  takeJson(app);
  allowOrigins(app, options.corsOrigins ?? []);
  bound(app, limits);
  await serveDocument(app);
  await app.register(async (api) => {
    admit(api, options, limits);
    const { defaultEnvironment = 'development' } = options;
    const streams = new LiveStreams({ ...STREAM_LIMITS_DEFAULT, ...options.streamLimits });
    api.addHook('preClose', async () => streams.close());
    await registerDialects(api, { service, limits, logger, defaultEnvironment, streams });
  });
  await app.ready();
  return app;
}

/**
 * What a listener runs: the paths of `operations` go to it, without a login and whatever state the service is in; all
 * others are REST.
 */
export function restHandler(
  app: Pick<FastifyInstance, 'routing'>,
  { handler, paths }: { readonly handler: RequestListener; readonly paths: ReadonlySet<string> },
): RequestListener {
  return (request, response) => {
    if (paths.has(requestTarget(request.url).path)) handler(request, response);
    else app.routing(request, response);
  };
}

/** Lets requests in within the limits, also those that lead nowhere. */
function bound(app: FastifyInstance, limits: RestLimits): void {
  const held = new HeldRequests(limits);
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(FOR_THIS_SITE);
    request.letGo = held.take(request);
    if (request.routeOptions.config.isStream === true) request.letGo();
    // Whoever goes away amid a body gets no answer.
    reply.raw.once('close', () => request.letGo());
  });
  app.addHook('onResponse', async (request) => request.letGo());
}

/** Lets requests in that say who asks for what tenant, before their body is read. */
function admit(api: FastifyInstance, options: RestOptions, limits: RestLimits): void {
  const identity = new Identity(options.identity, limits);
  api.addHook('onRequest', async (request, reply) => {
    if (!mayEvaluate(request.raw, options.corsOrigins ?? [])) checkSite(request.raw);
    checkEncoding(request);
    request.tenant = tenantOf(request, options.defaultTenant ?? 'default');
    request.caller = await identity.callerOf(shownBy(request), gone(reply));
  });
}

/** Aborted when the caller goes away before the answer. */
function gone(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort();
  });
  return controller.signal;
}

function checkEncoding({ headers }: FastifyRequest): void {
  const encoding = headers['content-encoding'] ?? '';
  if (IDENTITY_ENCODING.test(encoding)) return;
  throw Object.assign(new Error(`bodies are taken as they are, not in ${encoding}`), {
    code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE',
    statusCode: 415,
  });
}

function tenantOf({ headers }: FastifyRequest, otherwise: string): string {
  const header = headers['x-conclave-tenant'];
  const tenant = header === undefined ? otherwise : headerText(header);
  try {
    checkTenant(tenant);
    return tenant;
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    throw invalid(...error.problems.map(({ message }) => ({ field: 'X-Conclave-Tenant', message })));
  }
}
