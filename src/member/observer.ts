/**
 * What a member tells whoever measures it. Calls come from the member's loop, so they must be quick, must not throw
 * and must not call back into the member. All durations are seconds, as metrics want them.
 */
export interface MemberObserver {
  /** One log append was made durable. */
  walFsync(seconds: number, batch: { readonly entries: number; readonly bytes: number }): void;
  /** A durable barrier of the state store was completed. */
  stateBarrier(seconds: number): void;
  /** One slice of committed entries was applied. */
  applied(seconds: number, entries: number): void;
  /** A proposal of this member's was answered; `failed` = its client got an error without an outcome. */
  proposal(outcome: 'applied' | 'failed'): void;
  /** A round of linearizable reads ended; `failed` = it was given up. */
  readRound(outcome: 'served' | 'failed'): void;
  /** This member learnt of another leader, or (null) of having none. */
  leaderChanged(leaderId: number | null): void;
  /** A whole snapshot went to, or came from, another member. */
  snapshot(direction: 'sent' | 'received', seconds: number): void;
  /** One ping to a connected member came back. */
  peerRoundTrip(peerId: number, seconds: number): void;
}

/** Measures nothing. */
export const SILENT_OBSERVER: MemberObserver = {
  walFsync: () => {},
  stateBarrier: () => {},
  applied: () => {},
  proposal: () => {},
  readRound: () => {},
  leaderChanged: () => {},
  snapshot: () => {},
  peerRoundTrip: () => {},
};

/** What a member says of itself when asked. Sizes are bytes, counts are totals since the start. */
export interface MemberFigures {
  readonly hasLeader: boolean;
  readonly isLeader: boolean;
  readonly isLearner: boolean;
  readonly term: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly proposalsPending: number;
  readonly revision: number;
  readonly compactRevision: number;
  readonly keys: number;
  readonly dbSizeBytes: number;
  readonly dbSizeInUseBytes: number;
  readonly quotaBytes: number;
  readonly logSizeBytes: number;
  readonly logFirstIndex: number;
  readonly leases: number;
  readonly watchers: number;
  readonly slowWatchers: number;
  readonly connectedPeers: readonly number[];
}
