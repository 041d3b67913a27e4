import type { CachedEntry } from './cache-entry.ts';
import { bytesOf } from './cache-entry.ts';
import type { CacheSettings } from './cache-options.ts';
import { type CacheStore, checkBounds } from './cache-store.ts';
import { ClientError } from './client-error.ts';
import type { RangeAnswer, RangeOptions } from './types.ts';

/** Pages aim at so many bytes; a page has 100 to 10,000 keys. */
const PAGE_BYTES = 4 * 1024 * 1024;
const PAGE_KEYS_FIRST = 1_000;
const PAGE_KEYS_MIN = 100;
const PAGE_KEYS_MAX = 10_000;

/** The range as it was at one revision. */
export interface LoadedRange {
  readonly revision: number;
  readonly clusterId: bigint;
  /** In the order of the keys. */
  readonly entries: readonly CachedEntry[];
}

/** What reads a page. */
export type ReadPage = (options: RangeOptions) => Promise<RangeAnswer>;

/**
 * Reads the range in pages, all at the revision of the first. That one is linearizable unless the settings say
 * otherwise; what it names cannot change any more, so the others come from any member that has it.
 *
 * @param store what of it is unchanged is taken over
 * @throws ClientError `out-of-range` when the revision was compacted away meanwhile, `resource-exhausted` when the range
 *   is too large, and what the call fails with
 */
export async function loadRange(
  read: ReadPage,
  settings: CacheSettings,
  store: CacheStore,
): Promise<LoadedRange> {
  const { range, bounds } = settings;
  const entries: CachedEntry[] = [];
  let limit = PAGE_KEYS_FIRST;
  let bytes = 0;
  const first = await read({ ...range, limit, serializable: settings.serializable });
  const { revision, clusterId } = first.header;
  for (let page = first; ; ) {
    for (const kv of page.kvs) {
      const entry = store.entryOf(kv);
      entries.push(entry);
      bytes += bytesOf(entry);
    }
    checkBounds(bounds, { size: entries.length, bytes });
    const last = page.kvs.at(-1);
    if (!page.more || last === undefined) return { revision, clusterId, entries };
    limit = pageKeys(bytes / entries.length);
    const key = Buffer.concat([last.key, ZERO]);
    page = await readAt(read, { key, rangeEnd: range.rangeEnd, limit, revision });
  }
}

const ZERO = Buffer.from([0]);

function pageKeys(bytesEach: number): number {
  return Math.min(PAGE_KEYS_MAX, Math.max(PAGE_KEYS_MIN, Math.floor(PAGE_BYTES / bytesEach)));
}

/** From whoever is asked, or, when that one is not there yet, from one that is sure to be. */
async function readAt(read: ReadPage, options: RangeOptions): Promise<RangeAnswer> {
  try {
    return await read({ ...options, serializable: true });
  } catch (error) {
    if (!(error instanceof ClientError) || error.code !== 'out-of-range') throw error;
    return read(options);
  }
}
