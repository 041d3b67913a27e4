import { expect, test } from 'vitest';
import type { RangeRequest } from '../../../src/core/mvcc/operations.ts';
import { bytes, codeOf, compare, Harness, put, range, remove, txn } from './fixture.ts';

test('an empty store is at revision 1 and was never compacted', () => {
  const { store } = new Harness();
  expect([store.currentRevision, store.compactRevision, store.rowCount, store.keyCount]).toEqual([
    1, -1, 0, 0,
  ]);
  expect(store.range(range('a'))).toEqual({ type: 'range', revision: 1, kvs: [], more: false, count: 0 });
});

test('versions count from creation, and creation starts anew after a delete', () => {
  const harness = new Harness();
  harness.apply(put('a', '1'));
  harness.apply(put('a', '2', { lease: 7n }));
  expect(harness.get('a')).toEqual({
    key: bytes('a'),
    value: bytes('2'),
    createRevision: 2,
    modRevision: 3,
    version: 2,
    lease: 7n,
  });
  harness.apply(remove('a'));
  expect(harness.get('a')).toBeUndefined();
  harness.apply(put('a', '3'));
  expect(harness.get('a')).toMatchObject({ createRevision: 5, modRevision: 5, version: 1, lease: 0n });
  expect(harness.get('a', { revision: 3 })).toMatchObject({ version: 2, modRevision: 3 });
});

test('a request that changes nothing does not move the revision', () => {
  const harness = new Harness();
  const { result, commit } = harness.apply(remove('a', 'z', true));
  expect(result).toEqual({ type: 'delete-range', revision: 1, deleted: 0, prevKvs: [] });
  expect(commit).toEqual({ revision: 1, events: [], rows: [] });
  expect(harness.apply(txn([], [range('a'), remove('a')])).result.revision).toBe(1);
  expect(harness.store.currentRevision).toBe(1);
});

test('a put answers with the new revision and what it replaced', () => {
  const harness = new Harness();
  expect(harness.apply(put('a', '1', { prevKv: true })).result).toEqual({
    type: 'put',
    revision: 2,
    prevKv: null,
  });
  const { result } = harness.apply(put('a', '2', { prevKv: true }));
  expect(result).toMatchObject({ revision: 3, prevKv: { value: bytes('1'), modRevision: 2 } });
});

test('a put can keep the value or the lease of a key that is there', () => {
  const harness = new Harness();
  harness.apply(put('a', '1', { lease: 7n }));
  harness.apply(put('a', '', { ignoreValue: true }));
  expect(harness.get('a')).toMatchObject({ value: bytes('1'), lease: 0n, version: 2 });
  harness.apply(put('a', '2', { lease: -9n }));
  harness.apply(put('a', '3', { ignoreLease: true }));
  expect(harness.get('a')).toMatchObject({ value: bytes('3'), lease: -9n, version: 4 });
  expect(codeOf(() => harness.apply(put('b', '', { ignoreValue: true })))).toBe('key-not-found');
  expect(codeOf(() => harness.apply(put('b', '', { ignoreLease: true })))).toBe('key-not-found');
  expect(harness.store.currentRevision).toBe(5);
});

test('an unknown lease is refused, before a missing key in a put and after it in a transaction', () => {
  const harness = new Harness();
  const both = put('a', '', { lease: 8n, ignoreValue: true });
  expect(codeOf(() => harness.apply(both))).toBe('lease-not-found');
  expect(codeOf(() => harness.apply(txn([], [both])))).toBe('key-not-found');
  expect(codeOf(() => harness.apply(txn([], [put('b'), put('a', '', { lease: 8n })])))).toBe(
    'lease-not-found',
  );
  expect(harness.store.rowCount).toBe(0);
});

test('a range delete gets one revision, with one sub per key in key order', () => {
  const harness = new Harness();
  for (const key of ['c', 'a', 'b', 'd']) harness.apply(put(key, key, key === 'b' ? { lease: 7n } : {}));
  const { result, commit } = harness.apply(remove('a', 'd', true));
  expect(result).toMatchObject({ revision: 6, deleted: 3 });
  expect(
    commit.events.map(({ type, row, previous, previousLease }) => [
      type,
      row.key.toString(),
      row.main,
      row.sub,
      previous,
      previousLease,
    ]),
  ).toEqual([
    ['delete', 'a', 6, 0, { main: 3, sub: 0 }, 0n],
    ['delete', 'b', 6, 1, { main: 4, sub: 0 }, 7n],
    ['delete', 'c', 6, 2, { main: 2, sub: 0 }, 0n],
  ]);
  expect(harness.keys()).toEqual(['d']);
});

