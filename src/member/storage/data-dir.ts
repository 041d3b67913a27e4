import type { MemberId } from '../../core/raft/messages.ts';
import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import { type Disk, EARLIER_STARTS_MAX, type Random } from '../ports.ts';
import { directoryOf, isDiskFull } from './disk.ts';
import { readSmallFile, type SmallFile, writeSmallFile } from './small-file.ts';
import { fillZeros } from './wal-segment.ts';

/**
 * The small files of a data directory, at its root. Every write is whole and durable when its promise resolves;
 * readers verify, and throw StoreError `data-dir-corrupt` for damage, `data-dir-foreign` for a newer version, and
 * `storage` for what the disk refuses.
 */
export const LOG_DIRECTORY = 'wal';
export const IDENTITY_FILE = 'IDENTITY';
export const ACTIVE_FILE = 'ACTIVE';
export const PEERS_FILE = 'PEERS';
export const QUARANTINE_FILE = 'QUARANTINE';
export const BALLAST_FILE = 'BALLAST';
export const RESTORING_FILE = 'RESTORING';
export const BALLAST_BYTES_DEFAULT = 64 * 1024 * 1024;
/** Members in PEERS; far above what a cluster can have. */
const PEERS_MAX = 4096;
const VERSION = 1;

/** Whose data this is. */
export interface Identity {
  readonly clusterId: number;
  readonly memberId: MemberId;
  readonly name: string;
  /** Which start of the process on this data it is; greater for each, see `nextIncarnation`. 1 until the first. */
  readonly incarnation: number;
  /** Those before it, newest first: the last EARLIER_STARTS_MAX. */
  readonly earlier: readonly number[];
}
/** The newest that a peer has told about itself; anything older means that its data went back in time. */
export interface PeerSeen {
  readonly incarnation: number;
  readonly logSeq: number;
}

/** Null for a directory that no member has finished creating: IDENTITY is written last. */
export async function readIdentity(disk: Disk): Promise<Identity | null> {
  const fields = await read(disk, IDENTITY_FILE);
  if (fields === null) return null;
  return {
    clusterId: integer(fields, 'clusterId'),
    memberId: integer(fields, 'memberId'),
    name: text(fields, 'name'),
    incarnation: integer(fields, 'incarnation'),
    earlier: integers(fields, 'earlier').slice(0, EARLIER_STARTS_MAX),
  };
}

export async function writeIdentity(disk: Disk, identity: Identity): Promise<void> {
  const { clusterId, memberId, name, incarnation, earlier } = identity;
  await write(disk, IDENTITY_FILE, { clusterId, memberId, name, incarnation, earlier });
}

/** Below the count of starts an incarnation holds a number drawn anew at each. */
const START_UNIT = 2 ** 20;

/** How many starts there were, without the number drawn. */
export function startsIn(incarnation: number): number {
  return Math.floor(incarnation / START_UNIT);
}

/**
 * Counts one more start, durably, before anything is said to a peer. The count alone would not do: data and an
 * earlier copy of it that is one start behind come to the same count.
 *
 * @returns the identity with its new incarnation
 */
export async function nextIncarnation(disk: Disk, identity: Identity, random: Random): Promise<Identity> {
  const starts = startsIn(identity.incarnation) + 1;
  const next = {
    ...identity,
    incarnation: starts * START_UNIT + random.integer(START_UNIT),
    earlier: [identity.incarnation, ...identity.earlier].slice(0, EARLIER_STARTS_MAX),
  };
  await writeIdentity(disk, next);
  return next;
}

/** The directory of the state that is in use, or null before the first. */
export async function readActive(disk: Disk): Promise<string | null> {
  const fields = await read(disk, ACTIVE_FILE);
  return fields === null ? null : text(fields, 'state');
}

export async function writeActive(disk: Disk, stateName: string): Promise<void> {
  await write(disk, ACTIVE_FILE, { state: stateName });
}

export async function readPeersSeen(disk: Disk): Promise<ReadonlyMap<MemberId, PeerSeen>> {
  const fields = await read(disk, PEERS_FILE);
  if (fields === null) return new Map();
  const { peers } = fields;
  if (!Array.isArray(peers)) throw malformed(PEERS_FILE, 'peers');
  return new Map(
    peers.map((peer: unknown) => {
      if (typeof peer !== 'object' || peer === null) throw malformed(PEERS_FILE, 'peers');
      const seen = peer as Readonly<Record<string, unknown>>;
      const id = integer(seen, 'id');
      return [id, { incarnation: integer(seen, 'incarnation'), logSeq: integer(seen, 'logSeq') }] as const;
    }),
  );
}

export async function writePeersSeen(disk: Disk, seen: ReadonlyMap<MemberId, PeerSeen>): Promise<void> {
  assert(seen.size <= PEERS_MAX, 'peers seen are bounded by the members a cluster can have');
  const peers = [...seen]
    .toSorted(([a], [b]) => a - b)
    .map(([id, { incarnation, logSeq }]) => ({ id, incarnation, logSeq }));
  await write(disk, PEERS_FILE, { peers });
}

