import { expect, test } from 'vitest';
import { forComparison, isMet, latency, rate, sloTable } from '../../bench/slo-targets.ts';

test('a latency must stay below its bound', () => {
  expect(isMet(latency('reads', 9.99, 10))).toBe(true);
  expect(isMet(latency('reads', 10, 10))).toBe(false);
});

test('a rate is reached when no more than a hundredth is missing', () => {
  expect(isMet(rate('writes', 990, 1_000))).toBe(true);
  expect(isMet(rate('writes', 989, 1_000))).toBe(false);
});

test('what was not measured is not met', () => {
  expect(isMet(latency('reads', Number.NaN, 10))).toBe(false);
  expect(isMet(rate('writes', Number.NaN, 10))).toBe(false);
});

test('what is for comparison is not judged', () => {
  const compared = forComparison(latency('reads', 5_000, 10));
  expect(isMet(compared)).toBe(true);
  expect(sloTable([compared])).toContain('| reads | - | 5,000 ms | - |');
});

test('the table says what was wanted, what was measured and whether that will do', () => {
  const table = sloTable([latency('reads', 12, 10), rate('writes', 1_000, 1_000)]);
  expect(table).toContain('| reads | below 10.0 ms | 12.0 ms | **no** |');
  expect(table).toContain('| writes | at least 990 req/s | 1,000 req/s | yes |');
});
