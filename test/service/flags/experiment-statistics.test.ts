import { describe, expect, test } from 'vitest';
import { compareGroups, rateInterval } from '../../../src/service/flags/experiment-statistics.ts';
import { UNIQUE_MAX, UniqueCount } from '../../../src/service/flags/unique-count.ts';

describe('differences', () => {
  test('have the intervals of method 10 in table II of Newcombe (1998)', () => {
    for (const [hits, size, controlHits, controlSize, low, high] of [
      [56, 70, 48, 80, 0.0524, 0.3339],
      [9, 10, 3, 10, 0.1705, 0.809],
      [5, 56, 0, 29, -0.0381, 0.1926],
      [0, 10, 0, 10, -0.2775, 0.2775],
      [10, 10, 0, 10, 0.6075, 1],
    ] as const) {
      const { interval } = compareGroups({ hits, size }, { hits: controlHits, size: controlSize })!;
      expect(interval.low).toBeCloseTo(low, 4);
      expect(interval.high).toBeCloseTo(high, 4);
    }
  });

  test('of many are tested as the chi-squared test without a correction does', () => {
    // A chi-squared of 25/6 with one degree of freedom.
    expect(compareGroups({ hits: 25, size: 50 }, { hits: 15, size: 50 })).toMatchObject({
      test: 'z',
      p: expect.closeTo(0.041227, 6) as number,
    });
    expect(compareGroups({ hits: 500, size: 1_000 }, { hits: 500, size: 1_000 })).toMatchObject({ p: 1 });
    expect(compareGroups({ hits: 900, size: 1_000 }, { hits: 500, size: 1_000 })).toMatchObject({ p: 0 });
  });

  test('of few are tested exactly: the lady who tastes tea, and the twins of convicts', () => {
    expect(compareGroups({ hits: 3, size: 4 }, { hits: 1, size: 4 })).toMatchObject({
      test: 'fisher',
      p: expect.closeTo(0.485714, 6) as number,
    });
    expect(compareGroups({ hits: 2, size: 17 }, { hits: 9, size: 11 })!.test).toBe('fisher');
    expect(compareGroups({ hits: 0, size: 9 }, { hits: 0, size: 7 })).toMatchObject({ p: 1, difference: 0 });
    expect(compareGroups({ hits: 3, size: 500_000 }, { hits: 3, size: 500_000 })!.p).toBeCloseTo(1, 5);
  });

  test('with nobody are none', () => {
    expect(compareGroups({ hits: 0, size: 0 }, { hits: 1, size: 2 })).toBeNull();
  });
});

test('a rate has the score interval', () => {
  // Newcombe (1998), two-sided confidence intervals for the single proportion, method 3.
  for (const [hits, size, low, high] of [
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ] as const) {
    const interval = rateInterval({ hits, size });
    expect(interval.low).toBeCloseTo(low, 4);
    expect(interval.high).toBeCloseTo(high, 4);
  }
});

describe('different keys', () => {
  function filled(from: number, to: number): UniqueCount {
    const count = new UniqueCount();
    for (let at = from; at < to; at += 1) count.add(`user-${at}`);
    return count;
  }

  test('are counted once, wherever they came, to three standard errors', () => {
    for (const size of [0, 1, 100, 20_000]) {
      const count = filled(0, size);
      expect(Math.abs(count.count - size)).toBeLessThanOrEqual(size * 0.006);
    }
    const one = filled(0, 3_000);
    const before = one.count;
    expect(one.merge(filled(1_000, 2_000))).toBe(false);
    expect(one.count).toBe(before);
    expect(one.merge(filled(2_000, 4_000))).toBe(true);
    expect(one.count).toBe(filled(0, 4_000).count);
  });

  test('outlive their text, and what is no such text is refused', () => {
    const one = filled(0, 500);
    const read = UniqueCount.parse(one.text);
    expect(read.count).toBe(one.count);
    expect(read.merge(one)).toBe(false);
    for (const text of ['', 'AAAA', Buffer.from([3, 0]).toString('base64')]) {
      expect(() => UniqueCount.parse(text)).toThrow();
    }
  });

  test('are bounded: what is full does not count on', () => {
    expect(new UniqueCount(new Uint8Array(32_768).fill(255)).count).toBe(UNIQUE_MAX);
  });
});
