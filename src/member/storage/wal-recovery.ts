import type { Entry, HardState } from '../../core/raft/messages.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Disk, RecoveredLog } from '../ports.ts';
import { pathIn } from './disk.ts';
import {
  checkRecord,
  decodeRecord,
  decodeSegmentHeader,
  type InstalledSnapshot,
  type LogPosition,
  type RecordHeader,
  SEGMENT_HEADER_BYTES,
  type WalCheckpoint,
  type WalRecord,
} from './wal-format.ts';
import { noteExtents, type SegmentExtent, segmentFirstSeq, segmentName } from './wal-segment.ts';

/** Present while the log has lost a torn tail that peers have not confirmed; see `ScannedLog.droppedTail`. */
export const TAIL_MARK_NAME = 'TAIL';

/** The log's state as its records, one after the other, describe it. */
export class LogReplay {
  hardState: HardState = { term: 0, vote: 0, commit: 0 };
  position: LogPosition = { index: 0, term: 0 };
  snapshot: InstalledSnapshot | null = null;
  incarnation = 0;
  /** Entries from `#firstIndex` on. While older segments are gone it may begin behind `position`. */
  #entries: Entry[] = [];
  #firstIndex = 1;

  get lastIndex(): number {
    return this.#firstIndex + this.#entries.length - 1;
  }

  /** Begins at the oldest segment that is left. */
  begin(checkpoint: WalCheckpoint): void {
    this.hardState = checkpoint.hardState;
    this.position = checkpoint.position;
    this.snapshot = checkpoint.snapshot;
    this.incarnation = checkpoint.incarnation;
    this.#entries = [];
    this.#firstIndex = checkpoint.lastIndex + 1;
  }

  checkpoint(): WalCheckpoint {
    const { hardState, position, lastIndex, incarnation, snapshot } = this;
    return { hardState, position, lastIndex, incarnation, snapshot };
  }

  /** Returns what is wrong with the record after all before it, or null. */
  apply(record: WalRecord): string | null {
    if (record.hardState !== null) this.hardState = record.hardState;
    if (record.incarnation !== null) this.incarnation = record.incarnation;
    if (record.snapshot !== null) this.#install(record.snapshot);
    if (record.entries.length > 0 && !this.#append(record.entries)) return 'a gap between entries';
    if (record.position !== null) {
      if (record.position.index > this.lastIndex) return 'a release beyond the last entry';
      this.#release(record.position);
    }
    return null;
  }

  /** The entries behind `position`, or null when some of them were in segments that are gone. */
  entries(): readonly Entry[] | null {
    const skip = this.position.index + 1 - this.#firstIndex;
    return skip < 0 ? null : this.#entries.slice(skip);
  }

  #install(snapshot: InstalledSnapshot): void {
    this.snapshot = snapshot;
    this.position = { index: snapshot.index, term: snapshot.term };
    this.#entries = [];
    this.#firstIndex = snapshot.index + 1;
  }

  #append(entries: readonly Entry[]): boolean {
    const first = entries[0]!.index;
    if (first > this.lastIndex + 1) return false;
    if (first <= this.#firstIndex) {
      this.#entries = [];
      this.#firstIndex = first;
    } else {
      this.#entries.length = first - this.#firstIndex;
    }
    for (const entry of entries) this.#entries.push(entry);
    return true;
  }

  #release(position: LogPosition): void {
    this.position = position;
    if (this.snapshot !== null && position.index > this.snapshot.index) this.snapshot = null;
    const skip = position.index + 1 - this.#firstIndex;
    if (skip <= 0) return;
    this.#entries.splice(0, skip);
    this.#firstIndex += skip;
  }
}

/** One segment as found. */
export interface ScannedSegment {
  readonly name: string;
  readonly firstSeq: number;
  readonly records: number;
  readonly sizeBytes: number;
  /** Where the next record goes; 0 when there is none yet, and the segment's header is to be written with it. */
  readonly endBytes: number;
  /** See `SegmentExtent`. */
  readonly indexMax: number;
}
/** A whole log as found on disk, nothing changed. */
export interface ScannedLog {
  readonly tag: number;
  readonly segments: readonly ScannedSegment[];
  readonly replay: LogReplay;
  readonly lastSeq: number;
  readonly lastChecksum: number;
  /** Bytes at the end of the last segment that are not known to have reached the media. */
  readonly doubtful: { readonly offset: number; readonly bytes: Buffer };
  /** Whether the last segment holds a torn record, from its `endBytes` on. */
  readonly torn: boolean;
  /** A torn tail was cut now, or earlier and not yet confirmed. */
  readonly droppedTail: boolean;
}

