import { checkTtl, checkTxn } from './check.ts';
import {
  KvError,
  type KvLimits,
  type KvOp,
  type KvOpAnswer,
  type KvTxnAnswer,
  type KvTxnRequest,
} from './kv.ts';
import { MemoryHistory } from './memory-history.ts';

interface MemoryLease {
  readonly ttlMs: number;
  readonly keys: Set<string>;
  deadlineMs: number;
}

/** The one store behind all ports to it: its history, its leases, and whom to wake at a change. */
export class MemoryStore {
  readonly history = new MemoryHistory();
  readonly #leases = new Map<bigint, MemoryLease>();
  readonly #nowMs: () => number;
  readonly #listeners = new Set<() => void>();
  #leaseId = 0n;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** @throws KvError, and then nothing was done */
  txn(request: KvTxnRequest, limits: KvLimits): KvTxnAnswer {
    checkTxn(request, limits);
    checkDuplicates(request.success);
    checkDuplicates(request.failure);
    const succeeded = request.compare.every((compare) => this.history.holds(compare));
    const ops = succeeded ? request.success : request.failure;
    for (const op of ops) this.#check(op);
    const revision = this.history.revision + 1;
    const responses = ops.map((op) => this.#perform(op, revision));
    if (responses.some(isChange)) this.#changed(revision);
    return { revision: this.history.revision, succeeded, responses };
  }

  /** @throws KvError `compacted`, `future-revision` */
  compact(revision: number): void {
    this.history.compact(revision);
    this.#wake();
  }

  grant(ttlSeconds: number): bigint {
    checkTtl(ttlSeconds);
    this.#leaseId += 1n;
    const ttlMs = ttlSeconds * 1000;
    this.#leases.set(this.#leaseId, { ttlMs, deadlineMs: this.#nowMs() + ttlMs, keys: new Set() });
    return this.#leaseId;
  }

  /** @returns its seconds, 0 when it is gone */
  renew(id: bigint): number {
    const lease = this.#leases.get(id);
    if (lease === undefined) return 0;
    lease.deadlineMs = this.#nowMs() + lease.ttlMs;
    return lease.ttlMs / 1000;
  }

  revoke(id: bigint): void {
    const keys = this.#leases.get(id)?.keys ?? new Set();
    this.#leases.delete(id);
    if (keys.size === 0) return;
    const revision = this.history.revision + 1;
    for (const key of keys) this.history.delete({ key: Buffer.from(key, 'latin1') }, revision);
    this.#changed(revision);
  }

  /** Ends the leases whose time is over. */
  expireLeases(): void {
    const nowMs = this.#nowMs();
    for (const [id, lease] of this.#leases) {
      if (lease.deadlineMs <= nowMs) this.revoke(id);
    }
  }

  /** Calls back at every change and compaction. @returns ends it */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Whether the operation can be done, before any is. */
  #check(op: KvOp): void {
    if (op.type === 'range') this.history.checkRevision(op.revision ?? 0);
    if (op.type === 'put' && (op.lease ?? 0n) !== 0n && !this.#leases.has(op.lease ?? 0n)) {
      throw new KvError('lease-not-found', 'requested lease not found');
    }
  }

  #perform(op: KvOp, revision: number): KvOpAnswer {
    switch (op.type) {
      case 'range':
        return this.history.range(op);
      case 'put': {
        const key = op.key.toString('latin1');
        const lease = op.lease ?? 0n;
        const before = this.history.put({ key: op.key, value: op.value, lease }, revision);
        this.#leases.get(before)?.keys.delete(key);
        this.#leases.get(lease)?.keys.add(key);
        return { type: 'put' };
      }
      case 'delete': {
        const deleted = this.history.delete(op, revision);
        for (const { key, lease } of deleted) this.#leases.get(lease)?.keys.delete(key.toString('latin1'));
        return { type: 'delete', deleted: deleted.length };
      }
    }
  }

  #changed(revision: number): void {
    this.history.revision = revision;
    this.#wake();
  }

  #wake(): void {
    for (const listener of this.#listeners) listener();
  }
}

function isChange(answer: KvOpAnswer): boolean {
  return answer.type === 'put' || (answer.type === 'delete' && answer.deleted > 0);
}

/** As etcd: a key may be put once by one side, and not be deleted beside. */
function checkDuplicates(ops: readonly KvOp[]): void {
  const puts = new MemoryHistory();
  const keys = new Set<string>();
  for (const op of ops) {
    if (op.type !== 'put') continue;
    const key = op.key.toString('latin1');
    if (keys.has(key)) throw duplicateKey();
    keys.add(key);
    puts.put({ key: op.key, value: op.key, lease: 0n }, 1);
  }
  for (const op of ops) {
    if (op.type === 'delete' && puts.range({ ...op, countOnly: true }).count > 0) throw duplicateKey();
  }
}

function duplicateKey(): KvError {
  return new KvError('invalid-argument', 'duplicate key given in txn request');
}
