import fc from 'fast-check';
import { applyPatch, type Operation } from 'rfc6902';
import { describe, expect, test } from 'vitest';
import type { Json } from '../../../src/service/model.ts';
import { CHANGES_MAX, diffJson, LINE_DIFFS_MAX } from '../../../src/service/values/diff.ts';
import { json } from './arbitraries.ts';

/** Another program's reading of the patch. */
function patched(before: Json, after: Json): unknown {
  const box = { value: structuredClone(before) };
  const patch = diffJson(before, after).patch.map((operation) => ({
    ...operation,
    path: `/value${operation.path}`,
  }));
  const failures = applyPatch(box, structuredClone(patch) as Operation[]).filter(
    (failure) => failure !== null,
  );
  expect(failures).toEqual([]);
  return box.value;
}

/** A value and one like it, so that they have much in common. */
const pairs = fc
  .tuple(json, json, json, fc.nat(3))
  .map(([value, other, inner, kind]): readonly [Json, Json] => {
    if (kind === 0) return [value, other];
    if (kind === 1)
      return [
        { a: value, b: inner },
        { a: other, b: inner },
      ];
    return kind === 2
      ? [
          [inner, value, inner],
          [inner, other],
        ]
      : [
          [value, inner],
          [other, value, inner, inner],
        ];
  })
  // The other program passes over these names.
  .filter((pair) => !/"(constructor|prototype)":/.test(JSON.stringify(pair)));

describe('the machine diff', () => {
  test('leads from one value to the other', () => {
    fc.assert(
      fc.property(pairs, ([before, after]) => {
        expect(patched(before, after)).toEqual(after);
        expect(patched(after, before)).toEqual(before);
      }),
      { numRuns: 500 },
    );
  });

  test('of a value and itself is empty', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(diffJson(value, structuredClone(value))).toEqual({ changes: [], patch: [] });
      }),
    );
  });

  test('keeps what lists have in common at both ends', () => {
    expect(diffJson([1, 2, 3, 4], [1, 9, 2, 3, 4]).patch).toEqual([{ op: 'add', path: '/1', value: 9 }]);
    expect(diffJson([1, 2, 3, 4], [1, 4]).patch).toEqual([
      { op: 'remove', path: '/2' },
      { op: 'remove', path: '/1' },
    ]);
    expect(diffJson([{ a: 1 }], [{ a: 2 }]).patch).toEqual([{ op: 'replace', path: '/0/a', value: 2 }]);
  });

  test('escapes names, and has no trouble with those of the language', () => {
    expect(diffJson({ 'a/b~c': 1 }, { constructor: 1 }).patch).toEqual([
      { op: 'remove', path: '/a~1b~0c' },
      { op: 'add', path: '/constructor', value: 1 },
    ]);
    expect(diffJson({}, { toString: null }).patch).toHaveLength(1);
  });

  test('has a value that was not there before, or is not there any more', () => {
    expect(diffJson(undefined, 1).patch).toEqual([{ op: 'add', path: '', value: 1 }]);
    expect(diffJson(1, undefined).patch).toEqual([{ op: 'remove', path: '' }]);
    expect(diffJson(undefined, undefined).patch).toEqual([]);
    expect(diffJson(null, 1).patch).toEqual([{ op: 'replace', path: '', value: 1 }]);
  });
});

describe('the readable diff', () => {
  test('shows what was and what is, place by place', () => {
    const before = { db: { host: 'a', port: 1 }, gone: true };
    const after = { db: { host: 'b', port: 1 }, fresh: [1] };
    expect(diffJson(before, after).changes).toEqual([
      { type: 'changed', pointer: '/db/host', before: 'a', after: 'b', lines: null },
      { type: 'removed', pointer: '/gone', before: true },
      { type: 'added', pointer: '/fresh', after: [1] },
    ]);
  });

  test('shows strings of several lines by their lines', () => {
    const [change] = diffJson('a\nb\nc\n', 'a\nx\nc\n').changes;
    expect(change).toMatchObject({
      lines: [
        { type: 'same', text: 'a\n' },
        { type: 'removed', text: 'b\n' },
        { type: 'added', text: 'x\n' },
        { type: 'same', text: 'c\n' },
      ],
    });
  });

  test('the lines make up both strings', () => {
    const lines = fc
      .array(fc.constantFrom('a', 'b', '', '\r', 'c'), { maxLength: 8 })
      .map((all) => all.join('\n'));
    fc.assert(
      fc.property(lines, lines, (before, after) => {
        for (const change of diffJson(before, after).changes) {
          if (change.type !== 'changed' || change.lines === null) continue;
          const side = (left: string): string =>
            change
              .lines!.filter(({ type }) => type !== left)
              .map(({ text }) => text)
              .join('');
          expect(side('added')).toBe(before);
          expect(side('removed')).toBe(after);
        }
      }),
    );
  });
});

describe('large and bad values', () => {
  test('with too many changes are replaced whole', () => {
    const before = Array.from({ length: CHANGES_MAX + 1 }, (_, at) => at);
    const after = before.map((item) => -1 - item);
    expect(diffJson(before, after).patch).toEqual([{ op: 'replace', path: '', value: after }]);
    expect(diffJson(before.slice(1), after.slice(1)).patch).toHaveLength(CHANGES_MAX);
  });

  test('of lists in lists do not multiply', () => {
    let [before, after]: [Json, Json] = [[1], [2]];
    for (let level = 0; level < 90; level++)
      [before, after] = [
        [before, 1, level],
        [2, after, level],
      ];
    expect(patched(before, after)).toEqual(after);
    const long = Array.from({ length: 100_000 }, (_, at) => ({ at }));
    expect(diffJson(long, [...long.slice(0, 50_000), ...long.slice(50_001)]).patch).toEqual([
      { op: 'remove', path: '/50000' },
    ]);
  });

  test('of very many lines are shown whole, and only some by lines', () => {
    const text = (word: string): string =>
      Array.from({ length: 100_000 }, (_, at) => `${word}${at}`).join('\n');
    expect(diffJson(text('a'), text('b')).changes[0]).toMatchObject({ type: 'changed', lines: null });
    const many = (word: string): Json => Array.from({ length: 50 }, () => `${word}\n`);
    const shown = diffJson(many('a'), many('b')).changes.filter(
      (change) => change.type === 'changed' && change.lines !== null,
    );
    expect(shown).toHaveLength(LINE_DIFFS_MAX);
  });
});
