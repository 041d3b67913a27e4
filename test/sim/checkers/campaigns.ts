import type { Message } from '../../../src/core/raft/messages.ts';
import { hex, type RaftRun } from '../raft-runs.ts';
import { type Report, Violation } from '../violation.ts';

/**
 * Who may ask for votes and who may get them. A member that knows of a committed membership change which it has not
 * applied does not campaign, it would count the wrong quorum (RELIABILITY R10); and a vote, a pre-vote too, goes only
 * to a log that is at least as up to date as the voter's (paper 5.4.1, the ground under R5).
 */
export class Campaigns {
  readonly #report: Report;
  /** Messages that had not left before the one that is being taken. */
  #unsent = { afterAppend: 0, atOnce: 0 };

  constructor(report: Report) {
    this.#report = report;
  }

  becameCandidate({ raft, name, isSpoilt }: RaftRun, preVote: boolean): void {
    if (isSpoilt) return;
    const { log, applied, confIndex } = raft;
    const from = Math.max(applied, confIndex) + 1;
    const unapplied = log
      .slice({ from, to: log.commit, bytesMax: Infinity })
      .find((entry) => entry.kind === 'conf-change');
    if (unapplied === undefined) return;
    this.#fail(
      `${name} asks for ${preVote ? 'pre-votes' : 'votes'} and has applied ${applied}, ` +
        `the membership change at ${unapplied.index} is committed`,
    );
  }

  stepping({ raft }: RaftRun): void {
    this.#unsent = { afterAppend: raft.messagesAfterAppend.length, atOnce: raft.messages.length };
  }

  stepped({ raft, name, isSpoilt }: RaftRun, message: Message): void {
    if (message.type !== 'vote' || isSpoilt) return;
    const { afterAppend, atOnce } = this.#unsent;
    const answer = raft.messagesAfterAppend.slice(afterAppend).at(-1) ?? raft.messages.slice(atOnce).at(-1);
    if (answer?.type !== 'vote-response' || !answer.granted || answer.to !== message.from) return;
    if (answer.term !== message.term || answer.preVote !== message.preVote) return;
    const { lastTerm, lastIndex } = raft.log;
    const isUpToDate =
      message.lastTerm > lastTerm || (message.lastTerm === lastTerm && message.lastIndex >= lastIndex);
    if (isUpToDate) return;
    this.#fail(
      `${name} grants ${hex(message.from)} a ${message.preVote ? 'pre-vote' : 'vote'} for term ${message.term}, whose log ends ` +
        `at ${message.lastIndex} of term ${message.lastTerm}, its own at ${lastIndex} of term ${lastTerm}`,
    );
  }

  #fail(message: string): void {
    this.#report(new Violation('campaign', message));
  }
}
