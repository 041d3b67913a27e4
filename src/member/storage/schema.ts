import { crc32 } from 'node:zlib';
import type { Row, SetHash } from '../../core/mvcc/row.ts';
import type { ConfState } from '../../core/raft/messages.ts';
import type { StateMarker, TableName, TableRow } from '../../core/state.ts';
import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';

/**
 * Every key and value of the state store, in one place. A disk format: prefixes are never reused, a change raises
 * `STATE_FORMAT` and goes into UPGRADING.md. Keys are written once, never overwritten with other bytes, because
 * LevelDB 1.20 can answer wrongly after overwrites. Integers are big-endian, so keys sort by number.
 *
 *     'd' main u64, sub u32                        row
 *     't' table u8, id, appliedIndex u64           small-table row as of that applied index
 *     'a' appliedIndex u64, hashCompactRevision u64    marker: a batch brought the state here
 *     'b' appliedIndex u64, hashCompactRevision u64    barrier: everything up to this marker is durable
 *     'f'                                          format of the whole store
 *
 * A marker's key holds both numbers because the end of a compaction moves the hash at an unchanged index. Every
 * value ends in a crc32 over its key and what precedes, so a value that sits under the wrong key is found too.
 */
export const STATE_FORMAT = 1;

const PREFIX = { row: 0x64, table: 0x74, marker: 0x61, barrier: 0x62, format: 0x66 } as const;
const TABLE_LETTERS: Readonly<Record<TableName, number>> = {
  lease: 0x6c, // l
  member: 0x6d, // m
  alarm: 0x61, // a
  auth: 0x75, // u
  meta: 0x6b, // k
};
const TABLES: ReadonlyMap<number, TableName> = new Map(
  (Object.keys(TABLE_LETTERS) as TableName[]).map((table) => [TABLE_LETTERS[table], table]),
);

/** Lengths of a row's key and of a marker's key. */
export const ROW_KEY_BYTES = 13;
export const MARKER_KEY_BYTES = 17;
const TABLE_KEY_BYTES_MIN = 10;
const CRC_BYTES = 4;
const VALUE_VERSION = 1;
const SAFE_HIGH = 2 ** 21;
const TWO_32 = 2 ** 32;

/** A half-open range of keys. */
export interface KeyRange {
  readonly gte: Buffer;
  readonly lt: Buffer;
}

// ---- keys ---------------------------------------------------------------------------------------------------

/** The key of the row at this revision. */
export function rowKey(main: number, sub: number): Buffer {
  const key = Buffer.allocUnsafe(ROW_KEY_BYTES);
  key[0] = PREFIX.row;
  writeInteger(key, main, 1);
  key.writeUInt32BE(sub, 9);
  return key;
}

/** @throws StoreError `data-dir-corrupt` when this is no row's key */
export function parseRowKey(key: Buffer): { readonly main: number; readonly sub: number } {
  if (key.length !== ROW_KEY_BYTES || key[0] !== PREFIX.row) throw corrupt('a row key is malformed', key);
  const main = readInteger(key, 1);
  if (main < 0) throw corrupt('a row key is malformed', key);
  return { main, sub: key.readUInt32BE(9) };
}

/** Rows from (main, sub) of `from`, or from the first, up to and including main revision `revision`. */
export function rowRange(revision: number, from?: { readonly main: number; readonly sub: number }): KeyRange {
  return { gte: rowKey(from?.main ?? 0, from?.sub ?? 0), lt: rowKey(revision + 1, 0) };
}

/** Every row, whatever its revision. */
export const ALL_ROWS: KeyRange = prefixRange(PREFIX.row);
/** Every version of every small-table row. */
export const ALL_TABLE_ROWS: KeyRange = prefixRange(PREFIX.table);
/** Every marker, ascending. */
export const ALL_MARKERS: KeyRange = prefixRange(PREFIX.marker);
/** Every barrier, ascending. */
export const ALL_BARRIERS: KeyRange = prefixRange(PREFIX.barrier);

/** What the key of a small-table row says. */
export interface TableKey {
  readonly table: TableName;
  readonly id: Buffer;
  /** The row is the newest version of `id` as of this applied index. */
  readonly appliedIndex: number;
}

