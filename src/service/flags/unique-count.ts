import { createHash } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';

/** Bits of one count. */
export const UNIQUE_BITS: number = 2 ** 18;
/** Up to so many the count is good to 0.5 % (one standard error); beyond it is a lower bound. */
export const UNIQUE_MAX = 1_000_000;

/**
 * How many different keys were added, about, whoever added them and however often: a bit for each hash, and the number of
 * bits that are not set tells how many keys there were ("A linear-time probabilistic counting algorithm for database
 * applications", Whang and others, 1990). Keys cannot be read back. What servers counted is put together by "or".
 */
export class UniqueCount {
  readonly #bits: Uint8Array;
  #set = 0;

  constructor(bits: Uint8Array = new Uint8Array(UNIQUE_BITS / 8)) {
    this.#bits = bits;
    for (const byte of bits) this.#set += onesOf(byte);
  }

  /** @throws RangeError, or as zlib does, for what `text` did not make */
  static parse(text: string): UniqueCount {
    const maxOutputLength = UNIQUE_BITS / 8;
    const bits = inflateRawSync(Buffer.from(text, 'base64'), { maxOutputLength });
    if (bits.length !== maxOutputLength) throw new RangeError('a count has another size');
    return new UniqueCount(new Uint8Array(bits));
  }

  add(key: string): void {
    // Not the hash that chooses variants: those of one variant would share a part of the bits.
    const at = createHash('sha256').update(key).digest().readUInt32BE() % UNIQUE_BITS;
    this.#take(at >> 3, this.#bits[at >> 3]! | (1 << (at & 7)));
  }

  /** Adds what the other has. @returns whether that was more */
  merge(other: UniqueCount): boolean {
    const before = this.#set;
    for (let at = 0; at < this.#bits.length; at += 1) this.#take(at, this.#bits[at]! | other.#bits[at]!);
    return this.#set !== before;
  }

  /** `UNIQUE_MAX` at most. */
  get count(): number {
    const unset = Math.max(1, UNIQUE_BITS - this.#set);
    return Math.min(UNIQUE_MAX, Math.round(UNIQUE_BITS * Math.log(UNIQUE_BITS / unset)));
  }

  get text(): string {
    return deflateRawSync(this.#bits).toString('base64');
  }

  #take(at: number, byte: number): void {
    if (byte === this.#bits[at]) return;
    this.#set += onesOf(byte) - onesOf(this.#bits[at]!);
    this.#bits[at] = byte;
  }
}

function onesOf(byte: number): number {
  let ones = 0;
  for (let rest = byte; rest !== 0; rest &= rest - 1) ones += 1;
  return ones;
}
