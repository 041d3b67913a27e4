import type { MemberId, Message } from '../../../src/core/raft/messages.ts';
import { type Report, Violation } from '../violation.ts';

/**
 * What members say to each other (RELIABILITY R2, R8): in a term a member gives its vote to one candidate only, over
 * all its incarnations, and it never speaks in a term below one it has spoken in.
 */
export class Votes {
  readonly #report: Report;
  /** Who got the vote of a member in a term. */
  readonly #votes = new Map<string, MemberId>();
  readonly #terms = new Map<MemberId, number>();

  constructor(report: Report) {
    this.#report = report;
  }

  /** A message leaves a member. */
  said(message: Message): void {
    const { type, from, to, term } = message;
    if (type === 'vote' || type === 'vote-response') {
      // A pre-vote binds nobody and speaks of a term to come.
      if (message.preVote) return;
      if (type === 'vote') this.#voted(from, term, from);
      else if (message.granted) this.#voted(from, term, to);
    }
    const before = this.#terms.get(from) ?? 0;
    if (term < before) this.#fail(`${hex(from)} says ${type} in term ${term}, it has spoken in ${before}`);
    else this.#terms.set(from, term);
  }

  #voted(member: MemberId, term: number, candidate: MemberId): void {
    const key = `${member} ${term}`;
    const before = this.#votes.get(key);
    if (before !== undefined && before !== candidate) {
      this.#fail(`${hex(member)} votes for ${hex(candidate)} in term ${term}, it voted for ${hex(before)}`);
    }
    this.#votes.set(key, candidate);
  }

  #fail(message: string): void {
    this.#report(new Violation('votes', message));
  }
}

function hex(id: MemberId): string {
  return id.toString(16);
}
