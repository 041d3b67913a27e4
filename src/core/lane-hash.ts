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
    const a = Math.imul(this.#a ^ word, 0x2c1b3c6d);
    this.#a = (((a << 13) | (a >>> 19)) + 0x52dce729) | 0;
    const b = Math.imul(this.#b + word, 0x297a2d39);
    this.#b = b ^ (b >>> 15);
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
    const { length } = bytes;
    const words = length & ~3;
    this.word(length);
    for (let i = 0; i < words; i += 4) {
      this.word(bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24));
    }
    let rest = 0;
    for (let i = words; i < length; i++) rest |= bytes[i]! << ((i - words) * 8);
    return words < length ? this.word(rest) : this;
  }

  /** Our own short names: ASCII. */
  name(name: string): this {
    this.word(name.length);
    for (let i = 0; i < name.length; i++) this.word(name.charCodeAt(i));
    return this;
  }

  /** Both lanes, unsigned. */
  digest(): SetHash {
    const a = avalanche(this.#a);
    return { a, b: avalanche(this.#b ^ Math.imul(a, 0x1b56c4e9)) };
  }
}

/** Lets every bit of the input reach every bit of the output. */
function avalanche(word: number): number {
  let mixed = Math.imul(word ^ (word >>> 16), 0x7feb352d);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x846ca68b);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