/** Why this data must not be used as this member any more, or null. */
export async function readQuarantine(disk: Disk): Promise<string | null> {
  const fields = await read(disk, QUARANTINE_FILE);
  return fields === null ? null : text(fields, 'reason');
}

/** Keeps the first reason: what follows is mostly a consequence. */
export async function writeQuarantine(disk: Disk, reason: string): Promise<void> {
  if (await disk.exists(QUARANTINE_FILE)) return;
  await write(disk, QUARANTINE_FILE, { reason });
}

/** To be called before a restore writes anything else: until `endRestore` no member starts on the directory. */
export async function beginRestore(disk: Disk): Promise<void> {
  await write(disk, RESTORING_FILE, {});
}

/** Everything that was restored is durable. */
export async function endRestore(disk: Disk): Promise<void> {
  await disk.remove(RESTORING_FILE);
  await disk.syncDirectory(directoryOf(RESTORING_FILE));
}

/** What is wrong with a directory whose restore was cut short, or null. It might otherwise pass for an empty one. */
export async function unfinishedRestore(disk: Disk): Promise<string | null> {
  if (!(await disk.exists(RESTORING_FILE))) return null;
  return `${disk.root} holds a restore that did not finish: remove the directory and restore again`;
}

/**
 * At a start: gives the ballast's room back when less than `freeBytesMin` is free, so that a member that stopped on
 * a full disk can recover.
 *
 * @returns whether there was a ballast to give
 */
export async function dropBallast(disk: Disk, options: { readonly freeBytesMin: number }): Promise<boolean> {
  const { freeBytes } = await disk.space();
  if (freeBytes >= options.freeBytesMin || !(await disk.exists(BALLAST_FILE))) return false;
  await disk.remove(BALLAST_FILE);
  await disk.syncDirectory(directoryOf(BALLAST_FILE));
  return true;
}

/**
 * Reserves the ballast when it is not there and the disk has room for it and `freeBytesMin` besides. Not having room
 * is no error. `sizeBytes` 0 takes an existing ballast away.
 *
 * @param options.sizeBytes default 64 MiB
 * @returns whether there is a ballast now
 */
export async function ensureBallast(
  disk: Disk,
  options: { readonly freeBytesMin: number; readonly sizeBytes?: number },
): Promise<boolean> {
  const sizeBytes = options.sizeBytes ?? BALLAST_BYTES_DEFAULT;
  if (await disk.exists(BALLAST_FILE)) {
    if (sizeBytes > 0) return true;
    await disk.remove(BALLAST_FILE);
  }
  const temporary = `${BALLAST_FILE}.tmp`;
  await disk.remove(temporary);
  const { freeBytes } = await disk.space();
  if (sizeBytes === 0 || freeBytes < sizeBytes + options.freeBytesMin) return false;
  try {
    await writeBallast(disk, { path: temporary, sizeBytes });
  } catch (error) {
    await disk.remove(temporary);
    if (isDiskFull(error)) return false;
    throw error;
  }
  await disk.rename({ from: temporary, to: BALLAST_FILE });
  await disk.syncDirectory(directoryOf(BALLAST_FILE));
  return true;
}

async function writeBallast(
  disk: Disk,
  ballast: { readonly path: string; readonly sizeBytes: number },
): Promise<void> {
  const file = await disk.open(ballast.path, 'create');
  try {
    await fillZeros(file, { from: 0, to: ballast.sizeBytes });
  } finally {
    await file.close();
  }
}

async function read(disk: Disk, path: string): Promise<SmallFile['fields'] | null> {
  const content = await readSmallFile(disk, path);
  if (content === null) return null;
  if (content.version !== VERSION) {
    throw new StoreError('data-dir-foreign', `${path} has version ${content.version}, known is ${VERSION}`);
  }
  return content.fields;
}

function write(disk: Disk, path: string, fields: SmallFile['fields']): Promise<void> {
  return writeSmallFile(disk, path, { version: VERSION, fields });
}

function integer(fields: Readonly<Record<string, unknown>>, name: string): number {
  const value = fields[name];
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw malformed('field', name);
  return value;
}

/** Empty when it is missing: directories of before it was written begin to remember at their next start. */
function integers(fields: Readonly<Record<string, unknown>>, name: string): readonly number[] {
  const value = fields[name] ?? [];
  if (!Array.isArray(value)) throw malformed('field', name);
  return value.map((each: unknown) => integer({ [name]: each }, name));
}

function text(fields: Readonly<Record<string, unknown>>, name: string): string {
  const value = fields[name];
  if (typeof value !== 'string') throw malformed('field', name);
  return value;
}

function malformed(where: string, name: string): StoreError {
  return new StoreError('data-dir-corrupt', `${where}: malformed ${name}`);
}
