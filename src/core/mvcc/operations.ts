/**
 * The key-value operations with etcd's semantics, as plain data: what a face decodes, a command carries and the
 * store executes. `rangeEnd` follows etcd: empty = the single key; `\0` = every key >= `key`; else [key, rangeEnd).
 * Client integers beyond 2^53 were saturated by the face.
 */

export type SortOrder = 'none' | 'ascend' | 'descend';
export type SortTarget = 'key' | 'version' | 'create' | 'mod' | 'value';

export interface RangeRequest {
  readonly type: 'range';
  readonly key: Buffer;
  readonly rangeEnd: Buffer;
  /** 0 = no limit. */
  readonly limit: number;
  /** 0 or below = the current revision. */
  readonly revision: number;
  readonly sortOrder: SortOrder;
  readonly sortTarget: SortTarget;
  readonly keysOnly: boolean;
  readonly countOnly: boolean;
  /** Bounds on the mod and create revisions of what is returned; 0 = unbounded. They do not change `count`. */
  readonly minModRevision: number;
  readonly maxModRevision: number;
  readonly minCreateRevision: number;
  readonly maxCreateRevision: number;
}
export interface PutRequest {
  readonly type: 'put';
  readonly key: Buffer;
  readonly value: Buffer;
  readonly lease: bigint;
  readonly prevKv: boolean;
  readonly ignoreValue: boolean;
  readonly ignoreLease: boolean;
}
export interface DeleteRangeRequest {
  readonly type: 'delete-range';
  readonly key: Buffer;
  readonly rangeEnd: Buffer;
  readonly prevKv: boolean;
}
export type CompareResult = 'equal' | 'greater' | 'less' | 'not-equal';
export type CompareTarget =
  | { readonly target: 'version' | 'create' | 'mod'; readonly number: number }
  | { readonly target: 'value'; readonly value: Buffer }
  | { readonly target: 'lease'; readonly lease: bigint };
export type Compare = CompareTarget & {
  readonly result: CompareResult;
  readonly key: Buffer;
  /** Non-empty: every key of the range must satisfy the comparison. */
  readonly rangeEnd: Buffer;
};
export interface TxnRequest {
  readonly type: 'txn';
  readonly compare: readonly Compare[];
  readonly success: readonly RequestOp[];
  readonly failure: readonly RequestOp[];
}
export type RequestOp = RangeRequest | PutRequest | DeleteRangeRequest | TxnRequest;

/** A key as a client sees it. With `keysOnly` the value is empty. */
export interface KeyValue {
  readonly key: Buffer;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  readonly value: Buffer;
  readonly lease: bigint;
}

/** `revision` in every result is the store's revision that the answer's header carries. */
export interface RangeResult {
  readonly type: 'range';
  readonly revision: number;
  readonly kvs: readonly KeyValue[];
  readonly more: boolean;
  /** All keys in the range at the revision, whatever `limit` and the bounds say. */
  readonly count: number;
}
export interface PutResult {
  readonly type: 'put';
  readonly revision: number;
  readonly prevKv: KeyValue | null;
}
export interface DeleteRangeResult {
  readonly type: 'delete-range';
  readonly revision: number;
  readonly deleted: number;
  readonly prevKvs: readonly KeyValue[];
}
export interface TxnResult {
  readonly type: 'txn';
  readonly revision: number;
  readonly succeeded: boolean;
  readonly responses: readonly ResponseOp[];
}
export type ResponseOp = RangeResult | PutResult | DeleteRangeResult | TxnResult;

/** A request by what is said of it; what is not said has its default. */
type Said<T, Needed extends keyof T> = Pick<T, Needed> & Partial<Omit<T, 'type'>>;

const ONE_KEY = Buffer.alloc(0);
const RANGE_DEFAULTS = {
  type: 'range',
  rangeEnd: ONE_KEY,
  limit: 0,
  revision: 0,
  sortOrder: 'none',
  sortTarget: 'key',
  keysOnly: false,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
} as const;
const PUT_DEFAULTS = {
  type: 'put',
  lease: 0n,
  prevKv: false,
  ignoreValue: false,
  ignoreLease: false,
} as const;
const DELETE_DEFAULTS = { type: 'delete-range', rangeEnd: ONE_KEY, prevKv: false } as const;

/** By default the one key, as it is now, whole. */
export function rangeRequest(said: Said<RangeRequest, 'key'>): RangeRequest {
  return { ...RANGE_DEFAULTS, ...said };
}

/** By default without a lease, and nothing is answered of what was there. */
export function putRequest(said: Said<PutRequest, 'key' | 'value'>): PutRequest {
  return { ...PUT_DEFAULTS, ...said };
}

/** By default the one key, and nothing is answered of what was there. */
export function deleteRequest(said: Said<DeleteRangeRequest, 'key'>): DeleteRangeRequest {
  return { ...DELETE_DEFAULTS, ...said };
}

/** Whether a transaction, nested ones included, has nothing to write in either branch. */
export function isReadOnly(txn: TxnRequest): boolean {
  const reads = (op: RequestOp): boolean => op.type === 'range' || (op.type === 'txn' && isReadOnly(op));
  return txn.success.every(reads) && txn.failure.every(reads);
}
