import type { AppendRequest, Heartbeat, InstallSnapshot, MemberId } from './messages.ts';
import type { Raft } from './raft.ts';

/** Takes entries from the leader of this term, or tells it where the logs could agree. */
export function handleAppend(raft: Raft, append: AppendRequest): void {
  const { log } = raft;
  if (append.prevIndex <= log.commit) log.checkCommitted(append);
  if (append.prevIndex < log.commit) {
    // An old or overlapping append: what is committed here is the leader's too.
    acknowledge(raft, { to: append.from, index: log.commit });
    return;
  }
  if (!log.matches({ index: append.prevIndex, term: append.prevTerm })) {
    rejectAppend(raft, append);
    return;
  }
  log.merge(append.entries);
  const last = append.prevIndex + append.entries.length;
  verifyTo(raft, last);
  log.commitTo(Math.min(append.commit, last));
  acknowledge(raft, { to: append.from, index: last });
}

/** Commits no further than this leader has verified here: the rest of the log may diverge from its own. */
export function handleHeartbeat(raft: Raft, heartbeat: Heartbeat): void {
  raft.log.commitTo(Math.min(heartbeat.commit, raft.verified));
  raft.send({
    type: 'heartbeat-response',
    from: raft.id,
    to: heartbeat.from,
    term: raft.term,
    readSeq: heartbeat.readSeq,
  });
}

/**
 * Takes a snapshot whose state lies here whole and verified. It is ignored when it brings nothing new or while an
 * earlier one is still being restored; a log that contains its position only moves its commit index; any other log is
 * replaced.
 */
export function handleSnapshot(raft: Raft, message: InstallSnapshot): void {
  const { log } = raft;
  const { snapshot } = message;
  if (snapshot.index > log.commit && log.restore === null) {
    if (log.matches(snapshot)) log.commitTo(snapshot.index);
    else log.reset(snapshot);
    verifyTo(raft, snapshot.index);
  }
  acknowledge(raft, { to: message.from, index: log.commit });
}

/** Answers a leader of an older term, so that it steps down: otherwise neither of the two would ever give way. */
export function refuseOldLeader(raft: Raft, to: MemberId): void {
  raft.sendAfterAppend({
    type: 'append-response',
    from: raft.id,
    to,
    term: raft.term,
    index: 0,
    reject: true,
    hintIndex: 0,
    hintTerm: 0,
  });
}

function verifyTo(raft: Raft, index: number): void {
  raft.verified = Math.max(raft.verified, index);
}

function acknowledge(raft: Raft, match: { readonly to: MemberId; readonly index: number }): void {
  raft.sendAfterAppend({
    type: 'append-response',
    from: raft.id,
    to: match.to,
    term: raft.term,
    index: match.index,
    reject: false,
    hintIndex: 0,
    hintTerm: 0,
  });
}

function rejectAppend(raft: Raft, append: AppendRequest): void {
  const hint = raft.log.agreementAt({ index: append.prevIndex, term: append.prevTerm });
  raft.sendAfterAppend({
    type: 'append-response',
    from: raft.id,
    to: append.from,
    term: raft.term,
    index: append.prevIndex,
    reject: true,
    hintIndex: hint.index,
    hintTerm: hint.term,
  });
}
