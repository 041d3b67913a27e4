import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Json } from '../../../src/service/model.ts';
import { isObject } from '../../../src/service/values/json-limits.ts';
import { mergeJson } from '../../../src/service/values/merge.ts';
import { json, object } from './arbitraries.ts';

const maybe = fc.option(json, { nil: undefined });
const like = fc.tuple(object, object, object).map(([base, ours, theirs]) => ({
  base: { ...base, same: base },
  ours: { ...base, ...ours, same: base },
  theirs: { ...base, ...theirs, same: base },
}));

describe('a merge', () => {
  test('with a side that changed nothing is the other side', () => {
    fc.assert(
      fc.property(maybe, maybe, (base, changed) => {
        for (const sides of [
          { base, ours: changed, theirs: base },
          { base, ours: base, theirs: changed },
          { base, ours: changed, theirs: changed },
        ]) {
          expect(mergeJson(sides, 'manual')).toEqual({ json: changed, conflicts: [] });
        }
      }),
    );
  });

  test('says the same from both sides', () => {
    fc.assert(
      fc.property(fc.oneof(like, fc.record({ base: maybe, ours: maybe, theirs: maybe })), (sides) => {
        const { base, ours, theirs } = sides;
        const here = mergeJson(sides, 'ours');
        const there = mergeJson({ base, ours: theirs, theirs: ours }, 'theirs');
        expect(there.json).toEqual(here.json);
        const places = (merge: typeof here): readonly string[] =>
          merge.conflicts.map(({ pointer }) => pointer).toSorted();
        expect(places(there)).toEqual(places(here));
        expect(mergeJson(sides, 'manual')).toEqual(here);
      }),
    );
  });

  test('takes each member from the side that changed it, and shows where both did', () => {
    fc.assert(
      fc.property(like, ({ base, ours, theirs }) => {
        const { json: merged, conflicts } = mergeJson({ base, ours, theirs }, 'manual');
        const touched = new Set(conflicts.map(({ pointer }) => pointer.split('/')[1]));
        expect(isObject(merged)).toBe(true);
        const text = (side: Json | undefined, name: string): string | undefined =>
          isObject(side) && Object.hasOwn(side, name) ? JSON.stringify(side[name]) : undefined;
        for (const name of Object.keys({ ...base, ...ours, ...theirs })) {
          if (touched.has(name.replaceAll('~', '~0').replaceAll('/', '~1'))) continue;
          const [was, here, there] = [text(base, name), text(ours, name), text(theirs, name)];
          if (here === was) expect(text(merged, name)).toBe(there);
          else if (there === was) expect(text(merged, name)).toBe(here);
        }
      }),
    );
  });

  test('goes into objects, and takes lists as wholes', () => {
    const base = { db: { host: 'a', port: 1 }, list: [1, 2] };
    const ours = { db: { host: 'b', port: 1 }, list: [1, 2, 3] };
    const theirs = { db: { host: 'a', port: 2, tls: true }, list: [1, 2] };
    expect(mergeJson({ base, ours, theirs }, 'manual')).toEqual({
      json: { db: { host: 'b', port: 2, tls: true }, list: [1, 2, 3] },
      conflicts: [],
    });
    expect(mergeJson({ base, ours, theirs: { ...theirs, list: [2] } }, 'theirs')).toEqual({
      json: { db: { host: 'b', port: 2, tls: true }, list: [2] },
      conflicts: [{ pointer: '/list', base: [1, 2], ours: [1, 2, 3], theirs: [2] }],
    });
  });

  test('a removal against a change is a conflict, two removals are none', () => {
    const base = { a: 1, b: 2 };
    expect(mergeJson({ base, ours: {}, theirs: { a: 9 } }, 'ours')).toEqual({
      json: {},
      conflicts: [{ pointer: '/a', base: 1, ours: undefined, theirs: 9 }],
    });
    expect(mergeJson({ base, ours: undefined, theirs: { a: 9 } }, 'theirs')).toEqual({
      json: { a: 9 },
      conflicts: [{ pointer: '', base, ours: undefined, theirs: { a: 9 } }],
    });
  });

  test('two objects in place of something else are a conflict; two made anew are joined', () => {
    const [ours, theirs] = [{ a: 1 }, { b: 2 }];
    expect(mergeJson({ base: 1, ours, theirs }, 'manual').conflicts).toHaveLength(1);
    expect(mergeJson({ base: undefined, ours, theirs }, 'manual')).toEqual({
      json: { a: 1, b: 2 },
      conflicts: [],
    });
  });

  test('names of the language are names like others', () => {
    const merged = mergeJson({ base: {}, ours: { constructor: 1 }, theirs: { toString: 2 } }, 'manual');
    expect(merged).toEqual({ json: { constructor: 1, toString: 2 }, conflicts: [] });
    expect(mergeJson({ base: {}, ours: { constructor: 1 }, theirs: {} }, 'manual').json).toEqual({
      constructor: 1,
    });
  });
});
