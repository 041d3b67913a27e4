import { crc32 } from 'node:zlib';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Entry } from '../../../src/core/raft/messages.ts';
import {
  checkRecord,
  decodeRecord,
  decodeSegmentHeader,
  encodeRecord,
  encodeSegmentHeader,
  type InstalledSnapshot,
  recordSizeBytes,
  SEGMENT_HEADER_BYTES,
  type WalRecord,
} from '../../../src/member/storage/wal-format.ts';

const TAG = 0xc0ffee01;

function encoded(record: WalRecord): Buffer {
  const target = Buffer.alloc(recordSizeBytes(record), 0xee);
  encodeRecord(target, record, TAG);
  return target;
}
function decoded(bytes: Buffer): WalRecord | null {
  const header = checkRecord(bytes, 0, TAG);
  return header === null ? null : decodeRecord(bytes, 0, header);
}

const SNAPSHOT: InstalledSnapshot = {
  index: 9,
  term: 2,
  confState: { voters: [1, 2, 3], votersOutgoing: [1], learners: [4], learnersNext: [2], autoLeave: true },
  stateName: 'state-2',
};
const PLAIN: WalRecord = {
  seq: 2,
  durableSeq: 1,
  previousChecksum: 0x01020304,
  checkpoint: null,
  hardState: { term: 3, vote: 2 ** 40 + 5, commit: 7 },
  position: null,
  incarnation: null,
  snapshot: null,
  entries: [
    { index: 8, term: 3, kind: 'normal', data: Buffer.from('abc') },
    { index: 9, term: 3, kind: 'conf-change', data: Buffer.alloc(0) },
  ],
};
const FULL: WalRecord = {
  ...PLAIN,
  checkpoint: {
    hardState: { term: 2, vote: 1, commit: 6 },
    position: { index: 4, term: 1 },
    lastIndex: 7,
    incarnation: 11,
    snapshot: SNAPSHOT,
  },
  position: { index: 5, term: 2 },
  incarnation: 12,
  snapshot: { ...SNAPSHOT, index: 7 },
};

test('golden bytes: segment header', () => {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
  encodeSegmentHeader(header, { tag: TAG, firstSeq: 2 ** 33 + 1 });
  expect(header.toString('hex')).toBe('434f4e434c4156450100000001eeffc001000000020000000000000074f406c7');
  expect(decodeSegmentHeader(header)).toEqual({ tag: TAG, firstSeq: 2 ** 33 + 1 });
});

test('golden bytes: a record with hard state and entries', () => {
  const bytes = encoded(PLAIN);
  expect(bytes.toString('hex')).toBe(
    'd90e9e5d700000000403020101eeffc00200000000000000010000000000000022000000020000000300000000000000' +
      '050000000001000007000000000000000800000000000000030000000000000001000000030000006162630300000000' +
      '00000002000000000000000000000000',
  );
  expect(decoded(bytes)).toEqual(PLAIN);
});

test('golden bytes: a record with every section', () => {
  const bytes = encoded(FULL);
  expect(bytes.toString('hex')).toBe(
    '8afb6c1e880100000403020101eeffc0020000000000000001000000000000003f000000020000000200000000000000' +
      '010000000000000006000000000000000400000000000000010000000000000007000000000000000b00000000000000' +
      '010000000000000009000000000000000200000000000000030000000100000000000000020000000000000003000000' +
      '000000000100000001000000000000000100000004000000000000000100000002000000000000000100000007000000' +
      '73746174652d32030000000000000005000000000100000700000000000000050000000000000002000000000000000c' +
      '000000000000000700000000000000020000000000000003000000010000000000000002000000000000000300000000' +
      '000000010000000100000000000000010000000400000000000000010000000200000000000000010000000700000073' +
      '746174652d32080000000000000003000000000000000100000003000000616263030000000000000002000000000000' +
      '0000000000000000',
  );
  expect(decoded(bytes)).toEqual(FULL);
});

