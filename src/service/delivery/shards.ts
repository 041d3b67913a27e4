import { crc32 } from 'node:zlib';
import { type Kv, type KvCall, KvError, type KvOp } from '../../kv/kv.ts';
import { instanceShardKey } from '../keyspace.ts';
import { encodeInstances, type Instance, instanceKey } from './instance.ts';

/** Rows that the instances of one server are spread over, so that one of them changes few bytes. */
export const SHARDS = 64;
/** How long the rows of a server outlive it. */
const TTL_SECONDS = 15;
/** Bytes of one transaction, and so of one second. */
const WRITE_BYTES_MAX = 1024 * 1024;

export function shardOf(instance: Instance): number {
  return crc32(instanceKey(instance)) % SHARDS;
}

/**
 * The rows of one server's instances, under a lease of its own: they go when it goes. There is none before its first
 * instance.
 */
export class Shards {
  readonly #kv: Kv;
  readonly #server: string;
  readonly #written = new Set<number>();
  readonly #changed = new Set<number>();
  #lease: bigint | null = null;

  constructor(kv: Kv, server: string) {
    this.#kv = kv;
    this.#server = server;
  }

  get hasChanged(): boolean {
    return this.#changed.size > 0;
  }

  changed(instance: Instance): void {
    this.#changed.add(shardOf(instance));
  }

  /** Keeps what is written alive; what was lost meanwhile is written anew. @throws KvError */
  async renew(signal: AbortSignal): Promise<void> {
    if (this.#lease === null) return;
    if ((await this.#kv.leaseKeepAlive(this.#lease, callOf(signal))) === 0) this.#lost();
  }

  /** Writes what has changed, in one transaction; what does not fit waits for the next one. @throws KvError */
  async write(instancesOf: (shard: number) => readonly Instance[], signal: AbortSignal): Promise<void> {
    if (this.#changed.size === 0) return;
    const lease = await this.#leaseOf(signal);
    const ops: KvOp[] = [];
    const shards: number[] = [];
    let bytes = 0;
    for (const shard of this.#changed) {
      const op = this.#opOf(shard, { instances: instancesOf(shard), lease });
      bytes += op.type === 'put' ? op.value.length : 0;
      if (ops.length > 0 && bytes > WRITE_BYTES_MAX) break;
      ops.push(op);
      shards.push(shard);
    }
    for (const shard of shards) this.#changed.delete(shard);
    try {
      await this.#kv.txn({ compare: [], success: ops, failure: [] }, callOf(signal));
      for (const [at, shard] of shards.entries()) {
        if (ops[at]!.type === 'put') this.#written.add(shard);
        else this.#written.delete(shard);
      }
    } catch (error) {
      for (const shard of shards) this.#changed.add(shard);
      if (error instanceof KvError && error.code === 'lease-not-found') this.#lost();
      throw error;
    }
  }

  /** Takes all rows away at once. @throws KvError */
  async clear(signal: AbortSignal): Promise<void> {
    const lease = this.#lease;
    this.#lease = null;
    this.#written.clear();
    if (lease !== null) await this.#kv.leaseRevoke(lease, callOf(signal));
  }

  /** The lease is gone, and all rows with it. */
  #lost(): void {
    this.#lease = null;
    for (const shard of this.#written) this.#changed.add(shard);
    this.#written.clear();
  }

  async #leaseOf(signal: AbortSignal): Promise<bigint> {
    this.#lease ??= await this.#kv.leaseGrant({ ttlSeconds: TTL_SECONDS }, callOf(signal));
    return this.#lease;
  }

  #opOf(
    shard: number,
    { instances, lease }: { readonly instances: readonly Instance[]; readonly lease: bigint },
  ): KvOp {
    const key = instanceShardKey(this.#server, shard);
    if (instances.length === 0) return { type: 'delete', key };
    return { type: 'put', key, value: encodeInstances(instances), lease };
  }
}

function callOf(signal: AbortSignal): KvCall {
  return { principal: { type: 'service' }, signal };
}
