import { NO_MEMBER } from '../../core/raft/messages.ts';
import { AssertionError, assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Disk, DiskFile, LogRecord, LogStore, Random, RecoveredLog } from '../ports.ts';
import { directoryOf, pathIn } from './disk.ts';
import { writeSmallFile } from './small-file.ts';
import {
  encodeRecord,
  encodeSegmentHeader,
  type LogPosition,
  RECORD_BYTES_MAX,
  recordSizeBytes,
  SEGMENT_HEADER_BYTES,
  type WalCheckpoint,
  type WalRecord,
} from './wal-format.ts';
import {
  hasRecords,
  listSegments,
  type ScannedLog,
  type ScannedSegment,
  scanLog,
  TAIL_MARK_NAME,
  toRecovered,
} from './wal-recovery.ts';
import {
  fillZeros,
  noteExtents,
  type SegmentExtent,
  SPARE_NAME,
  SpareSegment,
  segmentName,
} from './wal-segment.ts';

export const SEGMENT_BYTES_DEFAULT = 64 * 1024 * 1024;
export const SEGMENT_BYTES_MIN = 4096;
/** A larger frame is built in a buffer of its own, which is not kept. */
const SCRATCH_BYTES_MAX = 4 * 1024 * 1024;
const TAG_BOUND = 0xffff_ffff;

export interface OpenLogOptions {
  readonly disk: Disk;
  /** Below the disk's root; made when `create` is set. */
  readonly directory: string;
  /** What a segment is preallocated to, and about how large it gets; default 64 MiB, at least 4 KiB. */
  readonly segmentBytes?: number;
  /** True for a log that must not exist yet, false for one that must. */
  readonly create: boolean;
  /** Of this start of the process; greater than that of every earlier one. */
  readonly incarnation: number;
  /** Marks the records of a new log as its own. */
  readonly random: Random;
}
export interface OpenedLog {
  readonly log: WriteAheadLog;
  readonly recovered: RecoveredLog;
}

/**
 * Opens or creates a log: verifies it, cuts a torn tail, makes everything it recovered durable again, and writes
 * a boot record.
 *
 * @throws StoreError `data-dir-corrupt` when a durable record is damaged or missing (nothing is changed then), or
 *   when `incarnation` is not newer than the log's; `data-dir-exists` when `create` finds a log; `data-dir-foreign`
 *   for a newer format; `storage`
 */
export async function openLog(options: OpenLogOptions): Promise<OpenedLog> {
  const segmentBytes = options.segmentBytes ?? SEGMENT_BYTES_DEFAULT;
  assert(segmentBytes >= SEGMENT_BYTES_MIN && segmentBytes % 8 === 0, 'segments are aligned and not tiny');
  const { disk, directory } = options;
  if (options.create) return create(options, segmentBytes);

  const scanned = await scanLog(disk, directory);
  const { replay } = scanned;
  if (options.incarnation <= replay.incarnation) {
    throw new StoreError(
      'data-dir-corrupt',
      `${directory}: the log knows incarnation ${replay.incarnation}, the identity only ${options.incarnation}`,
    );
  }
  await disk.remove(pathIn(directory, SPARE_NAME));
  const file = await secureTail(options, scanned);
  const recovered = toRecovered(scanned);
  const log = new WriteAheadLog({
    ...options,
    segmentBytes,
    file,
    tag: scanned.tag,
    segments: scanned.segments,
    lastSeq: scanned.lastSeq,
    lastChecksum: scanned.lastChecksum,
    checkpoint: replay.checkpoint(),
    droppedTail: scanned.droppedTail,
  });
  await log.boot(options.incarnation);
  return { log, recovered };
}

