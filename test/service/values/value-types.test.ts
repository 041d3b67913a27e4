import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Json, ValueType } from '../../../src/service/model.ts';
import { ServiceError } from '../../../src/service/service-error.ts';
import {
  bytesOf,
  guessText,
  parseJson,
  parseText,
  subtypeOf,
  textOf,
  VALUE_BYTES_MAX,
} from '../../../src/service/values/value-types.ts';
import { json, number, text } from './arbitraries.ts';

function failureOf(call: () => unknown): ServiceError {
  try {
    call();
  } catch (error) {
    if (error instanceof ServiceError) return error;
    throw error;
  }
  throw new Error('it was taken');
}

describe('text', () => {
  const typed: fc.Arbitrary<readonly [ValueType, Json]> = fc.oneof(
    text().map((value) => ['string', value] as const),
    fc.maxSafeInteger().map((value) => ['integer', value + 0] as const),
    number.map((value) => ['float', value] as const),
    fc.boolean().map((value) => ['boolean', value] as const),
    json.map((value) => ['json', value] as const),
    fc.array(json).map((value) => ['array', value] as const),
    text().map((value) => ['secret', value] as const),
  );

  test('of a value gives the value back', () => {
    fc.assert(
      fc.property(typed, ([type, value]) => {
        expect(parseText(textOf(value, type), type)).toEqual(value);
        expect(parseJson(value, type)).toEqual(value);
      }),
    );
  });

  test.each([
    ['integer', '007'],
    ['integer', '1.0'],
    ['integer', '1e3'],
    ['integer', ' 1'],
    ['integer', '1\n'],
    ['integer', ''],
    ['integer', '0x10'],
    ['integer', '9007199254740993'],
    ['integer', '1'.repeat(400)],
    ['float', '.5'],
    ['float', '5.'],
    ['float', 'NaN'],
    ['float', 'Infinity'],
    ['float', '1e309'],
    ['float', '1e-999'],
    ['float', '9007199254740993'],
    ['float', '1_000'],
    ['boolean', 'True'],
    ['boolean', 'yes'],
    ['boolean', ''],
    ['json', '{"a":1,"a":2}'],
    ['json', '{'],
    ['array', '{}'],
    ['string', 'a\ud800'],
    ['secret', '\udc00'],
  ] as const)('%s: %j is refused with the field', (type, source) => {
    const failure = failureOf(() => parseText(source, type));
    expect(failure.code).toBe('invalid');
    expect(failure.problems.map(({ field }) => field)).toEqual(['value']);
  });

  test('says where JSON is wrong', () => {
    expect(failureOf(() => parseText('{\n "a": x}', 'json')).message).toContain('line 2, column 7');
  });

  test('a guess prints back as the text it was made of', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          text(),
          number.map(String),
          json.map((value) => JSON.stringify(value)),
        ),
        (source) => {
          const value = guessText(source);
          const type = subtypeOf(value);
          if (type !== 'json' && type !== 'array') expect(textOf(value, type)).toBe(source);
          expect(parseJson(value, type)).toEqual(value);
        },
      ),
    );
  });

  test.each([
    ['true', true],
    ['12', 12],
    ['-1.5', -1.5],
    ['1.50', '1.50'],
    ['007', '007'],
    ['-0', '-0'],
    ['1e5', '1e5'],
    ['9007199254740992', '9007199254740992'],
    ['yes', 'yes'],
    ['null', 'null'],
    ['[1]', [1]],
    ['{"a":1}', { a: 1 }],
    ['[1', '[1'],
    ['"x"', '"x"'],
  ])('%s is guessed to be %o', (source, value) => {
    expect(guessText(source)).toEqual(value);
  });
});

describe('JSON', () => {
  test.each([
    ['string', 1],
    ['string', null],
    ['integer', 1.5],
    ['integer', '1'],
    ['integer', 1e21],
    ['float', true],
    ['boolean', 0],
    ['boolean', 'true'],
    ['array', { length: 0 }],
  ] as const)('%s: %o is refused, not converted', (type, value) => {
    expect(failureOf(() => parseJson(value, type)).problems[0]!.field).toBe('value');
  });

  test('names the place inside a value', () => {
    expect(failureOf(() => parseJson({ a: [2 ** 60] }, 'json')).problems[0]!.field).toBe('value/a/0');
  });

  test('-0 is 0', () => {
    expect(Object.is(parseJson(-0, 'integer'), 0)).toBe(true);
    expect(Object.is(parseText('-0', 'integer'), 0)).toBe(true);
  });

  test('has the finest type that takes it', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(parseJson(value, subtypeOf(value))).toEqual(value);
      }),
    );
    expect([1, 1.5, 1e21, [], {}, null, 'x', false].map(subtypeOf)).toEqual([
      'integer',
      'float',
      'float',
      'array',
      'json',
      'json',
      'string',
      'boolean',
    ]);
  });
});

describe('a value', () => {
  test('of 512 KiB is taken and one byte more is too large', () => {
    const whole = 'x'.repeat(VALUE_BYTES_MAX - 2);
    expect(bytesOf(whole)).toBe(VALUE_BYTES_MAX);
    expect(parseText(whole, 'string')).toBe(whole);
    expect(failureOf(() => parseText(`${whole}x`, 'string')).code).toBe('too-large');
    expect(failureOf(() => parseText('x'.repeat(10_000_000), 'json')).code).toBe('too-large');
    expect(failureOf(() => parseJson(`${whole}x`, 'secret')).problems[0]!.field).toBe('value');
  });

  test('is measured in bytes of UTF-8, as JSON', () => {
    expect(bytesOf('ü')).toBe(4);
    expect(failureOf(() => parseText('ü'.repeat(VALUE_BYTES_MAX / 2), 'string')).code).toBe('too-large');
    expect(failureOf(() => parseText('\0'.repeat(VALUE_BYTES_MAX / 2), 'string')).code).toBe('too-large');
  });
});
