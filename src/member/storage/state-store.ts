import { findRow, type Revision, type Row } from '../../core/mvcc/row.ts';
import type { StateBatch, StateMarker } from '../../core/state.ts';
import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Clock, Disk, Level, LevelOp, LevelOpener, StateStore, Timer } from '../ports.ts';
import { DiscardQueue } from './discard-queue.ts';
import { LevelWriter } from './level-writer.ts';
import {
  ALL_ROWS,
  barrierKey,
  compareMarkers,
  decodeRow,
  encodeFormat,
  encodeMarker,
  encodeRow,
  encodeTableRow,
  FORMAT_KEY,
  type MarkerPosition,
  markerKey,
  rowKey,
  rowRange,
  tableKey,
} from './schema.ts';
import { TableVersions } from './table-versions.ts';

/**
 * Applied batches wait this long, or until they have so many bytes, to be written as one. Each write is a way through the
 * pool of threads and has a marker, which is deleted later; and nothing waits for it that does not ask for it.
 */
const GATHER_MS_MAX = 10;
const GATHER_BYTES_MAX = 256 * 1024;
/** Deletes in one batch of garbage collection, unless the options say fewer. */
const GARBAGE_BATCH_MAX = 1_000;
/** Rest between two batches of garbage collection, so that it never crowds out applies. */
const GARBAGE_PAUSE_MS = 10;
/** Rows in one slice of a stream, unless the options say fewer; it also ends at the level's own byte bound. */
const STREAM_SLICE_ROWS = 1_000;
/** The newest, and the one before it, to which everything but collected rows can still return. */
const BARRIERS_KEPT = 2;
/** The disk's root directory, where the state directories lie. */
const ROOT = '';

/** What a state store runs on. `name` is the directory of its database, below the root of both ports. */
export interface StateStoreOptions {
  readonly name: string;
  readonly levels: LevelOpener;
  readonly disk: Pick<Disk, 'makeDirectory' | 'syncDirectory'>;
  readonly clock: Pick<Clock, 'setTimer'>;
  /** Called once: the disk's state is unknown and the process must stop. A StoreError `storage`, or a bug. */
  readonly onFatal: (error: Error) => void;
  /** Deletes in one batch of garbage collection; default 1,000. */
  readonly garbageBatchMax?: number;
  /** Rows in one slice of a stream; default 1,000. */
  readonly streamSliceRows?: number;
}

/** What lies in the database when a store starts on it. */
export interface StateContents {
  /** The state the store starts from: the newest barrier. */
  readonly marker: StateMarker;
  /** Positions of all barriers and of all markers, ascending. */
  readonly barriers: readonly MarkerPosition[];
  readonly markers: readonly MarkerPosition[];
  readonly tables: TableVersions;
  /** Rows on disk, up to the barrier's revision, that its row count no longer counts. */
  readonly leftoverRows: number;
}

/** The rows of a stream. It holds back garbage collection until it has ended or `return` was called. */
export interface RowStream extends AsyncIterableIterator<readonly Row[], undefined> {
  return(): Promise<IteratorReturnResult<undefined>>;
}

/**
 * Makes a new store that holds `initial`, durably: the whole state at that marker. The database must not exist.
 *
 * @throws StoreError `storage`
 */
export async function createStateStore(
  options: StateStoreOptions,
  initial: StateBatch,
): Promise<LevelStateStore> {
  await options.disk.makeDirectory(options.name);
  const level = await options.levels.open(options.name, { create: true });
  const tables = new TableVersions();
  for (const row of initial.tables) tables.add(row, initial.marker.appliedIndex);
  const ops = [...batchOps([initial]), put(FORMAT_KEY, encodeFormat()), barrierOp(initial.marker)];
  try {
    await level.batch(ops, { sync: true });
    await level.flush();
    await syncDirectories(options);
  } catch (error) {
    await level.close();
    throw error;
  }
  const markers = [initial.marker];
  return new LevelStateStore(options, level, {
    marker: initial.marker,
    barriers: markers,
    markers,
    tables,
    leftoverRows: 0,
  });
}

