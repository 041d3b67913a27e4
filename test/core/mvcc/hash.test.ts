import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addHash, chainHash, EMPTY_SET_HASH, rowHash, subtractHash } from '../../../src/core/mvcc/hash.ts';
import type { Row } from '../../../src/core/mvcc/row.ts';

const base: Row = {
  main: 5,
  sub: 2,
  tombstone: false,
  createRevision: 3,
  version: 4,
  lease: 0n,
  key: Buffer.from('key'),
  value: Buffer.from('value'),
};
const other: Row = { ...base, main: 6 };

test('the hash of a row never changes: markers on disks hold it', () => {
  expect(rowHash(base)).toEqual(GOLDEN);
  const leased = { ...base, lease: -0x7fff_ffff_ffff_fffen, main: 2 ** 40 + 1 };
  expect(rowHash(leased)).toEqual(GOLDEN_LEASED);
});

test('every field changes both lanes', () => {
  const variants: Row[] = [
    base,
    other,
    { ...base, main: base.main + 2 ** 32 },
    { ...base, sub: 3 },
    { ...base, tombstone: true },
    { ...base, createRevision: 2 },
    { ...base, createRevision: 3 + 2 ** 33 },
    { ...base, version: 5 },
    { ...base, version: 4 + 2 ** 32 },
    { ...base, lease: 1n },
    { ...base, lease: -1n },
    { ...base, lease: 1n << 32n },
    { ...base, key: Buffer.from('kez') },
    { ...base, key: Buffer.from('keyv'), value: Buffer.from('alue') },
    { ...base, value: Buffer.from('valuf') },
    { ...base, value: Buffer.from('value\0') },
    { ...base, value: Buffer.from('value\0\0\0') },
    { ...base, value: Buffer.alloc(0) },
  ];
  const hashes = variants.map(rowHash);
  expect(new Set(hashes.map(({ a }) => a)).size).toBe(variants.length);
  expect(new Set(hashes.map(({ b }) => b)).size).toBe(variants.length);
});

test('any flipped bit of a value is found', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.nat(), (bytes, position) => {
      const value = Buffer.from(bytes);
      const flipped = Buffer.from(bytes);
      flipped[position % bytes.length]! ^= 1 << (position % 8);
      expect(rowHash({ ...base, value: flipped })).not.toEqual(rowHash({ ...base, value }));
    }),
    { seed: 5 },
  );
});

test('the hash of a set does not depend on order, and removal undoes addition', () => {
  const [left, right] = [rowHash(base), rowHash(other)];
  const set = addHash(addHash(EMPTY_SET_HASH, left), right);
  expect(set).toEqual(addHash(addHash(EMPTY_SET_HASH, right), left));
  expect(subtractHash(subtractHash(set, left), right)).toEqual(EMPTY_SET_HASH);
  expect(set).not.toEqual(EMPTY_SET_HASH);
});

test('a chain of hashes depends on order', () => {
  const [left, right] = [rowHash(base), rowHash(other)];
  expect(chainHash(chainHash(0, left), right)).not.toBe(chainHash(chainHash(0, right), left));
});

const GOLDEN = { a: 1_576_781_910, b: 3_935_302_452 };
const GOLDEN_LEASED = { a: 478_158_003, b: 3_854_835_021 };
