import { assert } from '../lib/assert.ts';
import type { AlarmKind, MemberRecord } from './command.ts';
import { LEASE_TTL_SECONDS_MAX, type LeaseRecord } from './lease/lease.ts';
import type { AlarmRecord } from './outcome.ts';
import { Fields, pack, unpack } from './packed.ts';
import type { MemberId } from './raft/messages.ts';
import type { TableRow } from './state.ts';

/**
 * How the rows of the small tables look on disk and in snapshots. Every value begins with a version. Reading throws
 * AssertionErrors: the caller knows whether that is a bug or a damaged disk.
 */

const VALUE_VERSION = 1;
// Positions are the numbers on disk: only ever append.
const ALARM_KINDS = ['no-space', 'corrupt'] as const satisfies readonly AlarmKind[];
const LEASE_VALUE_BYTES = 13;

/** A member of the cluster, or the id of one that was removed and may never return. */
export type MemberEntry = MemberRecord | { readonly id: MemberId; readonly removed: true };

export function memberRow(entry: MemberEntry): TableRow {
  const value =
    'removed' in entry
      ? pack([VALUE_VERSION])
      : pack([VALUE_VERSION, entry.name, entry.peerUrls, entry.clientUrls]);
  return { table: 'member', id: naturalId(entry.id), value };
}

export function readMemberRow(row: TableRow): MemberEntry {
  const id = readNaturalId(row.id);
  const value = unpack(valueOf(row));
  const fields = versioned(value);
  if (Array.isArray(value) && value.length === 1) return { id, removed: true };
  const entry = { id, name: fields.text(), peerUrls: fields.texts(), clientUrls: fields.texts() };
  fields.end();
  return entry;
}

export function alarmRow({ member, alarm }: AlarmRecord): TableRow {
  const id = Buffer.concat([naturalId(member), Buffer.of(ALARM_KINDS.indexOf(alarm))]);
  return { table: 'alarm', id, value: pack([VALUE_VERSION]) };
}

export function readAlarmRow(row: TableRow): AlarmRecord {
  versioned(unpack(valueOf(row))).end();
  assert(row.id.length === 9, 'malformed: an alarm id');
  const alarm = ALARM_KINDS[row.id[8]!];
  assert(alarm !== undefined, 'malformed: an unknown alarm');
  return { member: readNaturalId(row.id.subarray(0, 8)), alarm };
}

/** Fixed width: there may be very many. */
export function leaseRow({ id, ttlSeconds, remainingSeconds }: LeaseRecord): TableRow {
  const value = Buffer.allocUnsafe(LEASE_VALUE_BYTES);
  value.writeUInt8(VALUE_VERSION, 0);
  value.writeUIntBE(ttlSeconds, 1, 6);
  value.writeUIntBE(remainingSeconds, 7, 6);
  const idBytes = Buffer.allocUnsafe(8);
  idBytes.writeBigInt64BE(id);
  return { table: 'lease', id: idBytes, value };
}

export function readLeaseRow(row: TableRow): LeaseRecord {
  const value = valueOf(row);
  assert(row.id.length === 8 && value.length === LEASE_VALUE_BYTES, 'malformed: the size of a lease row');
  assert(value[0] === VALUE_VERSION, 'malformed: a lease row of an unknown version');
  const lease = {
    id: row.id.readBigInt64BE(),
    ttlSeconds: value.readUIntBE(1, 6),
    remainingSeconds: value.readUIntBE(7, 6),
  };
  assert(lease.id !== 0n, 'malformed: lease id 0');
  assert(lease.ttlSeconds >= 1 && lease.ttlSeconds <= LEASE_TTL_SECONDS_MAX, 'malformed: a lease ttl');
  return lease;
}

/** The row that takes another one's place when its id is gone. */
export function removalOf(row: TableRow): TableRow {
  return { table: row.table, id: row.id, value: null };
}

function naturalId(id: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64BE(BigInt(id));
  return bytes;
}

function readNaturalId(bytes: Buffer): number {
  assert(bytes.length === 8, 'malformed: the size of an id');
  const id = Number(bytes.readBigUInt64BE());
  assert(Number.isSafeInteger(id), 'malformed: an id out of range');
  return id;
}

function valueOf(row: TableRow): Buffer {
  assert(row.value !== null, 'malformed: a removed row');
  return row.value;
}

function versioned(value: ReturnType<typeof unpack>): Fields {
  const fields = new Fields(value);
  assert(fields.natural() === VALUE_VERSION, 'malformed: a table row of an unknown version');
  return fields;
}
