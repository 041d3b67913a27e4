import { loadWords, words } from '../../lib/words.ts';
import type { Row, SetHash } from './row.ts';

/**
 * Hashes of rows. A row's hash is two independent 32-bit lanes over all its fields; the hash of a set of rows is the
 * lane-wise sum modulo 2^32, so that order does not matter and removal subtracts. They find lost, resurrected and
 * rotten rows, not forgeries.
 */

/** The hash of no rows. */
export const EMPTY_SET_HASH: SetHash = { a: 0, b: 0 };

/** Deterministic, equal on every member; both lanes are unsigned 32-bit. */
export function rowHash(row: Row): SetHash {
  lanes[0] = 0x9e3779b9;
  lanes[1] = 0x7f4a7c15;
  mixFields(row);
  mixBytes(row.key);
  mixBytes(row.value);
  const a = lanes[0]!;
  const b = lanes[1]!;
  return { a: avalanche(a), b: avalanche(a ^ b) };
}

export function addHash(set: SetHash, row: SetHash): SetHash {
  return { a: (set.a + row.a) >>> 0, b: (set.b + row.b) >>> 0 };
}

export function subtractHash(set: SetHash, row: SetHash): SetHash {
  return { a: (set.a - row.a) >>> 0, b: (set.b - row.b) >>> 0 };
}

/** Folds a row's hash into a running hash where order matters; unsigned 32-bit. */
export function chainHash(hash: number, row: SetHash): number {
  const mixed = Math.imul(hash ^ row.a, 0x85ebca6b);
  return avalanche(Math.imul(mixed ^ (mixed >>> 15) ^ row.b, 0xc2b2ae35));
}

// The lanes between the parts of the row being hashed; the loops keep them in locals.
const lanes = new Int32Array(2);
// The fields of fixed size, as words.
const fields = new Int32Array(10);
const TWO_32 = 0x1_0000_0000;

function mixFields(row: Row): void {
  fields[0] = row.main | 0;
  fields[1] = (row.main / TWO_32) | 0;
  fields[2] = row.sub | 0;
  fields[3] = row.tombstone ? 1 : 0;
  fields[4] = row.createRevision | 0;
  fields[5] = (row.createRevision / TWO_32) | 0;
  fields[6] = row.version | 0;
  fields[7] = (row.version / TWO_32) | 0;
  fields[8] = row.lease === 0n ? 0 : Number(BigInt.asIntN(32, row.lease));
  fields[9] = row.lease === 0n ? 0 : Number(BigInt.asIntN(32, row.lease >> 32n));
  let a = lanes[0]!;
  let b = lanes[1]!;
  for (let i = 0; i < fields.length; i++) {
    const word = fields[i]!;
    a = mixA(a, word);
    b = mixB(b, word);
  }
  lanes[0] = a;
  lanes[1] = b;
}

/** The length goes first, so that key and value cannot trade bytes. */
function mixBytes(bytes: Buffer): void {
  let a = mixA(lanes[0]!, bytes.length);
  let b = mixB(lanes[1]!, bytes.length);
  for (let from = 0; from < bytes.length; ) {
    const length = loadWords(bytes, from);
    for (let i = 0; i < length; i += 4) {
      const word = words.getInt32(i, true);
      a = mixA(a, word);
      b = mixB(b, word);
    }
    from += length;
  }
  lanes[0] = a;
  lanes[1] = b;
}

function mixA(lane: number, word: number): number {
  const mixed = Math.imul(lane ^ word, 0xcc9e2d51);
  return (mixed << 15) | (mixed >>> 17);
}

function mixB(lane: number, word: number): number {
  const mixed = Math.imul(lane + word, 0x1b873593);
  return mixed ^ (mixed >>> 13);
}

/** Spreads every input bit over the whole word, unsigned. */
function avalanche(word: number): number {
  let h = word;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