test('range ends: empty is one key, a zero byte is everything after, else exclusive; keys are bytes', () => {
  const harness = new Harness();
  for (const key of ['a', 'a\0', 'b', '\x80', '\xff']) harness.apply(put(key));
  expect(harness.keys('a', '')).toEqual(['a']);
  expect(harness.keys('a', 'b')).toEqual(['a', 'a\0']);
  expect(harness.keys('b', '\0')).toEqual(['b', '\x80', '\xff']);
  expect(harness.keys('b', 'a')).toEqual([]);
  expect(codeOf(() => harness.keys('', '\0'))).toBe('empty-key');
});

test('a limit cuts, count does not, and more tells', () => {
  const harness = new Harness();
  for (const key of ['a', 'b', 'c']) harness.apply(put(key));
  const ask = (options: Partial<RangeRequest>) => {
    const { kvs, more, count } = harness.store.range(range('a', '\0', options));
    return [kvs.length, more, count];
  };
  expect(ask({ limit: 2 })).toEqual([2, true, 3]);
  expect(ask({ limit: 3 })).toEqual([3, false, 3]);
  expect(ask({ limit: 2, sortOrder: 'descend' })).toEqual([2, true, 3]);
  expect(ask({ limit: 2, revision: 2 })).toEqual([1, false, 1]);
  expect(ask({ countOnly: true, limit: 1 })).toEqual([0, false, 3]);
  expect(ask({ minModRevision: 3 })).toEqual([2, false, 3]);
  expect(ask({ maxCreateRevision: 3, limit: 1 })).toEqual([1, true, 3]);
  expect(ask({ maxModRevision: 1 })).toEqual([0, false, 3]);
});

test('sorting', () => {
  const harness = new Harness();
  for (const [key, value] of [
    ['b', '1'],
    ['a', '2'],
    ['c', '0'],
    ['b', '3'],
  ] as const)
    harness.apply(put(key, value));
  const sorted = (options: Partial<RangeRequest>) => harness.keys('a', '\0', options).join('');
  expect(sorted({ sortTarget: 'value', sortOrder: 'ascend' })).toBe('cab');
  expect(sorted({ sortTarget: 'value', sortOrder: 'descend' })).toBe('bac');
  expect(sorted({ sortTarget: 'create', sortOrder: 'ascend' })).toBe('bac');
  expect(sorted({ sortTarget: 'mod', sortOrder: 'descend' })).toBe('bca');
  expect(sorted({ sortTarget: 'version', sortOrder: 'descend' })).toBe('bac');
  expect(sorted({ sortTarget: 'key', sortOrder: 'descend' })).toBe('cba');
  // A target without an order ascends; with a limit it orders only what the limit let in, plus one.
  expect(sorted({ sortTarget: 'mod' })).toBe('acb');
  expect(sorted({ sortTarget: 'value', limit: 1 })).toBe('a');
  expect(sorted({ sortTarget: 'value', limit: 1, sortOrder: 'ascend' })).toBe('c');
});

test('keysOnly answers everything but the value, and does not read it', () => {
  const harness = new Harness({ cacheBytesMax: 0 });
  harness.apply(put('a', 'value', { lease: 7n }));
  const kv = { key: bytes('a'), value: bytes(''), createRevision: 2, modRevision: 2, version: 1, lease: 7n };
  expect(harness.get('a', { keysOnly: true })).toEqual(kv);
  expect(harness.source.reads).toBe(0);
  expect(harness.get('a')?.value).toEqual(bytes('value'));
  expect(harness.source.reads).toBe(1);
});

test('future and compacted revisions fail; the compact revision itself can be read', () => {
  const harness = new Harness();
  for (const value of ['1', '2', '3']) harness.apply(put('a', value));
  expect(codeOf(() => harness.get('a', { revision: 5 }))).toBe('future-revision');
  harness.store.compact(3);
  expect(codeOf(() => harness.get('a', { revision: 2 }))).toBe('compacted');
  expect(harness.get('a', { revision: 3 })?.value).toEqual(bytes('2'));
  expect(harness.get('a', { revision: -5 })?.value).toEqual(bytes('3'));
});

test('a transaction sees its own writes, and the past when asked for it', () => {
  const harness = new Harness({ cacheBytesMax: 0 });
  harness.apply(put('a', 'old'));
  const { result, commit } = harness.apply(
    txn(
      [],
      [
        put('a', 'new'),
        range('a'),
        range('a', '', { revision: 2 }),
        put('b', '1'),
        remove('c'),
        range('a', 'z', { countOnly: true }),
      ],
    ),
  );
  expect(result).toMatchObject({
    revision: 3,
    responses: [
      { revision: 3 },
      { revision: 3, kvs: [{ value: bytes('new'), version: 2, modRevision: 3 }] },
      { revision: 3, kvs: [{ value: bytes('old') }] },
      { revision: 3 },
      { revision: 3, deleted: 0 },
      { count: 2 },
    ],
  });
  expect(commit.rows.map(({ main, sub }) => [main, sub])).toEqual([
    [3, 0],
    [3, 1],
  ]);
});

