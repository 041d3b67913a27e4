import { isDeepStrictEqual } from 'node:util';
import { crc32 } from 'node:zlib';
import type { Row, SetHash } from '../../../src/core/mvcc/row.ts';
import type { StateBatch, StateMarker, TableRow } from '../../../src/core/state.ts';
import { StoreError } from '../../../src/lib/errors.ts';
import type { Clock, Random, StateReceiver } from '../../../src/member/ports.ts';
import { seededRandom } from './seeded-random.ts';

/** Every key that a history touches. */
const KEYS = ['a', 'b', 'c', 'd', 'e'].map((name) => Buffer.from(`key/${name}`));
const TABLE_IDS = ['1', '22', '333'].map((name) => Buffer.from(name));

/**
 * A small replicated state machine whose log is a function of a seed: entry `index` always does the same to the
 * same state. It does what the real core does to a state store and verifies what recovery gives it.
 */
export class ModelCore implements StateReceiver {
  readonly seed: number;
  /** Rows that no finished compaction has dropped, by revision, ascending. */
  rows: Row[] = [];
  readonly tables = new Map<string, TableRow>();
  /** What `finish` dropped: rows that were still on disk. */
  leftovers: Row[] = [];
  appliedIndex = 0;
  currentRevision = 1;
  compactRevision = 0;
  hashCompactRevision = 0;
  #newRows: Row[] = [];
  #newTables = new Map<string, TableRow>();

  constructor(seed: number) {
    this.seed = seed;
  }

  /** The state after entries 1 to `index`, compacted at `hashCompactRevision`. */
  static at(seed: number, { appliedIndex, hashCompactRevision }: StateMarker): ModelCore {
    const core = new ModelCore(seed);
    while (core.appliedIndex < appliedIndex) core.applyNext();
    core.#drop(hashCompactRevision);
    return core;
  }

  applyNext(): void {
    this.appliedIndex += 1;
    const random = seededRandom(this.seed * 7919 + this.appliedIndex);
    const kind = random.integer(10);
    if (kind < 5) this.#change([this.#pick(random)], random);
    else if (kind < 6) this.#change(KEYS, random);
    else if (kind < 8) this.#changeTable(random);
    else if (kind < 9) this.#compact(this.currentRevision - random.integer(3));
  }

  /** Ends the pending compaction; returns the rows that it dropped. */
  finishCompaction(): Row[] {
    return this.#drop(this.compactRevision);
  }

  takeBatch(): StateBatch {
    const batch = { rows: this.#newRows, tables: [...this.#newTables.values()], marker: this.marker() };
    this.#newRows = [];
    this.#newTables = new Map();
    return batch;
  }

  marker(): StateMarker {
    return {
      appliedIndex: this.appliedIndex,
      appliedTerm: 1 + Math.floor(this.appliedIndex / 10),
      currentRevision: this.currentRevision,
      compactRevision: this.compactRevision,
      hashCompactRevision: this.hashCompactRevision,
      confState: { voters: [1, 2, 3], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
      applyHash: { a: this.appliedIndex, b: this.seed },
      rowSetHash: setHash(this.rows.map(rowText)),
      rowCount: this.rows.length,
      tableSetHash: setHash([...this.tables.values()].map(tableText)),
    };
  }

  row(row: Row): void {
    this.rows.push(row);
  }

  table(row: TableRow): void {
    this.tables.set(tableName(row), row);
  }

  finish(marker: StateMarker): void {
    Object.assign(this, {
      appliedIndex: marker.appliedIndex,
      currentRevision: marker.currentRevision,
      compactRevision: marker.compactRevision,
    });
    this.leftovers = this.#drop(marker.hashCompactRevision);
    const found = this.marker();
    if (!isDeepStrictEqual(found, marker)) {
      throw new StoreError('data-dir-corrupt', `hashes differ: ${JSON.stringify([found, marker])}`);
    }
  }

  /** Everything that must survive, for comparison. */
  contents(): readonly string[] {
    return [...this.rows.map(rowText), ...[...this.tables.values()].map(tableText).toSorted()];
  }

  #pick(random: Random): Buffer {
    return KEYS[random.integer(KEYS.length)]!;
  }

  #change(keys: readonly Buffer[], random: Random): void {
    const main = this.currentRevision + 1;
    const value = Buffer.alloc(random.integer(40), this.appliedIndex);
    const remove = random.integer(3) === 0;
    let sub = 0;
    for (const key of keys) {
      const previous = this.rows.findLast((row) => row.key.equals(key));
      const live = previous !== undefined && !previous.tombstone;
      if (remove && !live) continue;
      const row: Row = {
        main,
        sub,
        tombstone: remove,
        createRevision: remove ? 0 : live ? previous.createRevision : main,
        version: remove ? 0 : live ? previous.version + 1 : 1,
        lease: remove ? 0n : BigInt(this.appliedIndex) * -3n,
        key,
        value: remove ? Buffer.alloc(0) : value,
      };
      sub += 1;
      this.rows.push(row);
      this.#newRows.push(row);
    }
    if (sub > 0) this.currentRevision = main;
  }