/**
 * Reads and verifies all segments.
 *
 * What is not a valid record in its place counts as torn by a crash only in the last segment, and only when no
 * valid record behind it was written in the knowledge that it is durable. Anything else is damage.
 *
 * @throws StoreError `data-dir-corrupt` with file and offset; `data-dir-foreign` for a newer format; `storage`
 */
export async function scanLog(disk: Disk, directory: string): Promise<ScannedLog> {
  const names = await listSegments(disk, directory);
  if (names.length === 0) throw new StoreError('data-dir-corrupt', `${directory}: no log segment`);
  const scan = new Scan(disk, directory);
  for (const [i, name] of names.entries()) await scan.segment(name, i === names.length - 1);
  return scan.finish(await disk.exists(pathIn(directory, TAIL_MARK_NAME)));
}

/** Names of the segments, oldest first. */
export async function listSegments(disk: Disk, directory: string): Promise<string[]> {
  const names = await disk.list(directory);
  return names.filter((name) => segmentFirstSeq(name) !== null).toSorted();
}

/** True when the segment begins with a valid record. */
export function hasRecords(content: Buffer): boolean {
  const header = decodeSegmentHeader(content);
  return header !== null && checkRecord(content, SEGMENT_HEADER_BYTES, header.tag) !== null;
}

/** The public view of a scanned log. */
export function toRecovered(scanned: ScannedLog): RecoveredLog {
  const { replay } = scanned;
  return {
    hardState: replay.hardState,
    compacted: replay.position,
    entries: replay.entries() ?? [],
    snapshot: replay.snapshot,
    lastSeq: scanned.lastSeq,
    droppedTail: scanned.droppedTail,
  };
}

class Scan {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #replay = new LogReplay();
  readonly #segments: ScannedSegment[] = [];
  /** Beside `#segments`, and one ahead while a segment is read. */
  readonly #extents: SegmentExtent[] = [];
  #tag: number | null = null;
  #last: RecordHeader | null = null;
  #doubtful = { offset: 0, bytes: Buffer.alloc(0) };
  #torn = false;

  constructor(disk: Disk, directory: string) {
    this.#disk = disk;
    this.#directory = directory;
  }

  async segment(name: string, isLast: boolean): Promise<void> {
    const firstSeq = segmentFirstSeq(name)!;
    // A segment is named only after every record before it was made durable: a gap is damage, never a crash.
    if (this.#last !== null && firstSeq !== this.#last.seq + 1) {
      throw this.#corrupt(name, 0, `follows record ${this.#last.seq}: records or segments are missing`);
    }
    if (this.#last === null && this.#segments.length > 0) {
      throw this.#corrupt(this.#segments[0]!.name, 0, 'no valid record');
    }
    const content = await this.#disk.readFile(pathIn(this.#directory, name));
    this.#extents.push({ indexMax: 0 });
    this.#segments.push(this.#records({ name, firstSeq, content, isLast }));
  }

  finish(hasTailMark: boolean): ScannedLog {
    const last = this.#last;
    if (last === null || this.#tag === null) {
      throw this.#corrupt(this.#segments[0]!.name, 0, 'no valid record');
    }
    if (this.#replay.entries() === null) {
      throw this.#corrupt(this.#segments[0]!.name, 0, 'older segments with needed entries are missing');
    }
    return {
      tag: this.#tag,
      segments: this.#segments.map((segment, i) => ({ ...segment, ...this.#extents[i] })),
      replay: this.#replay,
      lastSeq: last.seq,
      lastChecksum: last.checksum,
      doubtful: this.#doubtful,
      torn: this.#torn,
      droppedTail: this.#torn || hasTailMark,
    };
  }

  #records(segment: SegmentContent): ScannedSegment {
    const { name, firstSeq, content } = segment;
    const offsets: number[] = [];
    let offset = this.#header(segment) ? SEGMENT_HEADER_BYTES : 0;
    while (offset > 0) {
      const header = this.#next(content, offset, firstSeq);
      if (header === null) break;
      noteExtents(this.#extents, this.#take(name, { content, offset, header }));
      offsets.push(offset);
      offset += header.sizeBytes;
    }
    if (offsets.length === 0) offset = 0;
    this.#checkEnd(segment, offset);
    if (segment.isLast) this.#noteDoubtful(segment, { offsets, end: offset });
    return {
      name,
      firstSeq,
      records: offsets.length,
      sizeBytes: content.length,
      endBytes: offset,
      indexMax: 0,
    };
  }

