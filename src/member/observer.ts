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
