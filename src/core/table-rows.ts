import { checkForm, Fields, pack, unpack } from '../lib/packed.ts';
import type { AlarmKind, MemberRecord } from './command.ts';
import { LEASE_TTL_SECONDS_MAX, type LeaseRecord } from './lease/lease.ts';
import type { AlarmRecord } from './outcome.ts';
import type { MemberId } from './raft/messages.ts';
import { unpackRegion } from './region-field.ts';
import type { TableRow } from './state.ts';

/**
 * How the rows of the small tables look on disk and in snapshots. Every value begins with a version. Reading throws
 * MalformedErrors: the caller knows whether that is a bug or a damaged disk.
 */

const VALUE_VERSION = 1;
/** Members that say where they run. The others' rows, and so the hash over them, are what they always were. */
const REGION_VERSION = 2;
// Positions are the numbers on disk: only ever append.
const ALARM_KINDS = ['no-space', 'corrupt'] as const satisfies readonly AlarmKind[];
/** Leases whose granting entry is known. The others' rows are what they always were. */
const GRANTED_LEASE_VERSION = 2;
const LEASE_VALUE_BYTES = 13;
const GRANTED_LEASE_VALUE_BYTES = 19;

/** A member of the cluster, or the id of one that was removed and may never return. */
export type MemberEntry = MemberRecord | { readonly id: MemberId; readonly removed: true };

export function memberRow(entry: MemberEntry): TableRow {
  return { table: 'member', id: naturalId(entry.id), value: memberValue(entry) };
}

function memberValue(entry: MemberEntry): Buffer {
  if ('removed' in entry) return pack([VALUE_VERSION]);
  const { name, peerUrls, clientUrls, region } = entry;
  if (region === undefined) return pack([VALUE_VERSION, name, peerUrls, clientUrls]);
  return pack([REGION_VERSION, name, peerUrls, clientUrls, region]);
}

export function readMemberRow(row: TableRow): MemberEntry {
  const id = readNaturalId(row.id);
  const fields = new Fields(unpack(valueOf(row)));
  const version = fields.natural();
  checkForm(version === VALUE_VERSION || version === REGION_VERSION, 'a member row is of an unknown version');
  if (version === VALUE_VERSION && !fields.more) return { id, removed: true };
  const entry = { id, name: fields.text(), peerUrls: fields.texts(), clientUrls: fields.texts() };
  const region = version === REGION_VERSION ? { region: unpackRegion(fields) } : {};
  fields.end();
  return { ...entry, ...region };
}

export function alarmRow({ member, alarm }: AlarmRecord): TableRow {
  const id = Buffer.concat([naturalId(member), Buffer.of(ALARM_KINDS.indexOf(alarm))]);
  return { table: 'alarm', id, value: pack([VALUE_VERSION]) };
}

export function readAlarmRow(row: TableRow): AlarmRecord {
  versioned(unpack(valueOf(row))).end();
  checkForm(row.id.length === 9, 'an alarm id has a wrong size');
  const alarm = ALARM_KINDS[row.id[8]!];
  checkForm(alarm !== undefined, 'an alarm is of an unknown kind');
  return { member: readNaturalId(row.id.subarray(0, 8)), alarm };
}

/** Fixed width: there may be very many. */
export function leaseRow({ id, ttlSeconds, remainingSeconds, grantedAt }: LeaseRecord): TableRow {
  const isGranted = grantedAt !== 0;
  const value = Buffer.allocUnsafe(isGranted ? GRANTED_LEASE_VALUE_BYTES : LEASE_VALUE_BYTES);
  value.writeUInt8(isGranted ? GRANTED_LEASE_VERSION : VALUE_VERSION, 0);
  value.writeUIntBE(ttlSeconds, 1, 6);
  value.writeUIntBE(remainingSeconds, 7, 6);
  if (isGranted) value.writeUIntBE(grantedAt, 13, 6);
  const idBytes = Buffer.allocUnsafe(8);
  idBytes.writeBigInt64BE(id);
  return { table: 'lease', id: idBytes, value };
}

export function readLeaseRow(row: TableRow): LeaseRecord {
  const value = valueOf(row);
  const isGranted = value[0] === GRANTED_LEASE_VERSION;
  checkForm(isGranted || value[0] === VALUE_VERSION, 'a lease row is of an unknown version');
  const valueBytes = isGranted ? GRANTED_LEASE_VALUE_BYTES : LEASE_VALUE_BYTES;
  checkForm(row.id.length === 8 && value.length === valueBytes, 'a lease row has a wrong size');
  const lease = {
    id: row.id.readBigInt64BE(),
    ttlSeconds: value.readUIntBE(1, 6),
    remainingSeconds: value.readUIntBE(7, 6),
    grantedAt: isGranted ? value.readUIntBE(13, 6) : 0,
  };
  checkForm(!isGranted || lease.grantedAt > 0, 'a lease row has the index 0');
  checkForm(lease.id !== 0n, 'a lease has the id 0');
  checkForm(
    lease.ttlSeconds >= 1 && lease.ttlSeconds <= LEASE_TTL_SECONDS_MAX,
    'a lease ttl is out of range',
  );
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
  checkForm(bytes.length === 8, 'an id has a wrong size');
  const id = Number(bytes.readBigUInt64BE());
  checkForm(Number.isSafeInteger(id), 'an id is out of range');
  return id;
}

function valueOf(row: TableRow): Buffer {
  checkForm(row.value !== null, 'a row without a value');
  return row.value;
}

function versioned(value: ReturnType<typeof unpack>): Fields {
  const fields = new Fields(value);
  checkForm(fields.natural() === VALUE_VERSION, 'a table row is of an unknown version');
  return fields;
}
