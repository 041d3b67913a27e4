import type { RaftLog } from '../../../src/core/raft/log.ts';
import type { Entry } from '../../../src/core/raft/messages.ts';
import type { RaftRun } from '../raft-runs.ts';
import { type Report, Violation } from '../violation.ts';

/** An entry as it was first seen in any log. */
interface Seen {
  readonly term: number;
  readonly kind: Entry['kind'];
  readonly data: Buffer;
  /** The term of the entry before it. */
  readonly previousTerm: number | undefined;
}

/**
 * Log matching (RELIABILITY R4), at every append: entries of the same index and term are the same in all logs, and so
 * is what stands before them. Each is compared with the entry before it, which makes that hold for whole logs.
 */
export class LogMatching {
  readonly #seen: Seen[][] = [];
  readonly #report: Report;

  constructor(report: Report) {
    this.#report = report;
  }

  appended(run: RaftRun, log: RaftLog, entries: readonly Entry[]): void {
    if (run.isSpoilt) return;
    for (const entry of entries) this.#compare(run.name, entry, log.term(entry.index - 1));
  }

  #compare(name: string, { index, term, kind, data }: Entry, previousTerm: number | undefined): void {
    this.#seen[index] ??= [];
    const here = this.#seen[index];
    const seen = here.find((each) => each.term === term);
    if (seen === undefined) {
      here.push({ term, kind, data, previousTerm });
      return;
    }
    const which = `entry ${index} of term ${term}`;
    if (seen.kind !== kind || !seen.data.equals(data)) {
      this.#fail(`${name} has another ${which} than was seen before`);
    }
    if (seen.previousTerm !== previousTerm && seen.previousTerm !== undefined && previousTerm !== undefined) {
      this.#fail(
        `${name} has ${which} behind one of term ${previousTerm}, elsewhere it follows one of term ${seen.previousTerm}`,
      );
    }
  }

  #fail(message: string): void {
    this.#report(new Violation('log-matching', message));
  }
}
