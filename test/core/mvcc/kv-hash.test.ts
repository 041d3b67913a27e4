import { expect, test } from 'vitest';
import { addHash, EMPTY_SET_HASH, rowHash } from '../../../src/core/mvcc/hash.ts';
import type { KvHash } from '../../../src/core/mvcc/kv-hash.ts';
import { codeOf, Harness, put, remove } from './fixture.ts';

function run(generator: Generator<void, KvHash>): KvHash {
  for (;;) {
    const next = generator.next();
    if (next.done === true) return next.value;
  }
}

function filled(): Harness {
  const harness = new Harness();
  for (let i = 0; i < 30; i++) harness.apply(put(`k${i % 5}`, String(i)));
  harness.apply(remove('k1'));
  return harness;
}

test('the hash does not depend on slices, cache or what comes later', () => {
  const harness = filled();
  const hash = run(harness.store.hashKv(0, 1));
  expect(hash).toEqual({ hash: expect.any(Number), revision: 32, compactRevision: -1 });
  expect(run(harness.store.hashKv(32, 7))).toEqual(hash);
  harness.apply(put('z'));
  expect(run(harness.store.hashKv(32, 7))).toEqual(hash);
  expect(run(harness.store.hashKv(33, 7)).hash).not.toBe(hash.hash);
});

test('it is equal before and after the walk of a compaction, whose tombstone it leaves out', () => {
  const harness = filled();
  harness.store.compact(32);
  const before = run(harness.store.hashKv(32, 4));
  while (harness.store.compactionPending) harness.source.discard(harness.store.compactionStep(10));
  expect(harness.source.rows.has('32/0')).toBe(true);
  expect(run(harness.store.hashKv(32, 4))).toEqual(before);
  expect(before.compactRevision).toBe(32);
  const without = new Harness();
  without.source.keep(harness.source.all().filter((row) => !row.tombstone));
  const rowSetHash = without.source.all().reduce((set, row) => addHash(set, rowHash(row)), EMPTY_SET_HASH);
  for (const row of without.source.all()) without.store.restoreRow(row);
  const revisions = { currentRevision: 32, compactRevision: 32, hashCompactRevision: 32 };
  without.store.finishRestore({ ...revisions, rowSetHash, rowCount: 4 });
  expect(run(without.store.hashKv(32, 4))).toEqual(before);
});

test('a compaction in the middle starts it over', () => {
  const harness = filled();
  const hash = harness.store.hashKv(32, 5);
  hash.next();
  harness.compact(30);
  const result = run(hash);
  expect(result.compactRevision).toBe(30);
  expect(result).toEqual(run(harness.store.hashKv(32, 1000)));
  const late = harness.store.hashKv(31, 1);
  late.next();
  harness.compact(32);
  expect(codeOf(() => run(late))).toBe('compacted');
});

test('compacted and future revisions fail', () => {
  const harness = filled();
  harness.store.compact(10);
  expect(codeOf(() => run(harness.store.hashKv(9, 1)))).toBe('compacted');
  expect(codeOf(() => run(harness.store.hashKv(10, 1)))).toBe('no error');
  expect(codeOf(() => run(harness.store.hashKv(33, 1)))).toBe('future-revision');
});

test('it reads what the disk has, and fails on a row that is lost or rotten', () => {
  const harness = filled();
  const row = harness.source.row(20, 0)!;
  harness.source.keep([{ ...row, value: Buffer.from('rot') }]);
  expect(codeOf(() => run(harness.store.hashKv(0, 100)))).toBe('storage');
  harness.source.rows.delete('20/0');
  expect(codeOf(() => run(harness.store.hashKv(0, 100)))).toBe('storage');
});
