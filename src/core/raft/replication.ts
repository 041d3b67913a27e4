import { assert, VERIFY } from '../../lib/assert.ts';
import { areContiguous, entryBytes } from './log.ts';
import type { AppendResponse, Entry, HeartbeatResponse, MemberId, Message } from './messages.ts';
import type { Progress } from './progress.ts';
import { quorumValue } from './quorum.ts';
import type { Raft } from './raft.ts';
import { finishTransfer } from './transfer.ts';

/**
 * Sends every member the appends it is owed, as far as its window allows. Called once per `Ready`, so that all that
 * happened since the last one, proposals, answers and commits, travels in as few messages as possible.
 */
export function flushAppends(raft: Raft): void {
  if (!raft.replicationDue) return;
  raft.replicationDue = false;
  assert(raft.role === 'leader', 'only a leader replicates');
  for (const [id, progress] of raft.progress) {
    if (id === raft.id) continue;
    // Ends with the window or the log, whichever is shorter.
    while (sendAppend(raft, { id, progress }));
  }
}

export function handleAppendResponse(raft: Raft, response: AppendResponse): void {
  const progress = raft.progress.get(response.from);
  if (progress === undefined || response.index > raft.log.lastIndex) return;
  progress.recentActive = true;
  if (response.reject) {
    takeReject(raft, { progress, response });
    return;
  }
  if (!progress.accept(response.index)) return;
  raft.replicationDue = true;
  switch (progress.state) {
    case 'probe':
      progress.becomeReplicate();
      break;
    case 'snapshot':
      // Whatever brought it forward, our log reaches back far enough again.
      if (progress.match >= raft.log.compacted.index) progress.becomeReplicate();
      break;
    case 'replicate':
      break;
  }
  advanceCommit(raft);
  if (response.from === raft.transferee) finishTransfer(raft);
}

export function handleHeartbeatResponse(raft: Raft, response: HeartbeatResponse): void {
  const progress = raft.progress.get(response.from);
  if (progress === undefined) return;
  progress.recentActive = true;
  // A round of the future would be a lie: nobody can have seen it.
  if (response.readSeq <= raft.reads.seq) {
    progress.readSeq = Math.max(progress.readSeq, response.readSeq);
  }
  // A window whose messages were all lost would stay full for ever; a lost probe likewise.
  if (progress.match < raft.log.lastIndex || progress.state === 'probe') {
    progress.revive();
    raft.replicationDue = true;
  }
}

/** The leader's own entries up to `stable` are on disk: only now does it count itself among those that have them. */
export function acceptOwn(raft: Raft): void {
  const own = raft.progress.get(raft.id);
  // A leader that is being removed no longer counts itself.
  if (own === undefined || !own.accept(raft.log.stable)) return;
  advanceCommit(raft);
}

/**
 * Commits what a joint quorum has durably, if it is of this leader's term; entries of earlier terms are committed
 * only along with one (paper 5.4.2, figure 8).
 */
export function advanceCommit(raft: Raft): void {
  const { log } = raft;
  const before = log.commit;
  const index = quorumValue(raft.conf, (id) => raft.progress.get(id)!.match);
  if (index <= before || log.term(index) !== raft.term) return;
  log.commitTo(index);
  raft.replicationDue = true;
  for (const entry of log.slice({ from: before + 1, to: index, bytesMax: Infinity })) {
    raft.uncommittedBytes -= entry.data.length;
  }
  assert(raft.uncommittedBytes >= 0, 'more was committed than appended');
}

/** The connection to a member broke: what was in flight is presumed lost. */
export function reportUnreachable(raft: Raft, id: MemberId): void {
  const progress = raft.progress.get(id);
  if (raft.role !== 'leader' || id === raft.id || progress?.state !== 'replicate') return;
  progress.becomeProbe();
  raft.replicationDue = true;
}

/** The stream of a state to `id` ended. A late report about an abandoned stream changes nothing. */
export function reportSnapshot(raft: Raft, report: { readonly id: MemberId; readonly ok: boolean }): void {
  const progress = raft.progress.get(report.id);
  if (raft.role !== 'leader' || progress?.state !== 'snapshot') return;
  progress.endSnapshot(report.ok);
}

interface Peer {
  readonly id: MemberId;
  readonly progress: Progress;
}

/** Sends one append if there is reason and room. Returns whether another may follow. */
function sendAppend(raft: Raft, peer: Peer): boolean {
  const { progress } = peer;
  if (progress.paused) return false;
  const prevIndex = progress.next - 1;
  const prevTerm = raft.log.term(prevIndex);
  if (prevTerm === undefined) {
    sendSnapshot(raft, peer);
    return false;
  }
  const entries = progress.windowFull ? [] : nextEntries(raft, progress.next);
  const lastSent = prevIndex + entries.length;
  const commit = Math.min(raft.log.commit, lastSent);
  const hasCommitNews = progress.state === 'replicate' && commit > progress.sentCommit;
  if (entries.length === 0 && !progress.appendOwed && !hasCommitNews) return false;
  checkAppend({ prevIndex, prevTerm, entries });
  progress.sent({ count: entries.length, bytes: totalBytes(entries) });
  progress.sentCommit = commit;
  raft.send({
    type: 'append',
    from: raft.id,
    to: peer.id,
    term: raft.term,
    prevIndex,
    prevTerm,
    entries,
    commit: raft.log.commit,
  });
  return lastSent < raft.log.lastIndex;
}

function nextEntries(raft: Raft, from: number): readonly Entry[] {
  const bytesMax = raft.options.maxEntriesPerMessageBytes;
  return raft.log.slice({ from, to: raft.log.lastIndex, bytesMax });
}

/** Announces the state as of now; which index really travels is known only to the one who streams it. */
function sendSnapshot(raft: Raft, peer: Peer): void {
  // Not to a silent member: the stream would be wasted, and nothing would say so for a long time.
  if (!peer.progress.recentActive) return;
  const index = Math.max(raft.applied, raft.confIndex);
  const term = raft.log.term(index);
  assert(term !== undefined, 'the term of the applied index is known');
  peer.progress.becomeSnapshot(index);
  const snapshot = { index, term, confState: raft.conf };
  const message: Message = { type: 'snapshot', from: raft.id, to: peer.id, term: raft.term, snapshot };
  raft.send(message);
}

function takeReject(
  raft: Raft,
  reject: { readonly progress: Progress; readonly response: AppendResponse },
): void {
  const { progress, response } = reject;
  const hint = raft.log.agreementAt({ index: response.hintIndex, term: response.hintTerm }).index;
  if (progress.reject({ index: response.index, hint })) raft.replicationDue = true;
}

function checkAppend(append: {
  readonly prevIndex: number;
  readonly prevTerm: number;
  readonly entries: readonly Entry[];
}): void {
  const { prevIndex, prevTerm, entries } = append;
  if (entries.length === 0) return;
  assert(entries[0]!.index === prevIndex + 1, 'an append must follow its previous entry');
  assert(entries.at(-1)!.index === prevIndex + entries.length, 'an append must not have a gap');
  if (VERIFY) assert(areContiguous(entries, { index: prevIndex, term: prevTerm }), 'malformed append');
}

function totalBytes(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const entry of entries) bytes += entryBytes(entry);
  return bytes;
}
