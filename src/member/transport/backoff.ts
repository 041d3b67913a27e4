import type { Random } from '../ports.ts';

/** Waiting times between attempts: doubled each time from `msMin` to `msMax`, each cut by up to half at random. */
export class Backoff {
  readonly #random: Random;
  readonly #msMin: number;
  readonly #msMax: number;
  #ceilingMs: number;

  constructor(random: Random, range: { readonly msMin: number; readonly msMax: number }) {
    this.#random = random;
    this.#msMin = range.msMin;
    this.#msMax = range.msMax;
    this.#ceilingMs = range.msMin;
  }

  /** The next waiting time: in [ceiling / 2, ceiling], so that members that lost each other do not march in step. */
  nextMs(): number {
    const ceilingMs = this.#ceilingMs;
    this.#ceilingMs = Math.min(this.#msMax, ceilingMs * 2);
    const half = Math.floor(ceilingMs / 2);
    return ceilingMs - this.#random.integer(half + 1);
  }

  reset(): void {
    this.#ceilingMs = this.#msMin;
  }
}
