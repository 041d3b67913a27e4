import { timeOut } from './election.ts';
import { broadcastHeartbeat } from './heartbeat.ts';
import { leaveJointWhenDue } from './membership.ts';
import { NO_MEMBER } from './messages.ts';
import { hasQuorum } from './quorum.ts';
import type { Raft } from './raft.ts';

/** Advances a member's logical clock by one tick. */
export function tick(raft: Raft): void {
  for (const context of raft.forwardedReads.tick()) raft.refuseRead({ from: raft.id, context });
  raft.electionElapsed += 1;
  if (raft.role === 'leader') tickLeader(raft);
  else if (raft.electionElapsed >= raft.randomizedElectionTicks) timeOut(raft);
}

function tickLeader(raft: Raft): void {
  raft.heartbeatElapsed += 1;
  tickTransfer(raft);
  if (raft.electionElapsed >= raft.options.electionTicks) {
    raft.electionElapsed = 0;
    if (!checkQuorum(raft)) {
      raft.becomeFollower(raft.term, NO_MEMBER);
      return;
    }
  }
  if (raft.heartbeatElapsed >= raft.options.heartbeatTicks) broadcastHeartbeat(raft);
}

/** Whether a quorum was heard from during the last election timeout (thesis 6.2). Starts the next period. */
function checkQuorum(raft: Raft): boolean {
  const active = hasQuorum(raft.conf, (id) => id === raft.id || raft.progress.get(id)!.recentActive);
  for (const [id, progress] of raft.progress) progress.recentActive = id === raft.id;
  return active;
}

function tickTransfer(raft: Raft): void {
  if (raft.transferee === NO_MEMBER) return;
  raft.transferElapsed += 1;
  if (raft.transferElapsed < raft.options.electionTicks) return;
  raft.abortTransfer();
  leaveJointWhenDue(raft);
}
