import type { FastifyInstance } from 'fastify';
import type { Logger } from '../../../lib/logger.ts';
import type { Service } from '../../../service/service.ts';
import { invalid, ServiceError } from '../../../service/service-error.ts';
import type { LiveStreams } from '../streams/live-streams.ts';
import type { RestLimits } from './limits.ts';
import { sendError } from './problems.ts';

/** What the routes are made of. */
export interface RestContext {
  readonly service: Service;
  readonly limits: RestLimits;
  readonly logger: Logger;
  /** Canonical id, where a dialect lets the environment be left out. */
  readonly defaultEnvironment: string;
  readonly streams: LiveStreams;
}

/**
 * Tells field problems of the routes of `api` in the words of their dialect.
 *
 * @param names from the service's name of a field to the dialect's
 */
export function nameFields(
  api: FastifyInstance,
  { logger }: Pick<RestContext, 'logger'>,
  names: Readonly<Record<string, string>>,
): void {
  api.setErrorHandler((error, request, reply) => {
    sendError(inWordsOf(names, error), { request, reply, logger });
  });
}

function inWordsOf(names: Readonly<Record<string, string>>, error: unknown): unknown {
  if (!(error instanceof ServiceError)) return error;
  const problems = error.problems.map(({ field, message }) => {
    const [first = '', ...rest] = field.split('/');
    return { field: [names[first] ?? first, ...rest].join('/'), message };
  });
  const message =
    error.code === 'invalid' && problems.length > 0 ? invalid(...problems).message : error.message;
  return new ServiceError(error.code, message, { cause: error, problems });
}
