import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SequenceMap } from '../../src/lib/sequence-map.ts';

/** Either adds a value, or deletes the one that stands so far from the newest. */
const step = fc.oneof(fc.constant('push' as const), fc.nat({ max: 300 }));

test('holds what a Map would, in the same order, whatever leaves when', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 1_000 }), fc.nat({ max: 2 ** 40 }), (steps, first) => {
      const map = new SequenceMap<{ readonly number: number }>(first);
      const model = new Map<number, { readonly number: number }>();
      for (const what of steps) {
        const number = what === 'push' ? map.next : map.next - what;
        if (what === 'push') {
          map.push({ number });
          model.set(number, map.get(number)!);
        } else {
          map.delete(number);
          model.delete(number);
        }
        expect(map.get(number)).toBe(model.get(number));
        expect(map.size).toBe(model.size);
      }
      expect([...map.values()]).toEqual([...model.values()]);
    }),
  );
});

test('one that stays keeps its place while thousands come and go', () => {
  const map = new SequenceMap<{ readonly number: number }>(1);
  for (let number = 1; number <= 10_000; number++) {
    expect(map.next).toBe(number);
    map.push({ number });
    if (number > 1) map.delete(number);
  }
  expect([...map.values()]).toEqual([{ number: 1 }]);
  map.delete(1);
  expect(map.size).toBe(0);
  map.push({ number: 10_001 });
  expect(map.get(10_001)).toEqual({ number: 10_001 });
  expect(map.get(10_000)).toBeUndefined();
});

test('what is deleted while it is walked is not given', () => {
  const map = new SequenceMap<{ readonly number: number }>(0);
  for (let number = 0; number < 10; number++) map.push({ number });
  const seen: number[] = [];
  for (const { number } of map.values()) {
    seen.push(number);
    map.delete(number);
    map.delete(number + 1);
  }
  expect(seen).toEqual([0, 2, 4, 6, 8]);
  expect(map.size).toBe(0);
});
