import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import { checkDeleteRange, checkPut } from './check.ts';
import type { Commit, KvEvent } from './event.ts';
import type { History } from './history.ts';
import type {
  DeleteRangeRequest,
  DeleteRangeResult,
  KeyValue,
  PutRequest,
  PutResult,
  RangeRequest,
  RangeResult,
} from './operations.ts';
import type { ReadableRevisions } from './range.ts';
import { executeRange, keyValue, liveSlots } from './range.ts';
import type { Row } from './row.ts';
import { NIL } from './row-table.ts';

const EMPTY_VALUE = Buffer.alloc(0);
/** Of all transactions that change nothing. */
const NO_ROWS: Row[] = [];
const NO_EVENTS: KvEvent[] = [];
Object.freeze(NO_ROWS);
Object.freeze(NO_EVENTS);

/**
 * One mutating request: all its changes get one main revision and subs from 0. Reads see its own changes. It writes
 * straight into the history, so there is no way back; each operation fails before it changes anything. Without a
 * change the revision stays.
 */
export class WriteTxn {
  readonly #history: History;
  readonly #baseRevision: number;
  readonly #compactRevision: number;
  readonly #onCommit: (revision: number) => void;
  #rows: Row[] = NO_ROWS;
  #events: KvEvent[] = NO_EVENTS;
  #open = true;

  constructor(history: History, revisions: ReadableRevisions, onCommit: (revision: number) => void) {
    this.#history = history;
    this.#baseRevision = revisions.currentRevision;
    this.#compactRevision = revisions.compactRevision;
    this.#onCommit = onCommit;
  }

  /** The store's revision were it committed now. */
  get revision(): number {
    return this.#rows.length > 0 ? this.#baseRevision + 1 : this.#baseRevision;
  }

  /** @throws StoreError as `Store.range` */
  range(request: RangeRequest): RangeResult {
    assert(this.#open, 'a read in a committed transaction');
    const revisions = { currentRevision: this.revision, compactRevision: this.#compactRevision };
    return executeRange(this.#history, revisions, request);
  }

  /**
   * The lease is not looked up: who calls knows that it exists.
   *
   * @throws StoreError `empty-key`, `value-provided`, `lease-provided`; `key-not-found` when what is to be kept of a
   *   key is not there
   */
  put(request: PutRequest): PutResult {
    assert(this.#open, 'a write in a committed transaction');
    checkPut(request);
    const history = this.#history;
    const { table } = history;
    const key = request.key.toString('latin1');
    const head = history.head(key);
    const live = head === NIL || table.isTombstone(head) ? NIL : head;
    if ((request.ignoreValue || request.ignoreLease) && live === NIL) throw new StoreError('key-not-found');
    const old = live !== NIL && (request.prevKv || request.ignoreValue) ? history.load(live) : null;
    const main = this.#baseRevision + 1;
    const row: Row = {
      main,
      sub: this.#rows.length,
      tombstone: false,
      createRevision: live === NIL ? main : table.createRevision(live),
      version: live === NIL ? 1 : table.version(live) + 1,
      lease: request.ignoreLease ? table.lease(live) : request.lease,
      key: request.key,
      value: request.ignoreValue ? old!.value : request.value,
    };
    this.#append(row, key, head);
    return { type: 'put', revision: main, prevKv: request.prevKv && old !== null ? keyValue(old) : null };
  }

  /** @throws StoreError `empty-key` */
  deleteRange(request: DeleteRangeRequest): DeleteRangeResult {
    assert(this.#open, 'a write in a committed transaction');
    checkDeleteRange(request);
    const slots = liveSlots(this.#history, request);
    const prevKvs: KeyValue[] = request.prevKv ? slots.map((slot) => keyValue(this.#history.load(slot))) : [];
    for (const slot of slots) this.#delete(slot);
    return { type: 'delete-range', revision: this.revision, deleted: slots.length, prevKvs };
  }

  /** Ends it; the store's revision moves if anything changed. */
  commit(): Commit {
    assert(this.#open, 'a transaction committed twice');
    this.#open = false;
    this.#history.setOpenRows(NO_ROWS);
    this.#onCommit(this.revision);
    return { revision: this.revision, events: this.#events, rows: this.#rows };
  }

  #delete(slot: number): void {
    const history = this.#history;
    const key = history.table.key(slot);
    const row: Row = {
      main: this.#baseRevision + 1,
      sub: this.#rows.length,
      tombstone: true,
      createRevision: 0,
      version: 0,
      lease: 0n,
      key: history.keyBytes(slot),
      value: EMPTY_VALUE,
    };
    this.#append(row, key, history.head(key));
  }

  #append(row: Row, key: string, head: number): void {
    const history = this.#history;
    if (row.sub > 0) {
      this.#rows.push(row);
      this.#events.push(history.event(history.append(row, key, head), row));
      return;
    }
    // Most transactions change one key: lists of one have no room to spare.
    this.#rows = [row];
    history.setOpenRows(this.#rows);
    this.#events = [history.event(history.append(row, key, head), row)];
  }
}
