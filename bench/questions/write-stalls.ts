import { setTimeout as delay } from 'node:timers/promises';
import { codec } from '../../src/rpc/codec.ts';
import { bytesOf, type Chance, wholeBelow } from '../chance.ts';
import { put } from '../load/calls.ts';
import { GrpcConnection } from '../load/grpc-connection.ts';
import { failures, paced, waitsMs } from '../load/paced.ts';
import { type Figure, type Question, withUsage } from '../question.ts';
import type { ServerCluster } from '../server-cluster.ts';
import { spread } from '../statistics.ts';
import { loadKeys } from './many-keys.ts';

const KEYS = 100_000;
/** So many later versions of them, for compaction to remove. */
const OVERWRITES = 20_000;
const OVERWRITES_IN_FLIGHT = 200;
const PER_SECOND = 500;
const VALUE_BYTES = 1024;
/** Before and after the operation: a stall may come a little later than its cause. */
const MARGIN_MS = 1_000;
const OPERATION_MS_MAX = 120_000;
const DEFRAGMENT_PATH = '/etcdserverpb.Maintenance/Defragment';

type Operation = (cluster: ServerCluster, endpoints: readonly string[]) => Promise<void>;

/** What writers notice while the store tidies up. */
export const WRITE_STALLS: Question = {
  name: 'longest write stall during maintenance',
  load: `${KEYS} keys of ${VALUE_BYTES} bytes and ${OVERWRITES} overwrites; then ${PER_SECOND} puts a second of random keys at the leader while nothing else happens, during a compaction of all history, a snapshot from each member, and a defragmentation of each member in turn, the leader last; latency from when each put was due, of one that failed to the next answer`,
  measure: async ({ cluster, chance, count }) => {
    const { leader, followers } = await cluster.roles();
    const members = [...followers, leader];
    const keys = count(KEYS);
    await loadKeys(leader, { cluster, keys, chance });
    return withUsage(cluster, async () => {
      await overwrite(leader, { keys, count: count(OVERWRITES), chance });
      const figures: Figure[] = [];
      for (const [name, operation] of OPERATIONS) {
        figures.push(
          ...(await stalls(name, {
            leader,
            keys,
            chance,
            during: () => operation(cluster, members),
          })),
        );
      }
      return figures;
    });
  },
};

const OPERATIONS: readonly (readonly [string, Operation])[] = [
  ['nothing else', () => delay(MARGIN_MS)],
  ['compaction', (cluster) => compact(cluster)],
  ['snapshot', (cluster, members) => inTurn(members, (member) => snapshot(cluster, member))],
  ['defragmentation', (_cluster, members) => inTurn(members, defragment)],
];

/** The latency of writes while `during` goes on. A write that fails is a stall, too. */
async function stalls(
  name: string,
  load: {
    readonly leader: string;
    readonly keys: number;
    readonly chance: Chance;
    readonly during: () => Promise<void>;
  },
): Promise<readonly Figure[]> {
  const connection = await GrpcConnection.open(load.leader);
  const value = bytesOf(VALUE_BYTES, load.chance);
  const over = new AbortController();
  try {
    const written = paced({
      perSecond: PER_SECOND,
      count: (PER_SECOND * OPERATION_MS_MAX) / 1000,
      signal: over.signal,
      send: () => put(connection, keyOf(wholeBelow(load.keys, load.chance)), value),
    });
    await delay(MARGIN_MS);
    const startedMs = performance.now();
    await load.during();
    const tookMs = performance.now() - startedMs;
    await delay(MARGIN_MS);
    over.abort();
    const calls = await written;
    const failed = failures(calls);
    if (failed.length > 0)
      console.error(`  ${failed.length} puts failed during ${name}: ${failed[0]!.message}`);
    const { p50, p99, max } = spread(waitsMs(calls));
    return [
      { name: `${name}: took`, unit: 's', value: tookMs / 1000 },
      { name: `${name}: put p50`, unit: 'ms', value: p50 },
      { name: `${name}: put p99`, unit: 'ms', value: p99 },
      { name: `${name}: longest put`, unit: 'ms', value: max },
      { name: `${name}: failed puts`, unit: 'calls', value: failed.length },
    ];
  } finally {
    over.abort();
    connection.close();
  }
}

async function overwrite(
  leader: string,
  load: { readonly keys: number; readonly count: number; readonly chance: Chance },
): Promise<void> {
  const connection = await GrpcConnection.open(leader);
  const value = bytesOf(VALUE_BYTES, load.chance);
  let left = load.count;
  const writer = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await put(connection, keyOf(wholeBelow(load.keys, load.chance)), value);
    }
  };
  try {
    await Promise.all(Array.from({ length: OVERWRITES_IN_FLIGHT }, writer));
  } finally {
    connection.close();
  }
}

function keyOf(index: number): Buffer {
  return Buffer.from(`many/${String(index).padStart(8, '0')}`);
}

/** Everything before now; ends when the space is free. */
async function compact(cluster: ServerCluster): Promise<void> {
  const client = cluster.client();
  try {
    const { header } = await client.range({ key: keyOf(0) });
    await client.compact({ revision: header.revision, physical: true });
  } finally {
    client.close();
  }
}

async function snapshot(cluster: ServerCluster, endpoint: string): Promise<void> {
  const client = cluster.client([endpoint]);
  try {
    let bytes = 0;
    for await (const { blob } of client.snapshot(client.endpoints[0]!)) bytes += blob.length;
    if (bytes === 0) throw new Error('an empty snapshot');
  } finally {
    client.close();
  }
}

async function defragment(endpoint: string): Promise<void> {
  const connection = await GrpcConnection.open(endpoint);
  try {
    await connection.call(DEFRAGMENT_PATH, codec('etcdserverpb.DefragmentRequest').encode({}));
  } finally {
    connection.close();
  }
}

async function inTurn(members: readonly string[], work: (member: string) => Promise<void>): Promise<void> {
  for (const member of members) await work(member);
}
