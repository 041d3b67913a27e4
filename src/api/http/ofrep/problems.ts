import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from '../../../lib/logger.ts';
import { type Problem, problemOf } from '../rest/problems.ts';
import type { OfrepErrorCode, OfrepFailure } from './answers.ts';

/** Sends a failure in the words of OFREP; one that is a bug is logged, and tells nothing of itself. */
export function sendOfrepError(
  error: unknown,
  {
    request,
    reply,
    logger,
  }: { readonly request: FastifyRequest; readonly reply: FastifyReply; readonly logger: Logger },
): void {
  const problem = problemOf(error);
  const { status, retryable, detail } = problem;
  if (status === 500) logger.error({ err: error, method: request.method }, 'a request failed: a bug');
  reply.code(status).header('cache-control', 'no-store').type('application/json; charset=utf-8');
  if (status === 401) reply.header('www-authenticate', 'Basic realm="conclave", charset="UTF-8"');
  if (retryable === 'safe') reply.header('retry-after', '1');
  const { key } = request.params as { readonly key?: string };
  const failure: OfrepFailure = {
    ...(key === undefined ? {} : { key }),
    errorCode: codeOf(problem, key !== undefined),
    errorDetails: detail,
  };
  reply.send(JSON.stringify(failure));
}

function codeOf({ status, errors }: Problem, isOfOneFlag: boolean): OfrepErrorCode {
  // The application or the environment is not there, and none of its flags is.
  if (status === 404 && isOfOneFlag) return 'FLAG_NOT_FOUND';
  if (status === 413) return 'INVALID_CONTEXT';
  const [first] = errors;
  if (status !== 400 || first === undefined) return 'GENERAL';
  if (first.field === 'context' || first.field.startsWith('context/')) return 'INVALID_CONTEXT';
  return first.field === '' ? 'PARSE_ERROR' : 'GENERAL';
}
