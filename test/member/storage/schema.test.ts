import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Row } from '../../../src/core/mvcc/row.ts';
import type { StateMarker, TableName } from '../../../src/core/state.ts';
import {
  barrierKey,
  checkFormat,
  compareMarkers,
  decodeMarker,
  decodeRow,
  decodeTableRow,
  encodeFormat,
  encodeMarker,
  encodeRow,
  encodeTableRow,
  FORMAT_KEY,
  markerKey,
  parseMarkerKey,
  parseTableKey,
  rowKey,
  rowRange,
  tableKey,
} from '../../../src/member/storage/schema.ts';

const MARKER: StateMarker = {
  appliedIndex: 0x0102030405,
  appliedTerm: 7,
  currentRevision: 9_007_199_254_740_991,
  compactRevision: 500,
  hashCompactRevision: -1,
  confState: { voters: [1, 2, 3], votersOutgoing: [4], learners: [5, 6], learnersNext: [], autoLeave: true },
  applyHash: { a: -1, b: 0xffffffff },
  rowSetHash: { a: 1, b: 2 },
  rowCount: 3,
  tableSetHash: { a: 4, b: 5 },
};
const ROW: Row = {
  main: 258,
  sub: 3,
  tombstone: false,
  createRevision: 200,
  version: 2,
  lease: -2n,
  key: Buffer.from('k\0'),
  value: Buffer.from('value'),
};

const hex = (bytes: Buffer): string => bytes.toString('hex');
const corrupt = expect.objectContaining({ code: 'data-dir-corrupt' });

describe('the bytes on disk are a contract', () => {
  test('row', () => {
    const key = rowKey(ROW.main, ROW.sub);
    expect(hex(key)).toBe('64000000000000010200000003');
    expect(hex(encodeRow(key, ROW))).toBe(
      '010000000000000000c80000000000000002fffffffffffffffe000000026b0076616c7565636d33c1',
    );
  });

  test('tombstone', () => {
    const key = rowKey(1, 0);
    const row: Row = {
      ...ROW,
      main: 1,
      sub: 0,
      tombstone: true,
      createRevision: 0,
      version: 0,
      lease: 0n,
      value: Buffer.alloc(0),
    };
    expect(hex(encodeRow(key, row))).toBe(
      '0101000000000000000000000000000000000000000000000000000000026b004ba06b95',
    );
  });

  test('small-table rows, one letter a table', () => {
    const tables: TableName[] = ['lease', 'member', 'alarm', 'auth', 'meta'];
    const keys = tables.map((table) => hex(tableKey({ table, id: Buffer.from('id'), appliedIndex: 5 })));
    expect(keys).toEqual(['6c', '6d', '61', '75', '6b'].map((letter) => `74${letter}69640000000000000005`));
    const key = tableKey({ table: 'lease', id: Buffer.from('id'), appliedIndex: 5 });
    const row = { table: 'lease', id: Buffer.from('id'), value: Buffer.from('v') } as const;
    expect(hex(encodeTableRow(key, row))).toBe('010076d0936be1');
    expect(hex(encodeTableRow(key, { ...row, value: null }))).toBe('01018b105623');
  });

  test('marker, barrier and format', () => {
    expect(hex(markerKey(MARKER))).toBe('6100000001020304050000000000000000');
    expect(hex(barrierKey(MARKER))).toBe('6200000001020304050000000000000000');
    expect(hex(encodeMarker(markerKey(MARKER), MARKER))).toBe(
      '010100000001020304050000000000000007001fffffffffffff00000000000001f4ffffffffffffffffffffffffffffffff00000000ffffffff000000000000000100000000000000020000000000000003000000000000000400000000000000050000000300000000000000010000000000000002000000000000000300000001000000000000000400000002000000000000000500000000000000060000000082ca21af',
    );
    expect(hex(FORMAT_KEY)).toBe('66');
    expect(hex(encodeFormat())).toBe('00000001a7574566');
  });
});

