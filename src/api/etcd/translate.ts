import { checkOp, type SingleOp } from '../../core/mvcc/check.ts';
import type {
  Compare,
  CompareResult,
  CompareTarget,
  DeleteRangeRequest,
  DeleteRangeResult,
  KeyValue,
  PutRequest,
  PutResult,
  RangeRequest,
  RangeResult,
  RequestOp,
  ResponseOp,
  SortOrder,
  SortTarget,
  TxnRequest,
  TxnResult,
} from '../../core/mvcc/operations.ts';
import { unreachable } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Header } from '../../member/client-calls.ts';
import type * as wire from '../../rpc/generated/etcdserverpb/rpc.ts';
import {
  RangeRequest_SortOrder as WireOrder,
  Compare_CompareResult as WireResult,
  RangeRequest_SortTarget as WireSort,
  Compare_CompareTarget as WireTarget,
} from '../../rpc/generated/etcdserverpb/rpc.ts';
import type * as mvccpb from '../../rpc/generated/mvccpb/kv.ts';
import { RpcError, rpcStatus } from '../../rpc/status.ts';

/** Between the wire's messages and the core's operations. */

const EMPTY = Buffer.alloc(0);

/**
 * A client's 64-bit integer as a number. Beyond 2^53 it saturates: a revision in the future, a member that does not
 * exist, a comparison that is false.
 */
export function saturated(value: number | bigint): number {
  if (typeof value === 'number') return value;
  return value > 0n ? Number.MAX_SAFE_INTEGER : Number.MIN_SAFE_INTEGER;
}

/** A 64-bit integer for the wire; the encoder leaves out a default only when it is a number. */
export function wireInteger(value: bigint): number | bigint {
  return value === 0n ? 0 : value;
}

export function wireHeader(header: Header): wire.ResponseHeader {
  return {
    cluster_id: header.clusterId,
    member_id: header.memberId,
    revision: header.revision,
    raft_term: header.raftTerm,
  };
}

export function wireKeyValue(kv: KeyValue): mvccpb.KeyValue {
  return {
    key: kv.key,
    create_revision: kv.createRevision,
    mod_revision: kv.modRevision,
    version: kv.version,
    value: kv.value,
    lease: wireInteger(kv.lease),
  };
}

const SORT_ORDERS: ReadonlyMap<number, SortOrder> = new Map([
  [WireOrder.NONE, 'none'],
  [WireOrder.ASCEND, 'ascend'],
  [WireOrder.DESCEND, 'descend'],
]);
const SORT_TARGETS: ReadonlyMap<number, SortTarget> = new Map([
  [WireSort.KEY, 'key'],
  [WireSort.VERSION, 'version'],
  [WireSort.CREATE, 'create'],
  [WireSort.MOD, 'mod'],
  [WireSort.VALUE, 'value'],
]);

/** @throws StoreError `invalid-sort-option`, unless the key is empty: that is the graver mistake */
export function rangeRequest(request: wire.RangeRequest): RangeRequest {
  const sortOrder = SORT_ORDERS.get(request.sort_order);
  const sortTarget = SORT_TARGETS.get(request.sort_target);
  if (request.key.length > 0 && (sortOrder === undefined || sortTarget === undefined)) {
    throw new StoreError('invalid-sort-option');
  }
  return {
    type: 'range',
    key: request.key,
    rangeEnd: request.range_end,
    limit: Math.max(0, saturated(request.limit)),
    revision: saturated(request.revision),
    sortOrder: sortOrder ?? 'none',
    sortTarget: sortTarget ?? 'key',
    keysOnly: request.keys_only,
    countOnly: request.count_only,
    minModRevision: saturated(request.min_mod_revision),
    maxModRevision: saturated(request.max_mod_revision),
    minCreateRevision: saturated(request.min_create_revision),
    maxCreateRevision: saturated(request.max_create_revision),
  };
}

export function putRequest(request: wire.PutRequest): PutRequest {
  return {
    type: 'put',
    key: request.key,
    value: request.value,
    lease: BigInt(request.lease),
    prevKv: request.prev_kv,
    ignoreValue: request.ignore_value,
    ignoreLease: request.ignore_lease,
  };
}

export function deleteRangeRequest(request: wire.DeleteRangeRequest): DeleteRangeRequest {
  return {
    type: 'delete-range',
    key: request.key,
    rangeEnd: request.range_end,
    prevKv: request.prev_kv,
  };
}

/**
 * Checks as it goes, so that of several mistakes the same one is told as by etcd; `checkTxn` does the rest.
 *
 * @param opsMax as in `checkTxn`
 * @throws StoreError `too-many-ops`; `key-not-found` for an operation that is none (etcd's answer); what the checks
 *   of the single operations throw
 * @throws RpcError `invalid-argument` for a comparison of an unknown kind
 */
