/**
 * The vocabulary of the Raft module: entries, states and the messages members exchange. Plain data only, so
 * that a transport, a log and a simulator can carry it. Terms and indexes are integers below 2^53.
 */

/** A member's id: a positive integer below 2^53, never reused. `NO_MEMBER` (0) means "none". */
export type MemberId = number;
export const NO_MEMBER: MemberId = 0;

/**
 * One log entry. `data` is opaque to Raft. A `normal` entry with empty data is the no-op that a leader appends on
 * election (thesis 6.4); a `conf-change` entry with empty data leaves a joint configuration.
 */
export interface Entry {
  readonly index: number;
  readonly term: number;
  readonly kind: EntryKind;
  readonly data: Buffer;
}
export type EntryKind = 'normal' | 'conf-change';

/** What a member must never forget. `vote` is the candidate voted for in `term`, or `NO_MEMBER`. */
export interface HardState {
  readonly term: number;
  readonly vote: MemberId;
  readonly commit: number;
}

/** Raft's members at some log index. Outside a joint configuration `votersOutgoing` is empty. Lists are sorted. */
export interface ConfState {
  readonly voters: readonly MemberId[];
  readonly votersOutgoing: readonly MemberId[];
  readonly learners: readonly MemberId[];
  /** Voters of the outgoing half that become learners when the joint configuration is left. */
  readonly learnersNext: readonly MemberId[];
  /** The leader proposes leaving the joint configuration by itself once it is applied. */
  readonly autoLeave: boolean;
}

export type ConfChangeType = 'add-voter' | 'add-learner' | 'remove';
/** One step of a membership change. Several steps in one change go through a joint configuration (thesis 4.3). */
export interface ConfChangeStep {
  readonly type: ConfChangeType;
  readonly id: MemberId;
}
/** An empty list of steps leaves the joint configuration. */
export interface ConfChange {
  readonly steps: readonly ConfChangeStep[];
}

/** Identifies a state that replaces the log up to and including `index`. The state itself travels apart. */
export interface SnapshotMeta {
  readonly index: number;
  readonly term: number;
  readonly confState: ConfState;
}

interface Envelope {
  readonly from: MemberId;
  readonly to: MemberId;
  /** The sender's term; for a pre-vote request the term it would campaign in. */
  readonly term: number;
}

export interface VoteRequest extends Envelope {
  readonly type: 'vote';
  readonly preVote: boolean;
  readonly lastIndex: number;
  readonly lastTerm: number;
  /** Set on a campaign begun by leadership transfer: voters skip the recent-leader check (thesis 4.2.3). */
  readonly transfer: boolean;
}
export interface VoteResponse extends Envelope {
  readonly type: 'vote-response';
  readonly preVote: boolean;
  readonly granted: boolean;
  /** What the sender knows to be committed, and the term of the entry there; both 0 when the vote is granted. */
  readonly commit: number;
  readonly commitTerm: number;
}
export interface AppendRequest extends Envelope {
  readonly type: 'append';
  readonly prevIndex: number;
  readonly prevTerm: number;
  readonly entries: readonly Entry[];
  readonly commit: number;
}
export interface AppendResponse extends Envelope {
  readonly type: 'append-response';
  /** Accepted: the last index now known to match the leader's log. Rejected: the `prevIndex` refused. */
  readonly index: number;
  readonly reject: boolean;
  /** On a reject: where the follower's log could match, and the term it has there. Else 0. */
  readonly hintIndex: number;
  readonly hintTerm: number;
}
export interface Heartbeat extends Envelope {
  readonly type: 'heartbeat';
  /** min(match of the receiver, commit): never beyond what this leader verified on the receiver. */
  readonly commit: number;
  /** The leader's latest read round in this term; 0 when there is none. */
  readonly readSeq: number;
}
export interface HeartbeatResponse extends Envelope {
  readonly type: 'heartbeat-response';
  readonly readSeq: number;
}
/** Asks the leader for one read index on behalf of all reads a member has gathered. */
export interface ReadIndexRequest extends Envelope {
  readonly type: 'read-index';
  /** Unique for the asking member over all its incarnations; a retry takes a new one. */
  readonly context: number;
}
export interface ReadIndexResponse extends Envelope {
  readonly type: 'read-index-response';
  readonly context: number;
  /** The index to wait for, or -1: refused, ask again elsewhere or later. */
  readonly index: number;
}
/** Tells the receiver that it needs the leader's state; sent only as metadata, ahead of the state stream. */
export interface InstallSnapshot extends Envelope {
  readonly type: 'snapshot';
  readonly snapshot: SnapshotMeta;
}
/** Leadership transfer: the receiver campaigns at once (thesis 3.10). */
export interface TimeoutNow extends Envelope {
  readonly type: 'timeout-now';
}

export type Message =
  | VoteRequest
  | VoteResponse
  | AppendRequest
  | AppendResponse
  | Heartbeat
  | HeartbeatResponse
  | ReadIndexRequest
  | ReadIndexResponse
  | InstallSnapshot
  | TimeoutNow;
