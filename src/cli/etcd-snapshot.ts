import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { codec } from '../rpc/codec.ts';
import type { KeyValue } from '../rpc/generated/mvccpb/kv.ts';
import { BoltFile, DamagedFileError } from './bbolt.ts';

/** A key to be written, as an import finds it. */
export interface ImportedKey {
  readonly key: Buffer;
  readonly value: Buffer;
  /** 0n: none. */
  readonly lease: bigint;
}

/** The newest state in a snapshot of etcd's. */
export interface EtcdState {
  /** Live keys, in key order. */
  readonly keys: readonly ImportedKey[];
  /** Leases that live keys are attached to, by id, with the time that was granted, in seconds. */
  readonly leases: ReadonlyMap<bigint, number>;
  /** The newest revision in it. */
  readonly revision: number;
}

const keyValue = codec('mvccpb.KeyValue');
/** Main and sub revision, 8 bytes each, big-endian, with a line between; a deletion has a mark after them. */
const REVISION_BYTES = 17;
const TOMBSTONE = 't'.charCodeAt(0);

/**
 * Reads a file that `etcdctl snapshot save` wrote, or the `db` of a member that is stopped. History is passed over:
 * of every key the newest revision counts.
 *
 * @throws DamagedFileError when it is no such file, or not what its hash is of
 */
export async function readEtcdSnapshot(path: string): Promise<EtcdState> {
  await checkHash(path);
  const file = await BoltFile.open(path);
  try {
    const { rows, revision } = await newestRows(file);
    const keys = [...rows.values()].sort((a, b) => Buffer.compare(a.key, b.key));
    const wanted = new Set(keys.map(({ lease }) => lease).filter((id) => id !== 0n));
    return { keys, leases: await grantedTimes(file, wanted), revision };
  } finally {
    await file.close();
  }
}

/** What `etcdctl snapshot save` wrote ends with a hash of all before it; a member's `db` has none. */
async function checkHash(path: string): Promise<void> {
  const { size } = await stat(path);
  if (size % SECTOR_BYTES !== HASH_BYTES) return;
  const hash = createHash('sha256');
  const end = size - HASH_BYTES;
  for await (const chunk of createReadStream(path, { end: end - 1 })) hash.update(chunk as Buffer);
  const written: Buffer[] = [];
  for await (const chunk of createReadStream(path, { start: end })) written.push(chunk as Buffer);
  if (!hash.digest().equals(Buffer.concat(written))) {
    throw new DamagedFileError('the file is damaged: its hash is of something else');
  }
}

const SECTOR_BYTES = 512;
const HASH_BYTES = 32;

async function newestRows(
  file: BoltFile,
): Promise<{ readonly rows: Map<string, ImportedKey>; readonly revision: number }> {
  const rows = new Map<string, ImportedKey>();
  let revision = 0;
  for await (const { key: at, value } of file.bucket('key')) {
    if (at.length < REVISION_BYTES)
      throw new DamagedFileError('the file is damaged: a revision is too short');
    revision = Number(at.readBigUInt64BE(0));
    const row = decoded(value);
    const name = row.key.toString('latin1');
    if (at[REVISION_BYTES] === TOMBSTONE) rows.delete(name);
    else rows.set(name, { key: row.key, value: row.value, lease: BigInt(row.lease) });
  }
  return { rows, revision };
}

function decoded(bytes: Buffer): KeyValue {
  try {
    return keyValue.decode(bytes);
  } catch {
    throw new DamagedFileError('the file is damaged: a row is no key');
  }
}

const leaseRow = codec('etcdserverpb.LeaseGrantRequest');

async function grantedTimes(file: BoltFile, wanted: ReadonlySet<bigint>): Promise<Map<bigint, number>> {
  const found = new Map<bigint, number>();
  if (wanted.size === 0) return found;
  for await (const { value } of file.bucket('lease')) {
    // A lease's record is a grant's request the other way round: its id is field 1, its time field 2.
    const { TTL: id, ID: seconds } = leaseRow.decode(value);
    if (wanted.has(BigInt(id))) found.set(BigInt(id), Number(seconds));
  }
  return found;
}
