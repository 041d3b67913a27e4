import type { MemberId } from './messages.ts';
import type { Raft } from './raft.ts';

/**
 * Sends every other member a heartbeat: proof of leadership, the commit index as far as the receiver is known to
 * have it, and the latest read round.
 */
export function broadcastHeartbeat(raft: Raft): void {
  raft.heartbeatElapsed = 0;
  for (const id of raft.progress.keys()) {
    if (id !== raft.id) sendHeartbeat(raft, id);
  }
}

function sendHeartbeat(raft: Raft, to: MemberId): void {
  raft.send({
    type: 'heartbeat',
    from: raft.id,
    to,
    term: raft.term,
    commit: Math.min(raft.progress.get(to)!.match, raft.log.commit),
    readSeq: raft.reads.seq,
  });
}
