import { Comparison, type Difference } from './comparison.ts';
import type { Operation } from './operations.ts';
import { type Server, startConclave, startEtcd } from './server.ts';
import { Side } from './side.ts';

/** What one stream showed on two fresh servers. */
export interface EpisodeResult {
  readonly performed: number;
  /** How often each intended difference was seen. */
  readonly intended: ReadonlyMap<string, number>;
  readonly found: { readonly index: number; readonly difference: Difference } | null;
  /** Of our server, when something was found. */
  readonly log: string;
}

/** Sends a stream to a fresh etcd and a fresh Conclave, until it ends or they differ. */
export async function runEpisode(binary: string, operations: readonly Operation[]): Promise<EpisodeResult> {
  const servers = await both(startEtcd(binary), startConclave());
  try {
    const sides = await Promise.all(servers.map((server) => Side.connect(server)));
    try {
      const result = await perform(new Comparison(sides[0]!, sides[1]!), operations);
      return { ...result, log: servers[1].log() };
    } finally {
      for (const side of sides) side.close();
    }
  } finally {
    await Promise.all(servers.map((server) => server.destroy()));
  }
}

/** Neither is left running when the other does not start. */
async function both(
  first: Promise<Server>,
  second: Promise<Server>,
): Promise<readonly [Server, Server]> {
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
  let performed = 0;
  for (const [index, operation] of operations.entries()) {
    const verdict = await comparison.perform(operation);
    if (verdict.type === 'different') {
      return { performed, intended, found: { index, difference: verdict.difference } };
    }
    if (verdict.type === 'intended') intended.set(verdict.rule, (intended.get(verdict.rule) ?? 0) + 1);
    if (verdict.type !== 'skipped') performed += 1;
  }
  return { performed, intended, found: null };
}
