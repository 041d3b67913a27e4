import { expect, test } from 'vitest';
import { timeoutMsOf } from '../../src/rpc/timeout.ts';

test.each([
  ['2H', 7_200_000],
  ['3M', 180_000],
  ['99999999S', 99_999_999_000],
  ['5m', 5],
  ['1500u', 1.5],
  ['0n', 0],
] as const)('%s', (text, expected) => {
  expect(timeoutMsOf(text)).toBe(expected);
});

test('no timeout is no end', () => {
  expect(timeoutMsOf(undefined)).toBe(Number.POSITIVE_INFINITY);
});

test.each(['', 'S', '5', '5s', '-1S', '1.5S', '123456789S', '5S ', '5SS'])('%j is none', (text) => {
  expect(timeoutMsOf(text)).toBeNull();
});
