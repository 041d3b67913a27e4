import { broadcastHeartbeat } from './heartbeat.ts';
import { NO_MEMBER, type ReadIndexRequest, type ReadIndexResponse } from './messages.ts';
import { quorumValue } from './quorum.ts';
import type { Raft } from './raft.ts';

/** Registers the member's own read request: with itself when it leads, else with the leader. */
export function requestRead(raft: Raft, context: number): void {
  const request = { from: raft.id, context };
  if (raft.role === 'leader') {
    if (!raft.reads.add(request)) raft.refuseRead(request);
    return;
  }
  const ticksMax = raft.options.electionTicks;
  if (raft.leader === NO_MEMBER || !raft.forwardedReads.add({ context, ticksMax })) {
    raft.refuseRead(request);
    return;
  }
  raft.send({ type: 'read-index', from: raft.id, to: raft.leader, term: raft.term, context });
}

export function handleReadIndex(raft: Raft, request: ReadIndexRequest): void {
  if (raft.role !== 'leader' || !raft.reads.add(request)) raft.refuseRead(request);
}

export function handleReadIndexResponse(raft: Raft, response: ReadIndexResponse): void {
  if (!raft.forwardedReads.take(response.context)) return;
  raft.answerRead({ from: raft.id, context: response.context, index: response.index });
}

/**
 * Begins the waiting round when it may. Before a leader has committed in its term its commit index may lag behind what
 * earlier leaders acknowledged, so requests wait for that. Called once per `Ready`: a round takes all that came in
 * since.
 */
export function beginReads(raft: Raft): void {
  const { reads } = raft;
  if (raft.role !== 'leader' || !reads.mayBegin || !raft.hasCommittedInTerm) return;
  reads.begin(raft.log.commit);
  // A leader that is its own quorum needs nobody to confirm it.
  confirmReads(raft);
  if (reads.hasInFlight) broadcastHeartbeat(raft);
}

/** Answers the rounds in flight that a joint quorum has acknowledged; the leader itself always has. */
export function confirmReads(raft: Raft): void {
  const { reads } = raft;
  if (!reads.hasInFlight) return;
  const seq = quorumValue(raft.conf, (id) => (id === raft.id ? reads.seq : raft.progress.get(id)!.readSeq));
  for (let round = reads.confirmTo(seq); round !== null; round = reads.confirmTo(seq)) {
    for (const request of round.requests) raft.answerRead({ ...request, index: round.index });
  }
}
