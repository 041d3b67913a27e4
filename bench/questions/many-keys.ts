import { bytesOf, type Chance } from '../chance.ts';
import { rangeCall } from '../load/calls.ts';
import { type Figure, type Question, type Trial, withUsage } from '../question.ts';
import type { ServerCluster } from '../server-cluster.ts';

const KEYS_PER_TXN = 100;
const LOADERS = 16;
const VALUE_BYTES = 1024;
const CALL_TIMEOUT_MS = 60_000;
const MIB = 1024 * 1024;
const ALL = { key: Buffer.from('many/'), rangeEnd: Buffer.from('many0') };

/** What many keys cost: the time to load them, memory, a backup, and the time to come back with them. */
export const MANY_KEYS: readonly Question[] = [100_000, 1_000_000].map((keys) => ({
  name: `${keys} keys of 1 KiB`,
  load: `transactions of ${KEYS_PER_TXN} puts, ${LOADERS} at a time; a snapshot of a follower; that follower, then all members, stopped and started`,
  large: keys > 100_000,
  measure: (trial) => measure(trial, trial.count(keys)),
}));

async function measure({ cluster, chance }: Trial, keys: number): Promise<readonly Figure[]> {
  const { leader, followers } = await cluster.roles();
  const [follower] = followers;
  const loaded = await withUsage(cluster, async () => {
    const startedMs = performance.now();
    await loadKeys(leader, { cluster, keys, chance });
    const seconds = (performance.now() - startedMs) / 1000;
    return [{ name: 'keys loaded', unit: 'req/s', value: keys / seconds }];
  });
  const snapshot = await takeSnapshot(cluster, follower!);

  // A member by itself has no election to wait for: what it takes to read the state.
  const own = { ...ALL, countOnly: true, serializable: true };
  await cluster.stopOne(follower!);
  const oneMs = await cluster.startOne(follower!, rangeCall(own));
  await cluster.stopAll();
  const allMs = await cluster.startAll();
  for (const endpoint of cluster.endpoints) await expectKeys(cluster, { endpoint, keys });
  return [
    ...loaded,
    ...snapshot,
    { name: 'one member, from start to its first answer', unit: 's', value: oneMs / 1000 },
    { name: 'all members, from start to the first write', unit: 's', value: allMs / 1000 },
    { name: 'members, memory after the restart', unit: 'MiB', value: cluster.usage().residentBytes / MIB },
  ];
}

/** Keys `many/00000000` and on. */
export async function loadKeys(
  endpoint: string,
  load: { readonly cluster: ServerCluster; readonly keys: number; readonly chance: Chance },
): Promise<void> {
  const client = load.cluster.client([endpoint]);
  let next = 0;
  const loader = async (): Promise<void> => {
    while (next < load.keys) {
      const first = next;
      next = Math.min(load.keys, next + KEYS_PER_TXN);
      const success = Array.from({ length: next - first }, (_, at) => ({
        type: 'put' as const,
        key: `many/${String(first + at).padStart(8, '0')}`,
        value: bytesOf(VALUE_BYTES, load.chance),
      }));
      await client.txn({ compare: [], success, failure: [] }, { timeoutMs: CALL_TIMEOUT_MS });
    }
  };
  try {
    await Promise.all(Array.from({ length: LOADERS }, loader));
  } finally {
    client.close();
  }
}

async function takeSnapshot(cluster: ServerCluster, endpoint: string): Promise<readonly Figure[]> {
  const client = cluster.client([endpoint]);
  try {
    const startedMs = performance.now();
    let bytes = 0;
    for await (const { blob } of client.snapshot(client.endpoints[0]!)) bytes += blob.length;
    return [
      { name: 'snapshot', unit: 's', value: (performance.now() - startedMs) / 1000 },
      { name: 'snapshot, size', unit: 'MiB', value: bytes / MIB },
    ];
  } finally {
    client.close();
  }
}

async function expectKeys(
  cluster: ServerCluster,
  { endpoint, keys }: { readonly endpoint: string; readonly keys: number },
): Promise<void> {
  const client = cluster.client([endpoint]);
  try {
    const { count } = await client.range({ ...ALL, countOnly: true });
    if (count !== keys) throw new Error(`${count} of ${keys} keys came back`);
  } finally {
    client.close();
  }
}
