import fc from 'fast-check';
import type { AuthRecord } from '../../src/core/auth/auth-store.ts';
import { authRow, readAuthRow } from '../../src/core/auth-rows.ts';
import { type Command, decodeCommand, encodeCommand, isCommand } from '../../src/core/command.ts';
import type { LeaseRecord } from '../../src/core/lease/lease.ts';
import { isMembershipOperation } from '../../src/core/membership-change.ts';
import type { AlarmRecord } from '../../src/core/outcome.ts';
import type { TableName, TableRow } from '../../src/core/state.ts';
import {
  alarmRow,
  leaseRow,
  type MemberEntry,
  memberRow,
  readAlarmRow,
  readLeaseRow,
  readMemberRow,
} from '../../src/core/table-rows.ts';
import { AssertionError } from '../../src/lib/assert.ts';
import { MalformedError, type Packed, pack, unpack } from '../../src/lib/packed.ts';
import { anyCommand } from '../core/arbitraries.ts';
import type { Target } from './fuzz.ts';

/** What the log and the small tables hold: packed values, commands, table rows. */

export const malformed = (error: unknown): boolean => error instanceof MalformedError;

const packed: Target<Packed> = {
  name: 'packed value',
  seeds: [
    null,
    [],
    [1, -1, 2 ** 40, -(2 ** 40), 1.5, true, false, null],
    ['', 'text', 'é'.repeat(40), 'x'.repeat(300), 'y'.repeat(70_000)],
    [Buffer.alloc(0), Buffer.alloc(300, 7), Buffer.alloc(70_000)],
    [-(2n ** 63n), 2n ** 63n - 1n, 5n],
    [[[[[1], 2], 3], []], Array.from({ length: 40 }, (_, i) => i)],
  ].map((value) => pack(value)),
  decode: (bytes) => withoutMinusZero(unpack(bytes)),
  allows: malformed,
  encode: pack,
};

/** -0 is never written, and is 0 when it is written again. */
function withoutMinusZero(value: Packed): Packed {
  if (Array.isArray(value)) return value.map(withoutMinusZero);
  return value === 0 ? 0 : value;
}

const command: Target<Command> = {
  name: 'command',
  seeds: fc.sample(anyCommand, { seed: 1, numRuns: 60 }).map(encodeCommand),
  decode(bytes) {
    const proposable = isCommand(bytes);
    const decoded = decodeCommand(bytes);
    if (proposable === isMembershipOperation(decoded.operation))
      throw new Error('isCommand thinks otherwise');
    return decoded;
  },
  allows: (error) => error instanceof AssertionError && error.message.startsWith('not a command: '),
  encode: encodeCommand,
};

/** A table row in one piece: its id, of a fixed length, and its value. */
function tableTarget<T>(options: {
  readonly name?: string;
  readonly table: TableName;
  readonly idBytes: number;
  readonly values: readonly T[];
  readonly read: (row: TableRow) => T;
  readonly write: (value: T) => TableRow;
}): Target<T> {
  const { table, idBytes, values, read, write } = options;
  const encode = (value: T): Buffer => {
    const row = write(value);
    return Buffer.concat([row.id, row.value ?? Buffer.alloc(0)]);
  };
  return {
    name: options.name ?? `${table} row`,
    seeds: values.map(encode),
    decode: (bytes) => read({ table, id: bytes.subarray(0, idBytes), value: bytes.subarray(idBytes) }),
    allows: malformed,
    encode,
  };
}

const members: readonly MemberEntry[] = [
  { id: 1, name: 'n1', peerUrls: ['http://n1:2380'], clientUrls: ['http://n1:2379', 'http://n1:2378'] },
  { id: 2 ** 53 - 1, name: '', peerUrls: [], clientUrls: [] },
  { id: 78, name: 'n2', peerUrls: ['http://n2:2380'], clientUrls: [], region: 'eu-1' },
  { id: 77, removed: true },
];
const alarms: readonly AlarmRecord[] = [
  { member: 0, alarm: 'no-space' },
  { member: 2 ** 40, alarm: 'corrupt' },
];
const leases: readonly LeaseRecord[] = [
  { id: 7n, ttlSeconds: 60, remainingSeconds: 30, grantedAt: 0 },
  { id: -(2n ** 63n), ttlSeconds: 9_000_000_000, remainingSeconds: 0, grantedAt: 2 ** 40 },
];

const authSettings: readonly AuthRecord[] = [
  { type: 'settings', settings: { enabled: true, revision: 2 ** 40, enabledRevision: 3 } },
];
const accounts: readonly AuthRecord[] = [
  {
    type: 'user',
    user: { name: 'u', passwordHash: 'h', noPassword: false, roles: ['r', 's'], credentialRevision: 7 },
  },
  {
    type: 'role',
    role: {
      name: 'r',
      permissions: [{ kind: 'write', key: Buffer.from('a'), rangeEnd: Buffer.from('b') }],
    },
  },
];

export const CORE_TARGETS: readonly Target<unknown>[] = [
  packed,
  command,
  tableTarget({ table: 'member', idBytes: 8, values: members, read: readMemberRow, write: memberRow }),
  tableTarget({ table: 'alarm', idBytes: 9, values: alarms, read: readAlarmRow, write: alarmRow }),
  tableTarget({
    name: 'auth settings row',
    table: 'auth',
    idBytes: 1,
    values: authSettings,
    read: readAuthRow,
    write: authRow,
  }),
  tableTarget({ table: 'auth', idBytes: 2, values: accounts, read: readAuthRow, write: authRow }),
  tableTarget({ table: 'lease', idBytes: 8, values: leases, read: readLeaseRow, write: leaseRow }),
] as readonly Target<unknown>[];
