import type { Kv, KvCall } from '../../kv/kv.ts';
import type { Guard } from '../commit.ts';
import { PREFIXES } from '../keyspace.ts';

/** How long a lock outlives a server that dies with it. */
const TTL_SECONDS = 30;

/** A lock that is held: what else is done under it carries its guard. */
export interface HeldLock {
  readonly guard: Guard;
  /** @returns false when it was lost */
  renew(): Promise<boolean>;
}

/**
 * Runs a sweep on one server of the cluster at a time.
 *
 * @returns null when another one has the lock
 * @throws KvError
 */
export async function underLock<T>(
  kv: Kv,
  { name, signal }: { readonly name: string; readonly signal: AbortSignal },
  run: (lock: HeldLock) => Promise<T>,
): Promise<T | null> {
  const call: KvCall = { principal: { type: 'service' }, signal };
  const key = Buffer.from(`${PREFIXES.lock}${name}`);
  const found = await kv.range({ key, keysOnly: true, consistency: { type: 'serializable' } }, call);
  if (found.rows.length > 0) return null;
  const lease = await kv.leaseGrant({ ttlSeconds: TTL_SECONDS }, call);
  try {
    const answer = await kv.txn(
      {
        compare: [{ key, target: 'create', result: 'equal', number: 0 }],
        success: [{ type: 'put', key, value: Buffer.alloc(0), lease }],
        failure: [],
      },
      call,
    );
    if (!answer.succeeded) return null;
    const guard = { key, modRevision: answer.revision };
    return await run({ guard, renew: async () => (await kv.leaseKeepAlive(lease, call)) > 0 });
  } finally {
    await release(kv, lease);
  }
}

/** Also when the sweep was given up; a lease that cannot be revoked now expires by itself. */
async function release(kv: Kv, lease: bigint): Promise<void> {
  const signal = AbortSignal.timeout(5_000);
  await kv.leaseRevoke(lease, { principal: { type: 'service' }, signal }).catch(() => undefined);
}
