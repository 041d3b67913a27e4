import { assert } from '../../lib/assert.ts';
import type { Row, SetHash } from './row.ts';

/** No slot: the end of a key's chain, or no such row. */
export const NIL = 0xffff_ffff;

const PAGE_BITS = 12;
const PAGE_SLOTS = 1 << PAGE_BITS;
const SLOT_MASK = PAGE_SLOTS - 1;

const FREE = 0;
const USED = 1;
const TOMBSTONE = 2;
const LEASED = 4;

/**
 * What memory keeps of every row besides its value: one slot each, in packed columns (about 55 bytes a row). Slots
 * are stable while their row lives and are used again afterwards; `older` and `newer` chain the rows of one key.
 * Pages are allocated whole, so growing never copies.
 */
export class RowTable {
  readonly #pages: Page[] = [];
  /** Freed slots, chained through `older`. */
  #freeHead = NIL;
  /** Slots from here on were never used. */
  #end = 0;

  /** Stores a row's columns. `key` is the row's key as latin1 text, shared by all rows of the key. */
  add(row: Row, key: string, hash: SetHash): number {
    const slot = this.#take();
    const page = this.#page(slot);
    const at = slot & SLOT_MASK;
    page.keys[at] = key;
    page.mains[at] = row.main;
    page.subs[at] = row.sub;
    page.createRevisions[at] = row.createRevision;
    page.versions[at] = row.version;
    page.older[at] = NIL;
    page.newer[at] = NIL;
    page.valueSizes[at] = row.value.length;
    page.hashes[2 * at] = hash.a;
    page.hashes[2 * at + 1] = hash.b;
    page.flags[at] = USED | (row.tombstone ? TOMBSTONE : 0) | (row.lease === 0n ? 0 : LEASED);
    if (row.lease !== 0n) {
      page.leases ??= new BigInt64Array(PAGE_SLOTS);
      page.leases[at] = row.lease;
    }
    return slot;
  }

  free(slot: number): void {
    const page = this.#page(slot);
    const at = slot & SLOT_MASK;
    assert(page.flags[at] !== FREE, 'a row slot freed twice');
    page.flags[at] = FREE;
    page.keys[at] = '';
    page.older[at] = this.#freeHead;
    this.#freeHead = slot;
  }

  key(slot: number): string {
    return this.#page(slot).keys[slot & SLOT_MASK]!;
  }
  main(slot: number): number {
    return this.#page(slot).mains[slot & SLOT_MASK]!;
  }
  sub(slot: number): number {
    return this.#page(slot).subs[slot & SLOT_MASK]!;
  }
  createRevision(slot: number): number {
    return this.#page(slot).createRevisions[slot & SLOT_MASK]!;
  }
  version(slot: number): number {
    return this.#page(slot).versions[slot & SLOT_MASK]!;
  }
  isTombstone(slot: number): boolean {
    return (this.#page(slot).flags[slot & SLOT_MASK]! & TOMBSTONE) !== 0;
  }
  lease(slot: number): bigint {
    const page = this.#page(slot);
    const at = slot & SLOT_MASK;
    return (page.flags[at]! & LEASED) === 0 ? 0n : page.leases![at]!;
  }
  valueSize(slot: number): number {
    return this.#page(slot).valueSizes[slot & SLOT_MASK]!;
  }
  hash(slot: number): SetHash {
    const { hashes } = this.#page(slot);
    const at = slot & SLOT_MASK;
    return { a: hashes[2 * at]!, b: hashes[2 * at + 1]! };
  }

  /** The row of the same key just before this one, or `NIL`. */
  older(slot: number): number {
    return this.#page(slot).older[slot & SLOT_MASK]!;
  }
  setOlder(slot: number, older: number): void {
    this.#page(slot).older[slot & SLOT_MASK] = older;
  }
  /** The row of the same key just after this one, or `NIL`. */
  newer(slot: number): number {
    return this.#page(slot).newer[slot & SLOT_MASK]!;
  }
  setNewer(slot: number, newer: number): void {
    this.#page(slot).newer[slot & SLOT_MASK] = newer;
  }

  #page(slot: number): Page {
    return this.#pages[slot >>> PAGE_BITS]!;
  }

  #take(): number {
    if (this.#freeHead !== NIL) {
      const slot = this.#freeHead;
      this.#freeHead = this.older(slot);
      return slot;
    }
    assert(this.#end < NIL, 'more rows in memory than slots');
    const slot = this.#end++;
    if ((slot & SLOT_MASK) === 0) this.#pages.push(newPage());
    return slot;
  }
}

interface Page {
  readonly keys: string[];
  readonly mains: Float64Array;
  readonly subs: Uint32Array;
  readonly createRevisions: Float64Array;
  readonly versions: Float64Array;
  readonly older: Uint32Array;
  readonly newer: Uint32Array;
  readonly valueSizes: Uint32Array;
  /** Two lanes a slot. */
  readonly hashes: Uint32Array;
  readonly flags: Uint8Array;
  /** Only on pages that ever held a leased row. */
  leases: BigInt64Array | null;
}

function newPage(): Page {
  return {
    keys: Array.from({ length: PAGE_SLOTS }, () => ''),
    mains: new Float64Array(PAGE_SLOTS),
    subs: new Uint32Array(PAGE_SLOTS),
    createRevisions: new Float64Array(PAGE_SLOTS),
    versions: new Float64Array(PAGE_SLOTS),
    older: new Uint32Array(PAGE_SLOTS),
    newer: new Uint32Array(PAGE_SLOTS),
    valueSizes: new Uint32Array(PAGE_SLOTS),
    hashes: new Uint32Array(2 * PAGE_SLOTS),
    flags: new Uint8Array(PAGE_SLOTS),
    leases: null,
  };
}
