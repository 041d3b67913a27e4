import { setTimeout as delay } from 'node:timers/promises';
import { bytesOf } from '../chance.ts';
import { put, rangeCall } from '../load/calls.ts';
import { GrpcConnection } from '../load/grpc-connection.ts';
import { type PacedCall, paced } from '../load/paced.ts';
import { type Figure, type Question, withUsage } from '../question.ts';
import type { ServerCluster } from '../server-cluster.ts';
import { percentile } from '../statistics.ts';

const KILLS = 5;
const PER_SECOND = 200;
const LOADED_MS = 500;
const VALUE_BYTES = 256;
const PATIENCE_MS = 30_000;
const PREFIX = 'failover/';

/** How long nobody can write when a leader dies. */
export const FAILOVER: Question = {
  name: 'failover',
  load: `${PER_SECOND} puts a second, in turn at the members that stay; the leader is killed (SIGKILL) after ${LOADED_MS} ms, ${KILLS} times, and started again in between; from the kill to the first answer to a put that was sent after it`,
  measure: async ({ cluster, chance, count }) => {
    const value = bytesOf(VALUE_BYTES, chance);
    return withUsage(cluster, async () => {
      const outagesMs: number[] = [];
      for (let kill = 0; kill < count(KILLS); kill++)
        outagesMs.push(await killLeader(cluster, { kill, value }));
      return [
        { name: 'without writes, median', unit: 'ms', value: percentile(outagesMs, 50) },
        { name: 'without writes, longest', unit: 'ms', value: Math.max(...outagesMs) },
      ] satisfies Figure[];
    });
  },
};

/** @returns for how long there were no writes @throws Error when an acknowledged one is gone */
async function killLeader(
  cluster: ServerCluster,
  { kill, value }: { readonly kill: number; readonly value: Buffer },
): Promise<number> {
  const { leader, followers } = await cluster.roles();
  const connections = await Promise.all(followers.map((url) => GrpcConnection.open(url)));
  const enough = new AbortController();
  let killedMs = Number.POSITIVE_INFINITY;
  let backMs = Number.NaN;
  try {
    const load = paced({
      perSecond: PER_SECOND,
      count: (PER_SECOND * (LOADED_MS + PATIENCE_MS)) / 1000,
      signal: enough.signal,
      send: async (index) => {
        const sentMs = performance.now();
        await put(connections[index % connections.length]!, keyOf(kill, index), value);
        if (sentMs <= killedMs || !Number.isNaN(backMs)) return;
        backMs = performance.now();
        enough.abort();
      },
    });
    await delay(LOADED_MS);
    killedMs = performance.now();
    await cluster.killOne(leader);
    const calls = await load;
    if (Number.isNaN(backMs)) throw new Error(`no write within ${PATIENCE_MS} ms of the leader's end`);
    await expectAcknowledged(cluster, { endpoint: followers[0]!, kill, calls });
    return backMs - killedMs;
  } finally {
    for (const connection of connections) connection.close();
    await cluster.startOne(leader, rangeCall({ key: PREFIX }));
  }
}

function keyOf(kill: number, index: number): Buffer {
  return Buffer.from(`${PREFIX}${kill}/${String(index).padStart(6, '0')}`);
}

async function expectAcknowledged(
  cluster: ServerCluster,
  {
    endpoint,
    kill,
    calls,
  }: { readonly endpoint: string; readonly kill: number; readonly calls: readonly PacedCall[] },
): Promise<void> {
  const client = cluster.client([endpoint]);
  try {
    const prefix = `${PREFIX}${kill}`;
    const { kvs } = await client.range({ key: `${prefix}/`, rangeEnd: `${prefix}0`, keysOnly: true });
    const there = new Set(kvs.map(({ key }) => key.toString()));
    const lost = calls.filter(
      ({ doneMs }, index) => doneMs !== null && !there.has(keyOf(kill, index).toString()),
    );
    if (lost.length > 0) throw new Error(`${lost.length} acknowledged puts are gone`);
  } finally {
    client.close();
  }
}
