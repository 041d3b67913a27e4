import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import type { KvEvent } from './event.ts';
import { addHash, EMPTY_SET_HASH, rowHash, subtractHash } from './hash.ts';
import { KeyIndex } from './key-index.ts';
import { RevisionLog } from './revision-log.ts';
import type { Revision, Row, RowSource, SetHash } from './row.ts';
import { RowCache } from './row-cache.ts';
import { NIL, RowTable } from './row-table.ts';

/** What a row counts in the quota besides the bytes of its key and value: about what memory and disk keep. */
export const ROW_OVERHEAD_BYTES = 64;

const EMPTY_VALUE = Buffer.alloc(0);

/** What dropped rows take from the totals. */
export interface Tally {
  readonly rows: number;
  readonly bytes: number;
  readonly hash: SetHash;
}

/**
 * All rows that compaction did not drop: by key, by revision, and their values. It knows nothing of requests: the
 * revisions that may be read, and what is a transaction, are the store's.
 */
export class History {
  readonly table = new RowTable();
  readonly log = new RevisionLog(this.table);
  readonly index = new KeyIndex((slot) => !this.table.isTombstone(slot));
  readonly #cache: RowCache;
  readonly #source: RowSource;
  /** The rows of the open transaction, by sub: nobody else has them yet. */
  #openRows: readonly Row[] = [];
  #hash: SetHash = EMPTY_SET_HASH;
  #rows = 0;
  #bytes = 0;

  constructor(source: RowSource, cacheBytesMax: number) {
    this.#source = source;
    this.#cache = new RowCache(cacheBytesMax, (slot) => this.table.key(slot).length);
  }

  get rowSetHash(): SetHash {
    return this.#hash;
  }
  get rowCount(): number {
    return this.#rows;
  }
  get logicalBytes(): number {
    return this.#bytes;
  }
  /** The main revision of the newest row, 0 without rows. */
  get lastMain(): number {
    const { last } = this.log;
    return last === null ? 0 : this.table.main(last);
  }

  /** Which rows to look up in the open transaction; an empty list closes it. */
  setOpenRows(rows: readonly Row[]): void {
    this.#openRows = rows;
  }

  /** The newest row of a key, live or not, or `NIL`. Leaves the index at the key for `append`. */
  head(key: string): number {
    return this.index.seek(key) ? this.index.head() : NIL;
  }

  /** The live row that a key had at a main revision, from its newest one on, or `NIL`. */
  at(head: number, main: number): number {
    const { table } = this;
    let slot = head;
    while (slot !== NIL && table.main(slot) > main) slot = table.older(slot);
    return slot === NIL || table.isTombstone(slot) ? NIL : slot;
  }

  /**
   * The whole row, from memory or the source.
   *
   * @throws StoreError `storage` when the source has it not, or has another one
   */
  load(slot: number): Row {
    const { table } = this;
    const cached = table.isTombstone(slot) ? EMPTY_VALUE : this.#cache.get(slot);
    if (cached !== undefined) return this.#row(slot, cached);
    const main = table.main(slot);
    if (this.#openRows[0]?.main === main) return this.#openRows[table.sub(slot)]!;
    const row = this.read(slot);
    this.#cache.insert(slot, row.value, table.newer(slot) !== NIL);
    return row;
  }

  #row(slot: number, value: Buffer): Row {
    const { table } = this;
    return {
      main: table.main(slot),
      sub: table.sub(slot),
      tombstone: table.isTombstone(slot),
      createRevision: table.createRevision(slot),
      version: table.version(slot),
      lease: table.lease(slot),
      key: this.keyBytes(slot),
      value,
    };
  }

  /** The row as the source has it, past the memory, checked against what was written. */
  read(slot: number): Row {
    const { table } = this;
    const row = this.#source.row(table.main(slot), table.sub(slot));
    if (row === undefined) throw new StoreError('storage', `row ${this.#name(slot)} is missing`);
    const expected = table.hash(slot);
    const actual = rowHash(row);
    if (actual.a !== expected.a || actual.b !== expected.b) {
      throw new StoreError('storage', `row ${this.#name(slot)} is not what was written`);
    }
    return row;
  }

