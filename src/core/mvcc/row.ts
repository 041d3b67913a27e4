/**
 * The unit of history: one change of one key at one revision. Rows are immutable; a revision is written once.
 * `main` counts mutating requests, `sub` the changes within one of them, from 0, dense.
 */
export interface Row {
  readonly main: number;
  readonly sub: number;
  /** The key was deleted at this revision: `value` is empty, `version` 0, `createRevision` 0, `lease` 0n. */
  readonly tombstone: boolean;
  readonly createRevision: number;
  /** How many times the key was written since it was created; 1 for the first. */
  readonly version: number;
  /** The attached lease over the full int64 range, or 0n. */
  readonly lease: bigint;
  readonly key: Buffer;
  readonly value: Buffer;
}

/** Where a row that is no longer in memory comes from. Synchronous: apply must not wait. */
export interface RowSource {
  /**
   * The row at exactly this revision, or undefined when it was physically collected.
   *
   * @throws StoreError `storage` when the row is unreadable or fails its checksum
   */
  row(main: number, sub: number): Row | undefined;
}

/** Two 32-bit lanes of an additive multiset hash over rows (order does not matter, removal subtracts). */
export interface SetHash {
  readonly a: number;
  readonly b: number;
}

/** A point of history: `main` counts mutating requests, `sub` the changes within one, dense from 0. */
export interface Revision {
  readonly main: number;
  readonly sub: number;
}

/** Below zero: `a` is older than `b`. Zero: the same revision. */
export function compareRevisions(a: Revision, b: Revision): number {
  return a.main - b.main || a.sub - b.sub;
}

/** The row at exactly this revision among rows in revision order. */
export function findRow(rows: readonly Row[], revision: Revision): Row | undefined {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareRevisions(rows[middle]!, revision) < 0) low = middle + 1;
    else high = middle;
  }
  const row = rows[low];
  return row !== undefined && compareRevisions(row, revision) === 0 ? row : undefined;
}
