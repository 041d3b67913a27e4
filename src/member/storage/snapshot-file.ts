import { createHash } from 'node:crypto';
import type { Row } from '../../core/mvcc/row.ts';
import type { StateMarker, TableRow } from '../../core/state.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Disk, Level, LevelOp } from '../ports.ts';
import {
  encodeFormat,
  encodeMarker,
  encodeRow,
  encodeTableRow,
  FORMAT_KEY,
  markerKey,
  rowKey,
  tableKey,
} from './schema.ts';
import {
  damaged,
  SnapshotDecoder,
  SnapshotEncoder,
  type SnapshotHeader,
  type SnapshotReceiver,
  type SnapshotSummary,
} from './snapshot-format.ts';
import { barrierOp, type PutOp, put, type StateStoreOptions, syncDirectories } from './state-store.ts';

/**
 * What is done with snapshots: streaming one to another member, sealing one as a backup file, reading either, and
 * making a new state directory of it.
 */

/** Bytes gathered before a new state directory gets its next batch. */
const INSTALL_BATCH_BYTES = 1024 * 1024;
const FILE_BLOCK_BYTES = 512;
const SHA_BYTES = 32;
const ZEROS = Buffer.alloc(FILE_BLOCK_BYTES);

// ---- writing ------------------------------------------------------------------------------------------------

/**
 * The bytes of a snapshot for another member, a Buffer a frame. `rows` is `StateStore.stream` opened at the
 * header's revision in the same turn that captured the header. Ending the iteration early, even before its first
 * step, ends the stream of rows too and lets garbage collection go on.
 */
export function encodeSnapshot(
  header: SnapshotHeader,
  rows: AsyncIterable<readonly Row[]>,
): AsyncIterableIterator<Buffer> {
  const source = rows[Symbol.asyncIterator]();
  return endingSource(encodeFrames(header, source), source);
}

async function* encodeFrames(
  header: SnapshotHeader,
  source: AsyncIterator<readonly Row[]>,
): AsyncGenerator<Buffer, undefined> {
  const encoder = new SnapshotEncoder();
  try {
    yield* encoder.head(header);
    for (let slice = await source.next(); slice.done !== true; slice = await source.next()) {
      yield* encoder.rows(slice.value);
    }
    yield* encoder.trailer();
  } finally {
    await source.return?.();
  }
  return undefined;
}

/**
 * The whole-file form of a snapshot: padded with zeros to a multiple of 512 bytes, then the SHA-256 of all that
 * precedes, so that etcd's tools find the size and the checksum they expect of a backup. Ending it early ends
 * `frames` too, as with `encodeSnapshot`.
 */
export function sealSnapshotFile(frames: AsyncIterable<Buffer>): AsyncIterableIterator<Buffer> {
  const source = frames[Symbol.asyncIterator]();
  return endingSource(sealFrames(source), source);
}

async function* sealFrames(source: AsyncIterator<Buffer>): AsyncGenerator<Buffer, undefined> {
  const sha = createHash('sha256');
  let bytes = 0;
  for (let frame = await source.next(); frame.done !== true; frame = await source.next()) {
    sha.update(frame.value);
    bytes += frame.value.length;
    yield frame.value;
  }
  const padding = ZEROS.subarray(0, (FILE_BLOCK_BYTES - (bytes % FILE_BLOCK_BYTES)) % FILE_BLOCK_BYTES);
  yield Buffer.concat([padding, sha.update(padding).digest()]);
  return undefined;
}

