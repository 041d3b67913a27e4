import { assert } from '../../lib/assert.ts';
import { handleVote, handleVoteResponse, hasRecentLeader, refuseOldVote } from './election.ts';
import { handleAppend, handleHeartbeat, handleSnapshot, refuseOldLeader } from './follower.ts';
import { isWellFormed } from './message-shape.ts';
import type { AppendRequest, Heartbeat, InstallSnapshot, Message } from './messages.ts';
import { NO_MEMBER } from './messages.ts';
import type { Raft } from './raft.ts';
import { confirmReads, handleReadIndex, handleReadIndexResponse } from './read-index.ts';
import { handleAppendResponse, handleHeartbeatResponse } from './replication.ts';
import { handleTimeoutNow } from './transfer.ts';

/** What only the leader of its term sends. */
type LeaderMessage = AppendRequest | Heartbeat | InstallSnapshot;

/** Takes one message from another member. Malformed ones are counted and ignored, stale ones answered or ignored. */
export function step(raft: Raft, message: Message): void {
  if (!isWellFormed(message, raft.id)) {
    raft.malformedCount += 1;
    return;
  }
  if (message.term < raft.term) {
    stepOlderTerm(raft, message);
    return;
  }
  if (message.term > raft.term && !enterNewerTerm(raft, message)) return;
  dispatch(raft, message);
}

/** A member left behind must learn of the newer term, or it would block elections for ever. */
function stepOlderTerm(raft: Raft, message: Message): void {
  switch (message.type) {
    case 'vote':
      refuseOldVote(raft, message);
      return;
    case 'append':
    case 'heartbeat':
    case 'snapshot':
      refuseOldLeader(raft, message.from);
      return;
    case 'read-index':
      raft.refuseRead(message);
      return;
    default:
      return;
  }
}

/** Steps up to a newer term where the message calls for it. Returns false when the message must be ignored. */
function enterNewerTerm(raft: Raft, message: Message): boolean {
  switch (message.type) {
    case 'vote':
      // Members that hear their leader do not let others depose it, except by its own wish.
      if (!message.transfer && hasRecentLeader(raft)) return false;
      // A pre-vote asks about a term that nobody has entered.
      if (!message.preVote) raft.becomeFollower(message.term, NO_MEMBER);
      return true;
    case 'vote-response':
      // A granted pre-vote repeats the term that was asked about.
      if (!message.preVote || !message.granted) raft.becomeFollower(message.term, NO_MEMBER);
      return true;
    default:
      raft.becomeFollower(message.term, NO_MEMBER);
      return true;
  }
}

function dispatch(raft: Raft, message: Message): void {
  switch (message.type) {
    case 'vote':
      handleVote(raft, message);
      return;
    case 'vote-response':
      handleVoteResponse(raft, message);
      return;
    case 'append':
      follow(raft, message);
      handleAppend(raft, message);
      return;
    case 'heartbeat':
      follow(raft, message);
      handleHeartbeat(raft, message);
      return;
    case 'snapshot':
      follow(raft, message);
      handleSnapshot(raft, message);
      return;
    case 'append-response':
      if (raft.role === 'leader') handleAppendResponse(raft, message);
      return;
    case 'heartbeat-response':
      if (raft.role !== 'leader') return;
      handleHeartbeatResponse(raft, message);
      confirmReads(raft);
      return;
    case 'read-index':
      handleReadIndex(raft, message);
      return;
    case 'read-index-response':
      handleReadIndexResponse(raft, message);
      return;
    case 'timeout-now':
      handleTimeoutNow(raft, message);
  }
}

function follow(raft: Raft, message: LeaderMessage): void {
  assert(raft.role !== 'leader', 'two leaders in one term');
  assert(raft.leader === NO_MEMBER || raft.leader === message.from, 'two leaders in one term');
  if (raft.role !== 'follower') raft.becomeFollower(raft.term, message.from);
  raft.leader = message.from;
  raft.electionElapsed = 0;
}
