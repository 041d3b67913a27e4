import { bytesOf } from '../chance.ts';
import { rangeCall } from '../load/calls.ts';
import { outageMs } from '../load/outage.ts';
import { type Figure, type Question, withUsage } from '../question.ts';
import type { ServerCluster } from '../server-cluster.ts';
import { percentile } from '../statistics.ts';

const KILLS = 5;
const PER_SECOND = 200;
const LOADED_MS = 500;
const VALUE_BYTES = 256;
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
  return outageMs({
    endpoints: followers,
    kill: async () => cluster.killOne(leader),
    restart: async () => cluster.startOne(leader, rangeCall({ key: PREFIX })),
    loadedMs: LOADED_MS,
    perSecond: PER_SECOND,
    value,
    prefix: `${PREFIX}${kill}/`,
  });
}
