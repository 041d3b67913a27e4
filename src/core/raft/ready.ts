import type { Entry, HardState, MemberId, Message, SnapshotMeta } from './messages.ts';

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader';

/**
 * Everything the Raft module wants done, taken at once. Its lanes are independent of each other; within a lane
 * the order of successive `Ready`s must hold.
 *
 * - `messages` may leave at once, before anything is durable.
 * - `append` (append lane) must be made durable as one unit; then `RawNode.appended(append.seq)` is called, and
 *   only then may `append.messages` leave: vote requests, votes and append replies, rejections included.
 * - `restore`, then `entries` (apply lane): applied in order, reported with `RawNode.applied(index)`. They are
 *   durable here already: Raft holds back a committed entry until its own log has it on disk.
 */
export interface Ready {
  readonly term: number;
  readonly role: Role;
  readonly leader: MemberId;
  readonly messages: readonly Message[];
  readonly append: AppendBatch | null;
  /** A snapshot whose append is durable: the state machine switches to it before it applies `entries`. */
  readonly restore: SnapshotMeta | null;
  /** Committed and locally durable entries to apply next, contiguous. */
  readonly entries: readonly Entry[];
  readonly readStates: readonly ReadState[];
}

export interface AppendBatch {
  /** Increases by one with every batch; the argument of `appended`. */
  readonly seq: number;
  /** The state to persist with it, or null when it is unchanged. */
  readonly hardState: HardState | null;
  /** New entries, contiguous. Entries at or above `entries[0].index` already in the log are replaced. */
  readonly entries: readonly Entry[];
  /** The whole log is replaced by this snapshot; entries, if any, follow it. */
  readonly snapshot: SnapshotMeta | null;
  /** False when only `commit` moved: that alone never forces an fsync. */
  readonly mustSync: boolean;
  readonly messages: readonly Message[];
}

/** The outcome of a `readIndex(context)`. `index` -1: refused (no leader, leader changed); ask again anew. */
export interface ReadState {
  readonly context: number;
  readonly index: number;
}
