import { setTimeout as delay } from 'node:timers/promises';
import type { RegionMember } from '../../cluster/region-layout.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import { put } from '../load/calls.ts';
import { GrpcConnection } from '../load/grpc-connection.ts';
import { type PacedCall, paced } from '../load/paced.ts';
import { type RegionalBench, urlOf } from './regional-bench.ts';

const PER_SECOND = 50;
const LOADED_MS = 1_000;
const PATIENCE_MS = 60_000;
const VALUE = Buffer.alloc(64);
const READ_TIMEOUT_MS = 10_000;

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
  const connections = await Promise.all(staying.map(async (member) => GrpcConnection.open(urlOf(member))));
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
        await put(connections[index % connections.length]!, keyOf(run, index), VALUE);
        if (sentMs <= killedMs || !Number.isNaN(backMs)) return;
        backMs = performance.now();
        enough.abort();
      },
    });
    await delay(LOADED_MS);
    killedMs = performance.now();
    await bench.kill(lost);
    const calls = await load;
    if (Number.isNaN(backMs)) throw new Error(`no write within ${PATIENCE_MS} ms of the region's end`);
    await expectAcknowledged(staying[0]!, { run, calls });
    return { region, outageMs: backMs - killedMs };
  } finally {
    for (const connection of connections) connection.close();
    await bench.restart(lost);
  }
}

function keyOf(run: number, index: number): Buffer {
  return Buffer.from(`failover/${run}/${String(index).padStart(6, '0')}`);
}

async function expectAcknowledged(
  member: RegionMember,
  { run, calls }: { readonly run: number; readonly calls: readonly PacedCall[] },
): Promise<void> {
  using client = new KvClient({ endpoints: [urlOf(member)], timeoutMs: READ_TIMEOUT_MS });
  const { kvs } = await client.range({
    key: `failover/${run}/`,
    rangeEnd: `failover/${run}0`,
    keysOnly: true,
  });
  const there = new Set(kvs.map(({ key }) => key.toString()));
  const lost = calls.filter(
    ({ doneMs }, index) => doneMs !== null && !there.has(keyOf(run, index).toString()),
  );
  if (lost.length > 0) throw new Error(`${lost.length} acknowledged puts are gone`);
}
