import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Interval, IntervalTree } from '../../../src/core/watch/interval-tree.ts';
import { AssertionError } from '../../../src/lib/assert.ts';

const point = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 3 });
const interval: fc.Arbitrary<Interval> = fc
  .tuple(point, point)
  .filter(([a, b]) => a !== b)
  .map(([a, b]) => (a < b ? { start: a, end: b } : { start: b, end: a }));

test('finds exactly the intervals that contain a point, however they came and went', () => {
  fc.assert(
    fc.property(fc.array(interval, { maxLength: 80 }), point, (intervals, at) => {
      const tree = new IntervalTree<string>();
      const model = new Map<string, Interval>();
      for (const each of intervals) {
        const name = `${each.start}-${each.end}`;
        // A second time takes it out again.
        if (model.delete(name)) tree.delete(each);
        else tree.insert(each, name);
        if (tree.get(each) !== undefined) model.set(name, each);
        const expected = [...model].filter(([, { start, end }]) => start <= at && at < end).map(([n]) => n);
        const found: string[] = [];
        tree.containing(at, (value) => found.push(value));
        expect(found.sort()).toEqual(expected.sort());
        expect(tree.some(at)).toBe(expected.length > 0);
      }
    }),
    { numRuns: 200 },
  );
});

test('an interval is there once, and not empty', () => {
  const tree = new IntervalTree<number>();
  tree.insert({ start: 'a', end: 'b' }, 1);
  expect(() => tree.insert({ start: 'a', end: 'b' }, 2)).toThrow(AssertionError);
  expect(() => tree.insert({ start: 'b', end: 'b' }, 2)).toThrow(AssertionError);
  expect(() => tree.delete({ start: 'a', end: 'c' })).toThrow(AssertionError);
});

test('stays balanced when intervals come in order', () => {
  const tree = new IntervalTree<number>();
  const name = (i: number): string => String(i).padStart(6, '0');
  for (let i = 0; i < 50_000; i++) tree.insert({ start: name(i), end: name(i + 1) }, i);
  // A list would overflow the stack, and take seconds.
  const found: number[] = [];
  for (let i = 0; i < 50_000; i++) tree.containing(name(i), (value) => found.push(value));
  expect(found).toEqual(Array.from({ length: 50_000 }, (_, i) => i));
});
