import { assert } from '../lib/assert.ts';
import { LaneHash } from './lane-hash.ts';
import type { SetHash } from './mvcc/row.ts';
import type { TableRow } from './state.ts';

const ROW_SEED: SetHash = { a: 0x3c6ef372, b: 0x510e527f };

/**
 * Keeps account of the small tables: which rows a disk has not been given yet, and the set hash over the newest row
 * of every id. The tables themselves live in their own classes; they report every change here.
 */
export class TableChanges {
  #hash: SetHash = { a: 0, b: 0 };
  /** Only the newest row of an id: earlier ones of the same batch are never seen by anyone. */
  #pending = new Map<string, TableRow>();

  /** Set hash over all newest rows, removals aside. */
  get hash(): SetHash {
    return this.#hash;
  }

  /** One id changed from `before` (null = it was absent) to `after` (null value = removed). */
  change(before: TableRow | null, after: TableRow): void {
    assert(before !== null || after.value !== null, 'a removed row was there');
    if (before !== null) this.#subtract(before);
    if (after.value !== null) this.#add(after);
    this.#pending.set(`${after.table}/${after.id.toString('latin1')}`, after);
  }

  /** A row that came from a disk or a snapshot: counted, not handed out again. */
  restored(row: TableRow): void {
    this.#add(row);
  }

  /** The rows changed since the last call, in the order of their first change. */
  take(): readonly TableRow[] {
    if (this.#pending.size === 0) return [];
    const rows = [...this.#pending.values()];
    this.#pending = new Map();
    return rows;
  }

  get pending(): boolean {
    return this.#pending.size > 0;
  }

  clear(): void {
    this.#hash = { a: 0, b: 0 };
    this.#pending.clear();
  }

  #add(row: TableRow): void {
    const { a, b } = tableRowHash(row);
    this.#hash = { a: (this.#hash.a + a) >>> 0, b: (this.#hash.b + b) >>> 0 };
  }

  #subtract(row: TableRow): void {
    const { a, b } = tableRowHash(row);
    this.#hash = { a: (this.#hash.a - a) >>> 0, b: (this.#hash.b - b) >>> 0 };
  }
}

function tableRowHash({ table, id, value }: TableRow): SetHash {
  assert(value !== null, 'a removal has no hash');
  return new LaneHash(ROW_SEED).name(table).bytes(id).bytes(value).digest();
}
