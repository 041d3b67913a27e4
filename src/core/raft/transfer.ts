import { campaign } from './election.ts';
import type { MemberId } from './messages.ts';
import { NO_MEMBER, type TimeoutNow } from './messages.ts';
import type { Raft } from './raft.ts';

export type TransferOutcome = 'ok' | 'not-leader' | 'unknown-member' | 'learner' | 'self';

/**
 * Begins to hand leadership over (thesis 3.10): the target is brought up to date, then told to campaign at once.
 * Proposals are refused meanwhile; without success it is given up after one election timeout. A new target replaces
 * an earlier one.
 */
export function transferLeadership(raft: Raft, to: MemberId): TransferOutcome {
  if (raft.role !== 'leader') return 'not-leader';
  if (to === raft.id) return 'self';
  const progress = raft.progress.get(to);
  if (progress === undefined) return 'unknown-member';
  if (!raft.conf.voters.includes(to)) return 'learner';
  if (to === raft.transferee) return 'ok';
  raft.transferee = to;
  raft.transferElapsed = 0;
  raft.replicationDue = true;
  progress.appendOwed = true;
  finishTransfer(raft);
  return 'ok';
}

/** Tells the target to campaign once it has the whole log. */
export function finishTransfer(raft: Raft): void {
  if (raft.transferee === NO_MEMBER) return;
  const match = raft.progress.get(raft.transferee)?.match;
  if (match !== raft.log.lastIndex) return;
  raft.send({ type: 'timeout-now', from: raft.id, to: raft.transferee, term: raft.term });
}

export function handleTimeoutNow(raft: Raft, message: TimeoutNow): void {
  if (raft.role !== 'follower' || message.from !== raft.leader) return;
  campaign(raft, 'transfer');
}
