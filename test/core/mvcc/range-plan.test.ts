import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { KeyValue, RangeRequest, RangeResult } from '../../../src/core/mvcc/operations.ts';
import { finishRange, type RangePlan } from '../../../src/core/mvcc/range.ts';
import type { Store } from '../../../src/core/mvcc/store.ts';
import { codeOf, Harness, put, range, remove, txn } from './fixture.ts';

const ONE_BY_ONE = { rowsMax: 1, bytesMax: 1 };

function plan(store: Store, request: RangeRequest): RangePlan {
  const begun = store.beginRange(request, -1);
  if (begun.type !== 'range-plan') throw new Error('the range was not planned');
  return begun;
}

function whole(store: Store, plan: RangePlan, between: () => void = () => undefined): RangeResult {
  const kvs: KeyValue[] = [];
  for (let from = 0; from < plan.keys.length; ) {
    const page = store.loadPage(plan, from, ONE_BY_ONE);
    expect(page.next).toBe(from + 1);
    kvs.push(...page.kvs);
    from = page.next;
    between();
  }
  return finishRange(plan, kvs);
}

const requests = fc.record({
  limit: fc.nat(6),
  revisionsBack: fc.nat(5),
  sortOrder: fc.constantFrom<RangeRequest['sortOrder']>('none', 'ascend', 'descend'),
  sortTarget: fc.constantFrom<RangeRequest['sortTarget']>('key', 'version', 'create', 'mod', 'value'),
  keysOnly: fc.boolean(),
  countOnly: fc.boolean(),
  minModRevision: fc.nat(20),
  maxCreateRevision: fc.nat(20),
});
const writes = fc.array(fc.tuple(fc.nat(8), fc.nat(3), fc.boolean()), { minLength: 1, maxLength: 30 });

test('a planned range answers what a range answers, even when the store changes meanwhile', () => {
  fc.assert(
    fc.property(writes, requests, (changes, { revisionsBack, ...options }) => {
      const harness = new Harness();
      const { store } = harness;
      for (const [key, value, removed] of changes) {
        harness.apply(removed ? remove(`k${key}`) : put(`k${key}`, `v${value}`));
      }
      const request = range('a', '\0', {
        ...options,
        revision: revisionsBack === 0 ? 0 : Math.max(1, store.currentRevision - revisionsBack),
      });
      const expected = store.range(request);
      let turn = 0;
      const answer = whole(store, plan(store, request), () => {
        turn += 1;
        harness.apply(turn % 3 === 0 ? remove('a', '\0') : put(`k${turn % 9}`, `later ${turn}`));
      });
      expect(answer).toEqual(expected);
    }),
  );
});

test('a small answer is read at once, a large one is planned with its size', () => {
  const harness = new Harness();
  const { store } = harness;
  harness.apply(put('a', 'x'.repeat(100)));
  harness.apply(put('b', 'y'.repeat(100)));
  const request = range('a', 'z');
  expect(store.beginRange(request, 1_000)).toEqual(store.range(request));
  const large = store.beginRange(request, 200);
  expect(large).toMatchObject({ type: 'range-plan', keys: ['a', 'b'], count: 2, more: false });
  expect(large.type === 'range-plan' && large.bytes).toBeGreaterThanOrEqual(202);
  const keysOnly = store.beginRange(range('a', 'z', { keysOnly: true }), 200);
  expect(keysOnly.type).toBe('range');
});

test('a page holds what its limits say, and at least one key', () => {
  const harness = new Harness();
  const { store } = harness;
  for (const key of ['a', 'b', 'c', 'd']) harness.apply(put(key, 'x'.repeat(100)));
  const planned = plan(store, range('a', 'z'));
  expect(store.loadPage(planned, 0, { rowsMax: 3, bytesMax: 10_000 }).next).toBe(3);
  expect(store.loadPage(planned, 1, { rowsMax: 3, bytesMax: 150 }).next).toBe(3);
  expect(store.loadPage(planned, 3, { rowsMax: 3, bytesMax: 1 }).next).toBe(4);
});

test('a compaction above the plan ends it', () => {
  const harness = new Harness();
  const { store } = harness;
  harness.apply(put('a', '1'));
  const planned = plan(store, range('a', 'z'));
  harness.apply(put('a', '2'));
  store.compact(planned.main);
  expect(store.loadPage(planned, 0, ONE_BY_ONE).kvs).toHaveLength(1);
  store.compact(store.currentRevision);
  expect(codeOf(() => store.loadPage(planned, 0, ONE_BY_ONE))).toBe('compacted');
});

test('a transaction that only reads is decided at once and loads its large ranges later', () => {
  const harness = new Harness();
  const { store } = harness;
  harness.apply(put('a', 'x'.repeat(100)));
  harness.apply(put('b', 'small'));
  const request = txn([], [range('b'), txn([], [range('a')]), range('a', 'z')]);
  const { result } = store.applyTxn(request, harness);
  const planned = store.beginTxn(request, harness, 100);
  expect(planned).toMatchObject({ revision: result.revision, succeeded: true });
  expect(planned.responses.map((response) => response.type)).toEqual(['range', 'txn-plan', 'range-plan']);
  const first = planned.responses[0];
  expect(first).toEqual(result.responses[0]);
  expect(store.beginTxn(txn([], []), harness, 100).revision).toBe(store.currentRevision);
  expect(codeOf(() => store.beginTxn(txn([], [range('a', '', { revision: 99 })]), harness, 1))).toBe(
    'future-revision',
  );
});
