import { expect, test } from 'vitest';
import { checkPut, checkRange, checkTxn } from '../../../src/core/mvcc/check.ts';
import type { RequestOp, SortOrder, SortTarget, TxnRequest } from '../../../src/core/mvcc/operations.ts';
import { bytes, codeOf, compare, put, range, remove, txn } from './fixture.ts';

const check = (request: TxnRequest, opsMax = 128) => codeOf(() => checkTxn(request, { opsMax }));
const ops = (success: readonly RequestOp[], failure: readonly RequestOp[] = []) =>
  check(txn([], success, failure));

test('requests without a key are refused, at every depth', () => {
  expect(codeOf(() => checkRange(range('')))).toBe('empty-key');
  expect(codeOf(() => checkPut(put('')))).toBe('empty-key');
  expect(ops([range('')])).toBe('empty-key');
  expect(ops([], [put('')])).toBe('empty-key');
  expect(ops([txn([], [remove('')])])).toBe('empty-key');
  expect(check(txn([compare('', 'equal', { target: 'mod', number: 0 })], []))).toBe('empty-key');
});

test('a put that keeps the value or lease may not bring one', () => {
  expect(codeOf(() => checkPut(put('a', 'x', { ignoreValue: true })))).toBe('value-provided');
  expect(codeOf(() => checkPut(put('a', 'x', { ignoreLease: true, lease: 1n })))).toBe('lease-provided');
  expect(ops([txn([], [put('a', 'x', { ignoreValue: true })])])).toBe('value-provided');
  expect(codeOf(() => checkPut(put('a', '', { ignoreValue: true, lease: 1n })))).toBe('no error');
});

test('an unknown sort order or target is refused', () => {
  expect(codeOf(() => checkRange(range('a', '', { sortOrder: 'up' as SortOrder })))).toBe(
    'invalid-sort-option',
  );
  expect(ops([range('a', '', { sortTarget: 'size' as SortTarget })])).toBe('invalid-sort-option');
});

test('the longest of compare, success and failure counts, and leaves the rest to nested transactions', () => {
  const two = [range('a'), range('a')];
  expect(check(txn([], two, [range('b')]), 2)).toBe('no error');
  expect(check(txn([], two), 1)).toBe('too-many-ops');
  expect(check(txn([], [], two), 1)).toBe('too-many-ops');
  const absent = compare('a', 'equal', { target: 'mod', number: 0 });
  expect(check(txn([absent, absent], []), 1)).toBe('too-many-ops');
  expect(check(txn([], [txn([], two)]), 3)).toBe('no error');
  expect(check(txn([], [txn([], two)]), 2)).toBe('too-many-ops');
});

test('a key may be put once', () => {
  expect(ops([put('a'), put('b')])).toBe('no error');
  expect(ops([put('a'), put('a')])).toBe('duplicate-key');
  expect(ops([], [put('a'), put('a')])).toBe('duplicate-key');
  expect(ops([put('a')], [put('a')])).toBe('no error');
  expect(ops([put('a'), txn([], [put('a')])])).toBe('duplicate-key');
  expect(ops([txn([], [put('a')]), txn([], [put('a')])])).toBe('duplicate-key');
  expect(ops([txn([], [put('a')]), txn([], [], [put('a')])])).toBe('duplicate-key');
});

test('branches of a nested transaction exclude each other', () => {
  expect(ops([txn([], [put('a')], [put('a')])])).toBe('no error');
  expect(ops([txn([], [put('a')], [put('a')]), put('a')])).toBe('duplicate-key');
  expect(ops([txn([], [txn([], [put('a'), put('a')])])])).toBe('duplicate-key');
});

test('a put may not lie in a range deleted beside it, in either order', () => {
  expect(ops([remove('a', 'c'), put('c')])).toBe('no error');
  expect(ops([remove('a', 'c'), put('b')])).toBe('duplicate-key');
  expect(ops([put('a'), remove('a')])).toBe('duplicate-key');
  expect(ops([put('a\0'), remove('a')])).toBe('no error');
  expect(ops([remove('b', 'd'), remove('a', 'c'), put('c\xff')])).toBe('duplicate-key');
  expect(ops([remove('c', 'a'), put('b')])).toBe('no error');
  expect(ops([remove('b', '\0'), put('\xff')])).toBe('duplicate-key');
  expect(ops([remove('b', '\0'), put('a')])).toBe('no error');
});

test('deletes of nested transactions count for later puts, deletes around them for theirs', () => {
  expect(ops([txn([], [remove('a')]), put('a')])).toBe('duplicate-key');
  expect(ops([txn([], [], [remove('a')]), put('a')])).toBe('duplicate-key');
  expect(ops([remove('a'), txn([], [put('a')])])).toBe('duplicate-key');
  expect(ops([txn([], [remove('a')]), txn([], [put('a')])])).toBe('duplicate-key');
  expect(ops([remove('a'), remove('a')])).toBe('no error');
});

test('as in etcd, a nested delete may follow another nested put of the key', () => {
  expect(ops([txn([], [put('a')]), txn([], [remove('a')])])).toBe('no error');
});

test('many overlapping ranges are joined', () => {
  const deletes = Array.from({ length: 50 }, (_, i) =>
    remove(String.fromCodePoint(100 + i), String.fromCodePoint(102 + i)),
  );
  expect(check(txn([], [...deletes.toReversed(), put('\x96')]), 100)).toBe('duplicate-key');
  expect(check(txn([], [...deletes, put('\x97')]), 100)).toBe('no error');
  expect(bytes('\x97')).toHaveLength(1);
});
