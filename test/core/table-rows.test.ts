import { expect, test } from 'vitest';
import { memberRow, readMemberRow } from '../../src/core/table-rows.ts';
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
