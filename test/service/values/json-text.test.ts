import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DEPTH_MAX, jsonProblem, sameJson } from '../../../src/service/values/json-limits.ts';
import { parseJsonText, TextProblem } from '../../../src/service/values/json-text.ts';
import { json, text } from './arbitraries.ts';

function problemOf(source: string): TextProblem | null {
  try {
    parseJsonText(source);
    return null;
  } catch (error) {
    if (error instanceof TextProblem) return error;
    throw error;
  }
}

describe('reading JSON', () => {
  test('reads what JSON.stringify writes, with and without white space', () => {
    fc.assert(
      fc.property(json, fc.constantFrom(undefined, 2, '\t'), (value, indent) => {
        expect(parseJsonText(JSON.stringify(value, null, indent))).toEqual(value);
        expect(jsonProblem(value)).toBeNull();
      }),
    );
  });

  test('takes no text that JSON.parse refuses, and reads the others alike', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"a"',
      '"b"',
      '1',
      '-',
      '.5',
      'e1',
      'true',
      '\\',
      ' ',
    );
    const noise = fc.oneof(
      fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join('')),
      text(),
    );
    fc.assert(
      fc.property(noise, (source) => {
        if (problemOf(source) !== null) return;
        expect(sameJson(parseJsonText(source), JSON.parse(source))).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    ['{"a":1,"a":1}', 1, 8, 'there already'],
    ['{"a":1,\r\n "\\u0061":2}', 2, 2, 'there already'],
    ['{"__proto__":{"x":1}}', 1, 2, '__proto__'],
    ['{"x":{"__proto__":null}}', 1, 7, '__proto__'],
    ['[9007199254740992]', 1, 2, '2^53'],
    ['[-9007199254740993]', 1, 2, '2^53'],
    ['123456789012345678901234', 1, 1, '2^53'],
    ['1e17', 1, 1, '2^53'],
    ['1e400', 1, 1, 'finite'],
    ['1e-400', 1, 1, 'too small'],
    ['"\\ud800"', 1, 1, 'surrogate'],
    ['"\ud800"', 1, 1, 'surrogate'],
    ['{"\\udfff":1}', 1, 2, 'surrogate'],
    ['\ufeff{}', 1, 1, 'no JSON value'],
    ['NaN', 1, 1, 'no JSON value'],
    ['-Infinity', 1, 1, 'no JSON value'],
    ['01', 1, 2, 'more after'],
    ['[1,]', 1, 4, 'no JSON value'],
    ['{"a":1,}', 1, 8, 'name in quotes'],
    ["{'a':1}", 1, 2, 'name in quotes'],
    ['"a\nb"', 1, 1, 'control character'],
    ['"\\x"', 1, 1, 'bad escape'],
    ['"abc', 1, 1, 'does not end'],
    ['"abc\\', 1, 1, 'does not end'],
    ['[1 2]', 1, 4, 'comma'],
    ['', 1, 1, 'ends too early'],
    ['{"a" 1}', 1, 6, 'colon'],
    ['// x\n1', 1, 1, 'no JSON value'],
  ])('refuses %j', (source, line, column, message) => {
    const problem = problemOf(source);
    expect(problem?.message).toContain(message);
    expect([problem?.line, problem?.column]).toEqual([line, column]);
  });

  test.each([
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
    ['-0', 0],
    ['0.0', 0],
    ['0e400', 0],
    ['1e21', 1e21],
    ['6.022e23', 6.022e23],
    ['1.0', 1],
    ['5e-324', 5e-324],
  ])('reads %s', (source, value) => {
    expect(Object.is(parseJsonText(source), value)).toBe(true);
  });

  test('nesting is bounded, however deep the text goes', () => {
    const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    expect(problemOf(nested(DEPTH_MAX))).toBeNull();
    expect(problemOf(nested(DEPTH_MAX + 1))?.message).toContain('nested');
    expect(problemOf('['.repeat(8_000_000))?.message).toContain('nested');
    expect(problemOf('{"a":'.repeat(500_000))?.message).toContain('nested');
  });

  test('long strings are read, and names of objects can be those of the language', () => {
    const long = `"${'x'.repeat(8_000_000)}"`;
    expect(parseJsonText(long)).toHaveLength(8_000_000);
    const value = parseJsonText('{"constructor":1,"toString":2,"prototype":{"__proto":3}}');
    expect(Object.keys(value as object)).toEqual(['constructor', 'toString', 'prototype']);
    expect(({} as { x?: unknown }).x).toBeUndefined();
  });
});

describe('what comes as a value', () => {
  test.each([
    [Number.NaN, ''],
    [[1, Number.POSITIVE_INFINITY], '/1'],
    [{ a: { 'b/c~d': 2 ** 53 } }, '/a/b~1c~0d'],
    [{ a: ['\ud800'] }, '/a/0'],
    [{ a: undefined }, '/a'],
    [[() => 1], '/0'],
    [10n, ''],
    [new Date(0), ''],
    [{ a: new Map() }, '/a'],
    [JSON.parse('{"a":{"__proto__":1}}'), '/a'],
  ])('%o is refused where it is wrong', (value: unknown, pointer) => {
    expect(jsonProblem(value)?.pointer).toBe(pointer);
  });

  test('circles end at the depth that is allowed', () => {
    const circle: unknown[] = [];
    circle.push(circle);
    expect(jsonProblem(circle)?.message).toContain('nested deeper');
  });
});

test('two values are the same when their JSON is, whatever the order of members', () => {
  const shuffled = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(shuffled)
      : typeof value === 'object' && value !== null
        ? Object.fromEntries(
            Object.entries(value)
              .map(([name, member]) => [name, shuffled(member)] as const)
              .toReversed(),
          )
        : value;
  fc.assert(
    fc.property(json, json, (left, right) => {
      expect(sameJson(left, shuffled(left) as typeof left)).toBe(true);
      const isSame = JSON.stringify(left) === JSON.stringify(right);
      if (isSame) expect(sameJson(left, right)).toBe(true);
      if (sameJson(left, right)) expect(left).toEqual(right);
    }),
  );
});
