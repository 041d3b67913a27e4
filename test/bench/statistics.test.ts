import { expect, test } from 'vitest';
import { bytesOf, chanceOf, wholeBelow } from '../../bench/chance.ts';
import { median, percentile, spread } from '../../bench/statistics.ts';

const thousand = Array.from({ length: 1_000 }, (_, at) => 999 - at);

test('a percentile is the value below which that share of the values lies, whatever their order', () => {
  expect(percentile(thousand, 50)).toBe(500);
  expect(percentile(thousand, 99)).toBe(990);
  expect(percentile(thousand, 100)).toBe(999);
  expect(percentile([7], 99)).toBe(7);
});

test('numbers are sorted as numbers', () => {
  expect(median([9, 10, 100])).toBe(10);
});

test('the spread has the middle, the slow ones and the slowest', () => {
  expect(spread(thousand)).toEqual({ p50: 500, p99: 990, p999: 999, max: 999 });
});

test('nothing has no percentile', () => {
  expect(percentile([], 50)).toBeNaN();
  expect(Object.values(spread([]))).toEqual([NaN, NaN, NaN, NaN]);
});

test('a seed gives the same numbers each time, and another seed gives others', () => {
  const numbers = (seed: number): readonly number[] => Array.from({ length: 8 }, chanceOf(seed));
  expect(numbers(1)).toEqual(numbers(1));
  expect(numbers(1)).not.toEqual(numbers(2));
  expect(new Set(numbers(0)).size).toBe(8);
});

test('chance spreads evenly enough over keys', () => {
  const chance = chanceOf(3);
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 4_000; i++) counts[wholeBelow(4, chance)]! += 1;
  for (const count of counts) expect(count).toBeGreaterThan(850);
});

test('values do not compress: most of 256 bytes occur in a kibibyte', () => {
  expect(new Set(bytesOf(1_024, chanceOf(1))).size).toBeGreaterThan(200);
});
