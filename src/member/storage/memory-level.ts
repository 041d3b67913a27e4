import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Level, LevelOp, LevelOpener, Random } from '../ports.ts';
import { SCAN_BYTES_MAX } from './level.ts';

/**
 * The memory twin of `level.ts`, with LevelDB 1.20's real failures instead of an ideal store's:
 *
 * - a batch is atomic, but one that was not synced may be lost in a power failure while a later one survives;
 * - `sync` covers the current log only, so an older log's tail may be lost while a synced newer batch stays;
 * - after a failed write (disk full) every later write is acknowledged and lost on reopening, unless a flush
 *   brings it into a table file;
 * - a failed flush or compaction shows only on the next write;
 * - reads verify nothing;
 * - names are durable once their directory was synced, by LevelDB with a flush or by us (`directorySynced`): before that
 *   a power failure may take a new database, or leave it with a MANIFEST that it never synced, may bring one back that
 *   was destroyed, may take the file of a new log with all that was synced in it, and may undo what an open has put
 *   into tables.
 */

/** What to make fail next. Each fault fires once. */
export type LevelFault =
  /** A batch is refused, as on a full disk. The log is unreadable from there on although later batches succeed. */
  | 'no-space'
  /** A synced batch is refused; all later writes fail until the database is reopened. */
  | 'sync-error'
  /** A flush brings nothing to disk yet resolves; all later writes fail until the database is reopened. */
  | 'flush-error'
  /** A read, point or scan, fails. */
  | 'read-error';

export type LevelOperation = 'open' | 'batch' | 'get' | 'scan' | 'flush' | 'compact' | 'size' | 'close';

export interface MemoryLevelOptions {
  /** Bytes in the current log at which LevelDB starts another one. */
  readonly writeBufferBytes?: number;
  /** Awaited before an operation takes effect, so that a simulator decides when disks answer. */
  readonly pause?: (operation: LevelOperation) => Promise<void>;
}

const WRITE_BUFFER_BYTES_DEFAULT = 32 * 1024 * 1024;
/** So many removed keys are remembered. */
const REMOVED_MAX = 1_000;

/** Databases in memory, by path. They outlive `kill` and `crash`; handles do not. */
export class MemoryLevelOpener implements LevelOpener {
  readonly #options: MemoryLevelOptions;
  readonly #databases = new Map<string, Database>();
  /** Destroyed, and the root directory was not synced since. */
  readonly #destroyed = new Map<string, Database>();

  constructor(options: MemoryLevelOptions = {}) {
    this.#options = options;
  }

