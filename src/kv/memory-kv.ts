import { checkKeys, checkTxn, DEFAULT_LIMITS } from './check.ts';
import {
  type Kv,
  type KvCall,
  KvError,
  type KvLimits,
  type KvOp,
  type KvOpAnswer,
  type KvPermit,
  type KvRangeAnswer,
  type KvRangeRequest,
  type KvTxnAnswer,
  type KvTxnRequest,
  type KvWatchBatch,
  type KvWatchRequest,
} from './kv.ts';
import { MemoryHistory } from './memory-history.ts';

/** Events of one batch of a watch, unless one revision has more. */
const BATCH_EVENTS_MAX = 1000;

/** The longest lease, as in etcd. */
const TTL_SECONDS_MAX = 9_000_000_000;

interface MemoryLease {
  readonly ttlMs: number;
  readonly keys: Set<string>;
  deadlineMs: number;
}

/** The store in the memory of this process: nothing is kept, nobody is asked who they are. For tests and trials. */
export class MemoryKv implements Kv {
  readonly limits: KvLimits;
  readonly #history = new MemoryHistory();
  readonly #leases = new Map<bigint, MemoryLease>();
  readonly #nowMs: () => number;
  /** Called at the next change, and when this is closed. */
  readonly #waiting = new Set<() => void>();
  #leaseId = 0n;
  #closed = false;

  /** @param options.nowMs a clock for leases; by default one that never goes back */
  constructor(options: { readonly nowMs?: () => number; readonly limits?: KvLimits } = {}) {
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.limits = options.limits ?? DEFAULT_LIMITS;
  }

