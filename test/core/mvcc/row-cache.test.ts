import { expect, test } from 'vitest';
import { CACHED_VALUE_OVERHEAD_BYTES, RowCache } from '../../../src/core/mvcc/row-cache.ts';

const ROW_BYTES = CACHED_VALUE_OVERHEAD_BYTES + 10;

const keyBytes = (): number => 2;

function value(name: number): Buffer {
  return Buffer.alloc(8, name);
}

function filled(rows: number, rowsMax: number): RowCache {
  const cache = new RowCache(rowsMax * ROW_BYTES, keyBytes);
  for (let slot = 0; slot < rows; slot++) cache.insert(slot, value(slot), false);
  return cache;
}

test('rows stay within the byte budget and the oldest leave', () => {
  const cache = filled(5, 3);
  expect(cache.bytes).toBe(3 * ROW_BYTES);
  expect([0, 1, 2, 3, 4].filter((slot) => cache.get(slot) !== undefined)).toEqual([2, 3, 4]);
});

test('a superseded row leaves before one that was never read', () => {
  const cache = filled(3, 3);
  cache.supersede(2);
  cache.insert(3, value(3), false);
  expect(cache.get(2)).toBeUndefined();
  expect(cache.get(0)).toEqual(value(0));
});

test('superseded rows leave in the order in which they were superseded', () => {
  const cache = filled(4, 4);
  cache.supersede(3);
  cache.supersede(1);
  cache.insert(4, value(4), false);
  cache.insert(5, value(5), false);
  cache.supersede(0);
  cache.insert(6, value(6), false);
  expect([0, 1, 2, 3, 4, 5, 6].filter((slot) => cache.get(slot) !== undefined)).toEqual([2, 4, 5, 6]);
});

test('superseded rows take an eighth of the budget, however much room there is', () => {
  const cache = filled(12, 16);
  for (const slot of [3, 1, 2, 0]) cache.supersede(slot);
  expect([0, 1, 2, 3].filter((slot) => cache.get(slot) !== undefined)).toEqual([0, 2]);
  expect(cache.bytes).toBe(10 * ROW_BYTES);
});

test('a row that was read outlives those that were not', () => {
  const cache = filled(5, 4);
  // The first eviction made the four that were there the old generation.
  expect(cache.get(1)).toEqual(value(1));
  cache.insert(5, value(5), false);
  cache.insert(6, value(6), false);
  expect(cache.get(1)).toEqual(value(1));
  expect(cache.get(2)).toBeUndefined();
  expect(cache.get(3)).toBeUndefined();
});

test('a removed row gives its bytes back', () => {
  const cache = filled(3, 3);
  cache.supersede(1);
  for (const slot of [0, 1, 2, 9]) cache.remove(slot);
  expect([cache.bytes, cache.size]).toEqual([0, 0]);
});

test('a row larger than the whole budget is not kept', () => {
  const cache = new RowCache(ROW_BYTES - 1, keyBytes);
  cache.insert(1, value(1), false);
  expect([cache.bytes, cache.size]).toEqual([0, 0]);
});
