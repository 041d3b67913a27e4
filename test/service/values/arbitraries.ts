import fc from 'fast-check';
import type { Json } from '../../../src/service/model.ts';

/** Names that trip programs up, besides plain ones; few, so that they meet. */
const NAMES = [
  'a',
  'b',
  'c',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  '',
  '0',
  'a/b',
  'm~n',
  'ü',
];

export const memberName: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...NAMES) },
  { weight: 1, arbitrary: text().filter((name) => name !== '__proto__') },
);

/** Text of any characters, whole ones only. */
export function text(): fc.Arbitrary<string> {
  return fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 20 }),
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.constantFrom('', ' ', 'true', 'null', '10', '-0', '007', '1e5', '\ufeffx', 'a\r\nb', '"', '\\n', '\0'),
  );
}

/** Numbers that are kept as they are. */
export const number: fc.Arbitrary<number> = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc
    .double({ noNaN: true, noDefaultInfinity: true })
    .filter((value) => Math.abs(value) <= Number.MAX_SAFE_INTEGER || Math.abs(value) >= 1e21)
    .map((value) => value + 0),
);

export const scalar: fc.Arbitrary<Json> = fc.oneof(fc.constant(null), fc.boolean(), number, text());

/** Any JSON that the service takes. */
export const json: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(memberName, tie('value'), { maxKeys: 4, noNullPrototype: true }),
  ),
})).value;

/** JSON objects. */
export const object: fc.Arbitrary<{ readonly [name: string]: Json }> = fc.dictionary(memberName, json, {
  maxKeys: 5,
  noNullPrototype: true,
});
