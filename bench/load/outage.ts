import { setTimeout as delay } from 'node:timers/promises';
import { KvClient } from '../../src/client/kv-client.ts';
import { prefixEnd } from '../../src/lib/range-end.ts';
import { put } from './calls.ts';
import { GrpcConnection } from './grpc-connection.ts';
import { type PacedCall, paced } from './paced.ts';

/** Puts that go on while members are lost. */
export interface Outage {
  /** Of the members that stay: puts go to them in turn. */
  readonly endpoints: readonly string[];
  /** Ends the others, at once, and starts them again. */
  readonly kill: () => Promise<unknown>;
  readonly restart: () => Promise<unknown>;
  /** How long there are puts before that. */
  readonly loadedMs: number;
  readonly perSecond: number;
  readonly value: Buffer;
  /** All keys begin with it, and no others. */
  readonly prefix: string;
}

/** For the first write after the loss. */
const PATIENCE_MS = 60_000;

/**
 * How long nobody could write: from the loss to the first answer to a put that was sent after it, in milliseconds.
 *
 * @throws Error when there is none, or when a put that was acknowledged is gone
 */
export async function outageMs(outage: Outage): Promise<number> {
  const { endpoints, kill, restart, loadedMs, perSecond, value, prefix } = outage;
  const connections = await Promise.all(endpoints.map(async (url) => GrpcConnection.open(url)));
  const enough = new AbortController();
  let killedMs = Number.POSITIVE_INFINITY;
  let backMs = Number.NaN;
  try {
    const load = paced({
      perSecond,
      count: (perSecond * (loadedMs + PATIENCE_MS)) / 1000,
      signal: enough.signal,
      send: async (index) => {
        const sentMs = performance.now();
        await put(connections[index % connections.length]!, keyOf(prefix, index), value);
        if (sentMs <= killedMs || !Number.isNaN(backMs)) return;
        backMs = performance.now();
        enough.abort();
      },
    });
    await delay(loadedMs);
    killedMs = performance.now();
    await kill();
    const calls = await load;
    if (Number.isNaN(backMs)) throw new Error(`no write within ${PATIENCE_MS} ms of the loss`);
    await expectAcknowledged(calls, { endpoint: endpoints[0]!, prefix });
    return backMs - killedMs;
  } finally {
    for (const connection of connections) connection.close();
    await restart();
  }
}

function keyOf(prefix: string, index: number): Buffer {
  return Buffer.from(`${prefix}${String(index).padStart(6, '0')}`);
}

async function expectAcknowledged(
  calls: readonly PacedCall[],
  { endpoint, prefix }: { readonly endpoint: string; readonly prefix: string },
): Promise<void> {
  using client = new KvClient({ endpoints: [endpoint], timeoutMs: PATIENCE_MS });
  const { kvs } = await client.range({
    key: prefix,
    rangeEnd: prefixEnd(Buffer.from(prefix)),
    keysOnly: true,
  });
  const there = new Set(kvs.map(({ key }) => key.toString()));
  const lost = calls.filter(
    ({ doneMs }, index) => doneMs !== null && !there.has(keyOf(prefix, index).toString()),
  );
  if (lost.length > 0) throw new Error(`${lost.length} acknowledged puts are gone`);
}
