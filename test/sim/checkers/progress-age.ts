import type { SimProcess } from '../process.ts';
import { type Report, Violation } from '../violation.ts';
import type { Acknowledgements } from './acknowledgements.ts';

/** Progress of a watch as a member tells it, at the moment at which it takes its place in the stream. */
export interface ToldProgress {
  readonly process: Pick<SimProcess, 'name' | 'rate'>;
  readonly revision: number;
  readonly ageMs: number;
  readonly atMs: number;
  /** When its member took the request, if that was for linearizable progress. */
  readonly provenMs: number | undefined;
}

/**
 * What members say of progress by nonce (RELIABILITY 8.6): the revision covers everything acknowledged more than the age
 * before, by the clock of who says it; and where it was asked for, everything acknowledged before the request was taken.
 */
export class ProgressAge {
  toldCount = 0;
  linearizableCount = 0;
  readonly #acknowledgements: Acknowledgements;
  readonly #report: Report;

  constructor(acknowledgements: Acknowledgements, report: Report) {
    this.#acknowledgements = acknowledgements;
    this.#report = report;
  }

  told({ process, revision, ageMs, atMs, provenMs }: ToldProgress): void {
    this.toldCount += 1;
    const what = `${process.name} told of progress to ${revision} at ${atMs.toFixed(3)}`;
    if (!Number.isSafeInteger(ageMs) || ageMs < 0) {
      this.#fail(`${what} with the age ${ageMs}, which is none`);
      return;
    }
    const required = this.#acknowledgements.before(atMs - ageMs / process.rate);
    if (revision < required)
      this.#fail(`${what} with an age of ${ageMs} ms, but ${required} had been acknowledged before that`);
    if (provenMs === undefined) return;
    this.linearizableCount += 1;
    const asked = this.#acknowledgements.before(provenMs);
    if (revision < asked)
      this.#fail(`${what}, asked for at ${provenMs.toFixed(3)} when ${asked} had been acknowledged`);
  }

  #fail(message: string): void {
    this.#report(new Violation('progress-age', message));
  }
}
