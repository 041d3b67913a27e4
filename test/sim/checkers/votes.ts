import type { MemberId, Message } from '../../../src/core/raft/messages.ts';
import { type Report, Violation } from '../violation.ts';

/**
 * Vote durability (RELIABILITY R2), seen from the wire: in a term a member gives its vote to one candidate only, over
 * all its incarnations.
 */
export class Votes {
  readonly #report: Report;
  /** Who got the vote of a member in a term. */
  readonly #votes = new Map<string, MemberId>();

  constructor(report: Report) {
    this.#report = report;
  }

  /** A message leaves a member. */
  said(message: Message): void {
    const { type, from, to, term } = message;
    // A pre-vote binds nobody and speaks of a term to come.
    if ((type !== 'vote' && type !== 'vote-response') || message.preVote) return;
    if (type === 'vote') this.#voted(from, term, from);
    else if (message.granted) this.#voted(from, term, to);
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