/**
 * The MVCC state on a level: rows and small-table rows written once, each batch with its marker, unsynced; every
 * now and then a barrier, which is what a restart returns to. Whatever lies above the last barrier is redone from
 * the log, with the same bytes under the same keys, so leftovers of a crash need no cleaning.
 */
export class LevelStateStore implements StateStore, AsyncDisposable {
  readonly name: string;
  readonly #options: StateStoreOptions;
  readonly #level: Level;
  readonly #writer: LevelWriter;
  /** Rows that are applied and not yet written, batch by batch, in revision order; no batch is empty. */
  readonly #unwritten: (readonly Row[])[] = [];
  /** The last of those batches, which the writer was not given yet. */
  #gathered: StateBatch[] = [];
  #gatheredBytes = 0;
  #gatherTimer: Timer | null = null;
  readonly #tables: TableVersions;
  readonly #discards = new DiscardQueue();
  readonly #garbageBatchMax: number;
  #leftoverRows: number;
  #applied: StateMarker;
  #written: StateMarker;
  #durable: StateMarker;
  #barriers: MarkerPosition[];
  #markers: MarkerPosition[];
  #barrierRunning: Promise<StateMarker> | null = null;
  #barrierNext: Promise<StateMarker> | null = null;
  /** Keys of markers, barriers and small-table rows that nothing needs any more, in the order of deletion. */
  #garbage: Buffer[] = [];
  /** A barrier came since `#garbage` was listed. */
  #garbageDue = false;
  #collectorActive = false;
  #collecting: Promise<void> | null = null;
  #wakeCollector: (() => void) | null = null;
  #streams = 0;
  #closed = false;

