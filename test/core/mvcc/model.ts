import { checkTxn } from '../../../src/core/mvcc/check.ts';
import type { RevisionEvents } from '../../../src/core/mvcc/event.ts';
import type {
  Compare,
  DeleteRangeRequest,
  KeyValue,
  PutRequest,
  RangeRequest,
  RangeResult,
  RequestOp,
  ResponseOp,
  TxnRequest,
} from '../../../src/core/mvcc/operations.ts';
import type { Row } from '../../../src/core/mvcc/row.ts';
import type { LeaseView } from '../../../src/core/mvcc/txn.ts';
import { StoreError } from '../../../src/lib/errors.ts';

type Path = { succeeded: boolean; steps: (Exclude<RequestOp, TxnRequest> | Path)[] };

/** What the store must do, by brute force over a plain list of all rows ever written. */
export class Model {
  rows: Row[] = [];
  current = 1;
  compacted = -1;
  /** Whether the open request changed something. */
  #dirty = false;

  readonly #leases: LeaseView;

  constructor(leases: LeaseView) {
    this.#leases = leases;
  }

  /** Live rows at a revision, in key order. */
  live(main: number): Row[] {
    const newest = new Map<string, Row>();
    for (const row of this.rows) {
      if (row.main <= main) newest.set(row.key.toString('hex'), row);
    }
    return [...newest.values()].filter((row) => !row.tombstone).sort((a, b) => Buffer.compare(a.key, b.key));
  }

  /** The rows that a compaction at `main` keeps. */
  kept(main: number): Row[] {
    return this.rows.filter((row) => {
      if (row.main > main) return true;
      const rivals = this.rows.filter((other) => other.key.equals(row.key) && other.main <= main);
      return rivals.at(-1) === row && (!row.tombstone || row.main === main);
    });
  }

  range(request: RangeRequest): RangeResult {
    const now = this.current + (this.#dirty ? 1 : 0);
    const main = request.revision <= 0 ? now : request.revision;
    if (main > now) throw new StoreError('future-revision');
    if (main < this.compacted) throw new StoreError('compacted');
    const all = this.live(main).filter((row) => within(row.key, request));
    if (request.countOnly) return { type: 'range', revision: now, kvs: [], more: false, count: all.length };
    const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision, limit } = request;
    const bounds = [minModRevision, maxModRevision, minCreateRevision, maxCreateRevision];
    const early = limit > 0 && request.sortOrder === 'none' && bounds.every((bound) => bound === 0);
    let rows = (early ? all.slice(0, limit + 1) : all)
      .filter((row) => minModRevision === 0 || row.main >= minModRevision)
      .filter((row) => maxModRevision === 0 || row.main <= maxModRevision)
      .filter((row) => minCreateRevision === 0 || row.createRevision >= minCreateRevision)
      .filter((row) => maxCreateRevision === 0 || row.createRevision <= maxCreateRevision);
    const sign = request.sortOrder === 'descend' ? -1 : 1;
    rows.sort((a, b) => sign * by(request.sortTarget, a, b));
    const more = limit > 0 && rows.length > limit;
    if (more) rows = rows.slice(0, limit);
    const kvs = rows.map((row) => kv(row, request.keysOnly));
    return { type: 'range', revision: now, kvs, more, count: all.length };
  }

