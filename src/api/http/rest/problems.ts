import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from '../../../lib/logger.ts';
import { type FieldProblem, ServiceError } from '../../../service/service-error.ts';
import { serviceErrorMapping } from '../../service-errors.ts';
import { PROBLEMS_MAX } from './limits.ts';

/** A failure as it is told over HTTP. */
export interface Problem {
  readonly status: number;
  /** Of the service, or in the same style: clients match on it. */
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly errors: readonly FieldProblem[];
  readonly retryable: 'never' | 'safe' | 'ambiguous';
}

/** Paths that answer failures as their own document says: `message` and `errors`. */
const PLAIN_PATHS = /^\/(?:configs|feature-flags)(?:[/?]|$)/;
/** Characters that are told of a type. */
const TYPE_LENGTH_MAX = 100;
const PROBLEM_TYPE = 'application/problem+json';

/** What fastify's own failures are; others of it are wrong requests or bugs, by their status. */
const FRAMEWORK: Readonly<Record<string, Pick<Problem, 'status' | 'code' | 'title'>>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    status: 415,
    code: 'unsupported-media-type',
    title: 'The body is of a type that is not taken here',
  },
  FST_ERR_CTP_BODY_TOO_LARGE: { status: 413, code: 'too-large', title: 'The request is too large' },
};

/** Sends a failure; one that is a bug is logged, and tells nothing of itself. */
export function sendError(
  error: unknown,
  {
    request,
    reply,
    logger,
  }: { readonly request: FastifyRequest; readonly reply: FastifyReply; readonly logger: Logger },
): void {
  const problem = isGivenUp(request)
    ? problemOf(new ServiceError('canceled', 'the caller went away'))
    : withType(problemOf(error), error, request);
  if (problem.status === 500) {
    logger.error(
      { err: error, method: request.method, route: request.routeOptions.url },
      'a request failed: a bug',
    );
  }
  sendProblem(problem, { request, reply });
}

/** Whether the caller went away before all of the request was there. */
function isGivenUp({ raw }: FastifyRequest): boolean {
  return raw.destroyed && !raw.complete;
}

/** What fastify does not tell: of what type the body is, and should be. */
function withType(problem: Problem, error: unknown, { headers }: FastifyRequest): Problem {
  if ((error as Partial<FastifyError>).code !== 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return problem;
  if (headers['content-encoding'] !== undefined) return problem;
  const type = headers['content-type'];
  const is = type === undefined ? 'has no Content-Type' : `is of type ${type.slice(0, TYPE_LENGTH_MAX)}`;
  return { ...problem, detail: `the body ${is}; application/json is taken here` };
}

/** Sends it in the shape that the path or `Accept` asks for (RFC 9457, or 002's). */
export function sendProblem(
  problem: Problem,
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
): void {
  const { status, detail, errors, retryable } = problem;
  reply.code(status).header('cache-control', 'no-store');
  if (status === 401) reply.header('www-authenticate', 'Basic realm="conclave", charset="UTF-8"');
  if (retryable === 'safe') reply.header('retry-after', '1');
  if (PLAIN_PATHS.test(request.url) && !(request.headers.accept ?? '').includes(PROBLEM_TYPE)) {
    reply.type('application/json; charset=utf-8').send(JSON.stringify({ message: detail, errors }));
    return;
  }
  reply.type(PROBLEM_TYPE).send(JSON.stringify(problemBody(problem)));
}

/** As RFC 9457 has it. */
export function problemBody(problem: Problem) {
  const { status, code, title, detail, errors, retryable } = problem;
  return { type: `urn:conclave:problem:${code}`, title, status, detail, code, retryable, errors };
}

/** A failure with its status; what nobody knows is a bug of the server. */
export function problemOf(error: unknown): Problem {
  if (error instanceof ServiceError) {
    const { http: status, title, retryable } = serviceErrorMapping(error.code);
    const errors = error.problems.slice(0, PROBLEMS_MAX);
    return { status, code: error.code, title, detail: error.message, errors, retryable };
  }
  const { code = '', statusCode = 500, message } = error as Partial<FastifyError>;
  const known = FRAMEWORK[code];
  if (known !== undefined)
    return { ...known, detail: message ?? known.title, errors: [], retryable: 'never' };
  if (code.startsWith('FST_ERR_') && statusCode >= 400 && statusCode < 500) {
    const { title } = serviceErrorMapping('invalid');
    return {
      status: statusCode,
      code: 'invalid',
      title,
      detail: message ?? title,
      errors: [],
      retryable: 'never',
    };
  }
  const title = 'The server failed';
  return {
    status: 500,
    code: 'internal',
    title,
    detail: 'internal error',
    errors: [],
    retryable: 'ambiguous',
  };
}

/** There is no such path, or it is not used with this method. */
export function missing(request: FastifyRequest, allowed: readonly string[]): Problem {
  const path = request.url.split('?', 1)[0]!;
  const common = { errors: [], retryable: 'never' } as const;
  if (allowed.length === 0) {
    return {
      ...common,
      status: 404,
      code: 'not-found',
      title: 'There is no such path',
      detail: `no ${path}`,
    };
  }
  const detail = `${path} is used with ${allowed.join(', ')}`;
  const title = 'The path is not used with this method';
  return { ...common, status: 405, code: 'method-not-allowed', title, detail };
}
