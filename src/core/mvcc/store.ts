import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import { CompactionWalk } from './compaction.ts';
import type { Commit, KvEvent } from './event.ts';
import { History } from './history.ts';
import type { KvHash } from './kv-hash.ts';
import { kvHash } from './kv-hash.ts';
import type {
  DeleteRangeRequest,
  DeleteRangeResult,
  KeyValue,
  PutRequest,
  PutResult,
  RangeRequest,
  RangeResult,
  TxnRequest,
  TxnResult,
} from './operations.ts';
import {
  beginRange,
  executeRange,
  keyValue,
  loadPage,
  type PageLimits,
  type RangePage,
  type RangePlan,
} from './range.ts';
import type { Revision, Row, RowSource, SetHash } from './row.ts';
import { NIL } from './row-table.ts';
import type { HistoryLimits, HistorySlice } from './scan.ts';
import { scanHistory } from './scan.ts';
import type { LeaseView } from './txn.ts';
import { beginTxn, executeDeleteRange, executePut, executeTxn, type TxnPlan } from './txn.ts';
import { WriteTxn } from './write-txn.ts';

/** The revision of a store that was never written, as etcd's: the first write is revision 2. */
export const FIRST_REVISION = 1;
/** The compact revision of a store that was never compacted, as etcd's: even revision 0 can be compacted once. */
export const NEVER_COMPACTED = -1;
/** Default budget of rows kept in memory, in bytes. */
export const CACHE_BYTES_MAX_DEFAULT = 256 * 1024 * 1024;

export interface StoreOptions {
  /**
   * Answers for every committed row that compaction did not drop: also for rows of a `Commit` that has not yet
   * been handed to the disk. Rows of the open transaction are never asked for.
   */
  readonly source: RowSource;
  /** Budget of rows kept in memory; 0 keeps none. Default `CACHE_BYTES_MAX_DEFAULT`. */
  readonly cacheBytesMax?: number;
}

/** What a disk remembers of a store beside its rows. A `StateMarker` is one. */
export interface RestoreMarker {
  readonly currentRevision: number;
  readonly compactRevision: number;
  readonly hashCompactRevision: number;
  readonly rowSetHash: SetHash;
  readonly rowCount: number;
}

/**
 * etcd's multi-version key-value store: every change is a row at a revision, reads see any revision that is not
 * compacted. Pure and synchronous; equal on every member after equal operations. Buffers that are passed in are
 * kept: they must neither change nor be windows into larger memory. Buffers in results must not be changed.
 */
