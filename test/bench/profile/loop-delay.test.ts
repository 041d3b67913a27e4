import { expect, test } from 'vitest';
import { delayAt, delayBuckets, delayChart, type LoopDelay } from '../../../bench/profile/loop-delay.ts';

const DELAY: LoopDelay = {
  count: 1_000,
  meanMs: 1,
  maxMs: 40,
  percentiles: [
    [50, 0.5],
    [90, 1.5],
    [99, 10],
    [100, 40],
  ],
};

test('delays are counted in buckets of powers of two, up to the longest', () => {
  const buckets = delayBuckets(DELAY);
  expect(buckets.filter(({ count }) => count > 0)).toEqual([
    { fromMs: 0, belowMs: 1, count: 500 },
    { fromMs: 1, belowMs: 2, count: 400 },
    { fromMs: 8, belowMs: 16, count: 90 },
    { fromMs: 32, belowMs: 64, count: 10 },
  ]);
  expect(buckets.at(-1)!.fromMs).toBe(32);
});

test('a delay beyond all bounds is counted in the last bucket', () => {
  const buckets = delayBuckets({ count: 1, meanMs: 5_000, maxMs: 5_000, percentiles: [[100, 5_000]] });
  expect(buckets.at(-1)).toEqual({ fromMs: 1_024, belowMs: Number.POSITIVE_INFINITY, count: 1 });
});

test('a percentile is the first that is not below', () => {
  expect(delayAt(DELAY, 99)).toBe(10);
  expect(delayAt(DELAY, 99.9)).toBe(40);
});

test('the chart has a line for each bucket, the fullest longest', () => {
  const lines = delayChart(DELAY).split('\n');
  expect(lines).toHaveLength(delayBuckets(DELAY).length);
  expect(lines[0]).toContain(`500 ${'#'.repeat(50)}`);
  expect(lines[1]).toMatch(/400 #{40}$/);
});
