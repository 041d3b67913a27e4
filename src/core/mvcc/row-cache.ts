import { assert, VERIFY } from '../../lib/assert.ts';

/** What a cached value takes in memory besides the bytes of its key and value: measured, with its Buffer. */
export const CACHED_VALUE_OVERHEAD_BYTES = 320;
/**
 * The part of the budget that superseded values may take: watches that are a little behind, and reads of the recent past,
 * find them there. All of it would be full of them under a load of puts.
 */
const SUPERSEDED_PART = 1 / 8;

/**
 * Values in memory, by the slot of their row, within a byte budget: all else of a row is in the table. Values are often
 * views of a block with their key, which is why that counts. Those of superseded rows have a part of the budget, and leave
 * first, oldest first; then the least recently used, to the precision of two generations: a row that is read while it is
 * in the old one moves to the young one, and rows leave the old one in the order in which they came.
 */
export class RowCache {
  readonly #bytesMax: number;
  readonly #supersededBytesMax: number;
  readonly #keyBytes: (slot: number) => number;
  #bytes = 0;
  #supersededBytes = 0;
  #young = new Map<number, Buffer>();
  #old = new Map<number, Buffer>();
  #superseded = new Map<number, Buffer>();
  // Iterators are kept: a fresh one would walk over everything that was deleted before.
  #oldest = this.#old.keys();
  #oldestSuperseded = this.#superseded.keys();

  /** @param keyBytes the length of the key of the row in a slot, as long as its value is here */
  constructor(bytesMax: number, keyBytes: (slot: number) => number) {
    assert(bytesMax >= 0, 'a negative cache budget');
    this.#bytesMax = bytesMax;
    this.#supersededBytesMax = bytesMax * SUPERSEDED_PART;
    this.#keyBytes = keyBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The value, which becomes recently used. */
  get(slot: number): Buffer | undefined {
    const young = this.#young.get(slot);
    if (young !== undefined) return young;
    const old = this.#old.get(slot);
    if (old === undefined) return this.#superseded.get(slot);
    this.#old.delete(slot);
    this.#young.set(slot, old);
    return old;
  }

  /** The slot must not be cached. */
  insert(slot: number, value: Buffer, superseded: boolean): void {
    assert(!VERIFY || !this.#has(slot), 'a value cached twice');
    const bytes = this.#cost(slot, value);
    (superseded ? this.#superseded : this.#young).set(slot, value);
    this.#bytes += bytes;
    if (superseded) this.#supersededBytes += bytes;
    this.#shrink();
  }

  /** The row is no longer its key's newest. */
  supersede(slot: number): void {
    const value = this.#young.get(slot) ?? this.#old.get(slot);
    if (value === undefined) return;
    if (!this.#young.delete(slot)) this.#old.delete(slot);
    this.#superseded.set(slot, value);
    this.#supersededBytes += this.#cost(slot, value);
    this.#shrink();
  }

  /** The slot's row is gone for good. */
  remove(slot: number): void {
    const value = this.#young.get(slot) ?? this.#old.get(slot) ?? this.#superseded.get(slot);
    if (value === undefined) return;
    const bytes = this.#cost(slot, value);
    if (this.#superseded.delete(slot)) this.#supersededBytes -= bytes;
    else if (!this.#young.delete(slot)) this.#old.delete(slot);
    this.#bytes -= bytes;
  }

  #has(slot: number): boolean {
    return this.#young.has(slot) || this.#old.has(slot) || this.#superseded.has(slot);
  }

  #shrink(): void {
    while (this.#bytes > this.#bytesMax || this.#supersededBytes > this.#supersededBytesMax) {
      this.#remove(this.#superseded.size > 0 ? this.#nextSuperseded() : this.#nextOldest());
    }
  }

  #remove(slot: number): void {
    const { size } = this;
    this.remove(slot);
    assert(this.size < size, 'an eviction that freed nothing');
  }

  get size(): number {
    return this.#young.size + this.#old.size + this.#superseded.size;
  }

  #cost(slot: number, value: Buffer): number {
    return CACHED_VALUE_OVERHEAD_BYTES + this.#keyBytes(slot) + value.length;
  }

  #nextSuperseded(): number {
    let next = this.#oldestSuperseded.next();
    if (next.done === true) {
      this.#oldestSuperseded = this.#superseded.keys();
      next = this.#oldestSuperseded.next();
    }
    assert(next.done !== true, 'no superseded row to evict');
    return next.value;
  }

  #nextOldest(): number {
    if (this.#old.size === 0) {
      [this.#old, this.#young] = [this.#young, this.#old];
      this.#oldest = this.#old.keys();
    }
    const next = this.#oldest.next();
    assert(next.done !== true, 'bytes in an empty cache');
    return next.value;
  }
}
