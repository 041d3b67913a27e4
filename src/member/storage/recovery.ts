import type { StateMarker, TableRow } from '../../core/state.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Level, StateReceiver } from '../ports.ts';
import {
  ALL_BARRIERS,
  ALL_MARKERS,
  ALL_TABLE_ROWS,
  checkFormat,
  decodeMarker,
  decodeRow,
  decodeTableRow,
  FORMAT_KEY,
  type KeyRange,
  type MarkerPosition,
  parseMarkerKey,
  rowRange,
  type TableKey,
} from './schema.ts';
import { LevelStateStore, type StateStoreOptions } from './state-store.ts';
import { TableVersions } from './table-versions.ts';

/**
 * Opens a state directory. Whatever happened before, a clean stop, a killed process or a power failure, it
 * returns to the newest barrier: LevelDB may have lost any part of what was written after it, so nothing above it
 * is trusted, not even a marker that seems whole. The log brings the rest again.
 */

/** Rows read by one short iterator; it also ends at the level's own byte bound. */
const SLICE_ROWS = 4_000;

/** A state as of its newest barrier, and the store to go on with. */
export interface RecoveredState {
  readonly store: LevelStateStore;
  /** The state that the receiver got. */
  readonly marker: StateMarker;
  /** The greatest applied index that any marker on disk shows; the log must reach at least that far. */
  readonly newestAppliedIndex: number;
  /**
   * Rows that a compaction dropped and that were still on disk: the receiver got them too, and drops them at
   * `finish`. They must be handed to `store.discard` before anything else; until then nothing is collected.
   */
  readonly leftoverRows: number;
}

/**
 * Opens the existing database `options.name`, feeds `receiver` every row up to the newest barrier in revision
 * order, then the newest version of every small-table row that was not removed, then the barrier's marker.
 *
 * @throws StoreError `data-dir-corrupt` when a checksum, a layout or the receiver's verification fails;
 *   `data-dir-foreign` when another release wrote the directory; `data-dir-in-use`; `storage`
 */
export async function recoverState(
  options: StateStoreOptions,
  receiver: StateReceiver,
): Promise<RecoveredState> {
  const level = await options.levels.open(options.name, { create: false });
  try {
    return await recoverLevel(options, level, receiver);
  } catch (error) {
    await level.close();
    throw error;
  }
}

async function recoverLevel(
  options: StateStoreOptions,
  level: Level,
  receiver: StateReceiver,
): Promise<RecoveredState> {
  checkFormat(await level.get(FORMAT_KEY));
  const barriers = await readPositions(level, ALL_BARRIERS);
  const marker = await newestBarrier(level);
  const rows = await feedRows(level, marker, receiver);
  const tables = await feedTables(level, marker, receiver);
  receiver.finish(marker);
  const leftoverRows = rows - marker.rowCount;
  if (leftoverRows < 0) throw new StoreError('data-dir-corrupt', 'the state store lacks rows');
  const markers = await readPositions(level, ALL_MARKERS);
  const newestAppliedIndex = Math.max(marker.appliedIndex, markers.at(-1)?.appliedIndex ?? 0);
  const store = new LevelStateStore(options, level, { marker, barriers, markers, tables, leftoverRows });
  return { store, marker, newestAppliedIndex, leftoverRows };
}

/**
 * A damaged newest barrier is a reason to refuse, not to return to the one before: it was synced, so the disk has
 * lost what it had promised to keep, and the log need not reach back that far.
 */
async function newestBarrier(level: Level): Promise<StateMarker> {
  const [newest] = await level.scan({ ...ALL_BARRIERS, limit: 1, reverse: true });
  if (newest === undefined) throw new StoreError('data-dir-corrupt', 'the state store has no barrier');
  const [key, value] = newest;
  return decodeMarker(key, value);
}

async function readPositions(level: Level, range: KeyRange): Promise<MarkerPosition[]> {
  const positions: MarkerPosition[] = [];
  for await (const slice of slices(level, range, { keysOnly: true })) {
    for (const [key] of slice) positions.push(parseMarkerKey(key));
  }
  return positions;
}

async function feedRows(level: Level, marker: StateMarker, receiver: StateReceiver): Promise<number> {
  let count = 0;
  for await (const slice of slices(level, rowRange(marker.currentRevision))) {
    for (const [key, value] of slice) receiver.row(decodeRow(key, value));
    count += slice.length;
  }
  return count;
}

/** Versions above the barrier are checked like all others, for they become the newest when the log is redone. */
async function feedTables(
  level: Level,
  marker: StateMarker,
  receiver: StateReceiver,
): Promise<TableVersions> {
  const versions = new TableVersions();
  const newest = new Map<string, TableRow & TableKey>();
  for await (const slice of slices(level, ALL_TABLE_ROWS)) {
    for (const [key, value] of slice) {
      const row = decodeTableRow(key, value);
      versions.add(row, row.appliedIndex);
      if (row.appliedIndex > marker.appliedIndex) continue;
      const name = `${row.table}:${row.id.toString('latin1')}`;
      const found = newest.get(name);
      if (found === undefined || found.appliedIndex < row.appliedIndex) newest.set(name, row);
    }
  }
  for (const { table, id, value } of newest.values()) {
    if (value !== null) receiver.table({ table, id, value });
  }
  return versions;
}

/**
 * The keys of `range` in order, in slices of their own short iterators: the level reads the next slice on a thread of
 * its own while the last one is being worked on.
 */
async function* slices(
  level: Level,
  range: KeyRange,
  options: { readonly keysOnly?: boolean } = {},
): AsyncGenerator<readonly (readonly [Buffer, Buffer])[]> {
  const scan = (gte: Buffer): ReturnType<Level['scan']> => {
    const scanning = level.scan({ gte, lt: range.lt, limit: SLICE_ROWS, ...options });
    // Should it fail: it is told when its turn comes, and until then it is no failure that nobody hears of.
    scanning.catch(() => undefined);
    return scanning;
  };
  let reading = scan(range.gte);
  try {
    for (;;) {
      const slice = await reading;
      const last = slice.at(-1);
      if (last === undefined) return;
      reading = scan(Buffer.concat([last[0], Buffer.alloc(1)]));
      yield slice;
    }
  } finally {
    // Whoever takes no more, because a row is damaged, closes the level next.
    await reading.catch(() => undefined);
  }
}
