import { assert } from '../../lib/assert.ts';
import type { Disk, DiskFile, Random } from '../ports.ts';
import { type DiskOperation, directoryOf, storageError } from './disk.ts';
import { MemoryFile } from './memory-file.ts';

export interface MemoryDiskOptions {
  readonly root?: string;
  /**
   * Called before each operation takes effect, in the order of the calls. A simulator delays here, or crashes the
   * disk; an operation that a crash overtakes has no effect and rejects.
   */
  readonly onOperation?: (call: DiskCall) => Promise<void> | void;
  /** Names of databases that stand beside the files, in the root directory: `list` names them too. */
  readonly databases?: () => Iterable<string>;
  /** Called when the directory at a path was synced, the databases' own among them. */
  readonly onDirectorySynced?: (path: string) => void;
}
/** `path` is '' for `space`; for an operation on an open file, the path it was opened by. */
export interface DiskCall {
  readonly operation: DiskOperation;
  readonly path: string;
}

const DIRECTORY = Symbol('directory');
type Node = MemoryFile | typeof DIRECTORY;
/** One change of names that happens wholly or not at all; null takes the name away. */
type NameChange = readonly (readonly [path: string, node: Node | null])[];

/** An open file. */
interface Owner {
  readonly generation: number;
  readonly file: MemoryFile;
  open: boolean;
}

/** What a disk without a `capacityBytes` claims to have. */
const CAPACITY_BYTES_DEFAULT = 1024 ** 4;

/**
 * The `disk` port in memory, with the failures of a real one.
 *
 * Crash model: only what a completed `datasync` covered is sure to survive, and only names that a completed
 * `syncDirectory` covered. Of the rest, `crash` keeps any subset, per sector of 512 bytes and per name change. A
 * sector is replaced whole: it holds what it held durably or one of the versions written since; a sector that was
 * empty may also hold garbage. The size of a file is the durable one or anything up to the current one.
 */
export class MemoryDisk implements Disk {
  readonly root: string;
  /** Bytes that all files together may take. A write beyond it is cut short and fails with ENOSPC. */
  capacityBytes = CAPACITY_BYTES_DEFAULT;
  /** Operations begun so far, failed ones included. */
  operationCount = 0;

  readonly #onOperation: ((call: DiskCall) => Promise<void> | void) | undefined;
  readonly #databases: () => Iterable<string>;
  readonly #onDirectorySynced: ((path: string) => void) | undefined;
  #names = new Map<string, Node>();
  #durableNames = new Map<string, Node>();
  #unsyncedNames: NameChange[] = [];
  /** Rises with each crash: handles and operations of an older generation are dead. */
  #generation = 0;
  #faults: { readonly operation: DiskOperation; readonly path: string | undefined }[] = [];

  constructor(options: MemoryDiskOptions = {}) {
    this.root = options.root ?? 'memory:';
    this.#onOperation = options.onOperation;
    this.#databases = options.databases ?? (() => []);
    this.#onDirectorySynced = options.onDirectorySynced;
  }

  /** Makes the next such operation (on `path`, when given) fail with EIO, once. */
  failNext(operation: DiskOperation, path?: string): void {
    this.#faults.push({ operation, path });
  }

  /** Turns one bit of a file's content over, durable and current, as rot does. */
  flipBit(path: string, bit: number): void {
    this.#file(path).flipBit(bit);
  }

