import { unreachable } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import type { KeyRange } from './key-index.ts';
import { KeyIntervals } from './key-intervals.ts';
import { keysOf } from './key-range.ts';
import type { DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest } from './operations.ts';

/**
 * What can be said of a request without the store. A face checks before it proposes; the store checks again, since a
 * request that breaks these rules could fail half-way.
 */

/** @throws StoreError `empty-key`, `invalid-sort-option` */
export function checkRange(request: RangeRequest): void {
  if (request.key.length === 0) throw new StoreError('empty-key');
  if (!SORT_ORDERS.has(request.sortOrder) || !SORT_TARGETS.has(request.sortTarget)) {
    throw new StoreError('invalid-sort-option');
  }
}
const SORT_ORDERS: ReadonlySet<string> = new Set(['none', 'ascend', 'descend']);
const SORT_TARGETS: ReadonlySet<string> = new Set(['key', 'version', 'create', 'mod', 'value']);

/** @throws StoreError `empty-key`, `value-provided`, `lease-provided` */
export function checkPut(request: PutRequest): void {
  if (request.key.length === 0) throw new StoreError('empty-key');
  if (request.ignoreValue && request.value.length > 0) throw new StoreError('value-provided');
  if (request.ignoreLease && request.lease !== 0n) throw new StoreError('lease-provided');
}

/** @throws StoreError `empty-key` */
export function checkDeleteRange(request: DeleteRangeRequest): void {
  if (request.key.length === 0) throw new StoreError('empty-key');
}

/**
 * Checks both branches of a transaction, nested ones included. `opsMax` bounds the longest of compare, success and
 * failure; what that leaves bounds each nested transaction. A key may be put once, and not be deleted beside;
 * branches that exclude each other may both put it. A range to the end of all keys counts as such (etcd overlooks
 * that one, and a delete before a put that keeps the value would then fail half-way).
 *
 * @throws StoreError `too-many-ops`, `duplicate-key`, and what the checks of the single operations throw
 */
export function checkTxn(request: TxnRequest, limits: { readonly opsMax: number }): void {
  checkOps(request, limits.opsMax);
  checkOverlaps(request.success);
  checkOverlaps(request.failure);
}

function checkOps(request: TxnRequest, opsMax: number): void {
  const ops = Math.max(request.compare.length, request.success.length, request.failure.length);
  if (ops > opsMax) throw new StoreError('too-many-ops');
  for (const compare of request.compare) {
    if (compare.key.length === 0) throw new StoreError('empty-key');
  }
  for (const op of request.success) checkNested(op, opsMax - ops);
  for (const op of request.failure) checkNested(op, opsMax - ops);
}

function checkNested(op: RequestOp, opsMax: number): void {
  if (op.type === 'txn') checkOps(op, opsMax);
  else checkOp(op);
}

/** What a transaction consists of, but for transactions. */
export type SingleOp = Exclude<RequestOp, TxnRequest>;

/** @throws StoreError what the check of its kind throws */
export function checkOp(op: SingleOp): void {
  switch (op.type) {
    case 'range':
      return checkRange(op);
    case 'put':
      return checkPut(op);
    case 'delete-range':
      return checkDeleteRange(op);
    default:
      return unreachable(op);
  }
}

interface Writes {
  readonly puts: Set<string>;
  readonly deletes: DeletedRanges;
}

/** Returns what one branch writes, its nested transactions included. */
function checkOverlaps(ops: readonly RequestOp[]): Writes {
  const puts = new Set<string>();
  const deletes = new DeletedRanges();
  for (const op of ops) {
    if (op.type === 'delete-range') deletes.add(keysOf(op));
  }
  for (const op of ops) {
    if (op.type === 'txn') addNested(op, { puts, deletes });
  }
  for (const op of ops) {
    if (op.type === 'put') addPut(op.key.toString('latin1'), { puts, deletes });
  }
  return { puts, deletes };
}

function addNested(txn: TxnRequest, writes: Writes): void {
  const success = checkOverlaps(txn.success);
  const failure = checkOverlaps(txn.failure);
  for (const key of success.puts) addPut(key, writes);
  for (const key of failure.puts) {
    if (!success.puts.has(key)) addPut(key, writes);
  }
  writes.deletes.addAll(success.deletes);
  writes.deletes.addAll(failure.deletes);
}

function addPut(key: string, { puts, deletes }: Writes): void {
  if (puts.has(key) || deletes.has(key)) throw new StoreError('duplicate-key');
  puts.add(key);
}

/** A union of key ranges, merged when it is first asked after a change. */
class DeletedRanges {
  readonly #ranges: KeyRange[] = [];
  #merged: KeyIntervals | null = null;

  add(range: KeyRange): void {
    this.#ranges.push(range);
    this.#merged = null;
  }

  addAll(other: DeletedRanges): void {
    for (const range of other.#ranges) this.add(range);
  }

  has(key: string): boolean {
    this.#merged ??= new KeyIntervals(this.#ranges);
    return this.#merged.has(key);
  }
}