test('a failure anywhere in the branch taken leaves nothing behind', () => {
  const harness = new Harness();
  for (const value of ['1', '2', '3']) harness.apply(put('a', value));
  harness.store.compact(3);
  const before = harness.store.rowSetHash;
  const fails = (...ops: Parameters<typeof txn>[1]) =>
    codeOf(() => harness.apply(txn([], [put('x'), ...ops])));
  expect(fails(range('a', '', { revision: 2 }))).toBe('compacted');
  expect(fails(range('a', '', { revision: -2 }))).toBe('compacted');
  // Revision 5 is the one this transaction would make: not yet there when it is checked.
  expect(fails(range('a', '', { revision: 5 }))).toBe('future-revision');
  expect(fails(txn([], [put('b', '', { ignoreValue: true })]))).toBe('key-not-found');
  expect(fails(txn([], [put('b', '', { lease: 99n })]))).toBe('lease-not-found');
  expect(fails(put('x'))).toBe('duplicate-key');
  expect([harness.store.currentRevision, harness.store.rowSetHash]).toEqual([4, before]);
  expect(harness.keys()).toEqual(['a']);
});

test('the branch not taken is not checked against the store', () => {
  const harness = new Harness();
  const bad = [
    put('b', '', { lease: 99n }),
    put('c', '', { ignoreValue: true }),
    range('a', '', { revision: 9 }),
  ];
  expect(harness.apply(txn([], [txn([], [put('x')], bad)], bad)).result.revision).toBe(2);
});

test('nested comparisons are made on the state before the whole transaction', () => {
  const harness = new Harness();
  const absent = compare('a', 'equal', { target: 'create', number: 0 });
  const { result } = harness.apply(txn([absent], [put('a', '1'), txn([absent], [put('b')], [put('c')])]));
  expect(result).toMatchObject({ succeeded: true, responses: [{}, { type: 'txn', succeeded: true }] });
  expect(harness.keys()).toEqual(['a', 'b']);
  expect(harness.apply(txn([absent], [put('z')])).result).toMatchObject({ succeeded: false, revision: 2 });
});

test('comparisons: every key of a range must satisfy, a missing key is 0, its value is nothing', () => {
  const harness = new Harness();
  harness.apply(put('a', '1'));
  harness.apply(put('b', '2', { lease: 7n }));
  const holds = (...args: Parameters<typeof compare>) =>
    (harness.apply(txn([compare(...args)], [])).result as { succeeded: boolean }).succeeded;
  expect(holds('a', 'equal', { target: 'value', value: bytes('1') })).toBe(true);
  expect(holds('a', 'less', { target: 'value', value: bytes('10') })).toBe(true);
  expect(holds('b', 'equal', { target: 'lease', lease: 7n })).toBe(true);
  expect(holds('b', 'greater', { target: 'lease', lease: -1n })).toBe(true);
  expect(holds('a', 'greater', { target: 'create', number: 1 }, '\0')).toBe(true);
  expect(holds('a', 'greater', { target: 'create', number: 2 }, '\0')).toBe(false);
  expect(holds('x', 'equal', { target: 'version', number: 0 })).toBe(true);
  expect(holds('x', 'less', { target: 'mod', number: 1 }, 'z')).toBe(true);
  expect(holds('x', 'equal', { target: 'lease', lease: 0n })).toBe(true);
  expect(holds('x', 'equal', { target: 'value', value: bytes('') })).toBe(false);
  expect(holds('x', 'not-equal', { target: 'value', value: bytes('1') }, 'z')).toBe(false);
});

test('operations of an open transaction make one revision', () => {
  const harness = new Harness();
  for (const key of ['a', 'b', 'c']) harness.apply(put(key));
  const open = harness.store.begin();
  expect(open.deleteRange(remove('b')).deleted).toBe(1);
  expect(codeOf(() => open.put(put('b', '', { ignoreValue: true })))).toBe('key-not-found');
  expect(open.deleteRange(remove('a')).revision).toBe(5);
  expect(open.range(range('a', '\0')).count).toBe(1);
  const { rows, revision } = open.commit();
  expect([revision, rows.length, harness.store.currentRevision]).toEqual([5, 2, 5]);
  expect(() => open.commit()).toThrow('committed twice');
});

test('rows outside the cache come from the source and are checked', () => {
  const harness = new Harness({ cacheBytesMax: 0 });
  const { rows } = harness.commit(put('a', 'value'));
  harness.source.rows.set('2/0', { ...rows[0]!, value: bytes('valuf') });
  expect(codeOf(() => harness.get('a'))).toBe('storage');
  harness.source.rows.delete('2/0');
  expect(codeOf(() => harness.get('a'))).toBe('storage');
});
