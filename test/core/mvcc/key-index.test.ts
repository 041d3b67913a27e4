import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { KeyRange } from '../../../src/core/mvcc/key-index.ts';
import { KeyIndex } from '../../../src/core/mvcc/key-index.ts';

// Even slots are live.
const isLive = (slot: number) => slot % 2 === 0;

function setKey(index: KeyIndex, key: string, slot: number): void {
  if (index.seek(key)) index.replace(slot);
  else index.insert(key, slot);
}

function slotsIn(index: KeyIndex, range: KeyRange): number[] {
  const slots: number[] = [];
  index.visit(range, (slot) => slots.push(slot) > 0);
  return slots;
}

const name = (id: number) => `k${String(id).padStart(5, '0')}`;

test.each(['ascending', 'descending', 'scattered'])(
  'keys in %s order come out sorted, over many leaves',
  (how) => {
    const index = new KeyIndex(isLive);
    const count = 3001;
    for (let i = 0; i < count; i++) {
      const id = how === 'ascending' ? i : how === 'descending' ? count - 1 - i : (i * 1000) % count;
      setKey(index, name(id), id);
    }
    expect(slotsIn(index, { key: '', end: null })).toEqual(Array.from({ length: count }, (_, id) => id));
    expect([index.size, index.liveCount]).toEqual([count, 1501]);
    for (const id of [0, 1, 255, 256, 1500, 3000]) expect(index.get(name(id))).toBe(id);
    expect(index.get('k')).toBeNull();
    expect(index.get('z')).toBeNull();
  },
);

test('any changes keep order, lookups and counts', () => {
  const id = fc.nat(1500);
  const changes = fc.array(fc.tuple(fc.constantFrom('set', 'set', 'remove', 'clear'), id, fc.nat(99)), {
    maxLength: 40,
  });
  fc.assert(
    fc.property(changes, fc.array(fc.tuple(id, id), { minLength: 3, maxLength: 3 }), (steps, ranges) => {
      const index = new KeyIndex(isLive);
      const model = new Map<number, number>();
      const drop = (at: number) => {
        expect(index.seek(name(at))).toBe(model.delete(at));
        if (index.seek(name(at))) index.remove();
      };
      for (const [what, start, slot] of steps) {
        // Blocks of neighbours, so that leaves split, join and empty.
        for (let at = start; at < start + (what === 'clear' ? 400 : 60); at++) {
          if (what === 'set') setKey(index, name(at), slot + at);
          if (what === 'set') model.set(at, slot + at);
          else drop(at);
        }
      }
      const sorted = [...model].sort(([a], [b]) => a - b);
      expect(index.size).toBe(model.size);
      expect(index.liveCount).toBe(sorted.filter(([, slot]) => isLive(slot)).length);
      for (const [from, to] of [...ranges, [0, 9999] as const]) {
        const range = { key: name(from), end: to === 9999 ? null : name(to) };
        const inside = sorted.filter(([at]) => at >= from && at < to).map(([, slot]) => slot);
        expect(slotsIn(index, range)).toEqual(inside);
        expect(index.countLive(range)).toBe(inside.filter(isLive).length);
      }
    }),
    { numRuns: 60, seed: 4 },
  );
});

test('a visit stops when it is told to', () => {
  const index = new KeyIndex(isLive);
  for (let id = 0; id < 1000; id++) setKey(index, name(id), id);
  const seen: number[] = [];
  index.visit({ key: name(250), end: null }, (slot) => seen.push(slot) < 10);
  expect(seen).toEqual([250, 251, 252, 253, 254, 255, 256, 257, 258, 259]);
});
