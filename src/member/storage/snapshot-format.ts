import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Row } from '../../core/mvcc/row.ts';
import type { StateMarker, TableRow } from '../../core/state.ts';
import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import {
  decodeMarker,
  decodeRow,
  decodeTableRow,
  encodeMarker,
  encodeRow,
  encodeTableRow,
  MARKER_KEY_BYTES,
  markerKey,
  ROW_KEY_BYTES,
  rowKey,
  tableKey,
} from './schema.ts';

/**
 * How a whole state travels, between members and into backup files: a preamble, then frames.
 *
 *     preamble   'CONCLAVE', format u32
 *     frame      payload length u32, type u8, sequence u32 (from 0), payload, crc32 u32 over all before
 *     header     cluster id i64, marker's key (17 bytes) and value (as in the state store)
 *     tables     any number of: key length u32, key, value length u32, value (as in the state store)
 *     rows       any number of: key (13 bytes), value length u32, value (as in the state store)
 *     trailer    small-table rows i64, rows i64, sha256 of everything before this frame
 *
 * One header, then tables, then rows in revision order, one trailer. A versioned contract: UPGRADING.md.
 */
export const SNAPSHOT_FORMAT = 1;

/** Rows are gathered into frames of about this size; one larger row makes a larger frame. */
const FRAME_BYTES = 256 * 1024;
/** A longer frame is refused before it is read: larger than any row that the size limits of requests allow. */
export const FRAME_BYTES_MAX = 64 * 1024 * 1024;

const MAGIC = Buffer.from('CONCLAVE', 'latin1');
const PREAMBLE_BYTES = 12;
const FRAME_HEAD_BYTES = 9;
const CRC_BYTES = 4;
const SHA_BYTES = 32;
const FRAME = { header: 1, tables: 2, rows: 3, trailer: 4 } as const;

/** What precedes the rows. `tables` is the newest version of every small-table row that exists. */
export interface SnapshotHeader {
  readonly clusterId: number;
  readonly marker: StateMarker;
  readonly tables: readonly TableRow[];
}

/** Gets a snapshot's content in its order. Buffers are views: copy what is kept. What it throws is passed on. */
export interface SnapshotReceiver {
  header(header: { readonly clusterId: number; readonly marker: StateMarker }): void;
  table(row: TableRow): void;
  row(row: Row): void;
}

/** What a whole and undamaged snapshot holds. */
export interface SnapshotSummary {
  readonly clusterId: number;
  readonly marker: StateMarker;
  readonly tableCount: number;
  /** Rows as they lay on the sender's disk; those that a compaction has dropped are still among them. */
  readonly rowCount: number;
}

// ---- encoding -----------------------------------------------------------------------------------------------

/** Makes the bytes of one snapshot, frame by frame. */
export class SnapshotEncoder {
  readonly #sha = createHash('sha256');
  #sequence = 0;
  #type: number = FRAME.tables;
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  #tableCount = 0;
  #rowCount = 0;

  /** The preamble, the header and the small tables. */
  *head({ clusterId, marker, tables }: SnapshotHeader): Generator<Buffer> {
    const preamble = Buffer.alloc(PREAMBLE_BYTES);
    MAGIC.copy(preamble);
    preamble.writeUInt32BE(SNAPSHOT_FORMAT, MAGIC.length);
    this.#sha.update(preamble);
    yield preamble;
    const key = markerKey(marker);
    yield this.#frame(FRAME.header, [integer(clusterId), key, encodeMarker(key, marker)]);
    for (const row of tables) {
      const key = tableKey({ table: row.table, id: row.id, appliedIndex: marker.appliedIndex });
      const value = encodeTableRow(key, row);
      this.#tableCount += 1;
      yield* this.#add([length(key), key, length(value), value]);
    }
    yield* this.#flush();
    this.#type = FRAME.rows;
  }

  /** Rows in revision order; whole frames come out as they fill. */
  *rows(rows: readonly Row[]): Generator<Buffer> {
    for (const row of rows) {
      const key = rowKey(row.main, row.sub);
      const value = encodeRow(key, row);
      this.#rowCount += 1;
      yield* this.#add([key, length(value), value]);
    }
  }

