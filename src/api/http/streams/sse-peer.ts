import type { ServerResponse } from 'node:http';
import type { SharedBytes } from '../../../lib/shared-bytes.ts';
import type { ConfigurationEvent } from '../../../service/events/event.ts';
import { problemBody, problemOf } from '../rest/problems.ts';
import { RETRY_MS, type StreamLimits } from './limits.ts';
import type { Peer } from './live-stream.ts';
import { Outlet } from './outlet.ts';

/** A client of server-sent events (HTML standard, section 9.2). */
export class SsePeer implements Peer {
  readonly #response: ServerResponse;
  readonly #outlet: Outlet;
  readonly #bytes: SharedBytes<ConfigurationEvent>;

  /** @param begin the cursor behind which it begins */
  constructor(
    response: ServerResponse,
    {
      begin,
      bytes,
      limits,
    }: {
      readonly begin: string;
      readonly bytes: SharedBytes<ConfigurationEvent>;
      readonly limits: StreamLimits;
    },
  ) {
    this.#response = response;
    this.#outlet = new Outlet(response, limits.stallMsMax);
    this.#bytes = bytes;
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      // Proxies that gather answers let this one through.
      'x-accel-buffering': 'no',
      'conclave-revision': begin,
    });
    // An id without data is no event: the client only takes note of it.
    this.#outlet.put(`retry: ${RETRY_MS}\nid: ${begin}\n\n`);
  }

  async send(events: readonly ConfigurationEvent[]): Promise<void> {
    await this.#outlet.write(bytesOf(events, this.#bytes));
  }

  beat(cursor: string | null): void {
    if (!this.#outlet.isFull) this.#outlet.put(cursor === null ? ':\n\n' : `id: ${cursor}\n\n`);
  }

  end(error: unknown): void {
    if (error !== null) {
      const problem = JSON.stringify(problemBody(problemOf(error)));
      this.#outlet.put(`event: problem\ndata: ${problem}\n\n`);
    }
    this.#response.end();
  }
}

/** Made as they are asked for. */
export function* bytesOf(
  events: readonly ConfigurationEvent[],
  bytes: SharedBytes<ConfigurationEvent>,
): Generator<Buffer> {
  for (const event of events) yield bytes.of(event);
}