async function create(options: OpenLogOptions, segmentBytes: number): Promise<OpenedLog> {
  const { disk, directory } = options;
  await disk.makeDirectory(directory);
  await disk.syncDirectory(directoryOf(directory));
  await removeUnfinished(disk, directory);
  const name = segmentName(1);
  const file = await disk.open(pathIn(directory, name), 'create');
  await fillZeros(file, { from: 0, to: segmentBytes });
  await disk.syncDirectory(directory);
  const checkpoint: WalCheckpoint = {
    hardState: { term: 0, vote: 0, commit: 0 },
    position: { index: 0, term: 0 },
    lastIndex: 0,
    incarnation: 0,
    snapshot: null,
  };
  const log = new WriteAheadLog({
    ...options,
    segmentBytes,
    file,
    tag: 1 + options.random.integer(TAG_BOUND),
    segments: [{ name, firstSeq: 1, records: 0, sizeBytes: segmentBytes, endBytes: 0, indexMax: 0 }],
    lastSeq: 0,
    lastChecksum: 0,
    checkpoint,
    droppedTail: false,
  });
  await log.boot(options.incarnation);
  const { hardState, position } = checkpoint;
  const recovered = {
    hardState,
    compacted: position,
    entries: [],
    snapshot: null,
    lastSeq: 0,
    droppedTail: false,
  };
  return { log, recovered };
}

/** A creation that stopped before its first record left one segment without any; anything more is a log. */
async function removeUnfinished(disk: Disk, directory: string): Promise<void> {
  const names = await listSegments(disk, directory);
  for (const name of names) {
    if (names.length > 1 || hasRecords(await disk.readFile(pathIn(directory, name)))) {
      throw new StoreError('data-dir-exists', `${directory} holds a log`);
    }
  }
  for (const name of [...names, SPARE_NAME, TAIL_MARK_NAME]) await disk.remove(pathIn(directory, name));
}

/**
 * Leaves the last segment with nothing but durable records and zeros behind them.
 *
 * Records in doubt are written once more: after a failed sync the kernel may hold pages for clean that never
 * reached the media, and only rewriting makes them dirty again. The mark comes before the cut, so that a crash
 * between the two cannot make the loss forgotten.
 */
async function secureTail(options: OpenLogOptions, scanned: ScannedLog): Promise<DiskFile> {
  const { disk, directory } = options;
  const active = scanned.segments.at(-1)!;
  const file = await disk.open(pathIn(directory, active.name), 'write');
  if (scanned.torn) {
    await writeSmallFile(disk, pathIn(directory, TAIL_MARK_NAME), {
      version: 1,
      fields: { seq: scanned.lastSeq + 1, segment: active.name, offset: active.endBytes },
    });
  }
  if (scanned.doubtful.bytes.length > 0) await file.write(scanned.doubtful.bytes, scanned.doubtful.offset);
  if (scanned.torn) await fillZeros(file, { from: active.endBytes, to: active.sizeBytes });
  await file.datasync();
  // Names given just before the process died need not be durable yet.
  await disk.syncDirectory(directory);
  return file;
}

interface Segment extends SegmentExtent {
  readonly name: string;
  sizeBytes: number;
}

/**
 * The log store: appends records to segments, one in flight at a time, and stops for good at the first failure.
 * A segment ends when the next record does not fit; each new one begins with a checkpoint of the state before it.
 */
export class WriteAheadLog implements LogStore {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #segmentBytes: number;
  readonly #tag: number;
  readonly #spare: SpareSegment;
  readonly #segments: Segment[];
  #file: DiskFile;
  /** Where the next record goes; 0 while the active segment has no header. */
  #endBytes: number;
  /** Everything before is durable. */
  #durableBytes: number;
  /** How much of what ends at `#endBytes` still stands at the start of `#scratch`. */
  #keptBytes = 0;
  #lastSeq: number;
  #durableSeq: number;
  #lastChecksum: number;
  #checkpoint: WalCheckpoint;
  #droppedTail: boolean;
  #scratch = Buffer.alloc(64 * 1024);
  #appending = false;
  #busy: Promise<void> | null = null;
  /** Settles when no released segment is left to delete; never rejects. */
  #deleting: Promise<void> = Promise.resolve();
  #failure: unknown = null;
  #closed = false;

