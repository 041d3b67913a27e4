import { expect, test } from 'vitest';
import { parseDuration } from '../../src/lib/duration.ts';

test('durations are read as Go writes them', () => {
  expect(parseDuration('90s')).toBe(90_000);
  expect(parseDuration('1h30m')).toBe(5_400_000);
  expect(parseDuration('1.5h')).toBe(5_400_000);
  expect(parseDuration('300ms')).toBe(300);
  expect(parseDuration('0')).toBe(0);
});

test('anything else is none', () => {
  for (const text of ['', '5', '-1s', '1d', 's', '1h 30m', '1,5h', '1e3s', 'h1']) {
    expect(parseDuration(text)).toBeNull();
  }
});
