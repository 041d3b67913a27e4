import { StoreError } from '../lib/errors.ts';
import { checkForm, Fields, int64, type Packed } from '../lib/packed.ts';
import type {
  Compare,
  CompareResult,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  SortOrder,
  SortTarget,
  TxnRequest,
} from './mvcc/operations.ts';

/** Transactions within transactions, at most; the outermost counts. */
export const TXN_DEPTH_MAX = 32;

// Positions are the numbers in the log: only ever append.
const OP_TYPES = ['put', 'delete-range', 'txn', 'range'] as const satisfies readonly RequestOp['type'][];
const SORT_ORDERS = ['none', 'ascend', 'descend'] as const satisfies readonly SortOrder[];
const SORT_TARGETS = ['key', 'version', 'create', 'mod', 'value'] as const satisfies readonly SortTarget[];
const COMPARE_RESULTS = ['equal', 'greater', 'less', 'not-equal'] as const satisfies readonly CompareResult[];
const COMPARE_TARGETS = [
  'version',
  'create',
  'mod',
  'value',
  'lease',
] as const satisfies readonly Compare['target'][];

/** The log fields of the key-value operations, without their type number. */
export function packPut(put: PutRequest): readonly Packed[] {
  return [put.key, put.value, int64(put.lease), flags(put.prevKv, put.ignoreValue, put.ignoreLease)];
}

export function unpackPut(fields: Fields): PutRequest {
  const key = fields.bytes();
  const value = fields.bytes();
  const lease = fields.int64();
  const bits = flagBits(fields, 3);
  return {
    type: 'put',
    key,
    value,
    lease,
    prevKv: (bits & 1) !== 0,
    ignoreValue: (bits & 2) !== 0,
    ignoreLease: (bits & 4) !== 0,
  };
}

export function packDeleteRange({ key, rangeEnd, prevKv }: DeleteRangeRequest): readonly Packed[] {
  return [key, rangeEnd, prevKv];
}

export function unpackDeleteRange(fields: Fields): DeleteRangeRequest {
  return { type: 'delete-range', key: fields.bytes(), rangeEnd: fields.bytes(), prevKv: fields.boolean() };
}

/** @throws StoreError `too-many-ops` when transactions nest deeper than `TXN_DEPTH_MAX` */
export function packTxn(txn: TxnRequest, depth = 1): readonly Packed[] {
  if (depth > TXN_DEPTH_MAX) throw new StoreError('too-many-ops', 'transactions nest too deep');
  return [
    txn.compare.map(packCompare),
    txn.success.map((op) => packOp(op, depth)),
    txn.failure.map((op) => packOp(op, depth)),
  ];
}

export function unpackTxn(fields: Fields, depth = 1): TxnRequest {
  checkForm(depth <= TXN_DEPTH_MAX, 'transactions nest too deep');
  return {
    type: 'txn',
    compare: fields.list(unpackCompare),
    success: fields.list((op) => unpackOp(op, depth)),
    failure: fields.list((op) => unpackOp(op, depth)),
  };
}

function packOp(op: RequestOp, depth: number): readonly Packed[] {
  const type = OP_TYPES.indexOf(op.type);
  switch (op.type) {
    case 'put':
      return [type, ...packPut(op)];
    case 'delete-range':
      return [type, ...packDeleteRange(op)];
    case 'txn':
      return [type, ...packTxn(op, depth + 1)];
    case 'range':
      return [type, ...packRange(op)];
  }
}

function unpackOp(value: Packed, depth: number): RequestOp {
  const fields = new Fields(value);
  const op = unpackOpOf(fields.oneOf(OP_TYPES), fields, depth);
  fields.end();
  return op;
}

function unpackOpOf(type: RequestOp['type'], fields: Fields, depth: number): RequestOp {
  switch (type) {
    case 'put':
      return unpackPut(fields);
    case 'delete-range':
      return unpackDeleteRange(fields);
    case 'txn':
      return unpackTxn(fields, depth + 1);
    case 'range':
      return unpackRange(fields);
  }
}

function packRange(range: RangeRequest): readonly Packed[] {
  return [
    range.key,
    range.rangeEnd,
    range.limit,
    range.revision,
    SORT_ORDERS.indexOf(range.sortOrder),
    SORT_TARGETS.indexOf(range.sortTarget),
    flags(range.keysOnly, range.countOnly),
    range.minModRevision,
    range.maxModRevision,
    range.minCreateRevision,
    range.maxCreateRevision,
  ];
}

function unpackRange(fields: Fields): RangeRequest {
  const head = {
    type: 'range',
    key: fields.bytes(),
    rangeEnd: fields.bytes(),
    limit: fields.integer(),
    revision: fields.integer(),
    sortOrder: fields.oneOf(SORT_ORDERS),
    sortTarget: fields.oneOf(SORT_TARGETS),
  } as const;
  const bits = flagBits(fields, 2);
  return {
    ...head,
    keysOnly: (bits & 1) !== 0,
    countOnly: (bits & 2) !== 0,
    minModRevision: fields.integer(),
    maxModRevision: fields.integer(),
    minCreateRevision: fields.integer(),
    maxCreateRevision: fields.integer(),
  };
}

function packCompare(compare: Compare): readonly Packed[] {
  return [
    COMPARE_TARGETS.indexOf(compare.target),
    COMPARE_RESULTS.indexOf(compare.result),
    compare.key,
    compare.rangeEnd,
    packOperand(compare),
  ];
}

function packOperand(compare: Compare): Packed {
  switch (compare.target) {
    case 'version':
    case 'create':
    case 'mod':
      return compare.number;
    case 'value':
      return compare.value;
    case 'lease':
      return int64(compare.lease);
  }
}

function unpackCompare(value: Packed): Compare {
  const fields = new Fields(value);
  const target = fields.oneOf(COMPARE_TARGETS);
  const head = { result: fields.oneOf(COMPARE_RESULTS), key: fields.bytes(), rangeEnd: fields.bytes() };
  const compare = withOperand(head, target, fields);
  fields.end();
  return compare;
}

function withOperand(
  head: Pick<Compare, 'result' | 'key' | 'rangeEnd'>,
  target: Compare['target'],
  fields: Fields,
): Compare {
  switch (target) {
    case 'version':
    case 'create':
    case 'mod':
      return { ...head, target, number: fields.integer() };
    case 'value':
      return { ...head, target, value: fields.bytes() };
    case 'lease':
      return { ...head, target, lease: fields.int64() };
  }
}

function flags(...bits: readonly boolean[]): number {
  return bits.reduce((sum, bit, place) => (bit ? sum | (1 << place) : sum), 0);
}

function flagBits(fields: Fields, count: number): number {
  const bits = fields.natural();
  checkForm(bits < 1 << count, 'a field has unknown flags');
  return bits;
}