  /** Takes the segment's header, if it is a valid one of this log. */
  #header({ name, firstSeq, content }: SegmentContent): boolean {
    const header = decodeSegmentHeader(content);
    if (header === null) return false;
    if (header.firstSeq !== firstSeq)
      throw this.#corrupt(name, 0, `is segment ${segmentName(header.firstSeq)}`);
    if (this.#tag !== null && header.tag !== this.#tag)
      throw this.#corrupt(name, 0, 'belongs to another log');
    this.#tag = header.tag;
    return true;
  }

  /** The header of the record at `offset` if it is the one that must follow. */
  #next(content: Buffer, offset: number, firstSeq: number): RecordHeader | null {
    const header = checkRecord(content, offset, this.#tag!);
    if (header === null || header.seq !== (this.#last === null ? firstSeq : this.#last.seq + 1)) return null;
    return this.#last === null || header.previousChecksum === this.#last.checksum ? header : null;
  }

  #take(
    name: string,
    at: { readonly content: Buffer; readonly offset: number; readonly header: RecordHeader },
  ): WalRecord {
    const record = decodeRecord(at.content, at.offset, at.header);
    if ((record.checkpoint !== null) !== (at.offset === SEGMENT_HEADER_BYTES)) {
      throw this.#corrupt(name, at.offset, 'a checkpoint stands in the first record of a segment');
    }
    if (record.checkpoint !== null && this.#last === null) this.#replay.begin(record.checkpoint);
    const problem = this.#contradicts(record.checkpoint) ?? this.#replay.apply(record);
    if (problem !== null) throw this.#corrupt(name, at.offset, problem);
    this.#last = at.header;
    return record;
  }

  #contradicts(checkpoint: WalCheckpoint | null): string | null {
    if (checkpoint === null || JSON.stringify(checkpoint) === JSON.stringify(this.#replay.checkpoint()))
      return null;
    return 'the checkpoint contradicts the records before it';
  }

  /** Decides what stands behind the last valid record: nothing, a torn record, or damage. */
  #checkEnd({ name, firstSeq, content, isLast }: SegmentContent, end: number): void {
    if (isZero(content.subarray(end))) return;
    if (!isLast) throw this.#corrupt(name, end, 'an invalid record, and a later segment exists');
    const missing = this.#last === null ? firstSeq : this.#last.seq + 1;
    const proof =
      this.#tag === null ? null : findDurabilityProof(content, { from: end, tag: this.#tag, missing });
    if (proof !== null) {
      throw this.#corrupt(name, end, `an invalid record; record ${proof.seq} behind it knows it was durable`);
    }
    this.#torn = true;
  }

  #noteDoubtful(
    { firstSeq, content }: SegmentContent,
    found: { offsets: readonly number[]; end: number },
  ): void {
    const { offsets, end } = found;
    const firstDoubtful = Math.max(firstSeq, (this.#last?.durableSeq ?? 0) + 1);
    const offset = offsets[firstDoubtful - firstSeq] ?? end;
    const from = offset === SEGMENT_HEADER_BYTES ? 0 : offset;
    this.#doubtful = { offset: from, bytes: Buffer.from(content.subarray(from, end)) };
  }

  #corrupt(name: string, offset: number, problem: string): StoreError {
    return new StoreError('data-dir-corrupt', `${pathIn(this.#directory, name)} at ${offset}: ${problem}`);
  }
}

interface SegmentContent {
  readonly name: string;
  readonly firstSeq: number;
  readonly content: Buffer;
  readonly isLast: boolean;
}

/** A valid record behind `from` that was written when record `missing` was already durable. */
function findDurabilityProof(
  content: Buffer,
  search: { readonly from: number; readonly tag: number; readonly missing: number },
): RecordHeader | null {
  const tag = Buffer.alloc(4);
  tag.writeUInt32LE(search.tag);
  for (let at = content.indexOf(tag, search.from); at >= 0; at = content.indexOf(tag, at + 1)) {
    const offset = at - 12;
    if (offset < search.from || offset % 8 !== 0) continue;
    const header = checkRecord(content, offset, search.tag);
    if (header !== null && header.durableSeq >= search.missing) return header;
  }
  return null;
}

const ZEROS = Buffer.alloc(64 * 1024);

function isZero(bytes: Buffer): boolean {
  for (let offset = 0; offset < bytes.length; offset += ZEROS.length) {
    const length = Math.min(ZEROS.length, bytes.length - offset);
    if (ZEROS.compare(bytes, offset, offset + length, 0, length) !== 0) return false;
  }
  return true;
}
