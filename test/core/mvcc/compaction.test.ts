import { expect, test } from 'vitest';
import { LOG_PAGE_SLOTS } from '../../../src/core/mvcc/revision-log.ts';
import { bytes, codeOf, Harness, put, range, remove } from './fixture.ts';

function revisions(harness: Harness): string[] {
  return [...harness.source.rows.keys()];
}

test('compaction is refused at or below the last one and above the current revision', () => {
  const { store } = new Harness();
  store.compact(0);
  expect(codeOf(() => store.compact(0))).toBe('compacted');
  store.compact(1);
  expect(codeOf(() => store.compact(2))).toBe('future-revision');
});

test('the newest row of a live key stays, older ones and old tombstones go', () => {
  const harness = new Harness();
  harness.apply(put('a', '1')); // 2
  harness.apply(put('a', '2')); // 3
  harness.apply(put('b', '1')); // 4
  harness.apply(remove('b')); // 5
  harness.apply(put('a', '3')); // 6
  harness.compact(5);
  expect(revisions(harness)).toEqual(['3/0', '5/0', '6/0']);
  expect(harness.get('a', { revision: 5 })?.value).toEqual(bytes('2'));
  harness.compact(6);
  expect(revisions(harness)).toEqual(['6/0']);
  expect(harness.store.rowCount).toBe(1);
});

test('a watch from the compaction still sees the delete that happened there', () => {
  const harness = new Harness();
  harness.apply(put('a')); // 2
  harness.apply(remove('a')); // 3
  harness.compact(3);
  const limits = { rowsMax: 10, bytesMax: 1000 };
  const slice = harness.store.events({ from: 3, to: 3 }, limits);
  expect(slice.groups.map(({ revision, events }) => [revision, events[0]!.type])).toEqual([[3, 'delete']]);
  expect(harness.store.previousRow(slice.groups[0]!.events[0]!)).toBeNull();
  expect(codeOf(() => harness.store.events({ from: 2, to: 3 }, limits))).toBe('compacted');
});

test('a key that was deleted and compacted is created anew', () => {
  const harness = new Harness();
  harness.apply(put('a'));
  harness.apply(remove('a'));
  harness.apply(put('b'));
  harness.compact(4);
  harness.apply(put('a', 'new'));
  expect(harness.get('a')).toMatchObject({ version: 1, createRevision: 5 });
  expect(harness.keys()).toEqual(['a', 'b']);
});

test('totals follow at the end of the walk, and say which compaction they are of', () => {
  const harness = new Harness();
  for (let i = 0; i < 3 * LOG_PAGE_SLOTS; i++) harness.apply(put(`k${i % 7}`, 'value'));
  const { store } = harness;
  const { rowSetHash, rowCount, logicalBytes } = store;
  store.compact(store.currentRevision);
  const dropped = store.compactionStep(1);
  expect(dropped).toHaveLength(LOG_PAGE_SLOTS);
  expect([store.rowSetHash, store.rowCount, store.logicalBytes]).toEqual([
    rowSetHash,
    rowCount,
    logicalBytes,
  ]);
  expect([store.hashCompactRevision, store.compactionPending]).toEqual([-1, true]);
  while (store.compactionPending) dropped.push(...store.compactionStep(1));
  expect(dropped).toHaveLength(3 * LOG_PAGE_SLOTS - 7);
  expect([store.rowCount, store.hashCompactRevision]).toEqual([7, store.currentRevision]);
  expect(store.logicalBytes).toBe((logicalBytes / (3 * LOG_PAGE_SLOTS)) * 7);
  expect(store.compactionStep(1)).toEqual([]);
});

test('writes and a further compaction may come between the steps of one', () => {
  const harness = new Harness();
  const { store } = harness;
  for (let i = 0; i < 4 * LOG_PAGE_SLOTS; i++) harness.apply(put(`k${i % 50}`, String(i)));
  store.compact(2 * LOG_PAGE_SLOTS);
  harness.source.discard(store.compactionStep(1));
  for (let i = 0; i < 50; i += 2) harness.apply(remove(`k${i}`));
  harness.apply(put('k0', 'again'));
  store.compact(store.currentRevision - 1);
  const state = harness.store.range(range('\0', '\0', { revision: store.compactRevision }));
  while (store.compactionPending) harness.source.discard(store.compactionStep(1));
  expect(store.range(range('\0', '\0', { revision: store.compactRevision }))).toEqual(state);
  // 25 live keys, the tombstone at the compact revision, and the one row after it.
  expect(store.rowCount).toBe(27);
  expect(harness.source.rows.size).toBe(27);
});
