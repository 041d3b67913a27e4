import { crc32 } from 'node:zlib';
import type { Entry, EntryKind, HardState, SnapshotMeta } from '../../core/raft/messages.ts';
import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import { ownCopy } from '../../lib/own-copy.ts';

/**
 * The bytes of the write-ahead log, format 1. Little-endian; integers of 8 bytes are below 2^53.
 *
 * Segment header, 32 bytes: magic "CONCLAVE", u32 format, u32 tag, u64 first seq, u32 zero, u32 crc32 of the
 * preceding 28 bytes. The tag is a random number of the log: it stands in every record, so that bytes of another
 * log, or values that clients chose, are never taken for a record when recovery searches behind a damaged one.
 *
 * Record: u32 crc32 of everything behind it, u32 size (header, body and padding, a multiple of 8), u32 checksum
 * of the previous record, u32 tag, u64 seq, u64 durable seq; then the body: u32 section flags, u32 entry count,
 * and the sections in the order of their flags. A header of zeros is the end of what was written.
 */
export const WAL_FORMAT = 1;
export const SEGMENT_HEADER_BYTES = 32;
export const RECORD_HEADER_BYTES = 32;
/** A larger record is a bug of the caller, whose batches are bounded far below. */
export const RECORD_BYTES_MAX = 256 * 1024 * 1024;

/** Where a log begins: the index and term just before its first entry. */
export interface LogPosition {
  readonly index: number;
  readonly term: number;
}
/** A snapshot that was installed through the log: the state directory `stateName` replaces the log. */
export interface InstalledSnapshot extends SnapshotMeta {
  readonly stateName: string;
}
/** The state before a segment's first record, so that everything older may be deleted (etcd-io/etcd#10219). */
export interface WalCheckpoint {
  readonly hardState: HardState;
  readonly position: LogPosition;
  /** The last index of the log; its entries may lie in older segments. */
  readonly lastIndex: number;
  readonly incarnation: number;
  readonly snapshot: InstalledSnapshot | null;
}
/** One record: what one fsync makes durable. Sections that are null or empty take no room. */
export interface WalRecord {
  readonly seq: number;
  /**
   * Every record up to this one was on stable media when this record was written. It tells damage from a crash:
   * a record that a later one knows to be durable cannot have been torn.
   */
  readonly durableSeq: number;
  readonly previousChecksum: number;
  /** Only in the first record of a segment. */
  readonly checkpoint: WalCheckpoint | null;
  readonly hardState: HardState | null;
  /** A release: entries up to here are no longer needed. */
  readonly position: LogPosition | null;
  /** A start of the process. */
  readonly incarnation: number | null;
  readonly snapshot: InstalledSnapshot | null;
  readonly entries: readonly Entry[];
}
/** What a record's header says; its checksum held. */
export interface RecordHeader {
  readonly seq: number;
  readonly durableSeq: number;
  readonly previousChecksum: number;
  readonly checksum: number;
  readonly sizeBytes: number;
}

const MAGIC = Buffer.from('CONCLAVE', 'latin1');
const HAS_CHECKPOINT = 1;
const HAS_HARD_STATE = 2;
const HAS_POSITION = 4;
const HAS_INCARNATION = 8;
const HAS_SNAPSHOT = 16;
const HAS_ENTRIES = 32;
const FLAGS_KNOWN = 63;

const BODY_HEADER_BYTES = 8;
const HARD_STATE_BYTES = 24;
const POSITION_BYTES = 16;
const CHECKPOINT_BYTES = HARD_STATE_BYTES + POSITION_BYTES + 8 + 8 + 8;
const SNAPSHOT_BYTES = 16 + 4 * 4 + 4 + 4;
const ENTRY_BYTES = 16;

/** A kind's number on disk is never reused. */
const KIND_NUMBERS = { normal: 1, 'conf-change': 2 } as const satisfies Record<EntryKind, number>;

export function encodeSegmentHeader(
  target: Buffer,
  header: { readonly tag: number; readonly firstSeq: number },
): void {
  MAGIC.copy(target, 0);
  target.writeUInt32LE(WAL_FORMAT, 8);
  target.writeUInt32LE(header.tag, 12);
  writeInteger(target, header.firstSeq, 16);
  target.writeUInt32LE(0, 24);
  target.writeUInt32LE(crc32(target.subarray(0, 28)), 28);
}

