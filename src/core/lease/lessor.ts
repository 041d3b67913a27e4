import { assert } from '../../lib/assert.ts';
import { DeadlineHeap } from './deadline-heap.ts';
import { Lease, type LeaseRecord } from './lease.ts';

/** A lease with more time than this left has its remaining time checkpointed, this often (RELIABILITY L5). */
export const LEASE_CHECKPOINT_INTERVAL_MS = 300_000;
/** At most this many leases per second are made to expire after a promotion; later ones get more time. */
export const LEASE_PROMOTE_EXPIRIES_PER_SECOND = 750;

/** Leases at a time: each takes some 450 bytes of every member's memory, and its keys as many. Decided at the entry. */
export const LEASES_MAX = 500_000;

/** One lease's remaining time as a leader knew it; 0 resets it to the whole time to live. */
export interface LeaseCheckpoint {
  readonly id: bigint;
  readonly remainingSeconds: number;
}

/**
 * The leases of the replicated state, and the time of those leases while this member leads.
 *
 * Replicated and driven by apply alone: `grant`, `revoke`, `attach`, `detach`, `checkpoint`. They take no time, so
 * that they are deterministic. Local and driven by the leader's clock: everything with `nowMs`, a monotonic time.
 * A lease granted while this member leads starts to run at the first call with a time after the grant, hence never
 * too early.
 *
 * Leases are never given up early: a renewal moves a number, not the heap; `revoke`, `grant` and each lease taken
 * from a heap cost O(log n).
 */
export class Lessor {
  readonly #leases = new Map<bigint, Lease>();
  readonly #leaseOfKey = new Map<string, Lease>();
  readonly #expiries = new DeadlineHeap<Lease>();
  readonly #checkpoints = new DeadlineHeap<Lease>();
  /** Granted under this leader and not started yet. */
  readonly #fresh = new Set<Lease>();
  #promoted = false;

  get size(): number {
    return this.#leases.size;
  }

  // ---- replicated -------------------------------------------------------------------------------------------