export class Store {
  readonly #history: History;
  #currentRevision = FIRST_REVISION;
  #compactRevision = NEVER_COMPACTED;
  #hashCompactRevision = NEVER_COMPACTED;
  #walk: CompactionWalk | null = null;
  #open: WriteTxn | null = null;
  #restored = false;
  // Made once, not for each of the many small transactions.
  readonly #begin = (): WriteTxn => this.begin();
  readonly #committed = (revision: number): void => {
    this.#open = null;
    this.#currentRevision = revision;
  };

  constructor(options: StoreOptions) {
    this.#history = new History(options.source, options.cacheBytesMax ?? CACHE_BYTES_MAX_DEFAULT);
  }

  /** The revision of the last change; stored, never derived from rows (pitfall 47). */
  get currentRevision(): number {
    return this.#currentRevision;
  }
  /** Reads below it fail; `NEVER_COMPACTED` at first. Takes effect at once. */
  get compactRevision(): number {
    return this.#compactRevision;
  }
  /** The compaction that `rowSetHash`, `rowCount` and `logicalBytes` reflect; follows when a walk ends. */
  get hashCompactRevision(): number {
    return this.#hashCompactRevision;
  }
  /** Hash over the rows not dropped by the compaction at `hashCompactRevision`; equal on members where that is. */
  get rowSetHash(): SetHash {
    return this.#history.rowSetHash;
  }
  get rowCount(): number {
    return this.#history.rowCount;
  }
  /** Keys, values and a fixed overhead of the counted rows, in bytes: the quota's measure. */
  get logicalBytes(): number {
    return this.#history.logicalBytes;
  }
  /** Live keys at the current revision. */
  get keyCount(): number {
    return this.#history.index.liveCount;
  }

  /** @throws StoreError `empty-key`, `compacted`, `future-revision`; `storage` when a row cannot be read */
  range(request: RangeRequest): RangeResult {
    assert(this.#open === null, 'a read between the operations of a write transaction');
    return executeRange(this.#history, this, request);
  }

  /**
   * As `range`, but an answer above `bytesMax` is only planned, to be read with `loadPage`.
   *
   * @throws StoreError as `range`
   */
  beginRange(request: RangeRequest, bytesMax: number): RangeResult | RangePlan {
    assert(this.#open === null, 'a read between the operations of a write transaction');
    return beginRange(this.#history, this, { request, bytesMax });
  }

  /**
   * As `applyTxn` for a transaction that only reads, but answers of ranges above `bytesMax` together are only
   * planned. All of it is read at one revision.
   *
   * @throws StoreError as `applyTxn`
   */
  beginTxn(request: TxnRequest, leases: LeaseView, bytesMax: number): TxnPlan {
    assert(this.#open === null, 'a read between the operations of a write transaction');
    return beginTxn({ history: this.#history, revisions: this, request, leases, bytesMax });
  }

  /**
   * One piece of a planned range. The plan may be of an older store that a snapshot has replaced by this one.
   *
   * @throws StoreError `compacted` when the plan's revision was compacted meanwhile; `storage`
   */
  loadPage(plan: RangePlan, from: number, limits: PageLimits): RangePage {
    assert(this.#open === null, 'a read between the operations of a write transaction');
    return loadPage(this.#history, this, { plan, from, limits });
  }

  /**
   * Opens one mutating request. It must be committed before the store is used otherwise; there is no way back, but
   * each of its operations fails before it changes anything.
   */
  begin(): WriteTxn {
    assert(this.#open === null, 'two write transactions at once');
    this.#open = new WriteTxn(this.#history, this, this.#committed);
    return this.#open;
  }

  /**
   * Executes one request whole: everything that can fail is checked before the first change, so that a failure
   * leaves nothing behind.
   *
   * @throws StoreError `empty-key`, `lease-not-found`, `key-not-found`, `duplicate-key`, `compacted`,
   *   `future-revision`; `storage` when a row cannot be read, after which the store must not be used
   */
  applyTxn(request: PutRequest, leases: LeaseView): { readonly result: PutResult; readonly commit: Commit };
  applyTxn(
    request: DeleteRangeRequest,
    leases: LeaseView,
  ): { readonly result: DeleteRangeResult; readonly commit: Commit };
  applyTxn(request: TxnRequest, leases: LeaseView): { readonly result: TxnResult; readonly commit: Commit };
  applyTxn(request: PutRequest | DeleteRangeRequest | TxnRequest, leases: LeaseView): AppliedRequest;
  applyTxn(request: PutRequest | DeleteRangeRequest | TxnRequest, leases: LeaseView): AppliedRequest {
    const begin = this.#begin;
    switch (request.type) {
      case 'put':
        return executePut({ begin, history: this.#history, request, leases });
      case 'delete-range':
        return executeDeleteRange({ begin, request });
      case 'txn':
        return executeTxn({ begin, history: this.#history, revisions: this, request, leases });
    }
  }

  /**
   * Compacts logically: from now on reads and watches below `revision` fail. Rows leave with `compactionStep`.
   *
   * @throws StoreError `compacted` at or below the last compaction, `future-revision` above the current revision
   */
  compact(revision: number): void {
    assert(this.#open === null, 'a compaction within a write transaction');
    if (revision <= this.#compactRevision) throw new StoreError('compacted');
    if (revision > this.#currentRevision) throw new StoreError('future-revision');
    this.#compactRevision = revision;
  }

  /** Rows that a compaction drops have still to be found. */
  get compactionPending(): boolean {
    return this.#hashCompactRevision < this.#compactRevision;
  }

  /**
   * One slice of the pending compaction: looks at about `rowsMax` rows (rounded up to a page of the revision log).
   * Writes and further compactions may come in between. Returns what was dropped, in revision order: a disk must
   * remove them in this order, or a half-done removal could leave a key's older row without its tombstone.
   * The last slice moves `hashCompactRevision`. Without a pending compaction it does nothing.
   */
  compactionStep(rowsMax: number): Revision[] {
    assert(this.#open === null, 'a compaction step within a write transaction');
    if (!this.compactionPending) return [];
    this.#walk ??= new CompactionWalk(this.#history, this.#compactRevision);
    const dropped = this.#walk.step(rowsMax);
    if (this.#walk.done) {
      this.#walk.settle();
      this.#hashCompactRevision = this.#walk.revision;
      this.#walk = null;
    }
    return dropped;
  }

  /**
   * One bounded slice of history, in revision order, for watchers that catch up. `range` is inclusive at both ends
   * and `to` at most the current revision.
   *
   * @param wanted called with a key as latin1 text, before its row is read; default: every key
   * @throws StoreError `compacted` when `range.from` is below the compact revision
   */
  events(
    range: { readonly from: number; readonly to: number },
    limits: HistoryLimits,
    wanted?: (key: string) => boolean,
  ): HistorySlice {
    assert(this.#open === null, 'a history scan within a write transaction');
    assert(range.to <= this.#currentRevision, 'a history scan beyond the current revision');
    if (range.from < this.#compactRevision) throw new StoreError('compacted');
    return scanHistory(this.#history, range, limits, wanted);
  }

  /**
   * The key as it was at the revision before an event, for prev_kv: null when it was not there, or when that revision
   * is compacted (the same on every member, whatever its walk has dropped).
   */
  previousRow(event: KvEvent): KeyValue | null {
    if (event.previous === null || event.row.main - 1 < this.#compactRevision) return null;
    const { log, table } = this.#history;
    const replaced = log.find(event.previous.main, event.previous.sub);
    assert(replaced !== null, 'a replaced row above the compaction is gone');
    const slot = this.#history.at(replaced, event.row.main - 1);
    if (slot === NIL) return null;
    assert(table.key(slot) === table.key(replaced), 'a chain that mixes keys');
    return keyValue(this.#history.load(slot));
  }

  /**
   * Hashes the rows that are live at (`revision`, compact revision), read from the row source, in slices: run it to
   * the end, yielding to other work after each step. Equal on members at equal (revision, compact revision). A
   * compaction in between starts it over. 0 or below = the current revision. Drop it when the store is replaced.
   *
   * @throws StoreError `compacted`, `future-revision`; `storage` when a row is missing or is not what was written
   */
  hashKv(revision: number, rowsPerSlice: number): Generator<void, KvHash> {
    return kvHash(this.#history, this, { revision, rowsPerSlice });
  }

  /**
   * Takes one row back from a disk or a snapshot, in revision order, into a store that is otherwise unused. The rows
   * are not verified before `finishRestore`.
   *
   * @throws StoreError `data-dir-corrupt` when rows are out of order or impossible
   */
  restoreRow(row: Row): void {
    assert(!this.#restored && this.#currentRevision === FIRST_REVISION, 'a restore into a store in use');
    this.#history.restore(row);
  }

  /**
   * Ends a restore: drops what the compaction at `marker.hashCompactRevision` had dropped, then verifies. Returns
   * those rows, in revision order: they are still to be removed from the disk. A compaction that the marker has
   * beyond it becomes pending.
   *
   * @throws StoreError `data-dir-corrupt` when rows were lost, resurrected or changed
   */
  finishRestore(marker: RestoreMarker): Revision[] {
    assert(!this.#restored && this.#currentRevision === FIRST_REVISION, 'a restore into a store in use');
    if (marker.hashCompactRevision > marker.compactRevision) {
      throw new StoreError('data-dir-corrupt', 'a marker is hashed beyond its compaction');
    }
    const dropped = this.#dropCompacted(marker.hashCompactRevision);
    this.#verifyRestore(marker);
    this.#currentRevision = marker.currentRevision;
    this.#compactRevision = marker.compactRevision;
    this.#hashCompactRevision = marker.hashCompactRevision;
    this.#restored = true;
    return dropped;
  }

  #dropCompacted(revision: number): Revision[] {
    const walk = new CompactionWalk(this.#history, revision);
    const dropped = walk.step(Number.MAX_SAFE_INTEGER);
    walk.settle();
    return dropped;
  }

  #verifyRestore(marker: RestoreMarker): void {
    const { rowSetHash, rowCount, lastMain } = this.#history;
    if (rowCount !== marker.rowCount) {
      throw new StoreError('data-dir-corrupt', `${rowCount} rows instead of ${marker.rowCount}`);
    }
    if (rowSetHash.a !== marker.rowSetHash.a || rowSetHash.b !== marker.rowSetHash.b) {
      throw new StoreError('data-dir-corrupt', 'the rows are not those that were written');
    }
    if (lastMain > marker.currentRevision || marker.currentRevision < FIRST_REVISION) {
      throw new StoreError('data-dir-corrupt', `rows beyond revision ${marker.currentRevision}`);
    }
  }
}

/** One executed request: its answer, and what it changed. */
export interface AppliedRequest {
  readonly result: PutResult | DeleteRangeResult | TxnResult;
  readonly commit: Commit;
}