/** `made`, except that its `return` also ends `source`: a generator that never began would not. */
function endingSource(
  made: AsyncGenerator<Buffer, undefined>,
  source: AsyncIterator<unknown>,
): AsyncIterableIterator<Buffer> {
  return {
    next: async () => made.next(),
    return: async () => {
      await made.return(undefined);
      await source.return?.();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

// ---- reading ------------------------------------------------------------------------------------------------

/**
 * Reads a snapshot as members exchange it, in pieces of any size.
 *
 * @throws StoreError `data-dir-corrupt` when it is truncated, damaged or followed by more; `data-dir-foreign` when
 *   its format is unknown; and whatever `chunks` or the receiver throw
 */
export async function readSnapshot(
  chunks: AsyncIterable<Buffer>,
  receiver: SnapshotReceiver,
): Promise<SnapshotSummary> {
  const decoder = new SnapshotDecoder(receiver, { padded: false });
  for await (const chunk of chunks) decoder.push(chunk);
  return decoder.end();
}

/** What a backup file holds. */
export interface SnapshotFileSummary extends SnapshotSummary {
  readonly sizeBytes: number;
  /** The checksum at the file's end, verified. */
  readonly sha256: Buffer;
}

/** Reads the whole-file form; its errors are those of `readSnapshot`. */
export async function readSnapshotFile(
  chunks: AsyncIterable<Buffer>,
  receiver: SnapshotReceiver,
): Promise<SnapshotFileSummary> {
  const sha = createHash('sha256');
  let sizeBytes = 0;
  let tail: Buffer = Buffer.alloc(0);
  const body = async function* (): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      sizeBytes += chunk.length;
      const bytes = Buffer.concat([tail, chunk]);
      const end = Math.max(0, bytes.length - SHA_BYTES);
      tail = bytes.subarray(end);
      if (end === 0) continue;
      sha.update(bytes.subarray(0, end));
      yield bytes.subarray(0, end);
    }
  };
  const decoder = new SnapshotDecoder(receiver, { padded: true });
  for await (const chunk of body()) decoder.push(chunk);
  const summary = decoder.end();
  if (sizeBytes % FILE_BLOCK_BYTES !== SHA_BYTES) throw damaged('its size is not that of a whole file');
  if (!tail.equals(sha.digest())) throw damaged('the file fails its sha256');
  return { ...summary, sizeBytes, sha256: tail };
}

// ---- installing ---------------------------------------------------------------------------------------------

/** Where a new state goes. */
export type InstallOptions = Pick<StateStoreOptions, 'name' | 'levels'> & {
  readonly disk: Pick<Disk, 'makeDirectory' | 'syncDirectory' | 'remove'>;
};

/**
 * Writes a streamed snapshot into the new state directory `options.name`, durably and ending in a barrier; what lay
 * under that name, a half install for instance, is removed first. Recovery from the directory verifies the hashes.
 * On failure nothing is left of it.
 *
 * @throws StoreError `cluster-id-mismatch`; those of `readSnapshot`, which are the sender's or the wire's;
 *   `storage` and `data-dir-in-use`, which are this member's own disk
 */
export async function installState(
  options: InstallOptions & { readonly clusterId: number },
  frames: AsyncIterable<Buffer>,
): Promise<StateMarker> {
  const writer = await StateWriter.create(options);
  try {
    const decoder = new SnapshotDecoder(
      {
        header: (header) => {
          if (header.clusterId !== options.clusterId) throw new StoreError('cluster-id-mismatch');
          writer.begin(header.marker.appliedIndex);
        },
        table: (row) => writer.table(row),
        row: (row) => writer.row(row),
      },
      { padded: false },
    );
    for await (const frame of frames) {
      decoder.push(frame);
      await writer.drained();
    }
    const { marker } = decoder.end();
    await writer.finish(marker);
    return marker;
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

/** Builds a new state directory piece by piece: from a stream, or when a backup is restored with changes. */
export class StateWriter {
  readonly #options: InstallOptions;
  readonly #level: Level;
  #appliedIndex = 0;
  #ops: LevelOp[] = [];
  #opsBytes = 0;

  private constructor(options: InstallOptions, level: Level) {
    this.#options = options;
    this.#level = level;
  }

  /** Opens an empty database; what lay under the name is removed. */
  static async create(options: InstallOptions): Promise<StateWriter> {
    await options.levels.destroy(options.name);
    await options.disk.remove(options.name);
    await options.disk.makeDirectory(options.name);
    return new StateWriter(options, await options.levels.open(options.name, { create: true }));
  }

  /** The applied index of the marker that `finish` will get; small-table rows carry it. */
  begin(appliedIndex: number): void {
    this.#appliedIndex = appliedIndex;
  }

  table(row: TableRow): void {
    const key = tableKey({ table: row.table, id: row.id, appliedIndex: this.#appliedIndex });
    this.#add(put(key, encodeTableRow(key, row)));
  }

  row(row: Row): void {
    const key = rowKey(row.main, row.sub);
    this.#add(put(key, encodeRow(key, row)));
  }

  /** Writes what was gathered when it is enough for a batch. To be awaited every few rows: it bounds the memory. */
  async drained(): Promise<void> {
    if (this.#opsBytes >= INSTALL_BATCH_BYTES) await this.#write();
  }

  /** Makes everything durable, ends it with a barrier at `marker` and closes the database. */
  async finish(marker: StateMarker): Promise<void> {
    const key = markerKey(marker);
    this.#add(put(FORMAT_KEY, encodeFormat()));
    this.#add(put(key, encodeMarker(key, marker)));
    await this.#write();
    await this.#level.flush();
    await this.#options.disk.syncDirectory(this.#options.name);
    await this.#level.batch([barrierOp(marker)], { sync: true });
    await syncDirectories(this.#options);
    await this.#level.close();
  }

  /** Closes and removes the half-made directory. Failures are left to whoever removes stale directories at boot. */
  async abandon(): Promise<void> {
    try {
      await this.#level.close();
      await this.#options.levels.destroy(this.#options.name);
      await this.#options.disk.remove(this.#options.name);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
    }
  }

  #add(op: PutOp): void {
    this.#ops.push(op);
    this.#opsBytes += op.key.length + op.value.length;
  }

  async #write(): Promise<void> {
    const ops = this.#ops;
    this.#ops = [];
    this.#opsBytes = 0;
    await this.#level.batch(ops, { sync: false });
  }
}
