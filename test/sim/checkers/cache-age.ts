import { type Report, Violation } from '../violation.ts';
import type { Acknowledgements } from './acknowledgements.ts';

/** A cache, as far as it must know what was written. */
export interface Cache {
  readonly name: string;
  /** X: how old what it knows may be, in ms. */
  readonly boundMs: number;
  /** Whether it has every change to its range up to this revision. */
  isComplete(revision: number): boolean;
}

/**
 * One cache with a fresh lease of bound X (RELIABILITY 8.6): at every instant while the lease holds, the cache has every
 * change to its range that was acknowledged more than X before.
 *
 * Between two things that a cache hears of it knows the same and its duties only grow, so that the last instant of the
 * time between, or of the lease in it, decides for all of it.
 */
export class CacheAge {
  heldMs = 0;
  lapseCount = 0;
  /** Spans of a held lease in which some change to anything had to be known. */
  judgedCount = 0;
  readonly #cache: Cache;
  readonly #acknowledgements: Acknowledgements;
  readonly #report: Report;
  #fromMs = 0;
  #untilMs = Number.NEGATIVE_INFINITY;
  #required = 1;

  constructor(cache: Cache, acknowledgements: Acknowledgements, report: Report) {
    this.#cache = cache;
    this.#acknowledgements = acknowledgements;
    this.#report = report;
  }

  /** To be called before anything about the cache or its lease changes, in true time. */
  look(nowMs: number): void {
    const endMs = Math.min(nowMs, this.#untilMs);
    if (endMs > this.#fromMs) this.#judge(endMs);
    const isLapse = this.#untilMs > this.#fromMs && this.#untilMs <= nowMs;
    if (isLapse) this.lapseCount += 1;
    this.#fromMs = nowMs;
  }

  /** The lease holds before this instant, in true time. */
  renewed(nowMs: number, untilMs: number): void {
    this.look(nowMs);
    this.#untilMs = untilMs;
  }

  /** The cache has lost what it knew, and its lease with it. */
  lost(nowMs: number): void {
    this.look(nowMs);
    this.#untilMs = Number.NEGATIVE_INFINITY;
    this.#required = 1;
  }

  #judge(endMs: number): void {
    const { name, boundMs } = this.#cache;
    this.heldMs += endMs - this.#fromMs;
    const required = this.#acknowledgements.before(endMs - boundMs);
    if (required === this.#required) return;
    this.judgedCount += 1;
    if (this.#cache.isComplete(required)) {
      this.#required = required;
      return;
    }
    this.#report(
      new Violation(
        'cache-age',
        `${name} holds a lease of ${boundMs} ms until ${this.#untilMs.toFixed(3)} and lacks at ${endMs.toFixed(3)} a change ` +
          `of up to ${required}, acknowledged more than that before`,
      ),
    );
  }
}
