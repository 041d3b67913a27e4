import type { ConfState, MemberId } from './messages.ts';

/** The two halves whose majorities decide together. Outside a joint configuration the outgoing half is empty. */
export type JointVoters = Pick<ConfState, 'voters' | 'votersOutgoing'>;

export type VoteOutcome = 'won' | 'lost' | 'pending';

/** Whether `id` takes part in decisions: a voter of either half. */
export function isVoter(conf: JointVoters, id: MemberId): boolean {
  return conf.voters.includes(id) || conf.votersOutgoing.includes(id);
}

/**
 * The largest value that a majority of each half has reached (thesis 4.3): the one computation behind commits,
 * confirmed reads and every other count of acknowledgements. 0 for a configuration without voters.
 *
 * @param valueOf what a voter has acknowledged; 0 when nothing
 */
export function quorumValue(conf: JointVoters, valueOf: (id: MemberId) => number): number {
  if (conf.voters.length === 0) return 0;
  const incoming = majorityValue(conf.voters, valueOf);
  if (conf.votersOutgoing.length === 0) return incoming;
  return Math.min(incoming, majorityValue(conf.votersOutgoing, valueOf));
}

/** Whether voters for which `holds` is true form a majority of each half. */
export function hasQuorum(conf: JointVoters, holds: (id: MemberId) => boolean): boolean {
  return quorumValue(conf, (id) => (holds(id) ? 1 : 0)) === 1;
}

/** The state of an election: lost as soon as one half can no longer reach its majority. */
export function voteOutcome(conf: JointVoters, votes: ReadonlyMap<MemberId, boolean>): VoteOutcome {
  if (hasQuorum(conf, (id) => votes.get(id) === true)) return 'won';
  return hasQuorum(conf, (id) => votes.get(id) !== false) ? 'pending' : 'lost';
}

function majorityValue(voters: readonly MemberId[], valueOf: (id: MemberId) => number): number {
  const values = voters.map(valueOf).sort(ascending);
  const majority = (voters.length >> 1) + 1;
  return values[voters.length - majority]!;
}

function ascending(a: number, b: number): number {
  return a - b;
}
