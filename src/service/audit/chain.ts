import { createHash } from 'node:crypto';

/**
 * The chain that seals the change records: each link is a hash of the one before and of a record as it is stored, with
 * its id and revision. Whoever changes a record, or leaves one out, would have to make every later link anew.
 */

/** A record as the chain has it. */
export interface SealEntry {
  readonly revision: number;
  readonly id: string;
  /** Of the record's bytes; `MISSING` when it was gone, or another one, before it could be sealed. */
  readonly hash: string;
}

/** In place of the hash of a record that was not there any more. */
export const MISSING = 'missing';

/** Before the first link. */
export const CHAIN_START = '';

/** SHA-256 of a record's bytes, in base64url. */
export function recordHash(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('base64url');
}

/** The next link: SHA-256 in base64url. */
export function linked(link: string, { revision, id, hash }: SealEntry): string {
  return createHash('sha256').update(`${link}\n${revision}\n${id}\n${hash}`).digest('base64url');
}

/** The link after all of them. */
export function linkedAll(link: string, entries: readonly SealEntry[]): string {
  return entries.reduce(linked, link);
}
