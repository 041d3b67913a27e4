import { assert } from '../lib/assert.ts';
import { bytesOf, CachedEntry, isText } from './cache-entry.ts';
import { ClientError } from './client-error.ts';
import { SortedEntries } from './sorted-entries.ts';
import type { KeyValue, WatchEvent } from './types.ts';

/** Ends a cache whatever other members would say. */
export class CacheEndedError extends ClientError {}

/** A key that changed. */
export type CacheChange =
  | { readonly type: 'put'; readonly entry: CachedEntry; readonly before: CachedEntry | undefined }
  | { readonly type: 'delete'; readonly before: CachedEntry };

/** How large a cache may become. */
export interface CacheBounds {
  readonly keysMax: number;
  /** Keys, values, and 500 bytes for each entry. */
  readonly bytesMax: number;
}

/**
 * The contents of a cache: the keys of a range as they were at one revision. Whole revisions go in at a time, in one
 * synchronous step, so that a reader never sees a part of one. Text is found in a map, bytes and ranges in an index.
 */
export class CacheStore {
  readonly #bounds: CacheBounds;
  readonly #byText = new Map<string, CachedEntry>();
  #inOrder = new SortedEntries<CachedEntry>();
  #revision = 0;
  #bytes = 0;

  constructor(bounds: CacheBounds) {
    this.#bounds = bounds;
  }

  /** Everything of the range up to this revision is in; 0 before the first load. */
  get revision(): number {
    return this.#revision;
  }

  get size(): number {
    return this.#inOrder.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): CachedEntry | undefined {
    return this.#byText.get(key);
  }

  /** @param order the key with one character for each byte */
  find(order: string): CachedEntry | undefined {
    return this.#inOrder.find(order);
  }

  /** Those from `from` on and before `end` (null = to the last), in the order of their keys' bytes. */
  range(from: string, end: string | null): readonly CachedEntry[] {
    return this.#inOrder.range(from, end);
  }

  /**
   * Takes events of whole revisions, oldest first; what is in already is left out.
   *
   * @returns what changed, each key once with what was there before
   * @throws ClientError `resource-exhausted` when that is too much; all of it is in all the same
   */
  apply(events: readonly WatchEvent[]): readonly CacheChange[] {
    const from = this.#revision;
    const touched = new Map<string, CachedEntry | undefined>();
    for (const { type, kv } of events) {
      if (kv.modRevision <= from) continue;
      assert(kv.modRevision >= this.#revision, 'events come in the order of their revisions');
      this.#revision = kv.modRevision;
      const order = kv.key.toString('latin1');
      const before = this.#inOrder.find(order);
      if (!touched.has(order)) touched.set(order, before);
      if (before !== undefined) this.#remove(before, type === 'put');
      if (type === 'put') this.#insert(new CachedEntry(kv));
    }
    checkBounds(this.#bounds, this);
    return [...touched].flatMap(([order, before]) => changeOf(before, this.#inOrder.find(order)));
  }

  /** Everything up to `revision` is in. */
  advance(revision: number): void {
    if (revision > this.#revision) this.#revision = revision;
  }

  /** The entry for what was read anew: the present one, unless it has changed. */
  entryOf(kv: KeyValue): CachedEntry {
    const present = this.#inOrder.find(kv.key.toString('latin1'));
    // A revision changes a key once, so the same one means the same entry.
    return present?.modRevision === kv.modRevision ? present : new CachedEntry(kv);
  }

  /**
   * Goes over to the contents at a later revision in one step.
   *
   * @param entries all of the range at `revision`, in order, each by `entryOf`
   * @returns what is different now
   */
  replace(revision: number, entries: readonly CachedEntry[]): readonly CacheChange[] {
    assert(revision >= this.#revision, 'a cache never goes back');
    const changes: CacheChange[] = [];
    const present = this.#inOrder.range('', null);
    let at = 0;
    for (const entry of entries) {
      for (; at < present.length && present[at]!.order < entry.order; at += 1)
        changes.push({ type: 'delete', before: present[at]! });
      const before = present[at]?.order === entry.order ? present[at] : undefined;
      if (before !== undefined) at += 1;
      if (before !== entry) changes.push({ type: 'put', entry, before });
    }
    for (const before of present.slice(at)) changes.push({ type: 'delete', before });
    this.#inOrder = new SortedEntries(entries);
    for (const change of changes) this.#recount(change);
    this.#revision = revision;
    return changes;
  }

  #recount(change: CacheChange): void {
    const { before } = change;
    if (before !== undefined) this.#forget(before, change.type === 'put');
    if (change.type === 'put') this.#count(change.entry);
  }

  #insert(entry: CachedEntry): void {
    this.#inOrder.set(entry);
    this.#count(entry);
  }

  /** @param replaced whether another entry takes its place */
  #remove(entry: CachedEntry, replaced: boolean): void {
    if (!replaced) this.#inOrder.delete(entry.order);
    this.#forget(entry, replaced);
  }

  #count(entry: CachedEntry): void {
    this.#bytes += bytesOf(entry);
    if (isText(entry)) this.#byText.set(entry.key, entry);
  }

  #forget(entry: CachedEntry, replaced: boolean): void {
    this.#bytes -= bytesOf(entry);
    if (!replaced && isText(entry)) this.#byText.delete(entry.key);
  }
}

/** @throws ClientError `resource-exhausted` */
export function checkBounds(
  bounds: CacheBounds,
  held: { readonly size: number; readonly bytes: number },
): void {
  if (held.size > bounds.keysMax)
    throw new CacheEndedError('resource-exhausted', `the cached range has more than ${bounds.keysMax} keys`);
  if (held.bytes > bounds.bytesMax)
    throw new CacheEndedError(
      'resource-exhausted',
      `the cached range takes more than ${bounds.bytesMax} bytes`,
    );
}

function changeOf(before: CachedEntry | undefined, after: CachedEntry | undefined): readonly CacheChange[] {
  if (after !== undefined) return [{ type: 'put', entry: after, before }];
  return before === undefined ? [] : [{ type: 'delete', before }];
}
