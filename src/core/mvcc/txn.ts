import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import { checkDeleteRange, checkPut, checkTxn } from './check.ts';
import { compareAll } from './compare.ts';
import type { Commit } from './event.ts';
import type { History } from './history.ts';
import type {
  DeleteRangeRequest,
  DeleteRangeResult,
  PutRequest,
  PutResult,
  RangeRequest,
  RangeResult,
  RequestOp,
  ResponseOp,
  TxnRequest,
  TxnResult,
} from './operations.ts';
import { beginRange, type RangePlan, type ReadableRevisions } from './range.ts';
import { NIL } from './row-table.ts';
import type { WriteTxn } from './write-txn.ts';

/** What executing a request needs to know of leases. */
export interface LeaseView {
  has(id: bigint): boolean;
}

/** @throws StoreError `empty-key`, `value-provided`, `lease-provided`, `lease-not-found`, `key-not-found` */
export function executePut(options: {
  readonly begin: () => WriteTxn;
  readonly history: History;
  readonly request: PutRequest;
  readonly leases: LeaseView;
}): { readonly result: PutResult; readonly commit: Commit } {
  const { request } = options;
  checkPut(request);
  checkLease(request, options.leases);
  checkKept(request, options.history);
  const txn = options.begin();
  const result = txn.put(request);
  return { result, commit: txn.commit() };
}

/** @throws StoreError `empty-key` */
export function executeDeleteRange(options: {
  readonly begin: () => WriteTxn;
  readonly request: DeleteRangeRequest;
}): { readonly result: DeleteRangeResult; readonly commit: Commit } {
  checkDeleteRange(options.request);
  const txn = options.begin();
  const result = txn.deleteRange(options.request);
  return { result, commit: txn.commit() };
}

/**
 * A transaction in etcd's three passes: all comparisons, nested ones included, on the state before it; then every
 * operation of the branches taken is checked on that same state, in order; then they are executed.
 *
 * @throws StoreError what `checkTxn` throws, `key-not-found`, `lease-not-found`, `compacted`, `future-revision`
 */
export function executeTxn(options: {
  readonly begin: () => WriteTxn;
  readonly history: History;
  readonly revisions: ReadableRevisions;
  readonly request: TxnRequest;
  readonly leases: LeaseView;
}): { readonly result: TxnResult; readonly commit: Commit } {
  checkTxn(options.request, { opsMax: Infinity });
  const plan = planOf(options.history, options.request);
  checkPlan(plan, options);
  const txn = options.begin();
  const result = executePlan(plan, txn);
  return { result, commit: txn.commit() };
}

/** A transaction that only reads, decided; large ranges of it are yet to be loaded. */
export interface TxnPlan {
  readonly type: 'txn-plan';
  readonly revision: number;
  readonly succeeded: boolean;
  readonly responses: readonly (RangeResult | RangePlan | TxnPlan)[];
}

/**
 * Decides a transaction that only reads as `executeTxn` does, and reads ranges until `bytesMax` is used up.
 *
 * @throws StoreError what `executeTxn` throws
 */
export function beginTxn(options: {
  readonly history: History;
  readonly revisions: ReadableRevisions;
  readonly request: TxnRequest;
  readonly leases: LeaseView;
  readonly bytesMax: number;
}): TxnPlan {
  checkTxn(options.request, { opsMax: Infinity });
  const plan = planOf(options.history, options.request);
  checkPlan(plan, options);
  const room = { bytes: options.bytesMax };
  const revision = options.revisions.currentRevision;
  return beginPlan({ plan, revision }, (request) => {
    const begun = beginRange(options.history, options.revisions, { request, bytesMax: room.bytes });
    if (begun.type === 'range') room.bytes -= resultBytes(begun);
    return begun;
  });
}

function beginPlan(
  { plan, revision }: { readonly plan: Plan; readonly revision: number },
  begin: (request: RangeRequest) => RangeResult | RangePlan,
): TxnPlan {
  const responses = plan.steps.map((step) => {
    assert(step.type === 'range' || step.type === 'plan', 'a transaction that only reads');
    return step.type === 'range' ? begin(step) : beginPlan({ plan: step, revision }, begin);
  });
  return { type: 'txn-plan', revision, succeeded: plan.succeeded, responses };
}

function resultBytes({ kvs }: RangeResult): number {
  return kvs.reduce((bytes, kv) => bytes + kv.key.length + kv.value.length, 0);
}

/** A transaction whose comparisons are made: the branch taken. */
interface Plan {
  readonly type: 'plan';
  readonly succeeded: boolean;
  readonly steps: readonly (Exclude<RequestOp, TxnRequest> | Plan)[];
}

function planOf(history: History, request: TxnRequest): Plan {
  const succeeded = compareAll(history, request.compare);
  const ops = succeeded ? request.success : request.failure;
  const steps = ops.map((op) => (op.type === 'txn' ? planOf(history, op) : op));
  return { type: 'plan', succeeded, steps };
}

interface CheckOptions {
  readonly history: History;
  readonly revisions: ReadableRevisions;
  readonly leases: LeaseView;
}

function checkPlan(plan: Plan, options: CheckOptions): void {
  for (const step of plan.steps) {
    switch (step.type) {
      case 'range':
        checkRevision(step, options.revisions);
        break;
      case 'put':
        checkKept(step, options.history);
        checkLease(step, options.leases);
        break;
      case 'delete-range':
        break;
      case 'plan':
        checkPlan(step, options);
        break;
    }
  }
}

/** Unlike in a plain range, a negative revision below the compaction is compacted: etcd's rule within transactions. */
function checkRevision({ revision }: RangeRequest, revisions: ReadableRevisions): void {
  if (revision === 0) return;
  if (revision > revisions.currentRevision) throw new StoreError('future-revision');
  if (revision < revisions.compactRevision) throw new StoreError('compacted');
}

function checkKept(request: PutRequest, history: History): void {
  if (!request.ignoreValue && !request.ignoreLease) return;
  const head = history.head(request.key.toString('latin1'));
  if (head === NIL || history.table.isTombstone(head)) throw new StoreError('key-not-found');
}

function checkLease(request: PutRequest, leases: LeaseView): void {
  if (request.lease !== 0n && !leases.has(request.lease)) throw new StoreError('lease-not-found');
}

function executePlan(plan: Plan, txn: WriteTxn): TxnResult {
  const responses: ResponseOp[] = [];
  for (const step of plan.steps) {
    switch (step.type) {
      case 'range':
        responses.push(txn.range(step));
        break;
      case 'put':
        responses.push(txn.put(step));
        break;
      case 'delete-range':
        responses.push(txn.deleteRange(step));
        break;
      case 'plan':
        responses.push(executePlan(step, txn));
        break;
    }
  }
  return { type: 'txn', revision: txn.revision, succeeded: plan.succeeded, responses };
}
