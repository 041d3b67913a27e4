import { expect, test } from 'vitest';
import { leaseRow, memberRow, readLeaseRow, readMemberRow } from '../../src/core/table-rows.ts';
import { MalformedError, pack } from '../../src/lib/packed.ts';

const RECORD = { id: 8, name: 'n', peerUrls: ['p'], clientUrls: ['c'] };

function rowOf(value: Buffer) {
  return { ...memberRow(RECORD), value };
}

test('the rows of members that say no region are what they were before there were any', () => {
  expect(memberRow(RECORD).value?.toString('hex')).toBe('9401a16e91a17091a163');
  expect(memberRow({ id: 8, removed: true }).value?.toString('hex')).toBe('9101');
});

test('a row of a member with a region is of a version of its own', () => {
  const row = memberRow({ ...RECORD, region: 'eu' });
  expect(row.value?.toString('hex')).toBe('9502a16e91a17091a163a26575');
  expect(readMemberRow(row)).toEqual({ ...RECORD, region: 'eu' });
  expect(readMemberRow(memberRow(RECORD))).toEqual(RECORD);
  expect(readMemberRow(memberRow(RECORD))).not.toHaveProperty('region');
});

test.each([
  ['a region that is none', pack([2, 'n', ['p'], ['c'], 'a b'])],
  ['an empty region', pack([2, 'n', ['p'], ['c'], ''])],
  ['no region in the version that has one', pack([2, 'n', ['p'], ['c']])],
  ['a region in the version that has none', pack([1, 'n', ['p'], ['c'], 'eu'])],
  ['a removed member of the version with regions', pack([2])],
  ['a version that is not known', pack([3, 'n', ['p'], ['c'], 'eu'])],
])('%s is refused', (_, value) => {
  expect(() => readMemberRow(rowOf(value))).toThrow(MalformedError);
});

const LEASE = { id: 7n, ttlSeconds: 60, remainingSeconds: 30, grantedAt: 0 };

test('the rows of leases whose granting entry was not kept are what they were', () => {
  expect(leaseRow(LEASE).value?.toString('hex')).toBe('0100000000003c00000000001e');
  expect(readLeaseRow(leaseRow(LEASE))).toEqual(LEASE);
});

test('a row of a lease with its granting entry is of a version of its own', () => {
  const lease = { ...LEASE, grantedAt: 258 };
  expect(leaseRow(lease).value?.toString('hex')).toBe('0200000000003c00000000001e000000000102');
  expect(readLeaseRow(leaseRow(lease))).toEqual(lease);
});

test.each([
  ['without the entry, in the version that has one', '0200000000003c00000000001e'],
  ['with an entry, in the version that has none', '0100000000003c00000000001e000000000102'],
  ['granted at entry 0', '0200000000003c00000000001e000000000000'],
  ['of an unknown version', '0300000000003c00000000001e000000000102'],
])('a row of a lease %s is refused', (_, hex) => {
  expect(() => readLeaseRow({ ...leaseRow(LEASE), value: Buffer.from(hex, 'hex') })).toThrow(MalformedError);
});
