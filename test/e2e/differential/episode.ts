import { status } from '@grpc/grpc-js';
import { Comparison, type Difference } from './comparison.ts';
import type { Operation } from './operations.ts';
import { type Server, startConclave, startEtcd } from './server.ts';
import { Side } from './side.ts';

/** What one stream showed on two fresh servers. */
export interface EpisodeResult {
  readonly performed: number;
  /** How often each status was the answer: `ok`, or a text. */
  readonly statuses: ReadonlyMap<string, number>;
  /** How often each intended difference was seen. */
  readonly intended: ReadonlyMap<string, number>;
  readonly found: { readonly index: number; readonly difference: Difference } | null;
  /** Of our server, when something was found. */
  readonly log: string;
}

/** Sends a stream to a fresh etcd and a fresh Conclave, until it ends or they differ. */
export function runEpisode(binary: string, operations: readonly Operation[]): Promise<EpisodeResult> {
  return withBoth(binary, async (etcd, conclave) => {
    const result = await perform(new Comparison(etcd, conclave), operations);
    return { ...result, log: conclave.server.log() };
  });
}

/** Whether our server answers the methods of authentication at all. */
export function hasAuth(binary: string): Promise<boolean> {
  return withBoth(binary, async (_etcd, conclave) => {
    const outcome = await conclave.call('Auth/UserList', {});
    return outcome.ok || outcome.code !== status.UNIMPLEMENTED;
  });
}

/** A fresh etcd and a fresh Conclave for as long as `work` takes. */
export async function withBoth<T>(
  binary: string,
  work: (etcd: Side, conclave: Side) => Promise<T>,
): Promise<T> {
  const servers = await both(startEtcd(binary), startConclave());
  try {
    const sides = await Promise.all(servers.map((server) => Side.connect(server)));
    try {
      return await work(sides[0]!, sides[1]!);
    } finally {
      for (const side of sides) side.close();
    }
  } finally {
    await Promise.all(servers.map((server) => server.destroy()));
  }
}

/** Neither is left running when the other does not start. */
async function both(first: Promise<Server>, second: Promise<Server>): Promise<readonly [Server, Server]> {
  const [etcd, conclave] = await Promise.allSettled([first, second]);
  if (etcd.status === 'fulfilled' && conclave.status === 'fulfilled') return [etcd.value, conclave.value];
  for (const started of [etcd, conclave]) {
    if (started.status === 'fulfilled') await started.value.destroy();
  }
  throw etcd.status === 'rejected' ? etcd.reason : (conclave as PromiseRejectedResult).reason;
}

async function perform(
  comparison: Comparison,
  operations: readonly Operation[],
): Promise<Omit<EpisodeResult, 'log'>> {
  const intended = new Map<string, number>();
  const { statuses } = comparison;
  const ended = { intended, statuses };
  let performed = 0;
  for (const [index, operation] of operations.entries()) {
    const verdict = await comparison.perform(operation);
    if (verdict.type === 'different') {
      return { ...ended, performed, found: { index, difference: verdict.difference } };
    }
    if (verdict.type === 'intended') intended.set(verdict.rule, (intended.get(verdict.rule) ?? 0) + 1);
    if (verdict.type !== 'skipped') performed += 1;
  }
  if (comparison.lostDeletions > 0) intended.set('delete-at-compaction', comparison.lostDeletions);
  return { ...ended, performed, found: null };
}
