import { expect, test } from 'vitest';
import type { Row } from '../../src/core/mvcc/row.ts';
import { PendingRows } from '../../src/core/pending-rows.ts';

function row(main: number, sub: number): Row {
  const empty = Buffer.alloc(0);
  const key = Buffer.from('k');
  return { main, sub, tombstone: false, createRevision: main, version: 1, lease: 0n, key, value: empty };
}

test('an empty batch stays empty when rows come after it', () => {
  const rows = new PendingRows({ row: () => undefined });
  const batch = rows.take();
  rows.add([row(2, 0), row(2, 1)]);
  expect(batch).toEqual([]);
  expect(rows.take()).toHaveLength(2);
});

test('rows are found until they are taken, then asked of the disk', () => {
  const rows = new PendingRows({ row: (main, sub) => row(100 + main, sub) });
  rows.add([row(5, 0), row(5, 1), row(7, 0)]);
  expect(rows.row(5, 1)?.main).toBe(5);
  expect(rows.row(4, 0)?.main).toBe(104);
  rows.take();
  expect(rows.row(5, 1)?.main).toBe(105);
});
