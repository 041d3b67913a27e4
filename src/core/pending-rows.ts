import { assert } from '../lib/assert.ts';
import { compareRevisions, findRow, type Row, type RowSource } from './mvcc/row.ts';

/**
 * Rows that were written and not yet handed to the disk, in front of the disk's own: the store may ask for a row as
 * soon as it is committed.
 */
export class PendingRows implements RowSource {
  readonly #disk: RowSource;
  /** In revision order. */
  #rows: Row[] = [];

  constructor(disk: RowSource) {
    this.#disk = disk;
  }

  get size(): number {
    return this.#rows.length;
  }

  add(rows: readonly Row[]): void {
    for (const row of rows) {
      const last = this.#rows.at(-1);
      assert(last === undefined || compareRevisions(last, row) < 0, 'rows are written in revision order');
      this.#rows.push(row);
    }
  }

  /** The rows so far; the list is the caller's own from here on, an empty one too: it outlives this call. */
  take(): readonly Row[] {
    const rows = this.#rows;
    this.#rows = [];
    return rows;
  }

  row(main: number, sub: number): Row | undefined {
    const first = this.#rows[0];
    if (first === undefined || compareRevisions(first, { main, sub }) > 0) return this.#disk.row(main, sub);
    return findRow(this.#rows, { main, sub });
  }
}