/**
 * The segment header at the start of `source`, or null when it is not a valid one.
 *
 * @throws StoreError `data-dir-foreign` when it was written by a newer format; `data-dir-corrupt` when its number is
 *   none that is ever written
 */
export function decodeSegmentHeader(
  source: Buffer,
): { readonly tag: number; readonly firstSeq: number } | null {
  if (source.length < SEGMENT_HEADER_BYTES || !source.subarray(0, 8).equals(MAGIC)) return null;
  if (crc32(source.subarray(0, 28)) !== source.readUInt32LE(28)) return null;
  const format = source.readUInt32LE(8);
  if (format !== WAL_FORMAT)
    throw new StoreError('data-dir-foreign', `log format ${format}, known is ${WAL_FORMAT}`);
  const firstSeq = readInteger(source, 16);
  if (!Number.isSafeInteger(firstSeq)) throw malformed();
  return { tag: source.readUInt32LE(12), firstSeq };
}

/** The size of the encoded record in bytes, header and padding included. */
export function recordSizeBytes(record: WalRecord): number {
  let bytes = RECORD_HEADER_BYTES + BODY_HEADER_BYTES;
  if (record.checkpoint !== null) bytes += CHECKPOINT_BYTES + snapshotSizeBytes(record.checkpoint.snapshot);
  if (record.hardState !== null) bytes += HARD_STATE_BYTES;
  if (record.position !== null) bytes += POSITION_BYTES;
  if (record.incarnation !== null) bytes += 8;
  bytes += snapshotSizeBytes(record.snapshot);
  if (record.entries.length > 0) bytes += 8;
  for (const entry of record.entries) bytes += ENTRY_BYTES + entry.data.length;
  return Math.ceil(bytes / 8) * 8;
}

/**
 * Writes the record to the start of `target`, which has exactly its size. Entry data is copied once.
 *
 * @returns the record's checksum
 */
export function encodeRecord(target: Buffer, record: WalRecord, tag: number): number {
  assert(target.length % 8 === 0 && target.length <= RECORD_BYTES_MAX, 'a record is aligned and bounded');
  target.writeUInt32LE(target.length, 4);
  target.writeUInt32LE(record.previousChecksum, 8);
  target.writeUInt32LE(tag, 12);
  writeInteger(target, record.seq, 16);
  writeInteger(target, record.durableSeq, 24);
  const writer = new Writer(target, RECORD_HEADER_BYTES);
  writer.u32(sectionFlags(record));
  writer.u32(record.entries.length);
  if (record.checkpoint !== null) writeCheckpoint(writer, record.checkpoint);
  if (record.hardState !== null) writeHardState(writer, record.hardState);
  if (record.position !== null) writePosition(writer, record.position);
  if (record.incarnation !== null) writer.integer(record.incarnation);
  if (record.snapshot !== null) writeSnapshot(writer, record.snapshot);
  if (record.entries.length > 0) writeEntries(writer, record.entries);
  writer.pad();
  const checksum = crc32(target.subarray(4));
  target.writeUInt32LE(checksum, 0);
  return checksum;
}

/** The header of the record at `offset`, or null when there is no whole record of this log with a good checksum. */
export function checkRecord(source: Buffer, offset: number, tag: number): RecordHeader | null {
  if (offset + RECORD_HEADER_BYTES > source.length) return null;
  const sizeBytes = source.readUInt32LE(offset + 4);
  if (sizeBytes < RECORD_HEADER_BYTES + BODY_HEADER_BYTES || sizeBytes % 8 !== 0) return null;
  if (sizeBytes > RECORD_BYTES_MAX || offset + sizeBytes > source.length) return null;
  if (source.readUInt32LE(offset + 12) !== tag) return null;
  const checksum = source.readUInt32LE(offset);
  if (crc32(source.subarray(offset + 4, offset + sizeBytes)) !== checksum) return null;
  const seq = readInteger(source, offset + 16);
  const durableSeq = readInteger(source, offset + 24);
  if (!Number.isSafeInteger(seq) || !Number.isSafeInteger(durableSeq)) return null;
  return {
    seq,
    durableSeq,
    previousChecksum: source.readUInt32LE(offset + 8),
    checksum,
    sizeBytes,
  };
}