describe('round trips', () => {
  const safe = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
  const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));

  test('a row comes back as it went in', () => {
    const rows = fc.record({
      main: safe,
      sub: fc.integer({ min: 0, max: 0xffffffff }),
      tombstone: fc.boolean(),
      createRevision: safe,
      version: safe,
      lease: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      key: bytes,
      value: bytes,
    });
    fc.assert(
      fc.property(rows, (row) => {
        const key = rowKey(row.main, row.sub);
        expect(decodeRow(key, encodeRow(key, row))).toEqual(row);
      }),
    );
  });

  test('a small-table row comes back with its index, whatever its id holds', () => {
    fc.assert(
      fc.property(bytes, safe, fc.option(bytes), (id, appliedIndex, value) => {
        const key = tableKey({ table: 'auth', id, appliedIndex });
        expect(parseTableKey(key)).toEqual({ table: 'auth', id, appliedIndex });
        const row = { table: 'auth', id, value } as const;
        expect(decodeTableRow(key, encodeTableRow(key, row))).toEqual({ ...row, appliedIndex });
      }),
    );
  });

  test('a marker keeps lanes of either sign and an unset compaction', () => {
    const key = markerKey(MARKER);
    expect(decodeMarker(key, encodeMarker(key, MARKER))).toEqual(MARKER);
    expect(parseMarkerKey(key)).toEqual({ appliedIndex: MARKER.appliedIndex, hashCompactRevision: 0 });
  });

  test('keys sort as the numbers in them', () => {
    fc.assert(
      fc.property(safe, safe, fc.nat(), fc.nat(), (mainA, mainB, subA, subB) => {
        const order = Math.sign(mainA - mainB || subA - subB);
        expect(Buffer.compare(rowKey(mainA, subA), rowKey(mainB, subB))).toBe(order);
        const [a, b] = [
          { appliedIndex: mainA, hashCompactRevision: subA },
          { appliedIndex: mainB, hashCompactRevision: subB },
        ];
        expect(Buffer.compare(markerKey(a), markerKey(b))).toBe(order);
        expect(Math.sign(compareMarkers(a, b))).toBe(order);
      }),
    );
  });

  test('a range of rows ends with the last change of its revision', () => {
    const { gte, lt } = rowRange(5);
    const inside = (key: Buffer): boolean => Buffer.compare(key, gte) >= 0 && Buffer.compare(key, lt) < 0;
    expect([rowKey(0, 0), rowKey(5, 0xffffffff)].every(inside)).toBe(true);
    expect(inside(rowKey(6, 0))).toBe(false);
  });
});

describe('damage is refused', () => {
  const cases = {
    row: [rowKey(ROW.main, ROW.sub), encodeRow(rowKey(ROW.main, ROW.sub), ROW), decodeRow],
    marker: [markerKey(MARKER), encodeMarker(markerKey(MARKER), MARKER), decodeMarker],
  } as const;

  test.each(Object.entries(cases))('any flipped bit and any cut of a %s', (_, [key, value, decode]) => {
    for (let bit = 0; bit < value.length * 8; bit++) {
      const flipped = Buffer.from(value);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => decode(key, flipped)).toThrow(corrupt);
    }
    for (let end = 0; end < value.length; end++) {
      expect(() => decode(key, value.subarray(0, end))).toThrow(corrupt);
    }
  });

  test("a value under a neighbour's key", () => {
    expect(() => decodeRow(rowKey(ROW.main, ROW.sub + 1), cases.row[1])).toThrow(corrupt);
    expect(() => decodeMarker(barrierKey(MARKER), cases.marker[1])).toThrow(corrupt);
  });

  test('a missing or foreign format', () => {
    checkFormat(encodeFormat());
    expect(() => checkFormat(undefined)).toThrow(corrupt);
    expect(() => checkFormat(Buffer.alloc(8))).toThrow(corrupt);
    expect(() => checkFormat(Buffer.from('000000023e5e14dc', 'hex'))).toThrow(
      expect.objectContaining({ code: 'data-dir-foreign' }),
    );
  });
});