  /** The last rows and the trailer; nothing may follow. */
  *trailer(): Generator<Buffer> {
    yield* this.#flush();
    const payload = [integer(this.#tableCount), integer(this.#rowCount), this.#sha.copy().digest()];
    yield this.#frame(FRAME.trailer, payload);
  }

  *#add(pieces: readonly Buffer[]): Generator<Buffer> {
    for (const piece of pieces) {
      this.#pieces.push(piece);
      this.#pieceBytes += piece.length;
    }
    if (this.#pieceBytes >= FRAME_BYTES) yield* this.#flush();
  }

  *#flush(): Generator<Buffer> {
    if (this.#pieces.length === 0) return;
    const frame = this.#frame(this.#type, this.#pieces);
    this.#pieces = [];
    this.#pieceBytes = 0;
    yield frame;
  }

  #frame(type: number, payload: readonly Buffer[]): Buffer {
    const head = Buffer.alloc(FRAME_HEAD_BYTES);
    const bytes = payload.reduce((sum, piece) => sum + piece.length, 0);
    assert(bytes <= FRAME_BYTES_MAX, 'no row outgrows a frame');
    head.writeUInt32BE(bytes, 0);
    head[4] = type;
    head.writeUInt32BE(this.#sequence, 5);
    this.#sequence += 1;
    const frame = Buffer.concat([head, ...payload, Buffer.alloc(CRC_BYTES)]);
    const end = frame.length - CRC_BYTES;
    frame.writeUInt32BE(crc32(frame.subarray(0, end)), end);
    this.#sha.update(frame);
    return frame;
  }
}

function length(value: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value.length);
  return bytes;
}

function integer(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
}

// ---- decoding -----------------------------------------------------------------------------------------------

/**
 * Takes a snapshot's bytes in pieces of any size and holds at most one frame of them. Everything is checked before
 * it reaches the receiver, except completeness: only `end` tells that nothing is missing.
 */
export class SnapshotDecoder {
  readonly #receiver: SnapshotReceiver;
  readonly #padded: boolean;
  readonly #sha: Hash = createHash('sha256');
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  #needed = PREAMBLE_BYTES;
  #preambleSeen = false;
  #sequence = 0;
  #tablesDone = false;
  #header: Pick<SnapshotSummary, 'clusterId' | 'marker'> | null = null;
  #tableCount = 0;
  #rowCount = 0;
  #lastMain = -1;
  #lastSub = -1;
  #complete = false;

  /** @param options `padded`: zeros may follow the trailer, as in a file */
  constructor(receiver: SnapshotReceiver, options: { readonly padded: boolean }) {
    this.#receiver = receiver;
    this.#padded = options.padded;
  }