  /** For `openLog`, which has verified all of this. */
  constructor(state: {
    readonly disk: Disk;
    readonly directory: string;
    readonly segmentBytes: number;
    readonly file: DiskFile;
    readonly tag: number;
    readonly segments: readonly ScannedSegment[];
    readonly lastSeq: number;
    readonly lastChecksum: number;
    readonly checkpoint: WalCheckpoint;
    readonly droppedTail: boolean;
  }) {
    const { disk, directory, segmentBytes } = state;
    this.#disk = disk;
    this.#directory = directory;
    this.#segmentBytes = segmentBytes;
    this.#tag = state.tag;
    this.#segments = state.segments.map(({ name, sizeBytes, indexMax }) => ({ name, sizeBytes, indexMax }));
    this.#file = state.file;
    this.#endBytes = state.segments.at(-1)!.endBytes;
    this.#lastSeq = state.lastSeq;
    this.#durableSeq = state.lastSeq;
    this.#durableBytes = this.#endBytes;
    this.#lastChecksum = state.lastChecksum;
    this.#checkpoint = state.checkpoint;
    this.#droppedTail = state.droppedTail;
    const onFailure = (error: unknown): void => {
      this.#failure ??= error;
    };
    this.#spare = new SpareSegment({ disk, directory, segmentBytes, onFailure });
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }
  /** What the segments take on disk, preallocated room included, in bytes. */
  get sizeBytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.sizeBytes, 0);
  }
  /** See RecoveredLog.droppedTail; stays true over restarts until `confirmTail`. */
  get droppedTail(): boolean {
    return this.#droppedTail;
  }

  /**
   * Makes one record durable. A record without content writes nothing, but with `sync` makes earlier unsynced
   * ones durable. `snapshot` replaces the whole log; entries of the same record follow it.
   *
   * @throws StoreError `storage` at the first failure and ever after; AssertionError for entries that leave a gap
   */
  async append(record: LogRecord): Promise<void> {
    assert(!this.#appending, 'one append in flight at a time');
    this.#appending = true;
    try {
      await this.#exclusively(() => this.#append(record));
    } finally {
      this.#appending = false;
    }
  }

  /**
   * May run beside `append`. Writes a record of its own when the position advances, then deletes segments; appends
   * go on meanwhile.
   *
   * @throws StoreError `storage` at the first failure and ever after
   */
  async release(position: LogPosition): Promise<void> {
    let released: readonly Segment[] = [];
    await this.#exclusively(async () => {
      await this.#advance(position);
      // What is deleted must not be needed by what is durable: an unsynced record may have replaced its entries.
      await this.#sync();
      released = this.#takeReleased();
    });
    const deleting = this.#deleting.then(() => this.#delete(released));
    this.#deleting = deleting.catch((error: unknown) => {
      this.#failure ??= error;
    });
    await deleting;
  }

  /** Peers confirmed that they saw nothing of what the cut tail may have held. */
  confirmTail(): Promise<void> {
    return this.#exclusively(async () => {
      if (!this.#droppedTail) return;
      await this.#disk.remove(pathIn(this.#directory, TAIL_MARK_NAME));
      await this.#disk.syncDirectory(this.#directory);
      this.#droppedTail = false;
    });
  }

  /** For `openLog`: records a start of the process. */
  boot(incarnation: number): Promise<void> {
    return this.#exclusively(async () => {
      await this.#write({ ...NOTHING, incarnation }, true);
      this.#checkpoint = { ...this.#checkpoint, incarnation };
    });
  }

  /** Makes unsynced records durable and closes the files. Safe to call again; never rejects after a failure. */
  async close(): Promise<void> {
    while (this.#busy !== null) await this.#busy;
    if (this.#closed) return;
    this.#closed = true;
    try {
      await this.#deleting;
      await this.#spare.close();
      if (this.#failure === null) await this.#sync();
      await this.#file.close();
      await this.#disk.remove(pathIn(this.#directory, SPARE_NAME));
    } catch (error) {
      if (this.#failure === null) throw error;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #append({ hardState, entries, snapshot, sync }: LogRecord): Promise<void> {
    const { position, lastIndex } = this.#checkpoint;
    const first = entries[0]?.index;
    if (snapshot !== null) {
      assert(snapshot.index >= position.index, 'a snapshot does not go back behind a release');
      assert(first === undefined || first === snapshot.index + 1, 'entries follow their snapshot');
    } else if (first !== undefined) {
      assert(first <= lastIndex + 1, 'entries leave no gap');
      assert(first > position.index, 'released entries are not replaced');
    }
    if (hardState !== null) {
      const before = this.#checkpoint.hardState;
      assert(hardState.term >= before.term, 'the term never goes back');
      const voteHolds =
        hardState.term > before.term || before.vote === NO_MEMBER || hardState.vote === before.vote;
      assert(voteHolds, 'a vote is not changed within its term');
    }
    if (hardState === null && snapshot === null && first === undefined) {
      if (sync) await this.#sync();
      return;
    }
    await this.#write({ ...NOTHING, hardState, snapshot, entries }, sync);
    this.#checkpoint = {
      ...this.#checkpoint,
      hardState: hardState ?? this.#checkpoint.hardState,
      position: snapshot === null ? position : { index: snapshot.index, term: snapshot.term },
      lastIndex: entries.at(-1)?.index ?? snapshot?.index ?? lastIndex,
      snapshot: snapshot ?? this.#checkpoint.snapshot,
    };
  }

  async #write(content: RecordContent, sync: boolean): Promise<void> {
    let record = this.#record(content);
    let sizeBytes = recordSizeBytes(record);
    assert(sizeBytes <= RECORD_BYTES_MAX, 'a record is bounded');
    // A record larger than a segment has one to itself, which grows to hold it.
    if (this.#endBytes > 0 && this.#endBytes + sizeBytes > this.#segmentBytes) {
      await this.#roll();
      record = this.#record(content);
      sizeBytes = recordSizeBytes(record);
    }
    const headerBytes = this.#endBytes === 0 ? SEGMENT_HEADER_BYTES : 0;
    const tail = this.#roomFor(headerBytes + sizeBytes);
    const frame = tail.subarray(tail.length - headerBytes - sizeBytes);
    if (headerBytes > 0) encodeSegmentHeader(frame, { tag: this.#tag, firstSeq: record.seq });
    const checksum = encodeRecord(frame.subarray(headerBytes), record, this.#tag);

    // What no sync has covered is written once more along with it: then one call makes all of it durable.
    const isInOne = sync && this.#durableBytes + tail.length === this.#endBytes + frame.length;
    if (isInOne) await this.#file.writeDurably(tail, this.#durableBytes);
    else await this.#file.write(frame, this.#endBytes);
    this.#endBytes += frame.length;
    this.#keptBytes = tail.length > SCRATCH_BYTES_MAX ? 0 : tail.length;
    this.#lastSeq = record.seq;
    if (isInOne) this.#noteDurable();
    this.#lastChecksum = checksum;
    noteExtents(this.#segments, record);
    const active = this.#segments.at(-1)!;
    active.sizeBytes = Math.max(active.sizeBytes, this.#endBytes);
    if (sync) await this.#sync();
    this.#spare.prepare((this.#endBytes / this.#segmentBytes - SPARE_BEGIN) / (SPARE_END - SPARE_BEGIN));
  }

  #record(content: RecordContent): WalRecord {
    return {
      ...content,
      seq: this.#lastSeq + 1,
      durableSeq: this.#durableSeq,
      previousChecksum: this.#lastChecksum,
      checkpoint: this.#endBytes === 0 ? this.#checkpoint : null,
    };
  }

  /** Room for a frame, behind what is kept; where that would take too much, it is not kept any longer. */
  #roomFor(frameBytes: number): Buffer {
    if (this.#keptBytes + frameBytes > SCRATCH_BYTES_MAX) this.#keptBytes = 0;
    const sizeBytes = this.#keptBytes + frameBytes;
    if (sizeBytes > SCRATCH_BYTES_MAX) return Buffer.allocUnsafe(sizeBytes);
    if (sizeBytes > this.#scratch.length) {
      const larger = Buffer.alloc(Math.max(sizeBytes, 2 * this.#scratch.length));
      this.#scratch.copy(larger, 0, 0, this.#keptBytes);
      this.#scratch = larger;
    }
    return this.#scratch.subarray(0, sizeBytes);
  }

  /** The name of the next segment is the proof that every record before it is durable: sync first. */
  async #roll(): Promise<void> {
    await this.#sync();
    await this.#file.close();
    const name = segmentName(this.#lastSeq + 1);
    this.#file = await this.#spare.take({ directory: this.#directory, name });
    this.#segments.push({ name, sizeBytes: await this.#file.sizeBytes(), indexMax: 0 });
    this.#endBytes = 0;
    this.#durableBytes = 0;
  }

  async #sync(): Promise<void> {
    if (this.#durableSeq === this.#lastSeq) return;
    await this.#file.datasync();
    this.#noteDurable();
  }

  #noteDurable(): void {
    this.#durableSeq = this.#lastSeq;
    this.#durableBytes = this.#endBytes;
    this.#keptBytes = 0;
  }

  async #advance({ index, term }: LogPosition): Promise<void> {
    if (index <= this.#checkpoint.position.index) return;
    assert(index <= this.#checkpoint.lastIndex, 'a release does not pass the last entry');
    await this.#write({ ...NOTHING, position: { index, term } }, true);
    const { snapshot } = this.#checkpoint;
    const kept = snapshot !== null && index > snapshot.index ? null : snapshot;
    this.#checkpoint = { ...this.#checkpoint, position: { index, term }, snapshot: kept };
  }

  /** The oldest segments without a needed entry; the one behind them holds its checkpoint. */
  #takeReleased(): readonly Segment[] {
    const { index } = this.#checkpoint.position;
    const removable = this.#segments.length - (this.#endBytes > 0 ? 1 : 2);
    const needed = this.#segments.findIndex(({ indexMax }) => indexMax > index);
    return this.#segments.splice(0, Math.max(0, needed < 0 ? removable : Math.min(needed, removable)));
  }

  /** Oldest first, each made durable before the next: a crash leaves no gap between segments. */
  async #delete(segments: readonly Segment[]): Promise<void> {
    for (const { name } of segments) {
      await this.#disk.remove(pathIn(this.#directory, name));
      await this.#disk.syncDirectory(this.#directory);
    }
  }

  /** Runs alone; at most one each of append, release, confirmTail and close wait. A failure is for good. */
  async #exclusively(work: () => Promise<void>): Promise<void> {
    while (this.#busy !== null) await this.#busy;
    if (this.#failure !== null) throw this.#stopped();
    assert(!this.#closed, 'the log is open');
    const running = work();
    this.#busy = running.then(
      () => {
        this.#busy = null;
      },
      (error: unknown) => {
        this.#busy = null;
        this.#failure ??= error;
      },
    );
    await running;
  }

  #stopped(): Error {
    if (this.#failure instanceof AssertionError) return this.#failure;
    return new StoreError('storage', 'the log stopped at an earlier failure', { cause: this.#failure });
  }
}

type RecordContent = Pick<WalRecord, 'hardState' | 'position' | 'incarnation' | 'snapshot' | 'entries'>;
const NOTHING: RecordContent = {
  hardState: null,
  position: null,
  incarnation: null,
  snapshot: null,
  entries: [],
};
/** The next segment is prepared while this share of the active one fills: a log that stays small never pays. */
const SPARE_BEGIN = 0.125;
const SPARE_END = 0.5;