  /** Adds a lease. The id is not granted yet: the caller answers `lease-exists` otherwise. */
  grant(record: LeaseRecord): void {
    assert(!this.#leases.has(record.id), 'a lease is granted once');
    const lease = new Lease(record);
    this.#leases.set(lease.id, lease);
    if (this.#promoted) this.#fresh.add(lease);
  }

  /** Removes a lease, and returns its keys in byte order: every member deletes them in the same order (P42). */
  revoke(id: bigint): readonly Buffer[] {
    const lease = this.#leases.get(id);
    assert(lease !== undefined, 'a revoked lease exists');
    this.#leases.delete(id);
    this.#fresh.delete(lease);
    this.#expiries.remove(lease.expiryNode);
    this.#checkpoints.remove(lease.checkpointNode);
    for (const key of lease.keys) this.#leaseOfKey.delete(key);
    return sortedKeys(lease);
  }

  has(id: bigint): boolean {
    return this.#leases.has(id);
  }

  get(id: bigint): LeaseRecord | undefined {
    return this.#leases.get(id);
  }

  /** All leases by ascending id. */
  list(): readonly LeaseRecord[] {
    return [...this.#leases.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** A lease's keys in byte order; empty for an unknown lease. */
  keys(id: bigint): readonly Buffer[] {
    const lease = this.#leases.get(id);
    return lease === undefined ? [] : sortedKeys(lease);
  }

  /** The lease a key is attached to, or 0n. */
  leaseOf(key: Buffer): bigint {
    return this.#leaseOfKey.get(key.toString('latin1'))?.id ?? 0n;
  }

  /** Attaches a key, leaving whatever lease it had (RELIABILITY L6). The lease exists. */
  attach(id: bigint, key: Buffer): void {
    const lease = this.#leases.get(id);
    assert(lease !== undefined, 'a key is attached to a known lease');
    const name = key.toString('latin1');
    this.#leaseOfKey.get(name)?.keys.delete(name);
    this.#leaseOfKey.set(name, lease);
    lease.keys.add(name);
  }

  /** The key has no lease any more: overwritten without one, or deleted. */
  detach(key: Buffer): void {
    if (this.#leaseOfKey.size === 0) return;
    const name = key.toString('latin1');
    const lease = this.#leaseOfKey.get(name);
    if (lease === undefined) return;
    lease.keys.delete(name);
    this.#leaseOfKey.delete(name);
  }

  /** Sets what a next leader starts from. No-op for an unknown lease: it may have been revoked meanwhile. */
  checkpoint({ id, remainingSeconds }: LeaseCheckpoint): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    lease.remainingSeconds = Math.min(remainingSeconds, lease.ttlSeconds);
    lease.checkpointing = false;
  }

  // ---- the leader's time ------------------------------------------------------------------------------------

  get promoted(): boolean {
    return this.#promoted;
  }

  /**
   * This member leads and has applied its no-op. Every lease runs anew for what remained by the last checkpoint,
   * plus `extendMs`; those that would all expire at once are spread (RELIABILITY L5, P41).
   */
  promote(nowMs: number, extendMs: number): void {
    this.demote();
    this.#promoted = true;
    const leases = [...this.#leases.values()].sort((a, b) => a.startMs - b.startMs || (a.id < b.id ? -1 : 1));
    const spacingMs = 1_000 / LEASE_PROMOTE_EXPIRIES_PER_SECOND;
    let earliestMs = nowMs;
    for (const lease of leases) {
      this.#start(lease, Math.max(nowMs + extendMs + lease.startMs, earliestMs), nowMs);
      earliestMs = lease.expiryMs + spacingMs;
    }
  }

  /** This member no longer leads: no lease expires here, none is renewed. */
  demote(): void {
    this.#promoted = false;
    this.#fresh.clear();
    this.#expiries.clear();
    this.#checkpoints.clear();
    for (const lease of this.#leases.values()) {
      lease.expiryMs = Number.POSITIVE_INFINITY;
      lease.expiring = false;
      lease.checkpointing = false;
    }
  }

  /**
   * Lets a lease run for its whole time to live from now.
   *
   * @returns the time to live in seconds, or 0 when the lease is unknown, its expiry is proposed (see `isExpiring`
   *   to wait for that), or this member does not lead
   */
  renew(id: bigint, nowMs: number): number {
    this.#startFresh(nowMs);
    const lease = this.#leases.get(id);
    if (!this.#promoted || lease === undefined || lease.expiring) return 0;
    lease.expiryMs = Math.max(lease.expiryMs, nowMs + 1_000 * lease.ttlSeconds);
    this.#scheduleCheckpoint(lease, nowMs);
    return lease.ttlSeconds;
  }

  /**
   * True when a renewal may only be acknowledged after a checkpoint of 0 is applied: else a next leader would start
   * from less than the client was promised. Asked after `renew`.
   */
  needsCheckpointReset(id: bigint): boolean {
    const lease = this.#leases.get(id);
    return lease !== undefined && (lease.checkpointing || lease.remainingSeconds !== 0);
  }

  /** Whole seconds left, never below 0; -1 for an unknown lease or when this member does not lead. */
  remaining(id: bigint, nowMs: number): number {
    this.#startFresh(nowMs);
    const lease = this.#leases.get(id);
    if (!this.#promoted || lease === undefined) return -1;
    return Math.max(0, Math.floor((lease.expiryMs - nowMs) / 1_000));
  }

  /** Up to `max` leases whose time is over and whose expiry is not proposed yet. */
  expired(nowMs: number, max: number): readonly bigint[] {
    this.#startFresh(nowMs);
    const due: Lease[] = [];
    for (let node = this.#expiries.first(); node !== undefined; node = this.#expiries.first()) {
      if (node.deadlineMs > nowMs || due.length === max) break;
      const lease = node.item;
      if (lease.expiryMs > nowMs) {
        this.#expiries.set(node, lease.expiryMs);
        continue;
      }
      this.#expiries.remove(node);
      due.push(lease);
    }
    for (const lease of due) this.#expiries.set(lease.expiryNode, lease.expiryMs);
    return due.map((lease) => lease.id);
  }

  /** The expiry of these leases is about to be proposed. Unknown ids are ignored. */
  markExpiring(ids: readonly bigint[]): void {
    for (const id of ids) {
      const lease = this.#leases.get(id);
      if (!this.#promoted || lease === undefined) continue;
      lease.expiring = true;
      this.#expiries.remove(lease.expiryNode);
    }
  }

  /** The proposal is settled; leases it did not revoke are due again. Unknown ids are ignored. */
  clearExpiring(ids: readonly bigint[]): void {
    for (const id of ids) {
      const lease = this.#leases.get(id);
      if (lease === undefined || !lease.expiring) continue;
      lease.expiring = false;
      this.#expiries.set(lease.expiryNode, lease.expiryMs);
    }
  }

  isExpiring(id: bigint): boolean {
    return this.#leases.get(id)?.expiring ?? false;
  }

  /** Up to `max` checkpoints to propose now. A proposal that gets lost is made again an interval later. */
  dueCheckpoints(nowMs: number, max: number): readonly LeaseCheckpoint[] {
    this.#startFresh(nowMs);
    const due: LeaseCheckpoint[] = [];
    for (let node = this.#checkpoints.first(); node !== undefined; node = this.#checkpoints.first()) {
      if (node.deadlineMs > nowMs || due.length === max) break;
      const lease = node.item;
      this.#scheduleCheckpoint(lease, nowMs);
      if (lease.expiring || lease.expiryMs <= nowMs) continue;
      lease.checkpointing = true;
      const remainingSeconds = Math.min(lease.ttlSeconds, Math.ceil((lease.expiryMs - nowMs) / 1_000));
      due.push({ id: lease.id, remainingSeconds });
    }
    return due;
  }

  #startFresh(nowMs: number): void {
    for (const lease of this.#fresh) this.#start(lease, nowMs + lease.startMs, nowMs);
    this.#fresh.clear();
  }

  #start(lease: Lease, expiryMs: number, nowMs: number): void {
    lease.expiryMs = expiryMs;
    this.#expiries.set(lease.expiryNode, expiryMs);
    this.#scheduleCheckpoint(lease, nowMs);
  }

  /** Leases that end before the next checkpoint would be due are not checkpointed. */
  #scheduleCheckpoint(lease: Lease, nowMs: number): void {
    const left = lease.expiryMs - nowMs;
    if (left > LEASE_CHECKPOINT_INTERVAL_MS) {
      this.#checkpoints.set(lease.checkpointNode, nowMs + LEASE_CHECKPOINT_INTERVAL_MS);
    } else {
      this.#checkpoints.remove(lease.checkpointNode);
    }
  }
}

/** The code units of latin1 strings are the bytes, so this is byte order. */
function sortedKeys(lease: Lease): readonly Buffer[] {
  return [...lease.keys].sort(compareStrings).map((key) => Buffer.from(key, 'latin1'));
}

function compareStrings(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