  /** For `createStateStore` and recovery: takes over an open level and what was found in it. */
  constructor(options: StateStoreOptions, level: Level, contents: StateContents) {
    this.name = options.name;
    this.#options = options;
    this.#level = level;
    this.#writer = new LevelWriter(level, options.onFatal);
    this.#tables = contents.tables;
    this.#garbageBatchMax = options.garbageBatchMax ?? GARBAGE_BATCH_MAX;
    this.#leftoverRows = contents.leftoverRows;
    this.#applied = contents.marker;
    this.#written = contents.marker;
    this.#durable = contents.marker;
    this.#barriers = [...contents.barriers];
    this.#markers = [...contents.markers];
    assert(this.#barriers.length > 0, 'a state store starts from a barrier');
  }

  get durable(): StateMarker {
    return this.#durable;
  }

  get pendingBytes(): number {
    return this.#gatheredBytes + this.#writer.pendingBytes;
  }

  /** Resolves once everything applied before this call is written (not yet durable). */
  async drained(): Promise<void> {
    this.#writeGathered();
    await this.#writer.fence();
  }

  /**
   * Queues one batch. Rows must be newer than the marker before; at an unchanged applied index a batch carries
   * nothing but the marker of a compaction that ended.
   */
  apply(batch: StateBatch): void {
    assert(!this.#closed, 'nothing is applied to a closed store');
    this.#checkFollows(batch);
    const { marker } = batch;
    this.#discards.batchApplied(marker.compactRevision);
    if (compareMarkers(this.#applied, marker) === 0) return;
    checkDense(batch.rows);
    if (batch.rows.length > 0) this.#unwritten.push(batch.rows);
    for (const row of batch.tables) this.#tables.add(row, marker.appliedIndex);
    this.#applied = marker;
    if (this.#writer.failed) return;
    this.#gathered.push(batch);
    this.#gatheredBytes += bytesOf(batch);
    if (this.#gatheredBytes >= GATHER_BYTES_MAX) this.#writeGathered();
    else this.#gatherTimer ??= this.#options.clock.setTimer(() => this.#writeGathered(), GATHER_MS_MAX);
  }

  row(main: number, sub: number): Row | undefined {
    if (this.#closed) throw new StoreError('stopped');
    this.#writer.assertUsable();
    for (const rows of this.#unwritten) {
      if (rows.at(-1)!.main < main) continue;
      const found = findRow(rows, { main, sub });
      if (found !== undefined) return found;
      break;
    }
    const key = rowKey(main, sub);
    try {
      const value = this.#level.getSync(key);
      return value === undefined ? undefined : decodeRow(key, value);
    } catch (error) {
      throw this.#writer.fail(error);
    }
  }

  /** Calls that come while a barrier is under way share the next one. */
  async barrier(): Promise<StateMarker> {
    assert(!this.#closed, 'a closed store has no barriers');
    if (this.#barrierNext !== null) return this.#barrierNext;
    if (this.#barrierRunning === null) return this.#startBarrier();
    this.#barrierNext = this.#barrierRunning.then(() => {
      this.#barrierNext = null;
      return this.#startBarrier();
    });
    return this.#barrierNext;
  }

  /**
   * As in the port. After a restart the rows that the receiver dropped at `finish` must be handed over before
   * those of any later compaction: until then nothing is collected, because a leftover that outlives the newer
   * rows of its key would come back to life.
   */
  discard(revisions: readonly Revision[]): void {
    this.#leftoverRows -= Math.min(this.#leftoverRows, revisions.length);
    this.#discards.add(revisions);
    this.#collect();
  }

  /** Garbage collection pauses from this call on; iterate the stream to its end or call its `return`. */
  stream(revision: number): RowStream {
    assert(revision <= this.#applied.currentRevision, 'only what was applied can be streamed');
    this.#streams += 1;
    return new LevelRowStream({
      level: this.#level,
      revision,
      sliceRows: this.#options.streamSliceRows ?? STREAM_SLICE_ROWS,
      ready: () => this.drained(),
      failed: (error) => (this.#closed ? new StoreError('stopped') : this.#writer.fail(error)),
      ended: () => {
        this.#streams -= 1;
        this.#collect();
      },
    });
  }

  async sizeBytes(): Promise<number> {
    return this.#guard(() => this.#level.approximateSizeBytes());
  }

  /** May take minutes and competes for the disk. What it failed to do shows on the next write. */
  async defragment(): Promise<void> {
    await this.#guard(() => this.#level.compactRange(ALL_ROWS));
  }

  /** Writes what is queued and closes the database. Call `barrier` before if it shall be durable. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#writeGathered();
    this.#wakeCollector?.();
    await this.#settled(this.#collecting);
    await this.#settled(this.#barrierNext ?? this.#barrierRunning);
    await this.#settled(this.#writer.fence());
    await this.#level.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---- applying ---------------------------------------------------------------------------------------------

  #checkFollows({ rows, tables, marker }: StateBatch): void {
    const order = compareMarkers(this.#applied, marker);
    assert(order <= 0, 'markers never go back');
    if (marker.appliedIndex === this.#applied.appliedIndex) {
      assert(rows.length === 0 && tables.length === 0, 'an index is applied in one batch');
    }
    const first = rows[0];
    const last = rows.at(-1);
    if (first === undefined || last === undefined) return;
    assert(first.main > this.#applied.currentRevision, 'rows are written once');
    assert(last.main <= marker.currentRevision, 'a marker covers the rows of its batch');
  }

  /** One atomic batch, with the marker of the last: of those before it nothing would ever be asked. */
  #writeGathered(): void {
    this.#gatherTimer?.cancel();
    this.#gatherTimer = null;
    const gathered = this.#gathered;
    const last = gathered.at(-1);
    if (last === undefined) return;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    const withRows = gathered.filter(({ rows }) => rows.length > 0).length;
    try {
      this.#writer.enqueue(batchOps(gathered), {
        sync: false,
        written: () => {
          this.#written = last.marker;
          this.#markers.push(last.marker);
          this.#unwritten.splice(0, withRows);
        },
      });
    } catch (error) {
      // Whoever asked for it may be a timer, which tells nobody.
      this.#writer.fail(error);
    }
  }

  // ---- barriers ---------------------------------------------------------------------------------------------

  async #startBarrier(): Promise<StateMarker> {
    const running = this.#runBarrier();
    this.#barrierRunning = running;
    try {
      return await running;
    } finally {
      if (this.#barrierRunning === running) this.#barrierRunning = null;
    }
  }

  async #runBarrier(): Promise<StateMarker> {
    await this.drained();
    const marker = this.#written;
    if (compareMarkers(marker, this.#durable) === 0) return this.#durable;
    try {
      await this.#level.flush();
      await this.#options.disk.syncDirectory(this.name);
      // Synced, it is durable by itself; and it is the write that a failed flush shows on.
      this.#writer.enqueue([barrierOp(marker)], { sync: true });
      await this.#writer.fence();
      // The log that holds it may have begun since the last directory sync.
      await this.#options.disk.syncDirectory(this.name);
    } catch (error) {
      throw this.#writer.fail(error);
    }
    this.#durable = marker;
    this.#barriers.push(marker);
    this.#garbageDue = true;
    this.#collect();
    return marker;
  }

  // ---- garbage ----------------------------------------------------------------------------------------------

  /** Lists what neither of the two newest barriers needs. */
  #listGarbage(): void {
    this.#garbageDue = false;
    const dropped = this.#barriers.splice(0, Math.max(0, this.#barriers.length - BARRIERS_KEPT));
    const oldest = this.#barriers[0];
    if (oldest === undefined || this.#barriers.length < BARRIERS_KEPT) return;
    const kept = this.#markers.findIndex((marker) => compareMarkers(marker, oldest) >= 0);
    const markers = this.#markers.splice(0, Math.max(0, kept));
    const tables = this.#tables.takeGarbage(oldest.appliedIndex);
    this.#garbage = [...dropped.map(barrierKey), ...markers.map(markerKey), ...tables];
  }

  #collect(): void {
    if (this.#collectorActive || this.#closed) return;
    this.#collectorActive = true;
    this.#collecting = this.#runCollector().catch((error: unknown) => {
      this.#writer.fail(error);
    });
  }

  async #runCollector(): Promise<void> {
    for (let batch = this.#nextGarbage(); batch !== null; batch = this.#nextGarbage()) {
      // Synced, so that a batch is durable before the next begins: a power failure may otherwise keep the later
      // deletes and lose the earlier ones, and then an old row stands without the tombstone that hid it.
      this.#writer.enqueue(batch, { sync: true });
      await this.#writer.fence();
      await this.#pause();
    }
    // In the same turn that found nothing more to do, or a call to `#collect` could be missed.
    this.#collectorActive = false;
  }

  #nextGarbage(): readonly LevelOp[] | null {
    if (this.#closed) return null;
    if (this.#garbage.length === 0 && this.#garbageDue) this.#listGarbage();
    const keys = this.#garbage.splice(0, this.#garbageBatchMax);
    if (keys.length > 0) return keys.map((key) => ({ type: 'del', key }));
    if (this.#streams > 0 || this.#leftoverRows > 0) return null;
    const { hashCompactRevision } = this.#durable;
    const rows = this.#discards.take({ max: this.#garbageBatchMax, hashCompactRevision });
    if (rows.length === 0) return null;
    return rows.map(({ main, sub }) => ({ type: 'del', key: rowKey(main, sub) }));
  }

  async #pause(): Promise<void> {
    if (this.#closed) return;
    const woken = new Promise<void>((resolve) => {
      this.#wakeCollector = resolve;
    });
    const timer = this.#options.clock.setTimer(() => this.#wakeCollector?.(), GARBAGE_PAUSE_MS);
    await woken;
    this.#wakeCollector = null;
    timer.cancel();
  }

  // ---- failures ---------------------------------------------------------------------------------------------

  async #guard<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new StoreError('stopped');
    this.#writer.assertUsable();
    try {
      return await operation();
    } catch (error) {
      throw this.#writer.fail(error);
    }
  }

  /** Waits for something whose failure was already reported. */
  async #settled(operation: Promise<unknown> | null): Promise<void> {
    await operation?.then(
      () => {},
      () => {},
    );
  }
}

function checkDense(rows: readonly Row[]): void {
  let main = 0;
  let sub = 0;
  for (const row of rows) {
    if (row.main !== main) {
      assert(row.main > main, 'rows come in revision order');
      main = row.main;
      sub = 0;
    }
    assert(row.sub === sub, 'changes of one revision are numbered densely');
    sub += 1;
  }
}

interface RowStreamOptions {
  readonly level: Level;
  readonly revision: number;
  readonly sliceRows: number;
  /** Resolves once every row of the stream, and every delete queued before, is written. */
  readonly ready: () => Promise<void>;
  /** The error to throw for a failure of the level. */
  readonly failed: (error: unknown) => Error;
  readonly ended: () => void;
}

/**
 * Slices from short iterators, each seeking behind the last one's end: LevelDB 1.20 answers other reads wrongly
 * while iterators stay open. Rows never change, so the slices fit together without a snapshot.
 */
class LevelRowStream implements RowStream {
  readonly #options: RowStreamOptions;
  #from: Revision | null = null;
  #ended = false;

  constructor(options: RowStreamOptions) {
    this.#options = options;
  }

  [Symbol.asyncIterator](): RowStream {
    return this;
  }

  async next(): Promise<IteratorResult<readonly Row[], undefined>> {
    if (this.#ended) return { done: true, value: undefined };
    try {
      const rows = await this.#slice();
      const last = rows.at(-1);
      if (last === undefined) return await this.return();
      this.#from = { main: last.main, sub: last.sub + 1 };
      return { done: false, value: rows };
    } catch (error) {
      await this.return();
      throw this.#options.failed(error);
    }
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    if (!this.#ended) {
      this.#ended = true;
      this.#options.ended();
    }
    return { done: true, value: undefined };
  }

  async #slice(): Promise<Row[]> {
    const { level, revision, sliceRows, ready } = this.#options;
    if (this.#from === null) {
      await ready();
      this.#from = { main: 0, sub: 0 };
    }
    const found = await level.scan({ ...rowRange(revision, this.#from), limit: sliceRows });
    return found.map(([key, value]) => decodeRow(key, value));
  }
}

/**
 * The level batch of state batches that follow one another: all their rows and small-table versions, and the marker of
 * the last, atomically.
 */
export function batchOps(batches: readonly StateBatch[]): LevelOp[] {
  const ops: LevelOp[] = [];
  for (const { rows, tables, marker } of batches) {
    for (const row of rows) {
      const key = rowKey(row.main, row.sub);
      ops.push(put(key, encodeRow(key, row)));
    }
    for (const row of tables) {
      const key = tableKey({ table: row.table, id: row.id, appliedIndex: marker.appliedIndex });
      ops.push(put(key, encodeTableRow(key, row)));
    }
  }
  const { marker } = batches.at(-1)!;
  const key = markerKey(marker);
  ops.push(put(key, encodeMarker(key, marker)));
  return ops;
}

/** About what a batch takes on its way to the disk. */
function bytesOf({ rows, tables }: StateBatch): number {
  let bytes = MARKER_BYTES;
  for (const { key, value } of rows) bytes += ROW_BYTES + key.length + value.length;
  for (const { id, value } of tables) bytes += ROW_BYTES + id.length + (value?.length ?? 0);
  return bytes;
}

/** Keys, checksums and fields of fixed size of a row, and of a marker. */
const ROW_BYTES = 48;
const MARKER_BYTES = 192;

/** The record that makes `marker` the state a restart returns to. */
export function barrierOp(marker: StateMarker): PutOp {
  const key = barrierKey(marker);
  return put(key, encodeMarker(key, marker));
}

/** What a write of one value is to a level. */
export type PutOp = LevelOp & { readonly type: 'put' };

/** A write of `value` under `key`. */
export function put(key: Buffer, value: Buffer): PutOp {
  return { type: 'put', key, value };
}

/** Makes a new database itself durable: the files in its directory, and the directory in its parent. */
export async function syncDirectories(options: Pick<StateStoreOptions, 'name' | 'disk'>): Promise<void> {
  await options.disk.syncDirectory(options.name);
  await options.disk.syncDirectory(ROOT);
}
