import { type Kv, type KvCall, KvError, type KvOp, type KvRow } from '../../kv/kv.ts';
import { prefixEnd } from '../../lib/range-end.ts';
import { changeKey, PREFIXES, SEAL_HEAD_KEY, sealKey } from '../keyspace.ts';
import type { ChangeRecord } from '../model.ts';
import { decodeChange, RowError } from '../rows.ts';
import { ServiceError } from '../service-error.ts';
import {
  decodeBlock,
  decodeHead,
  NOTHING_SEALED,
  revisionOfSealKey,
  type SealBlock,
  type SealHead,
} from './seal-rows.ts';

/**
 * The change records in the order of their revisions, however far back and whatever was compacted: their keys are in no
 * order, but the blocks of the seal are, and those that are not sealed yet are found by their mod revisions.
 */

/** A change by its id, and the revision at which it was made. */
export interface ChangeId {
  readonly revision: number;
  readonly id: string;
}

/** A change as it stands in the store. */
export interface StoredChange extends ChangeId {
  readonly record: ChangeRecord;
}

/** Blocks of one page. */
const PAGE_BLOCKS = 100;
/** Keys of one page. */
const PAGE_KEYS = 10_000;
/** Blocks that are read together, newest first. */
const BLOCKS_AT_ONCE = 50;
/** Ranges of one transaction. */
const READS_MAX = 100;
/** A compaction may overtake a range that takes several pages. */
const ATTEMPTS_MAX = 5;

/** The head of the seal with the revision that a guard must name; 0 when there is none. @throws KvError, RowError */
export async function readSealHead(
  kv: Kv,
  signal: AbortSignal,
): Promise<{ readonly head: SealHead; readonly modRevision: number }> {
  const answer = await kv.range(
    { key: SEAL_HEAD_KEY, consistency: { type: 'linearizable' } },
    callOf(signal),
  );
  const [row] = answer.rows;
  if (row === undefined) return { head: NOTHING_SEALED, modRevision: 0 };
  return { head: decodeHead(row.value), modRevision: row.modRevision };
}

/** The full blocks that have something after a revision, in their order. @throws KvError, RowError */
export async function* blocksAfter(kv: Kv, after: number, signal: AbortSignal): AsyncGenerator<SealBlock> {
  let key: Buffer = sealKey(after + 1);
  for (;;) {
    const page = await kv.range(
      { key, rangeEnd: SEAL_HEAD_KEY, limit: PAGE_BLOCKS, consistency: { type: 'linearizable' } },
      callOf(signal),
    );
    for (const { value } of page.rows) yield decodeBlock(value);
    const last = page.rows.at(-1);
    if (!page.more || last === undefined) return;
    key = keyAfter(last.key);
  }
}

/** The last revisions of all full blocks, in their order. @throws KvError */
export async function blockRevisions(kv: Kv, signal: AbortSignal): Promise<readonly number[]> {
  const revisions: number[] = [];
  let key: Buffer = Buffer.from(PREFIXES.seal);
  for (;;) {
    const page = await kv.range(
      {
        key,
        rangeEnd: SEAL_HEAD_KEY,
        limit: PAGE_KEYS,
        keysOnly: true,
        consistency: { type: 'linearizable' },
      },
      callOf(signal),
    );
    for (const row of page.rows) revisions.push(revisionOfSealKey(row.key));
    const last = page.rows.at(-1);
    if (!page.more || last === undefined) return revisions;
    key = keyAfter(last.key);
  }
}

/** Blocks by their last revisions, in the order asked for. @throws KvError, RowError */
export async function readBlocks(
  kv: Kv,
  revisions: readonly number[],
  signal: AbortSignal,
): Promise<readonly SealBlock[]> {
  const rows = await readRows(kv, revisions.map(sealKey), signal);
  return rows.flatMap((row) => (row === null ? [] : [decodeBlock(row.value)]));
}

/** What a range of changes is asked for by. */
export interface ChangeRange {
  /** Only later ones. */
  readonly after: number;
  /** Only up to this revision, which the store must have; default: all there are. */
  readonly upTo?: number | undefined;
}

/** Every change of the range, oldest first. @throws KvError, RowError */
export async function changeIds(
  kv: Kv,
  { after, upTo = Infinity }: ChangeRange,
  signal: AbortSignal,
): Promise<ChangeId[]> {
  // The head comes first: what leaves it for a block afterwards is found there.
  const { head } = await readSealHead(kv, signal);
  const found: ChangeId[] = [];
  if (after < head.revision) {
    let last = after;
    const take = ({ entries }: SealBlock): void => {
      for (const { revision, id } of entries) {
        if (revision <= last || revision > Math.min(upTo, head.revision)) continue;
        last = revision;
        found.push({ revision, id });
      }
    };
    for await (const block of blocksAfter(kv, after, signal)) {
      take(block);
      if ((block.entries.at(-1)?.revision ?? 0) >= Math.min(upTo, head.revision)) break;
    }
    take(head.open);
  }
  if (upTo <= head.revision) return found;
  for (const change of await unsealedIds(kv, Math.max(after, head.revision), signal)) {
    if (change.revision <= upTo) found.push(change);
  }
  return found;
}