  async range(request: KvRangeRequest, call: KvCall): Promise<KvRangeAnswer> {
    await this.#begin(call);
    checkKeys(request);
    const { rows, more, count } = this.#history.range(request);
    return { revision: this.#history.revision, rows, more, count };
  }

  async txn(request: KvTxnRequest, call: KvCall): Promise<KvTxnAnswer> {
    await this.#begin(call);
    checkTxn(request, this.limits);
    checkDuplicates(request.success);
    checkDuplicates(request.failure);
    const succeeded = request.compare.every((compare) => this.#history.holds(compare));
    const ops = succeeded ? request.success : request.failure;
    for (const op of ops) this.#check(op);
    const revision = this.#history.revision + 1;
    const responses = ops.map((op) => this.#perform(op, revision));
    if (responses.some(isChange)) this.#changed(revision);
    return { revision: this.#history.revision, succeeded, responses };
  }

  async *watch(request: KvWatchRequest, call: KvCall): AsyncGenerator<KvWatchBatch, void, undefined> {
    checkKeys(request);
    let next = request.startRevision;
    while (!call.signal.aborted) {
      this.#ready();
      if (next <= 0) {
        next = this.#history.revision + 1;
        yield { revision: next - 1, events: [] };
        continue;
      }
      if (next < this.#history.compactRevision) throw this.#compacted();
      const told = this.#history.changesFrom(request, { revision: next, eventsMax: BATCH_EVENTS_MAX });
      if (told.revision < next || told.events.length === 0) {
        next = Math.max(next, told.revision + 1);
        await this.#nextChange(call.signal);
        continue;
      }
      next = told.revision + 1;
      const events = told.events.map((event) =>
        request.prevKv === true ? event : { ...event, previous: null },
      );
      yield { revision: told.revision, events };
    }
  }

  async leaseGrant({ ttlSeconds }: { readonly ttlSeconds: number }, call: KvCall): Promise<bigint> {
    await this.#begin(call);
    if (!Number.isInteger(ttlSeconds) || ttlSeconds < 1 || ttlSeconds > TTL_SECONDS_MAX) {
      throw new KvError('invalid-argument', 'a lease lasts from 1 to 9,000,000,000 whole seconds');
    }
    this.#leaseId += 1n;
    const ttlMs = ttlSeconds * 1000;
    this.#leases.set(this.#leaseId, { ttlMs, deadlineMs: this.#nowMs() + ttlMs, keys: new Set() });
    return this.#leaseId;
  }

  async leaseKeepAlive(id: bigint, call: KvCall): Promise<number> {
    await this.#begin(call);
    const lease = this.#leases.get(id);
    if (lease === undefined) return 0;
    lease.deadlineMs = this.#nowMs() + lease.ttlMs;
    return lease.ttlMs / 1000;
  }

  async leaseRevoke(id: bigint, call: KvCall): Promise<void> {
    await this.#begin(call);
    this.#endLease(id);
  }

  async authEnabled(call: KvCall): Promise<boolean> {
    await this.#begin(call);
    return false;
  }

  async signIn(_login: { readonly name: string; readonly password: string }, call: KvCall): Promise<string> {
    await this.#begin(call);
    throw new KvError('invalid-argument', 'authentication is not enabled');
  }

  async permits(_request: unknown, call: KvCall): Promise<KvPermit> {
    await this.#begin(call);
    return { user: null, permitted: true };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
  }

  /** Forgets the history before `revision`. @throws KvError `compacted`, `future-revision` */
  compact(revision: number): void {
    this.#history.compact(revision);
    this.#wake();
  }

  /** Ends the leases whose time is over, as every call does first: after a test has moved its clock. */
  expireLeases(): void {
    const nowMs = this.#nowMs();
    for (const [id, lease] of this.#leases) {
      if (lease.deadlineMs <= nowMs) this.#endLease(id);
    }
  }

  /** As every call begins: later than it was made, and only while this is open. */
  async #begin({ signal }: KvCall): Promise<void> {
    await Promise.resolve();
    if (signal.aborted) throw new KvError('canceled', 'the call was canceled', { cause: signal.reason });
    this.#ready();
  }

  #ready(): void {
    if (this.#closed) throw new KvError('closed', 'the store was closed');
    this.expireLeases();
  }

  /** Whether the operation can be done, before any is. */
  #check(op: KvOp): void {
    if (op.type === 'range') this.#history.checkRevision(op.revision ?? 0);
    if (op.type === 'put' && (op.lease ?? 0n) !== 0n && !this.#leases.has(op.lease ?? 0n)) {
      throw new KvError('lease-not-found', 'requested lease not found');
    }
  }

  #perform(op: KvOp, revision: number): KvOpAnswer {
    switch (op.type) {
      case 'range':
        return this.#history.range(op);
      case 'put': {
        const key = op.key.toString('latin1');
        const lease = op.lease ?? 0n;
        const before = this.#history.put({ key: op.key, value: op.value, lease }, revision);
        this.#leases.get(before)?.keys.delete(key);
        this.#leases.get(lease)?.keys.add(key);
        return { type: 'put' };
      }
      case 'delete': {
        const deleted = this.#history.delete(op, revision);
        for (const { key, lease } of deleted) this.#leases.get(lease)?.keys.delete(key.toString('latin1'));
        return { type: 'delete', deleted: deleted.length };
      }
    }
  }

  #endLease(id: bigint): void {
    const keys = this.#leases.get(id)?.keys ?? new Set();
    this.#leases.delete(id);
    if (keys.size === 0) return;
    const revision = this.#history.revision + 1;
    for (const key of keys) this.#history.delete({ key: Buffer.from(key, 'latin1') }, revision);
    this.#changed(revision);
  }

  #changed(revision: number): void {
    this.#history.revision = revision;
    this.#wake();
  }

  #compacted(): KvError {
    const { compactRevision } = this.#history;
    return new KvError('compacted', 'revision has been compacted', { compactRevision });
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }

  /** Resolves at the next change, when this is closed, or when the signal is aborted. */
  async #nextChange(signal: AbortSignal): Promise<void> {
    let wake = (): void => undefined;
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    this.#waiting.add(wake);
    signal.addEventListener('abort', wake);
    if (this.#closed || signal.aborted) wake();
    await woken;
    this.#waiting.delete(wake);
    signal.removeEventListener('abort', wake);
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
