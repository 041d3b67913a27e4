import type { Message } from '../../../src/core/raft/messages.ts';
import { hex, type RaftRun } from '../raft-runs.ts';
import { type Report, Violation } from '../violation.ts';

/**
 * What a message of an older term may do. A leader that is behind is answered with the newer term, in the very turn
 * that its message is taken; else two members can block each other for ever (RELIABILITY R15, P-6). And
 * acknowledgements count only in the term they were given in (P-38).
 */
export class OlderTerms {
  readonly #report: Report;
  #before = { term: 0, match: 0, malformed: 0 };

  constructor(report: Report) {
    this.#report = report;
  }

  stepping({ raft }: RaftRun, message: Message): void {
    const match = raft.progress.get(message.from)?.match ?? 0;
    this.#before = { term: raft.term, match, malformed: raft.malformedCount };
  }

  stepped({ raft, name, isSpoilt }: RaftRun, message: Message): void {
    const { term, match, malformed } = this.#before;
    if (isSpoilt || message.term >= term || raft.malformedCount !== malformed) return;
    switch (message.type) {
      case 'append':
      case 'heartbeat':
      case 'snapshot': {
        const isAnswer = ({ to, term: told }: Message): boolean => to === message.from && told >= term;
        if (raft.messagesAfterAppend.some(isAnswer) || raft.messages.some(isAnswer)) return;
        this.#fail(
          `${name} is in term ${term} and does not tell ${hex(message.from)}, which thinks it leads term ${message.term}`,
        );
        return;
      }
      case 'append-response': {
        const after = raft.progress.get(message.from)?.match ?? 0;
        if (raft.role !== 'leader' || after === match) return;
        this.#fail(
          `${name}, leader of term ${term}, counts an acknowledgement of term ${message.term} by ${hex(message.from)}: up to ${after}`,
        );
        return;
      }
      default:
        return;
    }
  }

  #fail(message: string): void {
    this.#report(new Violation('older-term', message));
  }
}