/** The key of one version of a small-table row. */
export function tableKey({ table, id, appliedIndex }: TableKey): Buffer {
  const key = Buffer.allocUnsafe(TABLE_KEY_BYTES_MIN + id.length);
  key[0] = PREFIX.table;
  key[1] = TABLE_LETTERS[table];
  id.copy(key, 2);
  writeInteger(key, appliedIndex, 2 + id.length);
  return key;
}

/** @throws StoreError `data-dir-corrupt` when this is no small-table row's key */
export function parseTableKey(key: Buffer): TableKey {
  const table = TABLES.get(key[1] ?? 0);
  if (key.length < TABLE_KEY_BYTES_MIN || key[0] !== PREFIX.table || table === undefined) {
    throw corrupt('a small-table key is malformed', key);
  }
  const appliedIndex = readInteger(key, key.length - 8);
  return { table, id: Buffer.from(key.subarray(2, key.length - 8)), appliedIndex };
}

/** The key of a marker, which every batch ends with. */
export function markerKey(marker: MarkerPosition): Buffer {
  return positionKey(PREFIX.marker, marker);
}

/** The key of the barrier at a marker. */
export function barrierKey(marker: MarkerPosition): Buffer {
  return positionKey(PREFIX.barrier, marker);
}

/** What orders markers: a compaction that ends moves the hash at an unchanged index. */
export type MarkerPosition = Pick<StateMarker, 'appliedIndex' | 'hashCompactRevision'>;

/** @throws StoreError `data-dir-corrupt` when this is no marker's or barrier's key */
export function parseMarkerKey(key: Buffer): MarkerPosition {
  const prefix = key[0];
  if (key.length !== MARKER_KEY_BYTES || (prefix !== PREFIX.marker && prefix !== PREFIX.barrier)) {
    throw corrupt('a marker key is malformed', key);
  }
  return { appliedIndex: readInteger(key, 1), hashCompactRevision: readInteger(key, 9) };
}

/** Below zero: `left` precedes `right`. Zero: the same marker. */
export function compareMarkers(left: MarkerPosition, right: MarkerPosition): number {
  return (
    left.appliedIndex - right.appliedIndex ||
    Math.max(0, left.hashCompactRevision) - Math.max(0, right.hashCompactRevision)
  );
}

function positionKey(prefix: number, { appliedIndex, hashCompactRevision }: MarkerPosition): Buffer {
  const key = Buffer.allocUnsafe(MARKER_KEY_BYTES);
  key[0] = prefix;
  writeInteger(key, appliedIndex, 1);
  writeInteger(key, Math.max(0, hashCompactRevision), 9);
  return key;
}

function prefixRange(prefix: number): KeyRange {
  return { gte: Buffer.from([prefix]), lt: Buffer.from([prefix + 1]) };
}

// ---- the store's format -------------------------------------------------------------------------------------

/** The key of the format record, written once when a store is made. */
export const FORMAT_KEY: Buffer = Buffer.from([PREFIX.format]);

/** The format record of this release. */
export function encodeFormat(): Buffer {
  const value = Buffer.allocUnsafe(4 + CRC_BYTES);
  value.writeUInt32BE(STATE_FORMAT, 0);
  return seal(FORMAT_KEY, value);
}

/**
 * @throws StoreError `data-dir-corrupt` when it is missing or damaged, `data-dir-foreign` when another release's
 *   format is meant
 */
export function checkFormat(value: Buffer | undefined): void {
  if (value === undefined || value.length !== 4 + CRC_BYTES) {
    throw corrupt('the state store has no valid format record', FORMAT_KEY);
  }
  unseal(FORMAT_KEY, value);
  const format = value.readUInt32BE(0);
  if (format !== STATE_FORMAT) {
    throw new StoreError(
      'data-dir-foreign',
      `state store format ${format}, this release knows ${STATE_FORMAT}`,
    );
  }
}

// ---- rows ---------------------------------------------------------------------------------------------------

const ROW_HEAD_BYTES = 30;
const FLAG_TOMBSTONE = 1;

