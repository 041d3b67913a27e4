import { setTimeout as delay } from 'node:timers/promises';
import { codec } from '../../src/rpc/codec.ts';
import { type Spread, spread } from '../statistics.ts';
import { APPLICATION, create, ENVIRONMENT, pathOf } from './configurations.ts';
import { Hearing } from './fan-out.ts';
import { GrpcConnection } from './grpc-connection.ts';
import type { HttpClient } from './http-client.ts';

const STREAM = '/config.v1.ConfigurationService/StreamConfigurationUpdates';
/** A server may refuse more streams on one connection; ours takes 2,000. */
const STREAMS_PER_CONNECTION = 500;
/** Between the end of one change's fan-out and the next change. */
const PAUSE_MS = 20;

/**
 * Changes a configuration over REST so often that so many gRPC streams of the service watch, each time when all have
 * heard of the last.
 *
 * @param watched.url of gRPC
 * @returns from the start of each change to the last who heard of it
 * @throws Error when an update does not come within a minute, comes twice or out of turn, or a stream ends
 */
export async function serviceFanOut(
  client: HttpClient,
  watched: { readonly url: string; readonly streams: number; readonly changes: number },
): Promise<Spread> {
  const known = await create(client, 'watched', -1);
  const { headers } = await client.call({ path: pathOf(known) });
  const hearing = new Hearing(watched.streams);
  const connections: GrpcConnection[] = [];
  let isOver = false;
  const lastMs: number[] = [];
  try {
    for (let opened = 0; opened < watched.streams; opened += STREAMS_PER_CONNECTION) {
      const connection = await GrpcConnection.open(watched.url);
      connections.push(connection);
      const count = Math.min(STREAMS_PER_CONNECTION, watched.streams - opened);
      for (let i = 0; i < count; i += 1) {
        openStream(connection, {
          // Who is late begins there, too.
          after: Number(headers['conclave-revision']),
          onValue: (value) => hearing.heard(Number(value)),
          onEnd: (status) => {
            if (!isOver) hearing.fail(new Error(`a stream of updates ended with status ${status}`));
          },
        });
      }
    }
    // The first change waits for all streams to be there.
    for (let made = -1; made < watched.changes; made += 1) {
      const startedMs = performance.now();
      const everybody = hearing.begin();
      const body = { value: hearing.change };
      await Promise.all([client.call({ method: 'PUT', path: pathOf(known), body }), everybody]);
      if (made >= 0) lastMs.push(hearing.heardMs.at(-1)! - startedMs);
      // What comes twice comes now.
      await delay(PAUSE_MS);
      hearing.check();
    }
    return spread(lastMs);
  } finally {
    isOver = true;
    for (const connection of connections) connection.close();
  }
}

function openStream(
  connection: GrpcConnection,
  stream: {
    readonly after: number;
    readonly onValue: (value: string) => void;
    readonly onEnd: (status: number | null) => void;
  },
): void {
  const scope = { application: APPLICATION, environment: ENVIRONMENT };
  const request = { ...scope, keys: ['watched'], after_revision: stream.after };
  const message = codec('config.v1.StreamConfigurationUpdatesRequest').encode(request);
  connection.answers(STREAM, message, {
    message: (bytes) => stream.onValue(codec('config.v1.ConfigurationUpdate').decode(bytes).value),
    end: stream.onEnd,
  });
}
