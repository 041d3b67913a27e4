import type { Revision, Row } from './row.ts';

/** One change of one key, as watchers, leases and prev_kv need it. Immutable; events of a commit are in sub order. */
export interface KvEvent {
  readonly type: 'put' | 'delete';
  /** For a delete the tombstone: its key and revision, everything else empty. */
  readonly row: Row;
  /** The live row that this change replaced; null when it created the key or when compaction dropped that row. */
  readonly previous: Revision | null;
  /** The lease of the row that this change replaced, 0n when none: it is detached, `row.lease` is attached. */
  readonly previousLease: bigint;
}

/** All changes of one revision, in sub order, never empty. */
export interface RevisionEvents {
  readonly revision: number;
  readonly events: readonly KvEvent[];
}

/** What one mutating request did. Without a change `revision` is the old one and both lists are empty. */
export interface Commit {
  readonly revision: number;
  readonly events: readonly KvEvent[];
  /** The rows of `events`: what a disk must keep. */
  readonly rows: readonly Row[];
}