/**
 * Decodes a record whose checksum held. Entry data is copied out, so that a few entries do not keep a whole
 * segment in memory.
 *
 * @throws StoreError `data-dir-corrupt` when the sections do not fill the record
 */
export function decodeRecord(source: Buffer, offset: number, header: RecordHeader): WalRecord {
  const reader = new Reader(source.subarray(offset + RECORD_HEADER_BYTES, offset + header.sizeBytes));
  const flags = reader.u32();
  const entryCount = reader.u32();
  if ((flags & ~FLAGS_KNOWN) !== 0) throw malformed();
  const record: WalRecord = {
    seq: header.seq,
    durableSeq: header.durableSeq,
    previousChecksum: header.previousChecksum,
    checkpoint: (flags & HAS_CHECKPOINT) !== 0 ? readCheckpoint(reader) : null,
    hardState: (flags & HAS_HARD_STATE) !== 0 ? readHardState(reader) : null,
    position: (flags & HAS_POSITION) !== 0 ? readPosition(reader) : null,
    incarnation: (flags & HAS_INCARNATION) !== 0 ? reader.integer() : null,
    snapshot: (flags & HAS_SNAPSHOT) !== 0 ? readSnapshot(reader) : null,
    entries: (flags & HAS_ENTRIES) !== 0 ? readEntries(reader, entryCount) : [],
  };
  if (reader.remaining >= 8) throw malformed();
  return record;
}

function sectionFlags(record: WalRecord): number {
  return (
    (record.checkpoint === null ? 0 : HAS_CHECKPOINT) |
    (record.hardState === null ? 0 : HAS_HARD_STATE) |
    (record.position === null ? 0 : HAS_POSITION) |
    (record.incarnation === null ? 0 : HAS_INCARNATION) |
    (record.snapshot === null ? 0 : HAS_SNAPSHOT) |
    (record.entries.length === 0 ? 0 : HAS_ENTRIES)
  );
}

function writeCheckpoint(writer: Writer, checkpoint: WalCheckpoint): void {
  writeHardState(writer, checkpoint.hardState);
  writePosition(writer, checkpoint.position);
  writer.integer(checkpoint.lastIndex);
  writer.integer(checkpoint.incarnation);
  writer.integer(checkpoint.snapshot === null ? 0 : 1);
  if (checkpoint.snapshot !== null) writeSnapshot(writer, checkpoint.snapshot);
}
function readCheckpoint(reader: Reader): WalCheckpoint {
  return {
    hardState: readHardState(reader),
    position: readPosition(reader),
    lastIndex: reader.integer(),
    incarnation: reader.integer(),
    snapshot: reader.integer() === 0 ? null : readSnapshot(reader),
  };
}

function writeHardState(writer: Writer, hardState: HardState): void {
  writer.integer(hardState.term);
  writer.integer(hardState.vote);
  writer.integer(hardState.commit);
}
function readHardState(reader: Reader): HardState {
  return { term: reader.integer(), vote: reader.integer(), commit: reader.integer() };
}

function writePosition(writer: Writer, position: LogPosition): void {
  writer.integer(position.index);
  writer.integer(position.term);
}
function readPosition(reader: Reader): LogPosition {
  return { index: reader.integer(), term: reader.integer() };
}

function snapshotSizeBytes(snapshot: InstalledSnapshot | null): number {
  if (snapshot === null) return 0;
  const { voters, votersOutgoing, learners, learnersNext } = snapshot.confState;
  const ids = voters.length + votersOutgoing.length + learners.length + learnersNext.length;
  return SNAPSHOT_BYTES + ids * 8 + Buffer.byteLength(snapshot.stateName);
}
function writeSnapshot(writer: Writer, snapshot: InstalledSnapshot): void {
  const { confState } = snapshot;
  writePosition(writer, snapshot);
  writer.integers(confState.voters);
  writer.integers(confState.votersOutgoing);
  writer.integers(confState.learners);
  writer.integers(confState.learnersNext);
  writer.u32(confState.autoLeave ? 1 : 0);
  const name = Buffer.from(snapshot.stateName);
  writer.u32(name.length);
  writer.bytes(name);
}
function readSnapshot(reader: Reader): InstalledSnapshot {
  const position = readPosition(reader);
  const confState = {
    voters: reader.integers(),
    votersOutgoing: reader.integers(),
    learners: reader.integers(),
    learnersNext: reader.integers(),
    autoLeave: reader.u32() === 1,
  };
  return { ...position, confState, stateName: reader.bytes(reader.u32()).toString() };
}