  /** The key of a row. */
  keyBytes(slot: number): Buffer {
    return Buffer.from(this.table.key(slot), 'latin1');
  }

  /** Adds the newest row of all. `head(key)` with its key must have been the last use of the index. */
  append(row: Row, key: string, head: number): number {
    const slot = this.#add(row, key, head);
    if (!row.tombstone) this.#cache.insert(slot, row.value, false);
    return slot;
  }

  #add(row: Row, key: string, head: number): number {
    const { table, index } = this;
    const hash = rowHash(row);
    const slot = table.add(row, head === NIL ? key : index.key(), hash);
    if (head === NIL) {
      index.insert(key, slot);
    } else {
      assert(table.newer(head) === NIL, "a row that is not after its key's newest");
      table.setOlder(slot, head);
      table.setNewer(head, slot);
      index.replace(slot);
      this.#cache.supersede(head);
    }
    this.log.append(slot);
    this.#hash = addHash(this.#hash, hash);
    this.#rows++;
    this.#bytes += rowBytes(row.key.length, row.value.length);
    return slot;
  }

  /**
   * Takes back a row from a disk. It stays there until somebody reads it: a start that kept all it saw would cost the
   * collector most of its time, and be asked for few of them.
   *
   * @throws StoreError `data-dir-corrupt` when it does not follow the last one, or cannot be
   */
  restore(row: Row): void {
    const { last } = this.log;
    const follows =
      last === null ||
      row.main > this.table.main(last) ||
      (row.main === this.table.main(last) && row.sub > this.table.sub(last));
    if (!follows) throw new StoreError('data-dir-corrupt', `row ${row.main}/${row.sub} is out of order`);
    if (!plausible(row)) throw new StoreError('data-dir-corrupt', `row ${row.main}/${row.sub} is impossible`);
    const key = row.key.toString('latin1');
    this.#add(row, key, this.head(key));
  }

  /**
   * Forgets a row, which must be the oldest of its key, and its key with the last one. It still counts in the
   * totals until `settle`. The caller takes it out of the log. Returns its quota bytes.
   */
  drop(slot: number): number {
    const { table, index } = this;
    assert(table.older(slot) === NIL, 'a row dropped before an older one of its key');
    const key = table.key(slot);
    const newer = table.newer(slot);
    if (newer === NIL) {
      assert(table.isTombstone(slot), 'a live key dropped');
      assert(index.seek(key) && index.head() === slot, 'a dropped row is not where its key points');
      index.remove();
    } else {
      table.setOlder(newer, NIL);
    }
    const bytes = rowBytes(key.length, table.valueSize(slot));
    this.#cache.remove(slot);
    table.free(slot);
    return bytes;
  }

  /** Takes dropped rows out of the totals. */
  settle(dropped: Tally): void {
    this.#hash = subtractHash(this.#hash, dropped.hash);
    this.#rows -= dropped.rows;
    this.#bytes -= dropped.bytes;
    assert(this.#rows >= 0 && this.#bytes >= 0, 'more rows dropped than there were');
  }

  /** The event that the row in this slot was. */
  event(slot: number, row: Row): KvEvent {
    const { table } = this;
    const older = table.older(slot);
    const replaced = older !== NIL && !table.isTombstone(older);
    const previous: Revision | null = replaced ? { main: table.main(older), sub: table.sub(older) } : null;
    const previousLease = replaced ? table.lease(older) : 0n;
    return { type: row.tombstone ? 'delete' : 'put', row, previous, previousLease };
  }

  #name(slot: number): string {
    return `${this.table.main(slot)}/${this.table.sub(slot)}`;
  }
}

function rowBytes(keyBytes: number, valueBytes: number): number {
  return ROW_OVERHEAD_BYTES + keyBytes + valueBytes;
}

function plausible(row: Row): boolean {
  if (row.key.length === 0 || row.main < 1 || row.sub < 0) return false;
  if (!Number.isSafeInteger(row.main) || !Number.isSafeInteger(row.sub)) return false;
  if (row.tombstone) {
    return row.value.length === 0 && row.version === 0 && row.createRevision === 0 && row.lease === 0n;
  }
  return row.version >= 1 && row.createRevision >= 1 && row.createRevision <= row.main;
}
