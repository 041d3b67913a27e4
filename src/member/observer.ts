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
  /** A read of bounded staleness was answered: from the state as it was, or after a round of its own. */
  boundedRead(how: BoundedReadOutcome): void;
  /** This member learnt of another leader, or (null) of having none. */
  leaderChanged(leaderId: number | null): void;
  /** A whole snapshot went to, or came from, another member. */
  snapshot(direction: 'sent' | 'received', seconds: number): void;
  /** One ping to a connected member came back. */
  peerRoundTrip(peerId: number, seconds: number): void;
  /** Whether somebody may do what he asks was decided, while authentication was enabled. */
  accessDecided(outcome: AccessOutcome): void;
  /** Somebody showed a name and a password, while authentication was enabled. */
  signedIn(outcome: SignInOutcome): void;
}

export const BOUNDED_READ_OUTCOMES = ['local', 'upgraded'] as const;
export type BoundedReadOutcome = (typeof BOUNDED_READ_OUTCOMES)[number];

/** `denied`: known, but not permitted; `unknown`: nobody, or with a token that is none, or not any more. */
export const ACCESS_OUTCOMES = ['allowed', 'denied', 'unknown'] as const;
export type AccessOutcome = (typeof ACCESS_OUTCOMES)[number];

/** `refused`: a wrong name or password; `limited`: not even looked at, for there were too many; `failed`: no answer. */
export const SIGN_IN_OUTCOMES = ['granted', 'refused', 'limited', 'failed'] as const;
export type SignInOutcome = (typeof SIGN_IN_OUTCOMES)[number];

/** Measures nothing. */
export const SILENT_OBSERVER: MemberObserver = {
  walFsync: () => {},
  stateBarrier: () => {},
  applied: () => {},
  proposal: () => {},
  readRound: () => {},
  boundedRead: () => {},
  leaderChanged: () => {},
  snapshot: () => {},
  peerRoundTrip: () => {},
  accessDecided: () => {},
  signedIn: () => {},
};

/** What a member knows of another one. */
export interface PeerFigures {
  readonly id: number;
  /** Empty when it does not say. */
  readonly region: string;
  /** Null when it is not connected, or has not answered yet. */
  readonly roundTrip: { readonly smoothedMs: number; readonly maxMs: number } | null;
  /** Committed entries that it is not known to hold; null on a member that does not lead. */
  readonly lagEntries: number | null;
}

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
  /** How old its state may be, or NaN when that is not known. */
  readonly stateAgeSeconds: number;
  /** Requests for fresh progress of watches that were answered. */
  readonly freshAnswers: number;
  readonly connectedPeers: readonly number[];
  /** Where it runs; absent when it does not say. */
  readonly region?: string;
  /** The other members. */
  readonly peers: readonly PeerFigures[];
  /** Whether heartbeat interval and election timeout are long enough for the round trips. */
  readonly timersFit: boolean;
  readonly auth: {
    readonly enabled: boolean;
    readonly revision: number;
    readonly users: number;
    readonly roles: number;
    /** Simple tokens that this member knows. */
    readonly tokens: number;
  };
}