export function txnRequest(request: wire.TxnRequest, opsMax: number): TxnRequest {
  const ops = Math.max(request.compare.length, request.success.length, request.failure.length);
  if (ops > opsMax) throw new StoreError('too-many-ops');
  return {
    type: 'txn',
    compare: request.compare.map(compare),
    success: request.success.map((op) => requestOp(op, opsMax - ops)),
    failure: request.failure.map((op) => requestOp(op, opsMax - ops)),
  };
}

/** True when everything in both branches is a serializable range; as in etcd an inner transaction never counts. */
export function isSerializable(request: wire.TxnRequest): boolean {
  return [...request.success, ...request.failure].every((op) => op.request_range?.serializable === true);
}

/** True when a branch holds anything but ranges; as in etcd an inner transaction counts as a write. */
export function writes(request: wire.TxnRequest): boolean {
  return [...request.success, ...request.failure].some((op) => !op.request_range);
}

function requestOp(op: wire.RequestOp, opsMax: number): RequestOp {
  if (op.request_txn) return txnRequest(op.request_txn, opsMax);
  const checked = singleOp(op);
  checkOp(checked);
  return checked;
}

function singleOp(op: wire.RequestOp): SingleOp {
  if (op.request_range) return rangeRequest(op.request_range);
  if (op.request_put) return putRequest(op.request_put);
  if (op.request_delete_range) return deleteRangeRequest(op.request_delete_range);
  throw new StoreError('key-not-found');
}

const COMPARE_RESULTS: ReadonlyMap<number, CompareResult> = new Map([
  [WireResult.EQUAL, 'equal'],
  [WireResult.GREATER, 'greater'],
  [WireResult.LESS, 'less'],
  [WireResult.NOT_EQUAL, 'not-equal'],
]);

function compare(request: wire.Compare): Compare {
  if (request.key.length === 0) throw new StoreError('empty-key');
  const result = COMPARE_RESULTS.get(request.result);
  if (result === undefined) throw invalidComparison();
  return { ...compareTarget(request), result, key: request.key, rangeEnd: request.range_end };
}

/** What is compared with; when the union holds another member than the target names, that member's zero. */
function compareTarget(request: wire.Compare): CompareTarget {
  switch (request.target) {
    case WireTarget.VERSION:
      return { target: 'version', number: saturated(request.version ?? 0) };
    case WireTarget.CREATE:
      return { target: 'create', number: saturated(request.create_revision ?? 0) };
    case WireTarget.MOD:
      return { target: 'mod', number: saturated(request.mod_revision ?? 0) };
    case WireTarget.VALUE:
      return { target: 'value', value: request.value ?? EMPTY };
    case WireTarget.LEASE:
      return { target: 'lease', lease: BigInt(request.lease ?? 0) };
    default:
      throw invalidComparison();
  }
}

function invalidComparison(): RpcError {
  return new RpcError(rpcStatus.invalidArgument, 'etcdserver: invalid comparison');
}

export function rangeResponse(result: RangeResult, header: wire.ResponseHeader): wire.RangeResponse {
  return { header, kvs: result.kvs.map(wireKeyValue), more: result.more, count: result.count };
}

export function putResponse(result: PutResult, header: wire.ResponseHeader): wire.PutResponse {
  return { header, prev_kv: result.prevKv === null ? null : wireKeyValue(result.prevKv) };
}

export function deleteRangeResponse(
  result: DeleteRangeResult,
  header: wire.ResponseHeader,
): wire.DeleteRangeResponse {
  return { header, deleted: result.deleted, prev_kvs: result.prevKvs.map(wireKeyValue) };
}

export function txnResponse(result: TxnResult, header: wire.ResponseHeader): wire.TxnResponse {
  return { header, succeeded: result.succeeded, responses: result.responses.map(responseOp) };
}

/** Answers inside a transaction carry its revision only, those of inner transactions nothing, as etcd's. */
export function innerHeader({ type, revision }: ResponseOp): wire.ResponseHeader {
  return { cluster_id: 0, member_id: 0, revision: type === 'txn' ? 0 : revision, raft_term: 0 };
}

export function responseOp(result: ResponseOp): wire.ResponseOp {
  const header = innerHeader(result);
  switch (result.type) {
    case 'range':
      return { response_range: rangeResponse(result, header) };
    case 'put':
      return { response_put: putResponse(result, header) };
    case 'delete-range':
      return { response_delete_range: deleteRangeResponse(result, header) };
    case 'txn':
      return { response_txn: txnResponse(result, header) };
    default:
      return unreachable(result);
  }
}