/** Every change before a revision, newest first, in pieces of any size. @throws KvError, RowError */
export async function* idsBefore(
  kv: Kv,
  before: number,
  signal: AbortSignal,
): AsyncGenerator<readonly ChangeId[]> {
  const { head } = await readSealHead(kv, signal);
  let last = before;
  const earlier = (ids: readonly ChangeId[]): readonly ChangeId[] => {
    const found = ids.filter(({ revision }) => revision < last).toReversed();
    last = found.at(-1)?.revision ?? last;
    return found;
  };
  if (before > head.revision + 1) yield earlier(await unsealedIds(kv, head.revision, signal));
  yield earlier(head.open.entries);
  const revisions = await blockRevisions(kv, signal);
  // The first block that ends behind all that is wanted may still begin before.
  const end = revisions.findIndex((revision) => revision >= last - 1) + 1;
  const wanted = end === 0 ? revisions : revisions.slice(0, end);
  for (let at = wanted.length; at > 0; at -= BLOCKS_AT_ONCE) {
    const blocks = await readBlocks(kv, wanted.slice(Math.max(0, at - BLOCKS_AT_ONCE), at), signal);
    for (const { entries } of blocks.toReversed()) yield earlier(entries);
  }
}

/** The changes after a revision by their mod revisions, oldest first: the store looks at all records for it. @throws KvError */
export async function unsealedIds(kv: Kv, after: number, signal: AbortSignal): Promise<readonly ChangeId[]> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const found = await idsByRevision(kv, after, signal);
      return found.sort((left, right) => left.revision - right.revision);
    } catch (error) {
      if (!(error instanceof KvError) || error.code !== 'compacted' || attempt === ATTEMPTS_MAX) throw error;
    }
  }
}

async function idsByRevision(kv: Kv, after: number, signal: AbortSignal): Promise<ChangeId[]> {
  const prefix = Buffer.from(PREFIXES.change);
  const found: ChangeId[] = [];
  let key: Buffer = prefix;
  let revision = 0;
  for (;;) {
    const page = await kv.range(
      {
        key,
        rangeEnd: prefixEnd(prefix),
        revision,
        limit: PAGE_KEYS,
        keysOnly: true,
        minModRevision: after + 1,
        consistency: { type: 'linearizable' },
      },
      callOf(signal),
    );
    if (revision === 0) revision = page.revision;
    for (const row of page.rows) {
      found.push({ revision: row.modRevision, id: row.key.subarray(prefix.length).toString() });
    }
    const last = page.rows.at(-1);
    if (!page.more || last === undefined) return found;
    key = keyAfter(last.key);
  }
}

/** The rows of changes in the order asked for; null for one that is not there as it was made. @throws KvError */
export async function readChangeRows(
  kv: Kv,
  ids: readonly ChangeId[],
  signal: AbortSignal,
): Promise<readonly (KvRow | null)[]> {
  const rows = await readRows(
    kv,
    ids.map(({ id }) => changeKey(id)),
    signal,
  );
  return rows.map((row, at) => (row !== null && row.modRevision === ids[at]!.revision ? row : null));
}

/** The records of those changes that stand as they were made and can be read, in the order asked for. @throws KvError */
export async function readStanding(
  kv: Kv,
  ids: readonly ChangeId[],
  signal: AbortSignal,
): Promise<readonly StoredChange[]> {
  const rows = await readChangeRows(kv, ids, signal);
  return rows.flatMap((row, at) => {
    const record = recordOf(row);
    return record === null ? [] : [{ ...ids[at]!, record }];
  });
}

/**
 * The records of changes in the order asked for.
 *
 * @throws ServiceError `gone` for one that was removed or changed since, or that this program cannot read
 */
export async function readChanges(
  kv: Kv,
  ids: readonly ChangeId[],
  signal: AbortSignal,
): Promise<readonly StoredChange[]> {
  const rows = await readChangeRows(kv, ids, signal);
  return rows.map((row, at) => {
    const { revision, id } = ids[at]!;
    const record = recordOf(row);
    if (record === null) {
      throw new ServiceError('gone', `the record of the change at revision ${revision} is not there`);
    }
    return { revision, id, record };
  });
}

function recordOf(row: KvRow | null): ChangeRecord | null {
  if (row === null) return null;
  try {
    return decodeChange(row.value);
  } catch (error) {
    if (!(error instanceof RowError)) throw error;
    return null;
  }
}

async function readRows(
  kv: Kv,
  keys: readonly Buffer[],
  signal: AbortSignal,
): Promise<readonly (KvRow | null)[]> {
  const found: (KvRow | null)[] = [];
  for (let at = 0; at < keys.length; at += READS_MAX) {
    const success = keys.slice(at, at + READS_MAX).map((key): KvOp => ({ type: 'range', key }));
    const answer = await kv.txn({ compare: [], success, failure: [] }, callOf(signal));
    for (const response of answer.responses) {
      found.push(response.type === 'range' ? (response.rows[0] ?? null) : null);
    }
  }
  return found;
}

function keyAfter(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.from([0])]);
}

function callOf(signal: AbortSignal): KvCall {
  return { principal: { type: 'service' }, signal };
}