  /** The machine stops: open files die, and what was not synced is kept or lost at random. */
  crash(random: Random): void {
    this.#generation++;
    this.#faults = [];
    for (const change of this.#unsyncedNames) {
      if (random.integer(2) === 0) apply(this.#durableNames, change);
    }
    this.#unsyncedNames = [];
    dropOrphans(this.#durableNames);
    this.#names = new Map(this.#durableNames);
    for (const node of new Set(this.#names.values())) {
      if (node !== DIRECTORY) node.crash(random);
    }
  }

  /** The process stops and the machine goes on: open files die, nothing is lost. */
  killProcess(): void {
    this.#generation++;
  }

  /**
   * The disk as one process sees it: dead after the next crash or kill, so that code of the old process that is
   * still running reaches nothing. The disk itself serves whoever calls.
   */
  session(): Disk {
    const generation = this.#generation;
    const isAlive = (): boolean => generation === this.#generation;
    return new MemoryDiskSession(this, isAlive);
  }

  makeDirectory(path: string): Promise<void> {
    return this.#do({ operation: 'make-directory', path }, () => {
      const segments = path === '' ? [] : path.split('/');
      for (let length = 1; length <= segments.length; length++) {
        const directory = segments.slice(0, length).join('/');
        const node = this.#names.get(directory);
        if (node === undefined) this.#change([[directory, DIRECTORY]]);
        else if (node !== DIRECTORY) throw systemError('EEXIST');
      }
    });
  }

  list(path: string): Promise<string[]> {
    return this.#do({ operation: 'list', path }, () =>
      [...this.#names.keys(), ...this.#databases()]
        .filter((name) => name !== '' && directoryOf(name) === path)
        .map((name) => (path === '' ? name : name.slice(path.length + 1)))
        .toSorted(),
    );
  }

  exists(path: string): Promise<boolean> {
    return this.#do({ operation: 'exists', path }, () => path === '' || this.#names.has(path));
  }

  open(path: string, mode: 'create' | 'write' | 'read'): Promise<DiskFile> {
    return this.#do({ operation: 'open', path }, () => {
      if (mode === 'create') {
        if (this.#names.has(path)) throw systemError('EEXIST');
        this.#requireDirectory(path);
        this.#change([[path, new MemoryFile()]]);
      }
      return this.#handle(path, this.#file(path), mode !== 'read');
    });
  }

  readFile(path: string): Promise<Buffer> {
    return this.#do({ operation: 'read', path }, () => {
      const file = this.#file(path);
      return file.read(0, file.sizeBytes);
    });
  }

  rename(paths: { readonly from: string; readonly to: string }): Promise<void> {
    return this.#do({ operation: 'rename', path: paths.from }, () => {
      const file = this.#file(paths.from);
      if (this.#names.get(paths.to) === DIRECTORY) throw systemError('EISDIR');
      this.#requireDirectory(paths.to);
      this.#change([
        [paths.from, null],
        [paths.to, file],
      ]);
    });
  }

  remove(path: string): Promise<void> {
    return this.#do({ operation: 'remove', path }, () => {
      const below = [...this.#names.keys()].filter((name) => name === path || name.startsWith(`${path}/`));
      for (const name of below.toSorted().toReversed()) this.#change([[name, null]]);
    });
  }

  syncDirectory(path: string): Promise<void> {
    return this.#do({ operation: 'sync-directory', path }, () => {
      if (path !== '' && this.#names.get(path) !== DIRECTORY) throw systemError('ENOENT');
      const isHere = (change: NameChange): boolean => change.some(([name]) => directoryOf(name) === path);
      for (const change of this.#unsyncedNames.filter(isHere)) apply(this.#durableNames, change);
      this.#unsyncedNames = this.#unsyncedNames.filter((change) => !isHere(change));
      this.#onDirectorySynced?.(path);
    });
  }

  space(): Promise<{ readonly freeBytes: number; readonly totalBytes: number }> {
    return this.#do({ operation: 'space', path: '' }, () => ({
      freeBytes: Math.max(0, this.capacityBytes - this.#usedBytes()),
      totalBytes: this.capacityBytes,
    }));
  }

  #handle(path: string, file: MemoryFile, writable: boolean): DiskFile {
    const owner = { generation: this.#generation, file, open: true };
    const act = <T>(operation: DiskOperation, effect: () => T): Promise<T> =>
      this.#do({ operation, path }, effect, owner);
    // The bytes are taken at the call: a caller may use its buffer again only after the promise, as on a disk,
    // but a twin that read it later would hide a caller who does not wait.
    const write = (data: Buffer, offset: number): Promise<void> => {
      const copy = Buffer.from(data);
      return act('write', () => {
        if (!writable) throw systemError('EBADF');
        this.#write(file, copy, offset);
      });
    };
    return {
      sizeBytes: () => act('read', () => file.sizeBytes),
      write,
      // In two steps, as the kernel does it: a crash or a failure may come when the bytes are in memory only.
      writeDurably: async (data, offset) => {
        const range = { from: offset, to: offset + data.length };
        await write(data, offset);
        await act('datasync', () => file.datasync(range));
      },
      read: (range) => act('read', () => file.read(range.offset, range.length)),
      datasync: () => act('datasync', () => file.datasync()),
      truncate: (sizeBytes) => act('truncate', () => file.truncate(sizeBytes)),
      close: () =>
        act('close', () => {
          owner.open = false;
        }),
    };
  }

  #write(file: MemoryFile, data: Buffer, offset: number): void {
    const growthBytes = Math.max(0, offset + data.length - file.sizeBytes);
    const roomBytes = Math.max(0, this.capacityBytes - this.#usedBytes());
    if (growthBytes <= roomBytes) {
      file.write(data, offset);
      return;
    }
    const fits = Math.max(0, data.length - (growthBytes - roomBytes));
    if (fits > 0) file.write(data.subarray(0, fits), offset);
    throw systemError('ENOSPC');
  }

  async #do<T>(call: DiskCall, effect: () => T, owner?: Owner): Promise<T> {
    const generation = owner?.generation ?? this.#generation;
    this.operationCount++;
    await this.#onOperation?.(call);
    try {
      if (generation !== this.#generation) throw systemError('ESHUTDOWN');
      if (owner?.open === false) throw systemError('EBADF');
      this.#failIfAsked(call, owner?.file);
      return effect();
    } catch (cause) {
      throw storageError(call.operation, call.path, cause);
    }
  }

  #failIfAsked(call: DiskCall, file: MemoryFile | undefined): void {
    const at = this.#faults.findIndex(
      (fault) => fault.operation === call.operation && (fault.path ?? call.path) === call.path,
    );
    if (at < 0) return;
    this.#faults.splice(at, 1);
    if (call.operation === 'datasync') file?.loseUnsynced();
    throw systemError('EIO');
  }

  #file(path: string): MemoryFile {
    const node = this.#names.get(path);
    if (node === undefined) throw systemError('ENOENT');
    if (node === DIRECTORY) throw systemError('EISDIR');
    return node;
  }

  #requireDirectory(path: string): void {
    const directory = directoryOf(path);
    if (directory !== '' && this.#names.get(directory) !== DIRECTORY) throw systemError('ENOENT');
  }

  #change(change: NameChange): void {
    assert(
      change.every(([path]) => path !== '' && !path.startsWith('/') && !path.split('/').includes('..')),
      'disk paths stay below the root',
    );
    apply(this.#names, change);
    this.#unsyncedNames.push(change);
  }

  #usedBytes(): number {
    let bytes = 0;
    for (const node of this.#names.values()) {
      if (node !== DIRECTORY) bytes += node.sizeBytes;
    }
    return bytes;
  }
}

