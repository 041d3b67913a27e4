import { expect, test } from 'vitest';
import type { Row } from '../../../src/core/mvcc/row.ts';
import type { RestoreMarker } from '../../../src/core/mvcc/store.ts';
import { Store } from '../../../src/core/mvcc/store.ts';
import { codeOf, Harness, put, range, remove } from './fixture.ts';

/** Revisions 2 to 6: a, a, b, b deleted, c. */
function written(): Harness {
  const harness = new Harness();
  for (const request of [put('a', '1'), put('a', '2'), put('b'), remove('b'), put('c', '', { lease: 7n })]) {
    harness.apply(request);
  }
  return harness;
}

function markerOf({ store }: Harness): RestoreMarker {
  const { currentRevision, compactRevision, hashCompactRevision, rowSetHash, rowCount } = store;
  return { currentRevision, compactRevision, hashCompactRevision, rowSetHash, rowCount };
}

function restore(rows: readonly Row[], marker: RestoreMarker, harness: Harness) {
  const store = new Store({ source: harness.source });
  for (const row of rows) store.restoreRow(row);
  return { store, dropped: store.finishRestore(marker) };
}

const everything = range('\0', '\0');

test('a store comes back from its rows and marker', () => {
  const harness = written();
  const { store, dropped } = restore(harness.source.all(), markerOf(harness), harness);
  expect(dropped).toEqual([]);
  expect(store.range(everything)).toEqual(harness.store.range(everything));
  for (const revision of [2, 3, 4, 5]) {
    const request = { ...everything, revision };
    expect(store.range(request)).toEqual(harness.store.range(request));
  }
  expect(store.logicalBytes).toBe(harness.store.logicalBytes);
});

test('the current revision comes from the marker, even when the last rows were compacted away', () => {
  const harness = new Harness();
  harness.apply(put('a'));
  harness.apply(remove('a'));
  harness.apply(put('b'));
  harness.apply(remove('b'));
  harness.apply(put('c'));
  harness.apply(remove('c'));
  harness.compact(7);
  const marker = { ...markerOf(harness), currentRevision: 12 };
  expect(restore(harness.source.all(), marker, harness).store.currentRevision).toBe(12);
  const empty = { ...marker, rowCount: 0, rowSetHash: { a: 0, b: 0 } };
  expect(restore([], empty, harness).store.currentRevision).toBe(12);
});

test('rows that a finished compaction dropped but the disk still has are filtered and named', () => {
  const harness = written();
  const rows = harness.source.all();
  harness.compact(6);
  const { store, dropped } = restore(rows, markerOf(harness), harness);
  expect(dropped.map(({ main }) => main)).toEqual([2, 4, 5]);
  expect(store.range(everything)).toEqual(harness.store.range(everything));
  expect(store.compactionPending).toBe(false);
});

test('a compaction whose walk had not ended starts over', () => {
  const harness = written();
  harness.store.compact(6);
  const { store, dropped } = restore(harness.source.all(), markerOf(harness), harness);
  expect(dropped).toEqual([]);
  expect([store.compactRevision, store.compactionPending]).toEqual([6, true]);
  expect(codeOf(() => store.range({ ...everything, revision: 5 }))).toBe('compacted');
  expect(store.compactionStep(100).map(({ main }) => main)).toEqual([2, 4, 5]);
  expect(store.compactionPending).toBe(false);
});

test('lost, resurrected, changed and misplaced rows are refused', () => {
  const harness = written();
  const rows = harness.source.all();
  const marker = markerOf(harness);
  const code = (wrong: readonly Row[], as = marker) => codeOf(() => restore(wrong, as, harness));
  expect(code(rows)).toBe('no error');
  expect(code(rows.slice(1))).toBe('data-dir-corrupt');
  expect(code([...rows, { ...rows[0]!, main: 7 }])).toBe('data-dir-corrupt');
  expect(code([{ ...rows[0]!, value: Buffer.from('0') }, ...rows.slice(1)])).toBe('data-dir-corrupt');
  expect(code(rows.toReversed())).toBe('data-dir-corrupt');
  expect(code([rows[0]!, ...rows])).toBe('data-dir-corrupt');
  expect(code([{ ...rows[0]!, version: 0 }, ...rows.slice(1)])).toBe('data-dir-corrupt');
  expect(code([...rows.slice(0, 3), { ...rows[3]!, lease: 7n }, rows[4]!])).toBe('data-dir-corrupt');
  expect(code(rows, { ...marker, currentRevision: 5 })).toBe('data-dir-corrupt');
});

test('a marker that is hashed beyond its compaction is damage', () => {
  const harness = written();
  const marker = { ...markerOf(harness), compactRevision: 3, hashCompactRevision: 4 };
  expect(() => restore(harness.source.all(), marker, harness)).toThrow(/^data-dir-corrupt/);
});

test('writing goes on after a restore', () => {
  const harness = written();
  const { store } = restore(harness.source.all(), markerOf(harness), harness);
  const { result, commit } = store.applyTxn(put('c', 'x', { prevKv: true }), harness);
  expect(result).toMatchObject({ revision: 7, prevKv: { lease: 7n, version: 1 } });
  expect(commit.events[0]).toMatchObject({ previous: { main: 6, sub: 0 }, previousLease: 7n });
  expect(() => store.restoreRow(commit.rows[0]!)).toThrow('in use');
});

test('a restored row is read from the disk when it is first asked for, and is in memory from then on', () => {
  const harness = written();
  const reads: number[] = [];
  const row = (main: number, sub: number): Row | undefined => {
    reads.push(main);
    return harness.source.row(main, sub);
  };
  const store = new Store({ source: { row } });
  for (const found of harness.source.all()) store.restoreRow(found);
  store.finishRestore(markerOf(harness));
  expect(reads).toEqual([]);
  for (let times = 0; times < 2; times++) {
    expect(store.range(range('a'))).toEqual(harness.store.range(range('a')));
    expect(reads).toEqual([3]);
  }
});
