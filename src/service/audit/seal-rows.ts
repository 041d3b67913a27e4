import { PREFIXES } from '../keyspace.ts';
import { RowError } from '../rows.ts';
import type { SealEntry } from './chain.ts';

/** Changes of one block. While it fills, its entries stand in the head's row, which is put once a second at most. */
export const BLOCK_ENTRIES = 64;

/** A full block of the chain, never changed. */
export interface SealBlock {
  /** Changes sealed before it. */
  readonly position: number;
  /** The link before its first entry. */
  readonly before: string;
  /** In the order of their revisions. */
  readonly entries: readonly SealEntry[];
}

/** How far the chain goes. */
export interface SealHead {
  /** Changes that are sealed. */
  readonly count: number;
  /** Of the last one; 0 before the first. */
  readonly revision: number;
  /** The last link. */
  readonly link: string;
  /** The last ones, which fill no block yet. */
  readonly open: SealBlock;
}

/** Before anything is sealed. */
export const NOTHING_SEALED: SealHead = {
  count: 0,
  revision: 0,
  link: '',
  open: { position: 0, before: '', entries: [] },
};

const FORMAT = 1;

type EntryRow = readonly [revision: number, id: string, hash: string];

interface BlockRow {
  readonly position: number;
  readonly before: string;
  readonly entries: readonly EntryRow[];
}

export function encodeBlock(block: SealBlock): Buffer {
  return Buffer.from(JSON.stringify({ format: FORMAT, ...blockRow(block) }));
}

/** @throws RowError */
export function decodeBlock(bytes: Buffer): SealBlock {
  return blockOf(parse<BlockRow>(bytes));
}

export function encodeHead({ count, revision, link, open }: SealHead): Buffer {
  return Buffer.from(JSON.stringify({ format: FORMAT, count, revision, link, open: blockRow(open) }));
}

/** @throws RowError */
export function decodeHead(bytes: Buffer): SealHead {
  const row = parse<Omit<SealHead, 'open'> & { readonly open: BlockRow }>(bytes);
  const { count, revision, link } = row;
  return { count, revision, link, open: blockOf(row.open) };
}

/** Of the last entry of the block that lies at the key. */
export function revisionOfSealKey(key: Buffer): number {
  return Number(key.toString().slice(PREFIXES.seal.length));
}

function blockRow({ position, before, entries }: SealBlock): BlockRow {
  return { position, before, entries: entries.map(({ revision, id, hash }) => [revision, id, hash]) };
}

function blockOf({ position, before, entries }: BlockRow): SealBlock {
  return { position, before, entries: entries.map(([revision, id, hash]) => ({ revision, id, hash })) };
}

function parse<T>(bytes: Buffer): T {
  try {
    const row = JSON.parse(bytes.toString()) as T & { readonly format?: unknown };
    if (row.format === FORMAT) return row;
  } catch (error) {
    throw new RowError('a row of the seal is not JSON', { cause: error });
  }
  throw new RowError('a row of the seal has an unknown format');
}
