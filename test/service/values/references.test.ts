import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Json } from '../../../src/service/model.ts';
import {
  escapeReferences,
  REFERENCE_DEPTH_MAX,
  RESOLVED_LENGTH_MAX,
  type ReferenceProblem,
  referencesOf,
  resolve,
} from '../../../src/service/values/references.ts';
import { json, text } from './arbitraries.ts';

function resolved(value: Json, values: Readonly<Record<string, Json>>): Json {
  const result = resolve(value, (key) => (Object.hasOwn(values, key) ? values[key] : undefined));
  expect(result.problems).toEqual([]);
  return result.json;
}

function problemsOf(value: Json, values: Readonly<Record<string, Json>>): readonly ReferenceProblem[] {
  return resolve(value, (key) => (Object.hasOwn(values, key) ? values[key] : undefined)).problems;
}

describe('references', () => {
  test('are filled in with the text of what they lead to, through other references', () => {
    const values = {
      'db.host': 'db-1',
      'db.port': 5432,
      'db.url': '${db.host}:${db.port}',
      on: true,
      list: ['${on}'],
    };
    expect(resolved('postgres://${db.url}/x', values)).toBe('postgres://db-1:5432/x');
    expect(resolved({ a: ['${db.port}', '${on}!'], b: '${list}', '${on}': 1 }, values)).toEqual({
      a: ['5432', 'true!'],
      b: '["true"]',
      '${on}': 1,
    });
  });

  test('that are escaped are text, and so is what is no key', () => {
    const texts = { a: 'x' };
    expect(resolved('$${a} $a {a} $ ${ } ${} ${a b} ${a:-y} ${.a} ${a', texts)).toBe(
      '${a} $a {a} $ ${ } ${} ${a b} ${a:-y} ${.a} ${a',
    );
    expect(resolved('${a}$${a}${a}', texts)).toBe('x${a}x');
    expect(referencesOf({ x: ['$${a}', '${b} ${a}'], y: '${a}${c.d-e_1}', '${no}': 1 })).toEqual([
      'b',
      'a',
      'c.d-e_1',
    ]);
  });

  test('escaped text comes out as it went in', () => {
    const noisy = fc.oneof(
      text(),
      fc
        .array(fc.constantFrom('$', '{', '}', 'a', '${a}', '.', ' '), { maxLength: 8 })
        .map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(noisy, (source) => {
        expect(resolved(escapeReferences(source), {})).toBe(source);
        expect(referencesOf(escapeReferences(source))).toEqual([]);
      }),
    );
  });

  test('a value without them stays as it is', () => {
    fc.assert(
      fc.property(json, (value) => {
        fc.pre(!JSON.stringify(value).includes('${'));
        expect(resolved(value, {})).toEqual(value);
        expect(referencesOf(value)).toEqual([]);
      }),
    );
  });

  test('what they bring in is not read again', () => {
    expect(resolved('${a}', { a: '$${b}', b: 'x' })).toBe('${b}');
    expect(resolved('$${${a}}', { a: 'b', b: 'x' })).toBe('${b}');
    expect(resolved('${a}', { a: "$&$1$'" })).toBe("$&$1$'");
  });
});

describe('findings', () => {
  test('an unknown key is told with its place and left as it is', () => {
    const { json: value, problems } = resolve({ 'a/b': ['x ${no.such} y'] }, () => undefined);
    expect(value).toEqual({ 'a/b': ['x ${no.such} y'] });
    expect(problems).toEqual([
      { type: 'unknown', pointer: '/a~1b/0', key: 'no.such', message: 'there is no key "no.such"' },
    ]);
    expect(problemsOf('${__proto__}${constructor}', {}).map(({ key }) => key)).toEqual([
      '__proto__',
      'constructor',
    ]);
  });

  test('circles are told, with the way round', () => {
    expect(problemsOf('${a}', { a: '${a}' })[0]).toMatchObject({
      type: 'cycle',
      message: 'a -> a goes round in a circle',
    });
    expect(problemsOf('${a}', { a: '${b}', b: ['${c}'], c: '${b}' })[0]).toMatchObject({
      type: 'cycle',
      key: 'b',
      message: 'b -> c -> b goes round in a circle',
    });
  });

  test('chains end', () => {
    const chain = (length: number): Record<string, Json> =>
      Object.fromEntries(
        Array.from({ length }, (_, at) => [`k${at}`, at === length - 1 ? 'end' : `\${k${at + 1}}`]),
      );
    expect(resolved('${k0}', chain(REFERENCE_DEPTH_MAX))).toBe('end');
    expect(problemsOf('${k0}', chain(REFERENCE_DEPTH_MAX + 1))[0]!.type).toBe('too-deep');
    expect(problemsOf('${k0}', chain(100_000))).toHaveLength(1);
  });

  test('what doubles at each step becomes too large, or is found out once', () => {
    const doubling = (end: Json): Record<string, Json> => ({
      ...Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`k${at}`, `\${k${at + 1}}`.repeat(2)])),
      k30: end,
    });
    const large = resolve('${k0}', (key) => doubling('laughs')[key]);
    expect(large.problems.map(({ type }) => type)).toContain('too-large');
    expect(JSON.stringify(large.json).length).toBeLessThanOrEqual(2 * RESOLVED_LENGTH_MAX);
    expect(problemsOf('${k0}', doubling('${absent}'))).toContainEqual(
      expect.objectContaining({ key: 'absent' }),
    );
    expect(resolved('${k0}', doubling(''))).toBe('');
  });

  test('many large values are not all looked at', () => {
    let looked = 0;
    const many = Array.from({ length: 5_000 }, (_, at) => `\${k${at}}`).join('');
    const { problems } = resolve([many, many], () => {
      looked += 1;
      return 'x'.repeat(100_000);
    });
    expect(problems[0]!.type).toBe('too-large');
    expect(problems.length).toBeLessThanOrEqual(100);
    expect(looked).toBeLessThan(20);
  });
});
