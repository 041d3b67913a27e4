import { expect, test } from 'vitest';
import { bytes, Harness, put, remove, txn } from './fixture.ts';

const roomy = { rowsMax: 1000, bytesMax: 100_000 };

function history(): Harness {
  const harness = new Harness({ cacheBytesMax: 0 });
  harness.apply(put('a', '1')); // 2
  harness.apply(txn([], [put('a', '2'), put('b', '1'), put('c', '1')])); // 3
  harness.apply(remove('a', 'c')); // 4
  harness.apply(put('a', '3')); // 5
  return harness;
}

test('history comes grouped by revision, with what each change replaced', () => {
  const { store } = history();
  const { groups, next } = store.events({ from: 1, to: 5 }, roomy);
  expect(next).toBe(6);
  expect(
    groups.map(({ revision, events }) => [
      revision,
      ...events.map(({ type, row, previous }) => `${type} ${row.key.toString()} ${previous?.main ?? '-'}`),
    ]),
  ).toEqual([
    [2, 'put a -'],
    [3, 'put a 2', 'put b -', 'put c -'],
    [4, 'delete a 3', 'delete b 3'],
    [5, 'put a -'],
  ]);
});

test('a slice stops between revisions, never within one', () => {
  const { store } = history();
  const first = store.events({ from: 2, to: 5 }, { rowsMax: 2, bytesMax: 1000 });
  expect(first.groups.map(({ events }) => events.length)).toEqual([1, 3]);
  expect(first.next).toBe(4);
  const small = store.events({ from: 3, to: 5 }, { rowsMax: 100, bytesMax: 1 });
  expect([small.groups.length, small.next]).toEqual([1, 4]);
  expect(store.events({ from: 4, to: 4 }, roomy)).toMatchObject({ next: 5, groups: [{ revision: 4 }] });
});

test('rows of keys that nobody wants are not read', () => {
  const { store, source } = history();
  const { groups } = store.events({ from: 2, to: 5 }, roomy, (key) => key === 'b');
  expect(groups.map(({ revision }) => revision)).toEqual([3, 4]);
  // That of revision 4 is a tombstone: memory has all of it.
  expect(source.reads).toBe(1);
});

test('the previous value is that of the revision before, unless it was created or compacted', () => {
  const { store } = history();
  const [second, third, fourth, fifth] = store
    .events({ from: 2, to: 5 }, roomy)
    .groups.map(({ events }) => events[0]!);
  expect(store.previousRow(second!)).toBeNull();
  expect(store.previousRow(third!)?.value).toEqual(bytes('1'));
  expect(store.previousRow(fourth!)?.value).toEqual(bytes('2'));
  expect(store.previousRow(fifth!)).toBeNull();
  store.compact(3);
  expect(store.previousRow(third!)).toBeNull();
  expect(store.previousRow(fourth!)?.value).toEqual(bytes('2'));
});

test('a key written and deleted by nested transactions keeps both events and its real previous value', () => {
  const harness = new Harness();
  harness.apply(put('a', 'old'));
  const { events } = harness.commit(txn([], [txn([], [put('a', 'new')]), txn([], [remove('a')])]));
  expect(events.map(({ type, previous }) => [type, previous])).toEqual([
    ['put', { main: 2, sub: 0 }],
    ['delete', { main: 3, sub: 0 }],
  ]);
  expect(events.map((event) => harness.store.previousRow(event)?.value)).toEqual([
    bytes('old'),
    bytes('old'),
  ]);
  harness.compact(3);
  expect(harness.store.rowCount).toBe(1);
});
