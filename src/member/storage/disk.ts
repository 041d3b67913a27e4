import * as fs from 'node:fs';
import * as path from 'node:path';
import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Disk, DiskFile } from '../ports.ts';

/** What was asked of a disk; the first word of every storage error. */
export type DiskOperation =
  | 'make-directory'
  | 'list'
  | 'exists'
  | 'open'
  | 'read'
  | 'write'
  | 'datasync'
  | 'truncate'
  | 'close'
  | 'rename'
  | 'remove'
  | 'sync-directory'
  | 'space';

/** Files and directories are for the member's own user only: they hold every value of the store. */
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

const OPEN_FLAGS = { create: 'wx+', write: 'r+', read: 'r' } as const;

/** The `disk` port on a real file system. The root itself is made by `makeDirectory('')`. */
export class NodeDisk implements Disk {
  readonly root: string;

  constructor(root: string) {
    this.root = path.resolve(root);
  }

  async makeDirectory(directory: string): Promise<void> {
    await this.#do('make-directory', directory, (absolute) =>
      fs.promises.mkdir(absolute, { recursive: true, mode: DIRECTORY_MODE }),
    );
  }

  async list(directory: string): Promise<string[]> {
    const names = await this.#do('list', directory, (absolute) =>
      fs.promises.readdir(absolute).catch(absentAs<string[]>([])),
    );
    return names.toSorted();
  }

  exists(file: string): Promise<boolean> {
    return this.#do('exists', file, (absolute) =>
      fs.promises
        .stat(absolute)
        .then(() => true)
        .catch(absentAs(false)),
    );
  }

  open(file: string, mode: 'create' | 'write' | 'read'): Promise<DiskFile> {
    return this.#do('open', file, async (absolute) => {
      const descriptor = await call<number>((done) => fs.open(absolute, OPEN_FLAGS[mode], FILE_MODE, done));
      return new NodeDiskFile(file, { descriptor, isWritable: mode !== 'read' });
    });
  }

  readFile(file: string): Promise<Buffer> {
    return this.#do('read', file, (absolute) => fs.promises.readFile(absolute));
  }

  async rename(paths: { readonly from: string; readonly to: string }): Promise<void> {
    const to = resolveBelow(this.root, paths.to);
    await this.#do('rename', paths.from, (from) => fs.promises.rename(from, to));
  }

  async remove(target: string): Promise<void> {
    await this.#do('remove', target, (absolute) =>
      fs.promises.rm(absolute, { recursive: true, force: true }),
    );
  }

  async syncDirectory(directory: string): Promise<void> {
    await this.#do('sync-directory', directory, async (absolute) => {
      const handle = await fs.promises.open(absolute, 'r');
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
    });
  }

  space(): Promise<{ readonly freeBytes: number; readonly totalBytes: number }> {
    return this.#do('space', '', async (absolute) => {
      const stats = await fs.promises.statfs(absolute);
      return { freeBytes: stats.bavail * stats.bsize, totalBytes: stats.blocks * stats.bsize };
    });
  }

  async #do<T>(
    operation: DiskOperation,
    relative: string,
    work: (absolute: string) => Promise<T>,
  ): Promise<T> {
    try {
      return await work(resolveBelow(this.root, relative));
    } catch (cause) {
      throw storageError(operation, relative, cause);
    }
  }
}

/** Callbacks instead of file handles: the log's write and sync pay for every layer in between. */
class NodeDiskFile implements DiskFile {
  readonly #name: string;
  readonly #descriptor: number;
  /** Writes through it are durable when they return; null where there is none, undefined while none was needed. */
  #durable: number | null | undefined;

  constructor(name: string, opened: { readonly descriptor: number; readonly isWritable: boolean }) {
    this.#name = name;
    this.#descriptor = opened.descriptor;
    // Opened by its descriptor a file could be written however it was opened before.
    this.#durable = opened.isWritable ? undefined : null;
  }

  async sizeBytes(): Promise<number> {
    const stats = await this.#do<fs.Stats>('read', (done) => fs.fstat(this.#descriptor, done));
    return stats.size;
  }