  /** @throws StoreError `data-dir-corrupt` when the snapshot is damaged, and whatever the receiver throws */
  push(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#pieces.push(bytes);
    this.#pieceBytes += bytes.length;
    while (!this.#complete && this.#pieceBytes >= this.#needed) this.#take();
    if (this.#complete) this.#checkPadding();
  }

  /** @throws StoreError `data-dir-corrupt` when the snapshot ended early */
  end(): SnapshotSummary {
    if (!this.#complete || this.#header === null) throw damaged('it ends before its trailer');
    return { ...this.#header, tableCount: this.#tableCount, rowCount: this.#rowCount };
  }

  /** Takes as many whole frames as there are; learns how many bytes the next one needs. */
  #take(): void {
    const bytes = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces);
    let offset = 0;
    if (!this.#preambleSeen) offset = this.#preamble(bytes);
    this.#needed = FRAME_HEAD_BYTES;
    while (!this.#complete && bytes.length - offset >= FRAME_HEAD_BYTES) {
      const payloadBytes = bytes.readUInt32BE(offset);
      if (payloadBytes > FRAME_BYTES_MAX) throw damaged(`a frame of ${payloadBytes} bytes is too large`);
      const frameBytes = FRAME_HEAD_BYTES + payloadBytes + CRC_BYTES;
      if (bytes.length - offset < frameBytes) {
        this.#needed = frameBytes;
        break;
      }
      this.#frame(bytes.subarray(offset, offset + frameBytes));
      offset += frameBytes;
    }
    const rest = bytes.subarray(offset);
    this.#pieces = rest.length === 0 ? [] : [rest];
    this.#pieceBytes = rest.length;
  }

  #preamble(bytes: Buffer): number {
    if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw damaged('it is not a Conclave snapshot');
    const format = bytes.readUInt32BE(MAGIC.length);
    if (format !== SNAPSHOT_FORMAT) {
      throw new StoreError(
        'data-dir-foreign',
        `snapshot format ${format}, this release knows ${SNAPSHOT_FORMAT}`,
      );
    }
    this.#preambleSeen = true;
    this.#sha.update(bytes.subarray(0, PREAMBLE_BYTES));
    return PREAMBLE_BYTES;
  }

  #frame(frame: Buffer): void {
    const end = frame.length - CRC_BYTES;
    if (frame.readUInt32BE(end) !== crc32(frame.subarray(0, end))) {
      throw damaged(`frame ${this.#sequence} fails its checksum`);
    }
    if (frame.readUInt32BE(5) !== this.#sequence) throw damaged(`frame ${this.#sequence} is missing`);
    const type = frame[4];
    const payload = frame.subarray(FRAME_HEAD_BYTES, end);
    if ((type === FRAME.header) !== (this.#sequence === 0)) throw damaged('its header is misplaced');
    if (type === FRAME.header) this.#headerFrame(payload);
    else if (type === FRAME.tables && !this.#tablesDone) this.#tablesFrame(payload);
    else if (type === FRAME.rows) this.#rowsFrame(payload);
    else if (type === FRAME.trailer) this.#trailerFrame(payload);
    else throw damaged(`frame ${this.#sequence} has an unknown or misplaced type`);
    this.#sequence += 1;
    this.#sha.update(frame);
  }

  #headerFrame(payload: Buffer): void {
    if (payload.length < 8 + MARKER_KEY_BYTES) throw damaged('its header is malformed');
    const key = payload.subarray(8, 8 + MARKER_KEY_BYTES);
    const marker = decodeMarker(key, payload.subarray(8 + MARKER_KEY_BYTES));
    this.#header = { clusterId: Number(payload.readBigInt64BE(0)), marker };
    this.#receiver.header(this.#header);
  }

  #tablesFrame(payload: Buffer): void {
    const reader = new PayloadReader(payload);
    while (!reader.done) {
      const row = decodeTableRow(reader.take(reader.integer()), reader.take(reader.integer()));
      if (row.appliedIndex !== this.#header?.marker.appliedIndex || row.value === null) {
        throw damaged('a small-table row does not belong to it');
      }
      this.#tableCount += 1;
      this.#receiver.table({ table: row.table, id: row.id, value: row.value });
    }
  }

  #rowsFrame(payload: Buffer): void {
    this.#tablesDone = true;
    const reader = new PayloadReader(payload);
    while (!reader.done) {
      const row = decodeRow(reader.take(ROW_KEY_BYTES), reader.take(reader.integer()));
      const follows = row.main > this.#lastMain || (row.main === this.#lastMain && row.sub > this.#lastSub);
      if (!follows) throw damaged('its rows are out of order');
      if (row.main > (this.#header?.marker.currentRevision ?? 0)) throw damaged('a row is too new for it');
      this.#lastMain = row.main;
      this.#lastSub = row.sub;
      this.#rowCount += 1;
      this.#receiver.row(row);
    }
  }

  #trailerFrame(payload: Buffer): void {
    if (payload.length !== 16 + SHA_BYTES) throw damaged('its trailer is malformed');
    const tables = Number(payload.readBigInt64BE(0));
    const rows = Number(payload.readBigInt64BE(8));
    if (tables !== this.#tableCount || rows !== this.#rowCount) throw damaged('rows are missing');
    if (!payload.subarray(16).equals(this.#sha.copy().digest())) throw damaged('it fails its sha256');
    this.#complete = true;
  }

  #checkPadding(): void {
    for (const piece of this.#pieces) {
      if (!this.#padded || piece.some((byte) => byte !== 0)) throw damaged('something follows its trailer');
    }
    this.#pieces = [];
    this.#pieceBytes = 0;
  }
}

class PayloadReader {
  readonly #payload: Buffer;
  #offset = 0;

  constructor(payload: Buffer) {
    this.#payload = payload;
  }

  get done(): boolean {
    return this.#offset === this.#payload.length;
  }

  integer(): number {
    return this.take(4).readUInt32BE();
  }

  take(bytes: number): Buffer {
    const end = this.#offset + bytes;
    if (end > this.#payload.length) throw damaged('a frame is malformed');
    this.#offset = end;
    return this.#payload.subarray(end - bytes, end);
  }
}

/** The error for a snapshot that must not be used. */
export function damaged(why: string): StoreError {
  return new StoreError('data-dir-corrupt', `the snapshot is damaged: ${why}`);
}