  /** Answers or throws; what it throws leaves nothing behind. */
  apply(request: PutRequest | DeleteRangeRequest | TxnRequest): ResponseOp {
    const before = this.rows;
    this.rows = [...before];
    try {
      return this.#apply(request);
    } catch (error) {
      this.rows = before;
      throw error;
    } finally {
      if (this.#dirty && this.rows !== before) this.current++;
      this.#dirty = false;
    }
  }

  compact(revision: number): void {
    if (revision <= this.compacted) throw new StoreError('compacted');
    if (revision > this.current) throw new StoreError('future-revision');
    this.compacted = revision;
  }

  /** Rows by revision, after the compaction at `collected`. */
  events(from: number, to: number, collected: number): { revision: number; rows: Row[] }[] {
    const groups: { revision: number; rows: Row[] }[] = [];
    for (const row of this.kept(collected)) {
      if (row.main < from || row.main > to) continue;
      if (groups.at(-1)?.revision === row.main) groups.at(-1)!.rows.push(row);
      else groups.push({ revision: row.main, rows: [row] });
    }
    return groups;
  }

  /** The key before an event, or null when it was not there or is compacted. */
  before(event: RevisionEvents['events'][number]): KeyValue | null {
    const main = event.row.main - 1;
    if (main < this.compacted) return null;
    const row = this.live(main).find(({ key }) => key.equals(event.row.key));
    return row === undefined ? null : kv(row, false);
  }

  #apply(request: PutRequest | DeleteRangeRequest | TxnRequest): ResponseOp {
    if (request.type === 'put') {
      if (request.lease !== 0n && !this.#leases.has(request.lease)) throw new StoreError('lease-not-found');
      return this.#put(request);
    }
    if (request.type === 'delete-range') return this.#delete(request);
    checkTxn(request, { opsMax: Infinity });
    const path = this.#path(request);
    this.#check(path);
    return this.#run(path);
  }

  #path(request: TxnRequest): Path {
    const succeeded = request.compare.every((compare) => this.#holds(compare));
    const ops = succeeded ? request.success : request.failure;
    return { succeeded, steps: ops.map((op) => (op.type === 'txn' ? this.#path(op) : op)) };
  }

  #check(path: Path): void {
    for (const step of path.steps) {
      if ('steps' in step) this.#check(step);
      else if (step.type === 'put') {
        const keeps = step.ignoreLease || step.ignoreValue;
        if (keeps && !this.live(this.current).some((row) => row.key.equals(step.key))) {
          throw new StoreError('key-not-found');
        }
        if (step.lease !== 0n && !this.#leases.has(step.lease)) throw new StoreError('lease-not-found');
      } else if (step.type === 'range' && step.revision !== 0) {
        if (step.revision > this.current) throw new StoreError('future-revision');
        if (step.revision < this.compacted) throw new StoreError('compacted');
      }
    }
  }

  #run(path: Path): ResponseOp {
    const responses = path.steps.map((step) => {
      if ('steps' in step) return this.#run(step);
      if (step.type === 'range') return this.range(step);
      return step.type === 'put' ? this.#put(step) : this.#delete(step);
    });
    const revision = this.current + (this.#dirty ? 1 : 0);
    return { type: 'txn', revision, succeeded: path.succeeded, responses };
  }

  #put(request: PutRequest): ResponseOp {
    const old = this.live(this.current + 1).find((row) => row.key.equals(request.key));
    if ((request.ignoreLease || request.ignoreValue) && !old) throw new StoreError('key-not-found');
    this.#write({
      key: request.key,
      tombstone: false,
      createRevision: old?.createRevision ?? this.current + 1,
      version: (old?.version ?? 0) + 1,
      lease: request.ignoreLease ? old!.lease : request.lease,
      value: request.ignoreValue ? old!.value : request.value,
    });
    const prevKv = request.prevKv && old ? kv(old, false) : null;
    return { type: 'put', revision: this.current + 1, prevKv };
  }

  #delete(request: DeleteRangeRequest): ResponseOp {
    const old = this.live(this.current + 1).filter((row) => within(row.key, request));
    for (const { key } of old) {
      this.#write({ key, tombstone: true, createRevision: 0, version: 0, lease: 0n, value: Buffer.alloc(0) });
    }
    const prevKvs = request.prevKv ? old.map((row) => kv(row, false)) : [];
    const revision = this.current + (this.#dirty ? 1 : 0);
    return { type: 'delete-range', revision, deleted: old.length, prevKvs };
  }

  #write(row: Omit<Row, 'main' | 'sub'>): void {
    const main = this.current + 1;
    const sub = this.rows.filter((other) => other.main === main).length;
    this.rows.push({ main, sub, ...row });
    this.#dirty = true;
  }

  #holds(compare: Compare): boolean {
    const rows = this.live(this.current).filter((row) => within(row.key, compare));
    if (rows.length === 0 && compare.target === 'value') return false;
    const zero = { version: 0, createRevision: 0, main: 0, lease: 0n, value: Buffer.alloc(0) };
    return (rows.length === 0 ? [zero] : rows).every((row) => {
      let order: number;
      if (compare.target === 'value') order = Buffer.compare(row.value, compare.value);
      else if (compare.target === 'lease') order = Number(row.lease - compare.lease);
      else {
        const field = { version: row.version, create: row.createRevision, mod: row.main }[compare.target];
        order = field - compare.number;
      }
      return { equal: order === 0, 'not-equal': order !== 0, less: order < 0, greater: order > 0 }[
        compare.result
      ];
    });
  }
}

function within(key: Buffer, { key: start, rangeEnd }: { key: Buffer; rangeEnd: Buffer }): boolean {
  if (rangeEnd.length === 0) return key.equals(start);
  if (Buffer.compare(key, start) < 0) return false;
  return rangeEnd.equals(Buffer.from([0])) || Buffer.compare(key, rangeEnd) < 0;
}

function by(target: RangeRequest['sortTarget'], a: Row, b: Row): number {
  switch (target) {
    case 'key':
      return Buffer.compare(a.key, b.key);
    case 'version':
      return a.version - b.version;
    case 'create':
      return a.createRevision - b.createRevision;
    case 'mod':
      return a.main - b.main;
    case 'value':
      return Buffer.compare(a.value, b.value);
  }
}

function kv(row: Row, keysOnly: boolean): KeyValue {
  const { key, createRevision, version, lease, value } = row;
  return {
    key,
    createRevision,
    modRevision: row.main,
    version,
    lease,
    value: keysOnly ? Buffer.alloc(0) : value,
  };
}
