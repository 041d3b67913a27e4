import type { RaftLog } from '../../../src/core/raft/log.ts';
import type { Entry, Message } from '../../../src/core/raft/messages.ts';
import { isVoter } from '../../../src/core/raft/quorum.ts';
import type { Raft } from '../../../src/core/raft/raft.ts';
import { hex, type RaftRun } from '../raft-runs.ts';
import { type Report, Violation } from '../violation.ts';

/**
 * What changes of members must keep to (RELIABILITY R10, R11). At most one is ever not applied: no leader has two such
 * entries in its log above what it has applied, and nobody above what it knows to be committed, since whoever has the
 * second one was told with it that the first is. Who is no voter does not lead. And whoever is asked for a vote that it
 * is free to give, gives it: whether it is a voter, the one who asks may know better.
 */
export class Configurations {
  readonly #report: Report;
  /** The vote that a message asks for could be given: nothing but the log stands against it. */
  #isFree = false;
  /** Messages that had not left before the one that is being taken. */
  #unsent = 0;
  #took = false;

  constructor(report: Report) {
    this.#report = report;
  }

  stepping({ raft }: RaftRun, message: Message): void {
    this.#unsent = raft.messagesAfterAppend.length;
    this.#took = false;
    if (message.type !== 'vote') return;
    const isOpen = (raft.vote === 0 && raft.leader === 0) || raft.vote === message.from;
    this.#isFree = raft.votingAllowed && (message.term > raft.term || (message.term === raft.term && isOpen));
  }

  stepped(run: RaftRun, message: Message): void {
    if (run.isSpoilt) return;
    if (message.type === 'vote') this.#voted(run, message);
    if (this.#took) this.#atMostOne(run, run.raft.log.commit);
  }

  appended(run: RaftRun, entries: readonly Entry[]): void {
    if (run.isSpoilt || !entries.some(isConfChange)) return;
    this.#took = true;
    if (run.raft.role === 'leader') this.#atMostOne(run, appliedIndex(run.raft));
  }

  becameLeader(run: RaftRun): void {
    if (!run.isSpoilt) this.#atMostOne(run, appliedIndex(run.raft));
  }

  /** A member has made a change its own. */
  confChanged({ raft, name, isSpoilt }: RaftRun): void {
    if (isSpoilt || raft.role !== 'leader' || isVoter(raft.conf, raft.id)) return;
    this.#fail(`${name} leads term ${raft.term} and is no voter since ${raft.confIndex}`);
  }

  #atMostOne({ raft, name }: RaftRun, index: number): void {
    const open = confChangesAbove(raft.log, index);
    if (open.length < 2) return;
    const which = raft.role === 'leader' ? 'has applied' : 'knows as committed';
    this.#fail(
      `${name} (${raft.role}, term ${raft.term}) ${which} ${index}, its log has changes of members at ${open.join(' and ')}`,
    );
  }

  #voted({ raft, name }: RaftRun, message: Extract<Message, { readonly type: 'vote' }>): void {
    const answer = raft.messagesAfterAppend.slice(this.#unsent).at(-1);
    if (!this.#isFree || answer?.type !== 'vote-response' || answer.to !== message.from) return;
    if (answer.granted || answer.preVote !== message.preVote) return;
    if (!raft.log.isUpToDate({ index: message.lastIndex, term: message.lastTerm })) return;
    const kind = message.preVote ? 'pre-vote' : 'vote';
    this.#fail(
      `${name} refuses ${hex(message.from)} a ${kind} for term ${message.term} that it is free to give`,
    );
  }

  #fail(message: string): void {
    this.#report(new Violation('configuration', message));
  }
}

function appliedIndex(raft: Raft): number {
  return Math.max(raft.applied, raft.confIndex);
}

function confChangesAbove(log: RaftLog, index: number): readonly number[] {
  const entries = log.slice({
    from: Math.max(index + 1, log.firstIndex),
    to: log.lastIndex,
    bytesMax: Infinity,
  });
  return entries.filter(isConfChange).map((entry) => entry.index);
}

function isConfChange(entry: Entry): boolean {
  return entry.kind === 'conf-change';
}
