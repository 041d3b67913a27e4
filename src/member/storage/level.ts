import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Level, LevelOp, LevelOpener } from '../ports.ts';

/**
 * The `level` port on classic-level 3.0.0, which bundles LevelDB 1.20. Its failures are not mended here:
 * after one failed write it acknowledges and loses later ones, so whoever writes must stop at the first error.
 */

/** A scan ends early once its rows take this many bytes; it always returns at least one row. */
export const SCAN_BYTES_MAX = 1024 * 1024;

const CORRUPTION = 'LEVEL_CORRUPTION';
const BUFFERS = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const;
/** One memtable; up to two are held. Larger ones make fewer, larger level-0 tables and a longer replay on open. */
const WRITE_BUFFER_BYTES = 32 * 1024 * 1024;
const TABLE_FILE_BYTES = 16 * 1024 * 1024;
const BLOCK_BYTES = 16 * 1024;
/** Hot values live in the core's own cache, so LevelDB's stays small. */
const CACHE_BYTES = 64 * 1024 * 1024;
/** No key of ours is in this range, so compacting it does nothing but force the memtable into a table file. */
const EMPTY_RANGE = { gte: Buffer.from([0xff, 0xff, 1]), lt: Buffer.from([0xff, 0xff, 2]) };

/** Opens databases as directories below one root directory. */
export class ClassicLevelOpener implements LevelOpener {
  readonly #root: string;

  /** @param root an existing directory; the paths given to `open` and `destroy` are relative to it */
  constructor(root: string) {
    this.#root = root;
  }

  /**
   * With `create` the database must not exist; without, it must: LevelDB would take a directory that lost its
   * CURRENT file for a new database and delete the tables in it.
   */
  async open(path: string, options: { readonly create: boolean }): Promise<Level> {
    const location = join(this.#root, path);
    const db = new ClassicLevel<Buffer, Buffer>(location, BUFFERS);
    try {
      await db.open({
        createIfMissing: options.create,
        errorIfExists: options.create,
        compression: true,
        writeBufferSize: WRITE_BUFFER_BYTES,
        maxFileSize: TABLE_FILE_BYTES,
        blockSize: BLOCK_BYTES,
        cacheSize: CACHE_BYTES,
      });
    } catch (error) {
      throw openError(location, error);
    }
    return new OpenLevel(db);
  }

  async destroy(path: string): Promise<void> {
    const location = join(this.#root, path);
    try {
      await ClassicLevel.destroy(location);
      await rm(location, { recursive: true, force: true });
    } catch (error) {
      throw openError(location, error);
    }
  }
}

class OpenLevel implements Level {
  readonly #db: ClassicLevel<Buffer, Buffer>;
  #writing = false;

  constructor(db: ClassicLevel<Buffer, Buffer>) {
    this.#db = db;
  }

  async batch(ops: readonly LevelOp[], options: { readonly sync: boolean }): Promise<void> {
    // Two batches in flight run on two threads and may land in either order.
    assert(!this.#writing, 'one batch in flight');
    assert(ops.length > 0, 'an empty batch would not reach the disk');
    this.#writing = true;
    try {
      await guarded('batch', this.#write(ops, options));
    } finally {
      this.#writing = false;
    }
  }

  /** Op by op: of a list, the binding would look up every property by its name, at twice the cost of the write. */
  async #write(ops: readonly LevelOp[], options: { readonly sync: boolean }): Promise<void> {
    const batch = this.#db.batch();
    for (const op of ops) {
      if (op.type === 'put') batch.put(op.key, op.value);
      else batch.del(op.key);
    }
    await batch.write(options);
  }

  async get(key: Buffer): Promise<Buffer | undefined> {
    return guarded('get', this.#db.get(key));
  }

  getSync(key: Buffer): Buffer | undefined {
    try {
      return this.#db.getSync(key);
    } catch (error) {
      throw storageError('get', error);
    }
  }

  async scan(range: Parameters<Level['scan']>[0]): Promise<readonly (readonly [Buffer, Buffer])[]> {
    return guarded('scan', this.#scan(range));
  }

  async #scan(range: Parameters<Level['scan']>[0]): Promise<readonly (readonly [Buffer, Buffer])[]> {
    const keysOnly = range.keysOnly ?? false;
    const iterator = this.#db.iterator({
      gte: range.gte,
      lt: range.lt,
      limit: range.limit,
      reverse: range.reverse ?? false,
      values: !keysOnly,
      fillCache: false,
      highWaterMarkBytes: SCAN_BYTES_MAX,
    });
    try {
      const rows = await iterator.nextv(range.limit);
      return keysOnly ? rows.map(([key]) => [key, Buffer.alloc(0)] as const) : rows;
    } finally {
      await iterator.close();
    }
  }

  async flush(): Promise<void> {
    await this.compactRange(EMPTY_RANGE);
  }

  async compactRange(range: { readonly gte: Buffer; readonly lt: Buffer }): Promise<void> {
    await guarded('compact', this.#db.compactRange(range.gte, range.lt, { keyEncoding: 'buffer' }));
  }

  async approximateSizeBytes(): Promise<number> {
    return guarded('size', filesBytes(this.#db.location));
  }

  async close(): Promise<void> {
    await guarded('close', this.#db.close());
  }
}

/** Logs count too: LevelDB's own estimate knows only the tables, and says 0 for a young database. */
async function filesBytes(directory: string): Promise<number> {
  const names = await readdir(directory);
  const sizes = await Promise.all(names.map((name) => fileBytes(join(directory, name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** 0 for a file that a compaction removed meanwhile. */
async function fileBytes(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 0;
    throw error;
  }
}

async function guarded<T>(what: string, promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    throw storageError(what, error);
  }
}

/** What LevelDB calls corruption will not heal: under this code a start puts the directory aside. */
function storageError(what: string, cause: unknown): StoreError {
  if (codeOf(cause) === CORRUPTION)
    return new StoreError('data-dir-corrupt', `leveldb ${what}: ${messageOf(cause)}`, { cause });
  return new StoreError('storage', `leveldb ${what}: ${messageOf(cause)}`, { cause });
}

function openError(location: string, error: unknown): StoreError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (codeOf(cause) === 'LEVEL_LOCKED' || codeOf(error) === 'LEVEL_LOCKED') {
    return new StoreError('data-dir-in-use', `${location} is in use by another process`, { cause });
  }
  if (codeOf(cause) === CORRUPTION)
    return new StoreError('data-dir-corrupt', `cannot open ${location}: ${messageOf(cause)}`, { cause });
  return new StoreError('storage', `cannot open ${location}: ${messageOf(cause)}`, { cause });
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
