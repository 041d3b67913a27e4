import type { Random } from '../../src/member/ports.ts';

/**
 * A seeded generator (sfc32): the same seed gives the same numbers on every machine. `fork` gives parts of a run
 * generators of their own, so that a change in one does not shift the numbers of the others.
 */
export class Prng implements Random {
  #a: number;
  #b: number;
  #c: number;
  #count = 1;

  constructor(seed: number, salt = 0) {
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 2 ** 32) >>> 0;
    this.#c = salt >>> 0;
    for (let i = 0; i < 15; i++) this.#next();
  }

  /** A uniform integer in [0, bound); bound <= 2^53. */
  integer(bound: number): number {
    if (bound <= 2 ** 32) return Math.floor((this.#next() / 2 ** 32) * bound);
    const high = this.#next() >>> 11;
    return Math.floor(((high * 2 ** 32 + this.#next()) / 2 ** 53) * bound);
  }

  /** A number in [0, 1). */
  fraction(): number {
    return this.#next() / 2 ** 32;
  }

  /** An integer in [low, high]. */
  between(low: number, high: number): number {
    return low + this.integer(high - low + 1);
  }

  /** True in `percent` of 100 cases; fractions count. */
  chance(percent: number): boolean {
    return this.fraction() * 100 < percent;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.integer(items.length)]!;
  }

  /** A new list in random order. */
  shuffle<T>(items: readonly T[]): T[] {
    const result = [...items];
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [result[i], result[j]] = [result[j]!, result[i]!];
    }
    return result;
  }

  /** One of the items, each as likely as its weight; null when all weights are 0. */
  weighted<T>(items: readonly (readonly [T, number])[]): T | null {
    const total = items.reduce((sum, [, weight]) => sum + weight, 0);
    let at = this.fraction() * total;
    for (const [item, weight] of items) {
      at -= weight;
      if (at < 0) return item;
    }
    return null;
  }

  /** Another generator, independent of what is drawn from this one later. */
  fork(): Prng {
    return new Prng(this.#next() * 2 ** 20 + (this.#next() >>> 12), this.#next());
  }

  #next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#count) | 0;
    this.#count = (this.#count + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + sum) | 0;
    return sum >>> 0;
  }
}
