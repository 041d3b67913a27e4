import { outageMs } from '../load/outage.ts';
import { type RegionalBench, urlOf } from './regional-bench.ts';

const PER_SECOND = 50;
const LOADED_MS = 1_000;
const VALUE = Buffer.alloc(64);

/**
 * Kills all members of the leader's region at once while clients write through the voters of the others.
 *
 * @returns how long it took from there to the first answer to a put that was sent after it, in milliseconds
 * @throws Error when an acknowledged put is gone
 */
export async function loseLeaderRegion(
  bench: RegionalBench,
  run: number,
): Promise<{
  readonly region: string;
  readonly outageMs: number;
}> {
  const { region } = await bench.leader();
  const lost = bench.in(region);
  const staying = bench.members.filter((member) => member.region !== region && !member.learner);
  const load = { loadedMs: LOADED_MS, perSecond: PER_SECOND, value: VALUE, prefix: `failover/${run}/` };
  return {
    region,
    outageMs: await outageMs({
      endpoints: staying.map(urlOf),
      kill: async () => bench.kill(lost),
      restart: async () => bench.restart(lost),
      ...load,
    }),
  };
}
