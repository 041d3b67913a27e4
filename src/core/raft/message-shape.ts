import { areContiguous } from './log.ts';
import type { AppendRequest, ConfState, Entry, MemberId, Message, SnapshotMeta } from './messages.ts';

/**
 * Whether a message has the shape the protocol promises: ids, terms and indexes that make sense, entries without a gap
 * that are no newer than their sender's term. What comes from outside is checked here once; behind it, a
 * contradiction is a bug.
 */
export function isWellFormed(message: Message, receiver: MemberId): boolean {
  if (message.to !== receiver || message.from === receiver) return false;
  if (!isIndex(message.from) || message.from === 0) return false;
  if (!isIndex(message.term) || message.term === 0) return false;
  switch (message.type) {
    case 'vote':
      return isIndex(message.lastIndex) && isIndex(message.lastTerm) && message.lastTerm <= message.term;
    case 'vote-response':
      return (
        isFlag(message.preVote) &&
        isFlag(message.granted) &&
        isIndex(message.commit) &&
        isIndex(message.commitTerm)
      );
    case 'append':
      return isAppend(message);
    case 'append-response':
      return isFlag(message.reject) && [message.index, message.hintIndex, message.hintTerm].every(isIndex);
    case 'heartbeat':
      return isIndex(message.commit) && isIndex(message.readSeq);
    case 'heartbeat-response':
      return isIndex(message.readSeq);
    case 'snapshot':
      return isSnapshot(message.snapshot) && message.snapshot.term <= message.term;
    case 'read-index':
      return Number.isSafeInteger(message.context);
    case 'read-index-response':
      return Number.isSafeInteger(message.context) && (message.index === -1 || isIndex(message.index));
    case 'timeout-now':
      return true;
    default:
      // Decoded from bytes: the type is only a promise.
      return false;
  }
}

function isAppend(message: AppendRequest): boolean {
  const { prevIndex, prevTerm, entries } = message;
  if (!isIndex(prevIndex) || !isIndex(prevTerm) || !isIndex(message.commit)) return false;
  if (!Array.isArray(entries) || !entries.every(isEntry)) return false;
  if (!areContiguous(entries, { index: prevIndex, term: prevTerm })) return false;
  return (entries.at(-1)?.term ?? prevTerm) <= message.term;
}

function isEntry(entry: Entry | null | undefined): boolean {
  if (entry === null || entry === undefined) return false;
  if (entry.kind !== 'normal' && entry.kind !== 'conf-change') return false;
  return isIndex(entry.index) && isIndex(entry.term) && Buffer.isBuffer(entry.data);
}

function isSnapshot(snapshot: SnapshotMeta | null | undefined): boolean {
  if (snapshot === null || snapshot === undefined) return false;
  const { index, term, confState } = snapshot;
  return isIndex(index) && index > 0 && isIndex(term) && term > 0 && isConfState(confState);
}

function isConfState(conf: ConfState | null | undefined): boolean {
  if (conf === null || conf === undefined) return false;
  const lists = [conf.voters, conf.votersOutgoing, conf.learners, conf.learnersNext];
  return lists.every(isSortedIds) && conf.voters.length > 0;
}

function isSortedIds(ids: readonly MemberId[]): boolean {
  return Array.isArray(ids) && ids.every((id, at) => isIndex(id) && id > (at === 0 ? 0 : ids[at - 1]!));
}

function isIndex(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function isFlag(value: boolean): boolean {
  return typeof value === 'boolean';
}
