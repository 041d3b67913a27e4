import fc from 'fast-check';
import { expect, test } from 'vitest';
import { instantText, parseInstant } from '../../src/evaluation/instant.ts';

test('instants are read and written as the platform does', () => {
  const withinYears = fc.integer({ min: Date.UTC(1, 0), max: Date.UTC(9999, 11, 31) });
  fc.assert(
    fc.property(withinYears, (ms) => {
      const text = new Date(ms).toISOString();
      expect(parseInstant(text)).toBe(ms);
      expect(instantText(ms)).toBe(text);
    }),
    {
      examples: [[Date.UTC(2024, 1, 29)], [Date.UTC(1900, 1, 28)], [Date.UTC(2000, 1, 29, 23, 59, 59, 999)]],
    },
  );
});

test.each([
  ['2026-01-31', Date.UTC(2026, 0, 31)],
  ['2026-01-31T09:30Z', Date.UTC(2026, 0, 31, 9, 30)],
  ['2026-01-31T09:30:15.5-01:30', Date.UTC(2026, 0, 31, 11, 0, 15, 500)],
  ['2026-01-31T09:30:15.123456789Z', Date.UTC(2026, 0, 31, 9, 30, 15, 123)],
])('%s is an instant', (text, ms) => {
  expect(parseInstant(text)).toBe(ms);
});

test.each([
  '',
  'now',
  '2026-1-1',
  '2026-13-01',
  '2026-02-29',
  '1900-02-29',
  '2026-04-31',
  '2026-01-31T09:30:00',
  '2026-01-31T24:00:00Z',
  '2026-01-31T09:60:00Z',
  '2026-01-31T09:30:00+25:00',
  '2026-01-31T09:30:00Z ',
])('%j is none', (text) => {
  expect(parseInstant(text)).toBeNaN();
});
