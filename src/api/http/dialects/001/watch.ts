import type { FastifyInstance } from 'fastify';
import { spellEnvironment } from '../../../../service/environments/spelling.ts';
import { nameFields, type RestContext } from '../../rest/context.ts';
import { PROBLEM, READ_PROBLEMS } from '../../rest/problem-schema.ts';
import { sendProblem } from '../../rest/problems.ts';
import { described, type Operation, operation, refTo, TEXT } from '../../rest/schema.ts';
import { serveWebSocket } from '../../streams/serve.ts';
import {
  environmentIn,
  STREAM_FIELDS,
  STREAM_QUERY,
  type StreamQuery,
  streamRequestOf,
} from '../../streams/stream-query.ts';
import { upgradeOf } from '../../streams/upgrade.ts';
import { ENVIRONMENT } from './schemas.ts';

interface WatchQuery extends StreamQuery {
  readonly environment?: string;
}

/** 001's stream of updates of a service: a WebSocket, whose messages are ConfigurationUpdates. */
export async function serviceWatch(api: FastifyInstance, context: RestContext): Promise<void> {
  nameFields(api, context, { ...STREAM_FIELDS, application: 'service_name' });
  api.get<{ Params: { readonly service_name: string }; Querystring: WatchQuery }>(
    '/api/v1/config/watch/:service_name',
    { schema: operation(WATCH), exposeHeadRoute: false },
    async (request, reply) => {
      const { tenant, query, params } = request;
      const environment = environmentIn(query.environment) ?? context.defaultEnvironment;
      const application = params.service_name;
      const upgrade = upgradeOf(request.raw);
      if (upgrade === null) {
        reply.header('upgrade', 'websocket').header('connection', 'upgrade');
        return sendProblem(NO_WEB_SOCKET, { request, reply });
      }
      const asked = streamRequestOf(request, query, { tenant, environment, application });
      const bytes = context.streams.bytes.updates;
      const headers = { 'conclave-environment': spellEnvironment(environment, 'long') };
      return serveWebSocket(context, { request, reply }, { upgrade, asked, bytes, headers });
    },
  );
}

const NO_WEB_SOCKET = {
  status: 426,
  code: 'upgrade-required',
  title: 'The path is that of a WebSocket',
  detail: 'this path is a WebSocket; /api/v1/events has the same for other clients',
  errors: [],
  retryable: 'never',
} as const;

const WATCH: Operation = {
  operationId: 'watchServiceConfiguration',
  summary: 'What holds otherwise for a service, as it happens, over a WebSocket',
  tag: 'Services',
  kind: 'stream',
  isLenient: true,
  params: { service_name: described(TEXT, 'The service') },
  query: { environment: ENVIRONMENT, ...STREAM_QUERY },
  answers: {
    101: { description: 'Each message is a ConfigurationUpdate, with its revision', schema: null },
    ...READ_PROBLEMS,
    410: {
      description: 'What came after the revision is not kept: read everything, and begin anew',
      schema: refTo(PROBLEM),
    },
    426: { description: 'The request is not that of a WebSocket', schema: refTo(PROBLEM) },
    429: { description: 'This server has too many streams', schema: refTo(PROBLEM) },
  },
};
