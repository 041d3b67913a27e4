import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { JsonValues } from '../../src/rpc/json-values.ts';

const spaces = fc.constantFrom('', ' ', '\n', '\r\n\t');

test('values come out as they were put in, however the text is cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })), spaces), { maxLength: 5 }),
      fc.integer({ min: 1, max: 40 }),
      (values, size) => {
        const text = values.map(([value, space]) => JSON.stringify(value) + space).join('');
        const reader = new JsonValues(1_000_000);
        const found: string[] = [];
        for (let at = 0; at < text.length; at += size) found.push(...reader.push(text.slice(at, at + size)));
        found.push(...reader.end());
        expect(found).toEqual(values.map(([value]) => JSON.stringify(value)));
        expect(reader.pending).toBe(false);
        expect(reader.heldCharacters).toBe(0);
      },
    ),
  );
});

test('quotes and backslashes end a text where they should, across pieces too', () => {
  const texts = ['{"a":"\\""}', '{"a":"\\\\"}', '{"\\\\\\"":"}"}', '"\\""', '{"a":"{[\\"]}"}'];
  for (const text of texts) {
    for (let cut = 0; cut <= text.length; cut++) {
      const reader = new JsonValues(100);
      const found = [...reader.push(text.slice(0, cut)), ...reader.push(`${text.slice(cut)}7 `)];
      expect(found).toEqual([text, '7']);
    }
  }
});

test('a value that does not end is known by its size', () => {
  const reader = new JsonValues(10);
  expect(reader.push('{"a":"123')).toEqual([]);
  expect([reader.pending, reader.overflowed, reader.heldCharacters]).toEqual([true, false, 9]);
  expect(reader.push('45')).toEqual([]);
  expect(reader.overflowed).toBe(true);
});