function writeEntries(writer: Writer, entries: readonly Entry[]): void {
  const first = entries[0]!.index;
  writer.integer(first);
  let index = first;
  for (const entry of entries) {
    assert(entry.index === index, 'entries of a record are contiguous');
    index += 1;
    writer.integer(entry.term);
    writer.u32(KIND_NUMBERS[entry.kind]);
    writer.u32(entry.data.length);
    writer.bytes(entry.data);
  }
}
function readEntries(reader: Reader, count: number): Entry[] {
  const first = reader.integer();
  if (!Number.isSafeInteger(first + count)) throw malformed();
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) {
    const term = reader.integer();
    const kind = readKind(reader);
    entries.push({ index: first + i, term, kind, data: ownCopy(reader.bytes(reader.u32())) });
  }
  return entries;
}
function readKind(reader: Reader): EntryKind {
  const number = reader.u32();
  if (number === KIND_NUMBERS.normal) return 'normal';
  if (number === KIND_NUMBERS['conf-change']) return 'conf-change';
  throw malformed();
}

class Writer {
  readonly #target: Buffer;
  #offset: number;

  constructor(target: Buffer, offset: number) {
    this.#target = target;
    this.#offset = offset;
  }

  u32(value: number): void {
    this.#offset = this.#target.writeUInt32LE(value, this.#offset);
  }
  integer(value: number): void {
    this.#offset = writeInteger(this.#target, value, this.#offset);
  }
  integers(values: readonly number[]): void {
    this.u32(values.length);
    for (const value of values) this.integer(value);
  }
  bytes(value: Buffer): void {
    value.copy(this.#target, this.#offset);
    this.#offset += value.length;
  }
  /** The target was sized for the record: what is left is padding, and not more than padding. */
  pad(): void {
    assert(this.#target.length - this.#offset < 8, 'a record fills its size');
    this.#target.fill(0, this.#offset);
  }
}

class Reader {
  readonly #source: Buffer;
  #offset = 0;

  constructor(source: Buffer) {
    this.#source = source;
  }

  get remaining(): number {
    return this.#source.length - this.#offset;
  }
  u32(): number {
    return this.#source.readUInt32LE(this.#take(4));
  }
  integer(): number {
    const value = readInteger(this.#source, this.#take(8));
    if (!Number.isSafeInteger(value)) throw malformed();
    return value;
  }
  integers(): number[] {
    const count = this.u32();
    if (count * 8 > this.remaining) throw malformed();
    return Array.from({ length: count }, () => this.integer());
  }
  bytes(length: number): Buffer {
    const start = this.#take(length);
    return this.#source.subarray(start, start + length);
  }
  #take(length: number): number {
    if (length > this.remaining) throw malformed();
    const start = this.#offset;
    this.#offset += length;
    return start;
  }
}

const TWO_TO_32 = 0x1_0000_0000;

function writeInteger(target: Buffer, value: number, offset: number): number {
  assert(Number.isSafeInteger(value) && value >= 0, 'an integer of the log is below 2^53 and not negative');
  target.writeUInt32LE(value % TWO_TO_32, offset);
  return target.writeUInt32LE(Math.floor(value / TWO_TO_32), offset + 4);
}
/** Not necessarily a safe integer: the caller knows what it means when it is none. */
function readInteger(source: Buffer, offset: number): number {
  return source.readUInt32LE(offset) + source.readUInt32LE(offset + 4) * TWO_TO_32;
}

function malformed(): StoreError {
  return new StoreError('data-dir-corrupt', 'a part of the log with a good checksum is malformed');
}