test('any flipped bit of a record, and any cut, is noticed', () => {
  const bytes = encoded(FULL);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = Buffer.from(bytes);
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    expect(checkRecord(damaged, 0, TAG)).toBeNull();
  }
  for (let length = 0; length < bytes.length; length++) {
    expect(checkRecord(bytes.subarray(0, length), 0, TAG)).toBeNull();
  }
});

test('zeros and the records of another log are no records', () => {
  expect(checkRecord(Buffer.alloc(4096), 0, TAG)).toBeNull();
  expect(checkRecord(encoded(PLAIN), 0, TAG + 1)).toBeNull();
  expect(decodeSegmentHeader(Buffer.alloc(SEGMENT_HEADER_BYTES))).toBeNull();
});

test('a record whose sections do not fit it is refused', () => {
  const claims = encoded({ ...PLAIN, hardState: null, entries: [] });
  const header = checkRecord(claims, 0, TAG)!;
  claims.writeUInt32LE(64, 32);
  expect(() => decodeRecord(claims, 0, header)).toThrow('malformed');
  claims.writeUInt32LE(1, 32);
  expect(() => decodeRecord(claims, 0, header)).toThrow('malformed');
});

test('an integer beyond 2^53 is damage, although the checksum holds', () => {
  const bytes = encoded(PLAIN);
  const header = checkRecord(bytes, 0, TAG)!;
  // The highest bytes of the hard state's term, and of the first entry's index.
  for (const offset of [47, 71]) {
    const damaged = Buffer.from(bytes);
    damaged[offset] = 1;
    expect(() => decodeRecord(damaged, 0, header)).toThrow('malformed');
  }
  const segment = Buffer.alloc(SEGMENT_HEADER_BYTES);
  encodeSegmentHeader(segment, { tag: TAG, firstSeq: 1 });
  segment[23] = 1;
  segment.writeUInt32LE(crc32(segment.subarray(0, 28)), 28);
  expect(() => decodeSegmentHeader(segment)).toThrow('malformed');
  const record = Buffer.from(bytes);
  record[23] = 1;
  record.writeUInt32LE(crc32(record.subarray(4)), 0);
  expect(checkRecord(record, 0, TAG)).toBeNull();
});

const integers = fc.maxSafeNat();
const ids = fc.array(integers, { maxLength: 4 });
const hardStates = fc.record({ term: integers, vote: integers, commit: integers });
const positions = fc.record({ index: integers, term: integers });
const snapshots: fc.Arbitrary<InstalledSnapshot> = fc.record({
  index: integers,
  term: integers,
  confState: fc.record({
    voters: ids,
    votersOutgoing: ids,
    learners: ids,
    learnersNext: ids,
    autoLeave: fc.boolean(),
  }),
  stateName: fc.string({ unit: 'grapheme', maxLength: 20 }),
});
const entryLists = fc
  .tuple(
    fc.integer({ min: 1, max: 2 ** 52 }),
    fc.array(
      fc.record({
        term: integers,
        kind: fc.constantFrom<Entry['kind']>('normal', 'conf-change'),
        data: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
      }),
      { maxLength: 5 },
    ),
  )
  .map(([first, list]) => list.map((content, i) => ({ index: first + i, ...content })));
const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> =>
  fc.option(arbitrary, { nil: null });

test('every record is decoded as it was encoded', () => {
  const records: fc.Arbitrary<WalRecord> = fc.record({
    seq: integers,
    durableSeq: integers,
    previousChecksum: fc.integer({ min: 0, max: 0xffff_ffff }),
    checkpoint: optional(
      fc.record({
        hardState: hardStates,
        position: positions,
        lastIndex: integers,
        incarnation: integers,
        snapshot: optional(snapshots),
      }),
    ),
    hardState: optional(hardStates),
    position: optional(positions),
    incarnation: optional(integers),
    snapshot: optional(snapshots),
    entries: entryLists,
  });
  fc.assert(
    fc.property(records, (record) => {
      const bytes = encoded(record);
      expect(bytes.length % 8).toBe(0);
      expect(decoded(bytes)).toEqual(record);
    }),
    { numRuns: 300 },
  );
});
