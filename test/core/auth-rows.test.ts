import { expect, test } from 'vitest';
import type { AuthRecord } from '../../src/core/auth/auth-store.ts';
import { authRemoval, authRow, readAuthRow } from '../../src/core/auth-rows.ts';
import { MalformedError, pack } from '../../src/lib/packed.ts';

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const RECORDS: readonly (readonly [AuthRecord, string, string])[] = [
  [{ type: 'settings', settings: { enabled: true, revision: 7, enabledRevision: 6 } }, '73', '9401c30706'],
  [
    {
      type: 'user',
      user: { name: 'ü', passwordHash: 'h', noPassword: false, roles: ['r', 's'], credentialRevision: 3 },
    },
    '75c3bc',
    '9501a168c292a172a17303',
  ],
  [
    {
      type: 'role',
      role: {
        name: 'r',
        permissions: [
          { kind: 'read', key: bytes('a'), rangeEnd: bytes('') },
          { kind: 'read-write', key: bytes('b'), rangeEnd: bytes('\0') },
        ],
      },
    },
    '7272',
    '9201929300c40161c4009302c40162c40100',
  ],
];

test('the bytes on disk are fixed, and read back', () => {
  for (const [record, id, value] of RECORDS) {
    const row = authRow(record);
    expect({ id: row.id.toString('hex'), value: row.value?.toString('hex') }).toEqual({ id, value });
    expect(readAuthRow(row)).toEqual(record);
    expect(authRemoval(record)).toEqual({ table: 'auth', id: row.id, value: null });
  }
});

test('what is no such row is refused', () => {
  const user = authRow(RECORDS[1]![0]);
  for (const row of [
    { ...user, value: null },
    { ...user, id: Buffer.alloc(0) },
    { ...user, id: bytes('x') },
    { ...user, id: Buffer.from([0x75, 0xff]) },
    { ...user, id: bytes('s') },
    { ...user, value: pack([2, 'h', false, [], 3]) },
    { ...user, value: pack([1, 'h', false, [], 3, 4]) },
    { ...user, value: pack([1, 'h', false, [7], 3]) },
    { ...authRow(RECORDS[0]![0]), id: bytes('sx') },
    { ...authRow(RECORDS[2]![0]), value: pack([1, [[3, bytes('k'), bytes('')]]]) },
  ]) {
    expect(() => readAuthRow(row)).toThrow(MalformedError);
  }
});