class MemoryDiskSession implements Disk {
  readonly root: string;
  readonly #disk: MemoryDisk;
  readonly #isAlive: () => boolean;

  constructor(disk: MemoryDisk, isAlive: () => boolean) {
    this.root = disk.root;
    this.#disk = disk;
    this.#isAlive = isAlive;
  }

  async makeDirectory(path: string): Promise<void> {
    return this.#reach('make-directory', path).makeDirectory(path);
  }
  async list(path: string): Promise<string[]> {
    return this.#reach('list', path).list(path);
  }
  async exists(path: string): Promise<boolean> {
    return this.#reach('exists', path).exists(path);
  }
  async open(path: string, mode: 'create' | 'write' | 'read'): Promise<DiskFile> {
    return this.#reach('open', path).open(path, mode);
  }
  async readFile(path: string): Promise<Buffer> {
    return this.#reach('read', path).readFile(path);
  }
  async rename(paths: { readonly from: string; readonly to: string }): Promise<void> {
    return this.#reach('rename', paths.from).rename(paths);
  }
  async remove(path: string): Promise<void> {
    return this.#reach('remove', path).remove(path);
  }
  async syncDirectory(path: string): Promise<void> {
    return this.#reach('sync-directory', path).syncDirectory(path);
  }
  async space(): Promise<{ readonly freeBytes: number; readonly totalBytes: number }> {
    return this.#reach('space', '').space();
  }

  #reach(operation: DiskOperation, path: string): MemoryDisk {
    if (!this.#isAlive()) throw storageError(operation, path, systemError('ESHUTDOWN'));
    return this.#disk;
  }
}

function apply(names: Map<string, Node>, change: NameChange): void {
  for (const [path, node] of change) {
    if (node === null) names.delete(path);
    else names.set(path, node);
  }
}

/** Names below a directory that did not survive are gone with it. */
function dropOrphans(names: Map<string, Node>): void {
  for (const path of [...names.keys()].toSorted()) {
    const directory = directoryOf(path);
    if (directory !== '' && names.get(directory) !== DIRECTORY) names.delete(path);
  }
}

function systemError(code: string): Error {
  return Object.assign(new Error(`${code} (memory disk)`), { code });
}