  async open(path: string, options: { readonly create: boolean }): Promise<Level> {
    await this.#options.pause?.('open');
    let database = this.#databases.get(path);
    if (options.create) {
      if (database !== undefined) throw new StoreError('storage', `cannot open ${path}: exists`);
      database = new Database(this.#options.writeBufferBytes ?? WRITE_BUFFER_BYTES_DEFAULT);
      this.#databases.set(path, database);
    }
    if (database === undefined) throw new StoreError('storage', `cannot open ${path}: does not exist`);
    if (database.holder !== null) throw new StoreError('data-dir-in-use', path);
    if (database.isDamaged) throw new StoreError('data-dir-corrupt', `cannot open ${path}: no MANIFEST`);
    if (!options.create) database.reopen();
    const level = new MemoryLevel(database, this.#options);
    database.holder = level;
    return level;
  }

  async destroy(path: string): Promise<void> {
    await this.#options.pause?.('open');
    const database = this.#databases.get(path);
    if (database?.holder) throw new StoreError('data-dir-in-use', path);
    this.#databases.delete(path);
    if (database?.isNamed === true) this.#destroyed.set(path, database);
  }

  /** The directory at `path` was synced: that of a database, or with '' the one that they are in. */
  directorySynced(path: string): void {
    if (path !== '') this.#databases.get(path)?.directorySynced();
    else {
      for (const database of this.#databases.values()) database.isNamed = true;
      this.#destroyed.clear();
    }
  }

  /** Paths of all databases. */
  get paths(): Iterable<string> {
    return this.#databases.keys();
  }

  /** Whether there is a database that can be opened. */
  exists(path: string): boolean {
    return this.#databases.get(path)?.isDamaged === false;
  }

  /** The process dies: handles end; what was written stays in the page cache and is found on reopening. */
  kill(): void {
    for (const database of this.#databases.values()) database.holder = null;
  }

  /**
   * The power fails: handles end; of each log a random part of the batches that no sync covered is lost. `names` draws
   * which names that no sync covered are lost; without it none are.
   */
  crash(random: Random, names: Random | null = null): void {
    for (const [path, database] of this.#databases) {
      database.holder = null;
      if (names !== null && !database.isNamed && names.integer(2) === 0) this.#databases.delete(path);
      else database.powerLost(random, names);
    }
    for (const [path, database] of this.#destroyed) {
      if (names === null || this.#databases.has(path) || names.integer(2) === 0) continue;
      database.powerLost(random, names);
      this.#databases.set(path, database);
    }
    this.#destroyed.clear();
  }

  /** Makes the next fitting operation on `path` fail. */
  inject(path: string, fault: LevelFault): void {
    this.#database(path).faults.add(fault);
  }

  /**
   * Shows a removed key again with the value it had, as LevelDB 1.20 can (google/leveldb#320, #887).
   *
   * @returns whether there was one
   */
  bringBack(path: string, key: Buffer): boolean {
    return this.#database(path).bringBack(key);
  }

  /** Keys that were removed from `path`, the last ones. */
  removedKeys(path: string): readonly Buffer[] {
    return this.#database(path).removedKeys;
  }

  /** Changes a stored value in place, as a failing disk would, without any operation noticing. */
  rot(path: string, key: Buffer, change: (value: Buffer) => Buffer | undefined): void {
    this.#database(path).rot(key, change);
  }

  #database(path: string): Database {
    const database = this.#databases.get(path);
    assert(database !== undefined, 'faults are for databases that exist');
    return database;
  }
}

interface LogRecord {
  readonly ops: readonly LevelOp[];
  readonly bytes: number;
  synced: boolean;
}
interface Log {
  records: LogRecord[];
  bytes: number;
  /** Index of the first record that a failed write made unreadable, or Infinity. */
  unreadableFrom: number;
  /** The directory was synced since the log's file was made. */
  isNamed: boolean;
}

/** One database: what is in fsynced tables, the logs on top (oldest first), and both together as reads see it. */
class Database {
  holder: Level | null = null;
  /** Its directory's own name is durable. */
  isNamed = false;
  /** It cannot be opened. */
  isDamaged = false;
  readonly faults = new Set<LevelFault>();
  readonly #writeBufferBytes: number;
  #tables = new SortedMap();
  #visible = new SortedMap();
  /** What the last open put into tables, which CURRENT may not name yet. */
  #replayed: Log[] = [];
  #logs: Log[] = [newLog(true)];
  /** CURRENT may still name the first MANIFEST, which LevelDB 1.20 does not sync. */
  #isNew = true;
  #backgroundError = false;
  /** Values of removed keys, the last ones removed. */
  readonly #removed = new Map<string, Buffer>();

  constructor(writeBufferBytes: number) {
    this.#writeBufferBytes = writeBufferBytes;
  }

  get visible(): SortedMap {
    return this.#visible;
  }

  write(ops: readonly LevelOp[], sync: boolean): void {
    if (this.#backgroundError) throw new StoreError('storage', 'leveldb batch: earlier background error');
    const log = this.#logs.at(-1);
    assert(log !== undefined, 'a database has a current log');
    if (this.faults.delete('no-space')) {
      log.unreadableFrom = Math.min(log.unreadableFrom, log.records.length);
      throw new StoreError('storage', 'leveldb batch: no space left on device');
    }
    const bytes = ops.reduce((sum, op) => sum + op.key.length + (op.type === 'put' ? op.value.length : 0), 0);
    log.records.push({ ops, bytes, synced: false });
    log.bytes += bytes;
    if (sync && this.faults.delete('sync-error')) {
      this.#backgroundError = true;
      throw new StoreError('storage', 'leveldb batch: input/output error');
    }
    for (const op of ops) {
      if (op.type === 'del') this.#remember(op.key);
      this.#visible.apply(op);
    }
    if (sync) for (const record of log.records) record.synced = true;
    if (log.bytes >= this.#writeBufferBytes) this.#rotate();
  }

  /** LevelDB holds at most one older log; its table file is complete before the next switch. */
  #rotate(): void {
    while (this.#logs.length > 1) this.#logsToTables(1);
    this.#logs.push(newLog(false));
  }

  /** Every name in it is durable, CURRENT among them. */
  directorySynced(): void {
    for (const log of this.#logs) log.isNamed = true;
    this.#toTables(this.#replayed.splice(0));
    this.#isNew = false;
  }

  flush(): void {
    if (this.faults.delete('flush-error')) this.#backgroundError = true;
    if (!this.#backgroundError) this.#logsToTables(this.#logs.length);
  }

  /** The new MANIFEST is synced, and with it the directory, after the tables and the next log were made. */
  #logsToTables(count: number): void {
    this.directorySynced();
    this.#toTables(this.#logs.splice(0, count));
    if (this.#logs.length === 0) this.#logs.push(newLog(true));
  }

  /** Tables are written from memory, so even records that are unreadable in the log reach them. */
  #toTables(logs: readonly Log[]): void {
    for (const log of logs) {
      for (const record of log.records) for (const op of record.ops) this.#tables.apply(op);
    }
  }

  powerLost(random: Random, names: Random | null): void {
    if (names !== null) {
      this.isDamaged ||= this.#isNew && names.integer(2) === 0;
      // Without the new MANIFEST it is the old logs that count, and those begun since.
      if (names.integer(2) === 0) this.#logs.unshift(...this.#replayed.splice(0));
      this.#logs = this.#logs.filter((log) => log.isNamed || names.integer(2) === 0);
    }
    this.directorySynced();
    this.isNamed = true;
    this.#loseUnsynced(random);
  }

  #loseUnsynced(random: Random): void {
    for (const log of this.#logs) {
      const mode = random.integer(4);
      const cut = random.integer(log.records.length + 1);
      log.records = log.records.filter((record, i) => {
        if (i >= log.unreadableFrom) return false;
        if (record.synced || mode === 0) return true;
        if (mode === 1) return false;
        return mode === 2 ? i < cut : random.integer(2) === 0;
      });
      log.unreadableFrom = Number.POSITIVE_INFINITY;
    }
  }

  /**
   * Replays the logs into a fresh table, as opening does. Its new MANIFEST is synced with the directory; then CURRENT
   * is renamed, and whatever was recovered is durable once that is.
   */
  reopen(): void {
    this.directorySynced();
    for (const log of this.#logs) {
      log.records.length = Math.min(log.records.length, log.unreadableFrom);
      log.unreadableFrom = Number.POSITIVE_INFINITY;
    }
    this.#visible = this.#tables.copy();
    for (const { records } of this.#logs) {
      for (const { ops } of records) for (const op of ops) this.#visible.apply(op);
    }
    this.#replayed = this.#logs;
    this.#logs = [newLog(true)];
    this.#backgroundError = false;
  }

  get removedKeys(): readonly Buffer[] {
    return [...this.#removed.keys()].map((key) => Buffer.from(key, 'latin1'));
  }

  #remember(key: Buffer): void {
    const value = this.#visible.get(key);
    if (value !== undefined) this.#removed.set(key.toString('latin1'), value);
    const [oldest] = this.#removed.keys();
    if (this.#removed.size > REMOVED_MAX && oldest !== undefined) this.#removed.delete(oldest);
  }

  bringBack(key: Buffer): boolean {
    const value = this.#removed.get(key.toString('latin1'));
    if (value === undefined) return false;
    this.#logsToTables(this.#logs.length);
    const op: LevelOp = { type: 'put', key, value };
    this.#tables.apply(op);
    this.#visible.apply(op);
    return true;
  }

  rot(key: Buffer, change: (value: Buffer) => Buffer | undefined): void {
    this.#logsToTables(this.#logs.length);
    const value = this.#tables.get(key);
    assert(value !== undefined, 'only a stored value can rot');
    const changed = change(Buffer.from(value));
    const op: LevelOp = changed ? { type: 'put', key, value: changed } : { type: 'del', key };
    this.#tables.apply(op);
    this.#visible.apply(op);
  }
}

function newLog(isNamed: boolean): Log {
  return { records: [], bytes: 0, unreadableFrom: Number.POSITIVE_INFINITY, isNamed };
}

class MemoryLevel implements Level {
  readonly #database: Database;
  readonly #options: MemoryLevelOptions;
  #writing = false;

  constructor(database: Database, options: MemoryLevelOptions) {
    this.#database = database;
    this.#options = options;
  }

  async batch(ops: readonly LevelOp[], options: { readonly sync: boolean }): Promise<void> {
    assert(!this.#writing, 'one batch in flight');
    assert(ops.length > 0, 'an empty batch would not reach the disk');
    this.#writing = true;
    try {
      await this.#begin('batch');
      this.#database.write(ops, options.sync);
    } finally {
      this.#writing = false;
    }
  }

  async get(key: Buffer): Promise<Buffer | undefined> {
    await this.#begin('get');
    this.#failRead();
    return this.#database.visible.get(key);
  }

  getSync(key: Buffer): Buffer | undefined {
    this.#assertHeld();
    this.#failRead();
    return this.#database.visible.get(key);
  }

  async scan(range: Parameters<Level['scan']>[0]): Promise<readonly (readonly [Buffer, Buffer])[]> {
    await this.#begin('scan');
    this.#failRead();
    return this.#database.visible.scan(range);
  }

  async flush(): Promise<void> {
    await this.#begin('flush');
    this.#database.flush();
  }

  async compactRange(): Promise<void> {
    await this.#begin('compact');
    this.#database.flush();
  }

  async approximateSizeBytes(): Promise<number> {
    await this.#begin('size');
    return this.#database.visible.bytes;
  }

  async close(): Promise<void> {
    await this.#begin('close');
    this.#database.holder = null;
  }

  /** The moment of the simulated disk's answer; a handle that a crash ended meanwhile gets none but an error. */
  async #begin(operation: LevelOperation): Promise<void> {
    this.#assertHeld();
    await (this.#options.pause?.(operation) ?? Promise.resolve());
    this.#assertHeld();
  }

  #assertHeld(): void {
    if (this.#database.holder !== this) throw new StoreError('storage', 'leveldb: database is not open');
  }

  #failRead(): void {
    if (this.#database.faults.delete('read-error')) {
      throw new StoreError('storage', 'leveldb get: input/output error');
    }
  }
}

/** Byte-ordered map. A latin1 string compares as its bytes do. */
class SortedMap {
  #values = new Map<string, Buffer>();
  #keys: string[] = [];
  bytes = 0;

  get(key: Buffer): Buffer | undefined {
    const value = this.#values.get(key.toString('latin1'));
    return value === undefined ? undefined : Buffer.from(value);
  }

  apply(op: LevelOp): void {
    const key = op.key.toString('latin1');
    const previous = this.#values.get(key);
    if (previous !== undefined) this.bytes -= key.length + previous.length;
    if (op.type === 'put') {
      if (previous === undefined) this.#keys.splice(this.#position(key), 0, key);
      this.#values.set(key, op.value);
      this.bytes += key.length + op.value.length;
    } else if (previous !== undefined) {
      this.#keys.splice(this.#position(key), 1);
      this.#values.delete(key);
    }
  }

  scan(range: Parameters<Level['scan']>[0]): (readonly [Buffer, Buffer])[] {
    const first = this.#position(range.gte.toString('latin1'));
    const end = this.#position(range.lt.toString('latin1'));
    const rows: (readonly [Buffer, Buffer])[] = [];
    let bytes = 0;
    for (let i = 0; first + i < end && rows.length < range.limit && bytes <= SCAN_BYTES_MAX; i++) {
      const key = this.#keys[range.reverse === true ? end - 1 - i : first + i];
      const value = key === undefined ? undefined : this.#values.get(key);
      assert(key !== undefined && value !== undefined, 'keys and values go together');
      const copy = range.keysOnly === true ? Buffer.alloc(0) : Buffer.from(value);
      rows.push([Buffer.from(key, 'latin1'), copy]);
      bytes += key.length + copy.length;
    }
    return rows;
  }

  copy(): SortedMap {
    const copy = new SortedMap();
    copy.#values = new Map(this.#values);
    copy.#keys = [...this.#keys];
    copy.bytes = this.bytes;
    return copy;
  }

  /** Index of the first key at or above `key`. */
  #position(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] ?? '') < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