  #changeTable(random: Random): void {
    const id = TABLE_IDS[random.integer(TABLE_IDS.length)]!;
    const table = random.integer(2) === 0 ? 'lease' : 'alarm';
    const removed = random.integer(3) === 0;
    const row: TableRow = { table, id, value: removed ? null : Buffer.from(`at ${this.appliedIndex}`) };
    if (removed) this.tables.delete(tableName(row));
    else this.tables.set(tableName(row), row);
    this.#newTables.set(tableName(row), row);
  }

  #compact(revision: number): void {
    if (revision > this.compactRevision) this.compactRevision = revision;
  }

  /** Keeps, of each key, what is above `revision` and the newest at or below it unless that is an older removal. */
  #drop(revision: number): Row[] {
    this.hashCompactRevision = revision;
    const newest = new Map<string, Row>();
    for (const row of this.rows) if (row.main <= revision) newest.set(row.key.toString(), row);
    const kept = (row: Row): boolean =>
      row.main > revision ||
      (newest.get(row.key.toString()) === row && (!row.tombstone || row.main === revision));
    const dropped = this.rows.filter((row) => !kept(row));
    this.rows = this.rows.filter(kept);
    return dropped;
  }
}

function rowText(row: Row): string {
  return JSON.stringify([
    row.main,
    row.sub,
    row.tombstone,
    row.createRevision,
    row.version,
    `${row.lease}`,
  ]).concat(row.key.toString('hex'), '=', row.value.toString('hex'));
}

function tableName(row: TableRow): string {
  return `${row.table}/${row.id.toString('hex')}`;
}

function tableText(row: TableRow): string {
  return `${tableName(row)}=${row.value?.toString('hex')}`;
}

function setHash(items: readonly string[]): SetHash {
  let a = 0;
  let b = 0;
  for (const item of items) {
    a = (a + crc32(item)) | 0;
    b = (b + Math.imul(crc32(item, 17), 0x9e3779b1)) >>> 0;
  }
  return { a, b };
}

/** Timers fire when the test says so. */
export class ManualClock implements Pick<Clock, 'setTimer'> {
  #callbacks = new Set<() => void>();

  setTimer(callback: () => void): { cancel(): void } {
    this.#callbacks.add(callback);
    return { cancel: () => this.#callbacks.delete(callback) };
  }

  get waiting(): number {
    return this.#callbacks.size;
  }

  fire(): void {
    const callbacks = [...this.#callbacks];
    this.#callbacks.clear();
    for (const callback of callbacks) callback();
  }
}

/** A disk whose directories need no syncing. */
export const NO_DISK = {
  makeDirectory: async () => {},
  syncDirectory: async () => {},
  remove: async () => {},
};
