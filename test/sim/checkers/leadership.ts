import type { MemberId } from '../../../src/core/raft/messages.ts';
import { type Report, Violation } from '../violation.ts';

/** What a member says of itself. */
export interface StatusSample {
  readonly process: string;
  readonly term: number;
  readonly commit: number;
  readonly applied: number;
  readonly revision: number;
}

/**
 * Election safety over all time (RELIABILITY R1): a term has one leader, ever. And nothing goes back (R8): a process's
 * term, commit, applied index and revision.
 */
export class LeadershipChecker {
  electionCount = 0;
  readonly #report: Report;
  readonly #leaders = new Map<number, MemberId>();
  readonly #last = new Map<string, StatusSample>();

  constructor(report: Report) {
    this.#report = report;
  }

  leads(member: MemberId, term: number): void {
    const known = this.#leaders.get(term);
    if (known === undefined) {
      this.#leaders.set(term, member);
      this.electionCount += 1;
    } else if (known !== member) {
      this.#fail(
        'election',
        `term ${term} has two leaders: ${known.toString(16)} and ${member.toString(16)}`,
      );
    }
  }

  sample(sample: StatusSample): void {
    const { process } = sample;
    const before = this.#last.get(process);
    this.#last.set(process, sample);
    if (sample.applied > sample.commit)
      this.#fail('monotonic', `${process} has applied what is not committed`);
    if (before === undefined) return;
    for (const field of ['term', 'commit', 'applied', 'revision'] as const) {
      if (sample[field] < before[field]) {
        this.#fail('monotonic', `${process} went from ${field} ${before[field]} back to ${sample[field]}`);
      }
    }
  }

  #fail(checker: string, message: string): void {
    this.#report(new Violation(checker, message));
  }
}