/** The value of a row: version u8, flags u8, createRevision, version, lease, key length u32, key, value, crc32. */
export function encodeRow(rowsKey: Buffer, row: Row): Buffer {
  const value = Buffer.allocUnsafe(ROW_HEAD_BYTES + row.key.length + row.value.length + CRC_BYTES);
  value[0] = VALUE_VERSION;
  value[1] = row.tombstone ? FLAG_TOMBSTONE : 0;
  writeInteger(value, row.createRevision, 2);
  writeInteger(value, row.version, 10);
  // The bigints that the general way makes are garbage of each row, of which most have no lease.
  if (row.lease === 0n) value.fill(0, 18, 26);
  else value.writeBigInt64BE(row.lease, 18);
  value.writeUInt32BE(row.key.length, 26);
  row.key.copy(value, ROW_HEAD_BYTES);
  row.value.copy(value, ROW_HEAD_BYTES + row.key.length);
  return seal(rowsKey, value);
}

/**
 * The row under `rowsKey`. Its key and value are views of `value`: copy what outlives it.
 *
 * @throws StoreError `data-dir-corrupt` when the checksum or the layout is wrong
 */
export function decodeRow(rowsKey: Buffer, value: Buffer): Row {
  const { main, sub } = parseRowKey(rowsKey);
  const end = unseal(rowsKey, value);
  const flags = value[1] ?? 0;
  const keyEnd = end < ROW_HEAD_BYTES ? end + 1 : ROW_HEAD_BYTES + value.readUInt32BE(26);
  if (value[0] !== VALUE_VERSION || flags > FLAG_TOMBSTONE || keyEnd > end) {
    throw corrupt('a row is malformed', rowsKey);
  }
  return {
    main,
    sub,
    tombstone: flags === FLAG_TOMBSTONE,
    createRevision: readInteger(value, 2),
    version: readInteger(value, 10),
    lease: value.readBigInt64BE(18),
    key: value.subarray(ROW_HEAD_BYTES, keyEnd),
    value: value.subarray(keyEnd, end),
  };
}

// ---- small tables -------------------------------------------------------------------------------------------

const FLAG_REMOVED = 1;

/** The value of a small-table row: version u8, flags u8, value, crc32. */
export function encodeTableRow(rowsKey: Buffer, row: TableRow): Buffer {
  const body = row.value;
  const value = Buffer.allocUnsafe(2 + (body?.length ?? 0) + CRC_BYTES);
  value[0] = VALUE_VERSION;
  value[1] = body === null ? FLAG_REMOVED : 0;
  body?.copy(value, 2);
  return seal(rowsKey, value);
}

/** @throws StoreError `data-dir-corrupt` when the checksum or the layout is wrong */
export function decodeTableRow(rowsKey: Buffer, value: Buffer): TableRow & TableKey {
  const { table, id, appliedIndex } = parseTableKey(rowsKey);
  const end = unseal(rowsKey, value);
  const flags = value[1] ?? 0;
  if (end < 2 || value[0] !== VALUE_VERSION || flags > FLAG_REMOVED || (flags === FLAG_REMOVED && end > 2)) {
    throw corrupt('a small-table row is malformed', rowsKey);
  }
  return { table, id, appliedIndex, value: flags === FLAG_REMOVED ? null : value.subarray(2, end) };
}

// ---- markers ------------------------------------------------------------------------------------------------

const MARKER_INTEGERS = 12;
const FLAG_AUTO_LEAVE = 1;

/** The value of a marker and of a barrier: version u8, flags u8, twelve integers, four lists of ids, crc32. */
export function encodeMarker(markersKey: Buffer, marker: StateMarker): Buffer {
  const { confState } = marker;
  const lists = [confState.voters, confState.votersOutgoing, confState.learners, confState.learnersNext];
  const ids = lists.reduce((sum, list) => sum + list.length, 0);
  const value = Buffer.allocUnsafe(2 + MARKER_INTEGERS * 8 + lists.length * 4 + ids * 8 + CRC_BYTES);
  value[0] = VALUE_VERSION;
  value[1] = confState.autoLeave ? FLAG_AUTO_LEAVE : 0;
  let offset = 2;
  for (const integer of markerIntegers(marker)) offset = writeInteger(value, integer, offset);
  for (const list of lists) {
    offset = value.writeUInt32BE(list.length, offset);
    for (const id of list) offset = writeInteger(value, id, offset);
  }
  assert(offset === value.length - CRC_BYTES, 'a marker fills its value');
  return seal(markersKey, value);
}