  write(data: Buffer, offset: number): Promise<void> {
    return this.#write(this.#descriptor, data, offset);
  }

  /** One call of the system, and one way through the pool of threads, where there could be two. */
  async writeDurably(data: Buffer, offset: number): Promise<void> {
    if (this.#durable === undefined) this.#durable = await this.#openDurable();
    if (this.#durable !== null) return this.#write(this.#durable, data, offset);
    await this.write(data, offset);
    await this.datasync();
  }

  /**
   * The file once more, by its descriptor, for its name may have changed since. On Linux only: there O_DSYNC does for
   * the bytes of a write what fdatasync does for a file; elsewhere it may leave them in the drive's own memory.
   */
  #openDurable(): Promise<number | null> {
    const { O_DSYNC, O_WRONLY } = fs.constants;
    if (process.platform !== 'linux' || O_DSYNC === undefined) return Promise.resolve(null);
    const path = `/proc/self/fd/${this.#descriptor}`;
    return call<number>((done) => fs.open(path, O_WRONLY | O_DSYNC, done)).catch(() => null);
  }

  async #write(descriptor: number, data: Buffer, offset: number): Promise<void> {
    const written = await this.#do<number>('write', (done) =>
      fs.write(descriptor, data, 0, data.length, offset, done),
    );
    if (written === data.length) return;
    // The kernel cuts a write short when the disk fills up within it (and above 2 GiB, which no caller does).
    throw storageError('write', this.#name, new Error(`short write, ${written} of ${data.length} bytes`));
  }

  async read(range: { readonly offset: number; readonly length: number }): Promise<Buffer> {
    const target = Buffer.allocUnsafe(range.length);
    let filled = 0;
    while (filled < range.length) {
      const start = filled;
      const count = await this.#do<number>('read', (done) =>
        fs.read(this.#descriptor, target, start, range.length - start, range.offset + start, done),
      );
      if (count === 0) break;
      filled += count;
    }
    return target.subarray(0, filled);
  }

  async datasync(): Promise<void> {
    await this.#do<void>('datasync', (done) => fs.fdatasync(this.#descriptor, done));
  }

  async truncate(sizeBytes: number): Promise<void> {
    await this.#do<void>('truncate', (done) => fs.ftruncate(this.#descriptor, sizeBytes, done));
  }

  async close(): Promise<void> {
    const durable = this.#durable;
    this.#durable = null;
    if (typeof durable === 'number') await this.#do<void>('close', (done) => fs.close(durable, done));
    await this.#do<void>('close', (done) => fs.close(this.#descriptor, done));
  }

  async #do<T>(operation: DiskOperation, start: (done: Done<T>) => void): Promise<T> {
    try {
      return await call(start);
    } catch (cause) {
      throw storageError(operation, this.#name, cause);
    }
  }
}

/** A storage failure as every disk reports it: code `storage`, the system's error as its cause. */
export function storageError(operation: DiskOperation, file: string, cause: unknown): StoreError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new StoreError('storage', `${operation} ${file === '' ? '.' : file}: ${reason}`, { cause });
}

/** True when the failure, or what caused it, is a full disk or an exhausted disk quota. */
export function isDiskFull(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error ? error.code : undefined;
  return code === 'ENOSPC' || code === 'EDQUOT' || isDiskFull(error.cause);
}

/** The directory that holds `file`; the root is ''. */
export function directoryOf(file: string): string {
  const slash = file.lastIndexOf('/');
  return slash < 0 ? '' : file.slice(0, slash);
}

/** Joins a directory, '' for the root, and a name in it. */
export function pathIn(directory: string, name: string): string {
  return directory === '' ? name : `${directory}/${name}`;
}

type Done<T> = (error: NodeJS.ErrnoException | null, value?: T) => void;

function call<T>(start: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => (error === null ? resolve(value as T) : reject(error)));
  });
}

function absentAs<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return value;
    throw error;
  };
}

function resolveBelow(root: string, relative: string): string {
  assert(!path.isAbsolute(relative) && !relative.split('/').includes('..'), 'disk paths stay below the root');
  return path.join(root, relative);
}
