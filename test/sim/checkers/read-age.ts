import { type Report, Violation } from '../violation.ts';
import type { Acknowledgements } from './acknowledgements.ts';

/** An answer that says how old it may be. */
export interface AgedAnswer {
  readonly opId: string;
  /** The process that answered, and the rate of its clock against true time: all that an age relies on. */
  readonly process: string;
  readonly rate: number;
  /** When it answered, in true time. */
  readonly atMs: number;
  /** What it read, and how old it says that this may be. */
  readonly revision: number;
  readonly ageMs: number;
  /** How old it might be at most, as asked. */
  readonly boundMs: number;
  /** Whether it reflects all that any client had heard of when it was asked: then it may be older than asked. */
  readonly isLinearizable: boolean;
}

/**
 * Bounded reads (RELIABILITY 8.3): an answer of age `a` reflects every write whose acknowledgement was sent more than
 * `a` before it, by the clock of who answers; and it is no older than was asked, unless it is linearizable.
 */
export class ReadAge {
  judgedCount = 0;
  /** Answers that lacked a write which had been acknowledged, as they may. */
  staleCount = 0;
  readonly #acknowledgements: Acknowledgements;
  readonly #report: Report;

  constructor(acknowledgements: Acknowledgements, report: Report) {
    this.#acknowledgements = acknowledgements;
    this.#report = report;
  }

  answered(answer: AgedAnswer): void {
    const { opId, process, rate, atMs, revision, ageMs, boundMs } = answer;
    this.judgedCount += 1;
    const who = `${opId} was answered by ${process} at ${atMs.toFixed(3)}`;
    if (!Number.isSafeInteger(ageMs) || ageMs < 0) {
      this.#fail(`${who} with the age ${ageMs}, which is none`);
      return;
    }
    const required = this.#acknowledgements.before(atMs - ageMs / rate);
    if (revision < this.#acknowledgements.before(atMs)) this.staleCount += 1;
    if (revision < required) {
      const sinceMs = atMs - this.#acknowledgements.whenAcknowledged(revision + 1)!;
      this.#fail(
        `${who} at revision ${revision} with an age of ${ageMs} ms, ` +
          `but ${revision + 1} had been acknowledged ${sinceMs.toFixed(3)} ms before`,
      );
    }
    if (ageMs > boundMs && !answer.isLinearizable)
      this.#fail(`${who} with an age of ${ageMs} ms, it asked for at most ${boundMs}`);
  }

  #fail(message: string): void {
    this.#report(new Violation('read-age', message));
  }
}