/** @throws StoreError `data-dir-corrupt` when the checksum or the layout is wrong */
export function decodeMarker(markersKey: Buffer, value: Buffer): StateMarker {
  const position = parseMarkerKey(markersKey);
  const end = unseal(markersKey, value);
  let offset = 2;
  const take = (): number => {
    if (offset + 8 > end) throw corrupt('a marker is malformed', markersKey);
    offset += 8;
    return readInteger(value, offset - 8);
  };
  const takeHash = (): SetHash => ({ a: take(), b: take() });
  const takeList = (): number[] => {
    const length = offset + 4 > end ? end : value.readUInt32BE(offset);
    if (offset + 4 + length * 8 > end) throw corrupt('a marker is malformed', markersKey);
    offset += 4;
    return Array.from({ length }, take);
  };
  const flags = value[1] ?? 0;
  if (value[0] !== VALUE_VERSION || flags > FLAG_AUTO_LEAVE) {
    throw corrupt('a marker is malformed', markersKey);
  }
  const marker = {
    appliedIndex: take(),
    appliedTerm: take(),
    currentRevision: take(),
    compactRevision: take(),
    hashCompactRevision: take(),
    applyHash: takeHash(),
    rowSetHash: takeHash(),
    rowCount: take(),
    tableSetHash: takeHash(),
    confState: {
      voters: takeList(),
      votersOutgoing: takeList(),
      learners: takeList(),
      learnersNext: takeList(),
      autoLeave: flags === FLAG_AUTO_LEAVE,
    } satisfies ConfState,
  };
  if (offset !== end || compareMarkers(marker, position) !== 0) {
    throw corrupt('a marker is malformed', markersKey);
  }
  return marker;
}

function markerIntegers(marker: StateMarker): readonly number[] {
  return [
    marker.appliedIndex,
    marker.appliedTerm,
    marker.currentRevision,
    marker.compactRevision,
    marker.hashCompactRevision,
    marker.applyHash.a,
    marker.applyHash.b,
    marker.rowSetHash.a,
    marker.rowSetHash.b,
    marker.rowCount,
    marker.tableSetHash.a,
    marker.tableSetHash.b,
  ];
}

// ---- integers and checksums ---------------------------------------------------------------------------------

/** Writes a safe integer as a signed 64-bit one; returns the offset behind it. */
function writeInteger(target: Buffer, value: number, offset: number): number {
  assert(Number.isSafeInteger(value), 'what we store stays below 2^53');
  const high = Math.floor(value / TWO_32);
  target.writeInt32BE(high, offset);
  return target.writeUInt32BE(value - high * TWO_32, offset + 4);
}

function readInteger(source: Buffer, offset: number): number {
  const high = source.readInt32BE(offset);
  if (high >= SAFE_HIGH || high < -SAFE_HIGH) throw corrupt('an integer is out of range', source);
  return high * TWO_32 + source.readUInt32BE(offset + 4);
}

/** Fills in the checksum over the key and the rest of the value. */
function seal(key: Buffer, value: Buffer): Buffer {
  const end = value.length - CRC_BYTES;
  value.writeUInt32BE(crc32(value.subarray(0, end), crc32(key)), end);
  return value;
}

/** Checks the checksum; returns where the body ends. */
function unseal(key: Buffer, value: Buffer): number {
  const end = value.length - CRC_BYTES;
  if (end < 0 || value.readUInt32BE(end) !== crc32(value.subarray(0, end), crc32(key))) {
    throw corrupt('a value fails its checksum', key);
  }
  return end;
}

function corrupt(what: string, key: Buffer): StoreError {
  return new StoreError('data-dir-corrupt', `${what} (key ${key.subarray(0, 64).toString('hex')})`);
}
