import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Json } from '../../../src/service/model.ts';
import { isObject } from '../../../src/service/values/json-limits.ts';
import { mergePatch } from '../../../src/service/values/merge-patch.ts';
import { json, object } from './arbitraries.ts';

/** Appendix A of RFC 7396, whole. */
const EXAMPLES: readonly (readonly [target: string, patch: string, result: string])[] = [
  ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
  ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
  ['{"a":"b"}', '{"a":null}', '{}'],
  ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
  ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
  ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
  ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
  ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
  ['["a","b"]', '["c","d"]', '["c","d"]'],
  ['{"a":"b"}', '["c"]', '["c"]'],
  ['{"a":"foo"}', 'null', 'null'],
  ['{"a":"foo"}', '"bar"', '"bar"'],
  ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
  ['[1,2]', '{"a":"b","c":null}', '{"a":"b"}'],
  ['{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
];

const parse = (text: string): Json => JSON.parse(text) as Json;

describe('a merge patch', () => {
  test.each(EXAMPLES)('%s patched by %s is %s', (target, patch, result) => {
    expect(mergePatch(parse(target), parse(patch))).toEqual(parse(result));
  });

  test('made of two objects leads from the one to the other', () => {
    fc.assert(
      fc.property(object, object, (before, after) => {
        const goal = withoutNulls(after);
        expect(mergePatch(before, patchBetween(before, goal))).toEqual(goal);
      }),
    );
  });

  test('changes neither of its arguments, and doing it again changes nothing', () => {
    fc.assert(
      fc.property(json, json, (target, patch) => {
        const texts = [JSON.stringify(target), JSON.stringify(patch)];
        const result = mergePatch(target, patch);
        expect([JSON.stringify(target), JSON.stringify(patch)]).toEqual(texts);
        expect(mergePatch(result, patch)).toEqual(result);
      }),
    );
  });

  test('an empty one changes nothing of an object', () => {
    fc.assert(
      fc.property(object, (target) => {
        expect(mergePatch(target, {})).toEqual(target);
      }),
    );
  });

  test('what is not there is made', () => {
    expect(mergePatch(undefined, { a: { b: 1, c: null } })).toEqual({ a: { b: 1 } });
    expect(mergePatch({}, { constructor: { prototype: { x: 1 } }, toString: null })).toEqual({
      constructor: { prototype: { x: 1 } },
    });
  });

  test('does not reach a prototype', () => {
    const patch = parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}');
    const result = mergePatch({}, patch) as Record<string, unknown>;
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(result['polluted']).toBeUndefined();
    expect(Object.getPrototypeOf(result)).toBe(Object.prototype);
  });
});

/** Merge patches cannot set null. */
function withoutNulls(value: Json): Json {
  if (!isObject(value)) return value;
  const members = Object.entries(value).filter(([, member]) => member !== null);
  return Object.fromEntries(members.map(([name, member]) => [name, withoutNulls(member)]));
}

function patchBetween(before: Json, after: Json): Json {
  if (!isObject(before) || !isObject(after)) return after;
  const gone = Object.keys(before).filter((name) => !Object.hasOwn(after, name));
  const kept = Object.entries(after).map(
    ([name, member]) =>
      [name, patchBetween(Object.hasOwn(before, name) ? before[name]! : {}, member)] as const,
  );
  return Object.fromEntries([...gone.map((name) => [name, null] as const), ...kept]);
}
