import { assert, VERIFY } from '../../lib/assert.ts';
import type { Row } from './row.ts';

/** What a cached row takes in memory besides the bytes of its key and value: measured, with its two Buffers. */
export const CACHED_ROW_OVERHEAD_BYTES = 320;

/**
 * Rows in memory, by slot, within a byte budget. Superseded rows leave first, oldest first; then the least recently
 * used, to the precision of two generations: a row that is read while it is in the old one moves to the young one,
 * and rows leave the old one in the order in which they came.
 */
export class RowCache {
  readonly #bytesMax: number;
  #bytes = 0;
  #young = new Map<number, Row>();
  #old = new Map<number, Row>();
  #superseded = new Map<number, Row>();
  // Iterators are kept: a fresh one would walk over everything that was deleted before.
  #oldest = this.#old.keys();
  #oldestSuperseded = this.#superseded.keys();

  constructor(bytesMax: number) {
    assert(bytesMax >= 0, 'a negative cache budget');
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The row, which becomes recently used. */
  get(slot: number): Row | undefined {
    const young = this.#young.get(slot);
    if (young !== undefined) return young;
    const old = this.#old.get(slot);
    if (old === undefined) return this.#superseded.get(slot);
    this.#old.delete(slot);
    this.#young.set(slot, old);
    return old;
  }

  /** The slot must not be cached. */
  insert(slot: number, row: Row, superseded: boolean): void {
    assert(!VERIFY || !this.#has(slot), 'a row cached twice');
    (superseded ? this.#superseded : this.#young).set(slot, row);
    this.#bytes += cost(row);
    this.#shrink();
  }

  /** The row is no longer its key's newest. */
  supersede(slot: number): void {
    const row = this.#young.get(slot) ?? this.#old.get(slot);
    if (row === undefined) return;
    if (!this.#young.delete(slot)) this.#old.delete(slot);
    this.#superseded.set(slot, row);
  }

  /** The slot's row is gone for good. */
  remove(slot: number): void {
    const row = this.#young.get(slot) ?? this.#old.get(slot) ?? this.#superseded.get(slot);
    if (row === undefined) return;
    if (!this.#young.delete(slot) && !this.#old.delete(slot)) this.#superseded.delete(slot);
    this.#bytes -= cost(row);
  }

  #has(slot: number): boolean {
    return this.#young.has(slot) || this.#old.has(slot) || this.#superseded.has(slot);
  }

  #shrink(): void {
    while (this.#bytes > this.#bytesMax) {
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

function cost(row: Row): number {
  return CACHED_ROW_OVERHEAD_BYTES + row.key.length + row.value.length;
}
