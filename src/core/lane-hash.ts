import { loadWords, words } from '../lib/words.ts';
import type { SetHash } from './mvcc/row.ts';

/**
 * Two independent 32-bit lanes over a sequence of values: finds divergence and rot, not forgery. Deterministic on
 * every machine; what was mixed in, and in which order, must be fixed by the caller.
 */
export class LaneHash {
  #a: number;
  #b: number;

  constructor(seed: SetHash) {
    this.#a = seed.a | 0;
    this.#b = seed.b | 0;
  }

  word(word: number): this {
    this.#a = mixA(this.#a, word);
    this.#b = mixB(this.#b, word);
    return this;
  }

  /** Integers within the safe range; both halves count. */
  integer(value: number): this {
    return this.word(value | 0).word(Math.floor(value / 0x1_0000_0000) | 0);
  }

  int64(value: bigint): this {
    if (value === 0n) return this.word(0).word(0);
    return this.word(Number(BigInt.asIntN(32, value))).word(Number(BigInt.asIntN(32, value >> 32n)));
  }

  /** The length goes first, so that neighbours cannot trade bytes. */
  bytes(bytes: Buffer): this {
    this.word(bytes.length);
    for (let from = 0; from < bytes.length; ) {
      const length = loadWords(bytes, from);
      this.#mixWords(length);
      from += length;
    }
    return this;
  }

  /** Our own short names: ASCII. */
  name(name: string): this {
    this.word(name.length);
    for (let i = 0; i < name.length; i++) this.word(name.charCodeAt(i));
    return this;
  }

  /**
   * As `word` for each of `words`. Here the time of a hash goes: the lanes are in locals, and `| 0` tells the compiler
   * that they are integers from the start, which makes it more than twice as fast.
   */
  #mixWords(length: number): void {
    let a = this.#a | 0;
    let b = this.#b | 0;
    for (let i = 0; i < length; i += 4) {
      const word = words.getInt32(i, true);
      a = mixA(a, word);
      b = mixB(b, word);
    }
    this.#a = a;
    this.#b = b;
  }

  /** Both lanes, unsigned. */
  digest(): SetHash {
    const a = avalanche(this.#a);
    return { a, b: avalanche(this.#b ^ Math.imul(a, 0x1b56c4e9)) };
  }
}

function mixA(lane: number, word: number): number {
  const mixed = Math.imul(lane ^ word, 0x2c1b3c6d);
  return (((mixed << 13) | (mixed >>> 19)) + 0x52dce729) | 0;
}

function mixB(lane: number, word: number): number {
  const mixed = Math.imul(lane + word, 0x297a2d39);
  return mixed ^ (mixed >>> 15);
}

/** Lets every bit of the input reach every bit of the output. */
function avalanche(word: number): number {
  let mixed = Math.imul(word ^ (word >>> 16), 0x7feb352d);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x846ca68b);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
