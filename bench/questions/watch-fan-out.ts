import { setTimeout as delay } from 'node:timers/promises';
import { type Figure, type Question, withCores } from '../question.ts';
import type { ServerCluster } from '../server-cluster.ts';
import { percentile } from '../statistics.ts';
import { WatchStreams } from '../watch-streams.ts';

const WATCHES = 1_000;
const CHANGES = 100;
/** Between two changes: the fan-out of one is over before the next. */
const CHANGE_INTERVAL_MS = 50;
const KEY = Buffer.from('bench/watched');
const VALUE_BYTES = 256;
const PATIENCE_MS = 30_000;

/** How soon everybody hears of a change, over few streams and over many. */
export const WATCH_QUESTIONS: readonly Question[] = [10, WATCHES].map((streams) => ({
  name: `watch fan-out, ${WATCHES} watches on ${streams} streams`,
  load: `${CHANGES} changes of one key, ${CHANGE_INTERVAL_MS} ms apart; from the start of the put to each event`,
  measure: (cluster) => measureFanOut(cluster, streams),
}));

async function measureFanOut(cluster: ServerCluster, streams: number): Promise<readonly Figure[]> {
  const { leader } = await cluster.roles();
  const client = cluster.client([leader]);
  const putMs: number[] = [];
  const latenciesMs: number[] = [];
  let finished = (): void => {};
  const all = new Promise<void>((resolve) => {
    finished = resolve;
  });
  const watches = await WatchStreams.open({
    url: leader,
    key: KEY,
    streams,
    watchesPerStream: WATCHES / streams,
    onEvent: (value) => {
      latenciesMs.push(performance.now() - putMs[value.readUInt32BE(0)]!);
      if (latenciesMs.length === WATCHES * CHANGES) finished();
    },
  });
  try {
    return await withCores(cluster, async () => {
      for (let change = 0; change < CHANGES; change++) {
        const value = Buffer.alloc(VALUE_BYTES);
        value.writeUInt32BE(change);
        putMs.push(performance.now());
        await client.put({ key: KEY, value });
        await delay(CHANGE_INTERVAL_MS);
      }
      await Promise.race([all, tooLate(latenciesMs)]);
      return [
        { name: 'p50', unit: 'ms', value: percentile(latenciesMs, 50) },
        { name: 'p99', unit: 'ms', value: percentile(latenciesMs, 99) },
      ];
    });
  } finally {
    watches.close();
    client.close();
  }
}

async function tooLate(heard: readonly number[]): Promise<never> {
  await delay(PATIENCE_MS, undefined, { ref: false });
  throw new Error(`${heard.length} of ${WATCHES * CHANGES} events came`);
}
