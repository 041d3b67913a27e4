import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { KeyRange } from '../../../src/core/mvcc/key-index.ts';
import { KeyIntervals } from '../../../src/core/mvcc/key-intervals.ts';

/** Few keys, so that ranges meet; in byte order. */
const KEYS: readonly string[] = ['a', 'b', 'c'].flatMap((a) => [a, `${a}\0`, `${a}a`, `${a}\xff`]).sort();
const key = fc.constantFrom(...KEYS);
const range: fc.Arbitrary<KeyRange> = fc.record({ key, end: fc.option(key, { freq: 6 }) });

function holds({ key: start, end }: KeyRange, each: string): boolean {
  return each >= start && (end === null || each < end);
}

/** A range is the places between any two keys, too: ends and starts of others are where it could break. */
function covered(ranges: readonly KeyRange[], asked: KeyRange): boolean {
  const places = KEYS.filter((each) => holds(asked, each));
  const openEnded =
    asked.end !== null || ranges.some(({ end, key: start }) => end === null && start <= '\uffff');
  return openEnded && places.every((place) => ranges.some((each) => holds(each, place)));
}

test('a range is covered when all its keys are, however the permissions are cut', () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 8 }), range, (ranges, asked) => {
      fc.pre(asked.end === null || asked.key < asked.end);
      expect(new KeyIntervals(ranges).covers(asked)).toBe(covered(ranges, asked));
    }),
    { numRuns: 2_000 },
  );
});

test('merged ranges are in order, apart from each other and not empty', () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 8 }), (ranges) => {
      const merged = new KeyIntervals(ranges).ranges;
      for (const [i, { key: start, end }] of merged.entries()) {
        expect(end === null || start < end).toBe(true);
        const next = merged[i + 1];
        if (next !== undefined) expect(end !== null && end < next.key).toBe(true);
      }
    }),
  );
});

test('ranges side by side are one; a gap of one key is a gap', () => {
  const touching = new KeyIntervals([
    { key: 'b', end: 'c' },
    { key: 'a', end: 'b' },
  ]);
  expect(touching.covers({ key: 'a', end: 'c' })).toBe(true);
  const gap = new KeyIntervals([
    { key: 'a', end: 'b' },
    { key: 'b\0', end: 'c' },
  ]);
  expect(gap.covers({ key: 'a', end: 'c' })).toBe(false);
  expect(gap.covers({ key: 'b\0', end: 'c' })).toBe(true);
});

test('a single key is not the keys after it (GHSA-xg4h-6gfc-h4m8)', () => {
  const one = new KeyIntervals([{ key: 'k', end: 'k\0' }]);
  expect(one.covers({ key: 'k', end: 'k\0' })).toBe(true);
  expect(one.covers({ key: 'k', end: null })).toBe(false);
  expect(one.covers({ key: 'k', end: 'l' })).toBe(false);
  expect(one.covers({ key: 'k\0', end: 'k\0\0' })).toBe(false);
});

test('a range without a key counts by its first one', () => {
  const one = new KeyIntervals([{ key: 'b', end: 'c' }]);
  expect(one.covers({ key: 'b', end: 'a' })).toBe(true);
  expect(one.covers({ key: 'd', end: 'a' })).toBe(false);
});
