import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatBytes, formatId, formatLease, formatTable, toJson } from '../../src/cli/format.ts';

test('sizes have a unit and at most one decimal', () => {
  const cases: [number, string][] = [
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [20_480, '20 KiB'],
    [1.5 * 1024 ** 3, '1.5 GiB'],
    [5000 * 1024 ** 4, '5000 TiB'],
  ];
  for (const [bytes, text] of cases) expect(formatBytes(bytes)).toBe(text);
});

test('ids are hexadecimal, negative leases as 64 bits', () => {
  expect(formatId(2n ** 64n - 1n)).toBe('ffffffffffffffff');
  expect(formatLease(-1n)).toBe('ffffffffffffffff');
  expect(formatLease(0x1fn)).toBe('000000000000001f');
});

test('columns are as wide as their widest cell', () => {
  expect(formatTable(['A', 'LONG'], [['wide', 'x']])).toBe('A     LONG\nwide  x\n');
});

test('JSON keeps 64-bit integers exact and bytes as base64', () => {
  expect(toJson({ id: 2n ** 63n, bytes: Buffer.from([255]), list: [1, 'a', null, true] })).toBe(
    '{"id":9223372036854775808,"bytes":"/w==","list":[1,"a",null,true]}',
  );
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
      expect(JSON.parse(toJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
    { numRuns: 50 },
  );
});
