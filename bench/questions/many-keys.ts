import { KvClient } from '../../src/client/kv-client.ts';
import type { Figure, Question } from '../question.ts';
import type { ServerCluster } from '../server-cluster.ts';

const KEYS = 100_000;
const KEYS_PER_TXN = 100;
const LOADERS = 16;
const VALUE = Buffer.alloc(1024, 'v');
const MIB = 1024 * 1024;

/** What many keys cost: memory, and the time to come back with them. */
export const MANY_KEYS: Question = {
  name: `${KEYS} keys of 1 KiB`,
  load: `transactions of ${KEYS_PER_TXN} puts, ${LOADERS} at a time; then all members stop and start`,
  measure: measureManyKeys,
};

async function measureManyKeys(cluster: ServerCluster): Promise<readonly Figure[]> {
  const { leader } = await cluster.roles();
  const startedMs = performance.now();
  await loadKeys(leader);
  const loadSeconds = (performance.now() - startedMs) / 1000;
  const { residentBytes } = cluster.usage();
  await cluster.stopAll();
  const restartMs = await cluster.startAll();
  const client = cluster.client();
  try {
    const { count } = await client.range({ key: 'many/', rangeEnd: 'many0', countOnly: true });
    if (count !== KEYS) throw new Error(`${count} of ${KEYS} keys came back`);
  } finally {
    client.close();
  }
  return [
    { name: 'loading', unit: 's', value: loadSeconds },
    { name: 'memory of three members', unit: 'MiB', value: residentBytes / MIB },
    { name: 'from start to the first write', unit: 's', value: restartMs / 1000 },
    { name: 'memory after the restart', unit: 'MiB', value: cluster.usage().residentBytes / MIB },
  ];
}

async function loadKeys(endpoint: string): Promise<void> {
  const client = new KvClient({ endpoints: [endpoint], timeoutMs: 60_000 });
  let next = 0;
  const loader = async (): Promise<void> => {
    while (next < KEYS) {
      const first = next;
      next += KEYS_PER_TXN;
      await client.txn({
        compare: [],
        success: Array.from({ length: KEYS_PER_TXN }, (_, at) => ({
          type: 'put' as const,
          key: `many/${String(first + at).padStart(8, '0')}`,
          value: VALUE,
        })),
        failure: [],
      });
    }
  };
  try {
    await Promise.all(Array.from({ length: LOADERS }, loader));
  } finally {
    client.close();
  }
}
