import { assert } from '../../lib/assert.ts';
import { type DeadlineNode, deadlineNode } from './deadline-heap.ts';

/** The longest time to live that can be granted, in seconds, as in etcd. */
export const LEASE_TTL_SECONDS_MAX = 9_000_000_000;

/** What is replicated of a lease besides its keys, which the rows carry. */
export interface LeaseRecord {
  /** The full int64 range without 0. */
  readonly id: bigint;
  /** Granted, in seconds: 1 to `LEASE_TTL_SECONDS_MAX`. */
  readonly ttlSeconds: number;
  /** What a new leader starts from, by the last checkpoint; 0 = the whole time to live. */
  readonly remainingSeconds: number;
  /** Index of the entry that granted it: tells it from an earlier lease of the same id. 0 = granted before this was kept. */
  readonly grantedAt: number;
}

/** A lease as the lessor keeps it. Everything below `keys` is this member's own and not replicated. */
export class Lease implements LeaseRecord {
  readonly id: bigint;
  readonly ttlSeconds: number;
  readonly grantedAt: number;
  remainingSeconds: number;
  /** Attached keys, their bytes as latin1. */
  readonly keys = new Set<string>();
  /** Infinity while this member keeps no time for it. */
  expiryMs = Number.POSITIVE_INFINITY;
  /** Its expiry is proposed: no keep-alive may be acknowledged until that is settled. */
  expiring = false;
  /** A checkpoint made by this leader may still be on its way through the log. */
  checkpointing = false;
  /** Its deadline is never later than `expiryMs`: renewals do not touch the heap. */
  readonly expiryNode: DeadlineNode<Lease>;
  readonly checkpointNode: DeadlineNode<Lease>;

  constructor(record: LeaseRecord) {
    assert(record.id !== 0n, 'lease id 0 means no lease');
    assert(record.ttlSeconds >= 1 && record.ttlSeconds <= LEASE_TTL_SECONDS_MAX, 'lease ttl in bounds');
    this.id = record.id;
    this.ttlSeconds = record.ttlSeconds;
    this.grantedAt = record.grantedAt;
    this.remainingSeconds = record.remainingSeconds;
    this.expiryNode = deadlineNode<Lease>(this);
    this.checkpointNode = deadlineNode<Lease>(this);
  }

  /** How long the lease lives on from a promotion. */
  get startMs(): number {
    return 1_000 * (this.remainingSeconds === 0 ? this.ttlSeconds : this.remainingSeconds);
  }
}
