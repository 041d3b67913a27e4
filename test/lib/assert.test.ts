import { expect, test } from 'vitest';
import { AssertionError, assert } from '../../src/lib/assert.ts';

test('a condition that holds passes', () => {
  expect(() => assert(1 + 1 === 2, 'arithmetic')).not.toThrow();
});

test('a broken invariant throws an AssertionError with its text', () => {
  expect(() => assert(false, 'log has a gap')).toThrow(new AssertionError('log has a gap'));
});
