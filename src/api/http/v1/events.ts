import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Caller } from '../../../service/caller.ts';
import { WAIT_MS_MAX } from '../../../service/events/events.ts';
import { invalid } from '../../../service/service-error.ts';
import { nameFields, type RestContext } from '../rest/context.ts';
import { PROBLEM, READ_PROBLEMS } from '../rest/problem-schema.ts';
import {
  ANY,
  COUNT,
  described,
  FLAG,
  list,
  named,
  type Operation,
  object,
  operation,
  refTo,
  TEXT,
  TEXTS,
  TIME,
} from '../rest/schema.ts';
import type { StreamRequest } from '../streams/live-stream.ts';
import { serveEventStream, serveWebSocket } from '../streams/serve.ts';
import {
  environmentIn,
  STREAM_FIELDS,
  STREAM_QUERY,
  type StreamQuery,
  streamRequestOf,
} from '../streams/stream-query.ts';
import { upgradeOf } from '../streams/upgrade.ts';

/** How long a poll waits that does not say. */
const WAIT_MS_DEFAULT = 30_000;

interface EventsQuery extends StreamQuery {
  readonly application?: string;
  readonly environment?: string;
  readonly waitMs?: number;
}

/** What changes, as it does: a WebSocket, server-sent events, or one answer at a time. */
export function events(api: FastifyInstance, context: RestContext): void {
  nameFields(api, context, STREAM_FIELDS);
  api.get<{ Querystring: EventsQuery }>(
    '/api/v1/events',
    { schema: operation(EVENTS), exposeHeadRoute: false },
    async (request, reply) => {
      const { tenant, query } = request;
      const { application } = query;
      const environment = environmentIn(query.environment);
      const asked = streamRequestOf(request, query, { tenant, environment, application });
      const upgrade = upgradeOf(request.raw);
      if (upgrade !== null) {
        const bytes = context.streams.bytes.messages;
        return serveWebSocket(context, { request, reply }, { upgrade, asked, bytes });
      }
      if (request.headers.accept?.includes('text/event-stream') === true) {
        return serveEventStream(context, { request, reply }, asked);
      }
      const waitMs = query.waitMs ?? WAIT_MS_DEFAULT;
      return servePoll(context, { request, reply }, { asked, waitMs });
    },
  );
}

async function servePoll(
  { service, streams }: RestContext,
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  { asked, waitMs }: { readonly asked: StreamRequest; readonly waitMs: number },
): Promise<FastifyReply> {
  const { instance, ...filter } = asked;
  if (instance !== null) {
    throw invalid({ field: 'instance', message: 'goes with a stream: it lasts as long as that is open' });
  }
  const stop = new AbortController();
  const caller: Caller = { ...request.caller, signal: stop.signal };
  request.caller.signal.addEventListener('abort', () => stop.abort(), { once: true });
  const { events: found, next } = await streams.whileOpen(
    () => stop.abort(),
    () => service.events.poll(caller, { ...filter, waitMs }),
  );
  reply.header('cache-control', 'no-store').header('conclave-revision', next);
  return reply
    .type('application/json; charset=utf-8')
    .send(JSON.stringify({ events: found.map(({ payload }) => payload), next: String(next) }));
}

const EVENT = named(
  'ConfigurationUpdated',
  object({
    event_id: described(TEXT, 'The same whoever tells it'),
    timestamp: TIME,
    revision: COUNT,
    cursor: described(TEXT, 'To go on behind this event'),
    type: { type: 'string', enum: ['created', 'updated', 'deleted'] },
    configuration_updated: object({
      config_key: described(TEXT, 'With its service before it'),
      service_name: TEXT,
      environment: TEXT,
      old_value: described(ANY, 'Of a secret the mask; null when there was none'),
      new_value: described(ANY, 'Of a secret the mask; null when there is none'),
      updated_by: TEXT,
      reason: TEXT,
      version: described(COUNT, '0 of a default'),
      rollback_available: FLAG,
      affected_instances: TEXTS,
    }),
  }),
);

export const EVENT_COMPONENTS = [EVENT];

const EVENTS: Operation = {
  operationId: 'streamEvents',
  summary:
    'What holds otherwise, as it happens: as a WebSocket, as server-sent events (Accept: text/event-stream), or as the next events that come (long polling)',
  tag: 'Events',
  kind: 'stream',
  query: {
    application: described(TEXT, 'Only of this application'),
    environment: described(TEXT, 'Only of this environment, with what it inherits'),
    ...STREAM_QUERY,
    waitMs: described(
      { type: 'integer', minimum: 0, maximum: WAIT_MS_MAX, default: WAIT_MS_DEFAULT },
      'Of a poll: how long to wait for an event, in milliseconds',
    ),
  },
  answerTypes: ['application/json', 'text/event-stream'],
  answers: {
    101: { description: 'Each message is an event (ConfigurationUpdated)', schema: null },
    200: {
      description: 'Events, and where to go on; as server-sent events each is a ConfigurationUpdated',
      schema: object({ events: list(refTo(EVENT)), next: described(TEXT, 'The revision of the next poll') }),
    },
    ...READ_PROBLEMS,
    410: {
      description: 'What came after the revision is not kept: read everything, and begin anew',
      schema: refTo(PROBLEM),
    },
    429: { description: 'This server has too many streams', schema: refTo(PROBLEM) },
  },
};
