import { expect, test } from 'vitest';
import { PATTERN_INPUT_LENGTH_MAX, PATTERN_MEMORY_LENGTH } from '../../src/evaluation/limits.ts';
import { Pattern } from '../../src/evaluation/pattern.ts';

test('matches the same after it has forgotten what it learnt', () => {
  const pattern = new Pattern('^(a|b)*c$');
  const text = 'ab'.repeat(PATTERN_INPUT_LENGTH_MAX / 2 - 1);
  for (let length = 0; length < 3 * PATTERN_MEMORY_LENGTH; length += text.length) {
    expect(pattern.matches(`${text}c`)).toBe(true);
    expect(pattern.matches(`${text}d`)).toBe(false);
  }
});

test('says how large it is, repetitions written out', () => {
  expect(new Pattern('a').instructions).toBeLessThan(10);
  expect(new Pattern('(ab){100}').instructions).toBeGreaterThan(200);
});

test.each(['(', '[a', 'a{2000}', '(?=a)', '(a)\\1'])('%s is no regular expression of RE2', (source) => {
  expect(() => new Pattern(source)).toThrow();
});
