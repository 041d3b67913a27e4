import { ALL_FROM, prefixEnd } from '../lib/range-end.ts';
import { bytesOf } from './bytes.ts';
import type { CacheBounds } from './cache-store.ts';
import { ClientError } from './client-error.ts';
import type { Bytes, KeyRange } from './types.ts';

/** The longest and shortest bound that a freshness lease may have. */
export const MAX_AGE_MS_MIN = 10;
export const MAX_AGE_MS_MAX = 86_400_000;
/** How large a cache may become unless it says otherwise. */
export const CACHE_BOUNDS_DEFAULT: CacheBounds = { keysMax: 1_000_000, bytesMax: 256 * 1024 * 1024 };

/** What a read does while the cache cannot prove that it is fresh enough; see `KvCache`. */
export type WhenLapsed = 'serve-stale' | 'wait' | 'fail';

/** What to cache, and how fresh it is to be. */
export type CacheOptions = (
  | {
      /** Every key that starts with it; empty = all keys. */
      readonly prefix: Bytes;
    }
  | KeyRange
) & {
  /** X: while the lease holds, the cache includes everything acknowledged more than X ago. 10 ms to a day. */
  readonly maxAgeMs: number;
  readonly whenLapsed: WhenLapsed;
  /** Serve reads as though fresh while no member has told an age: so it is always with a real etcd. Default false. */
  readonly allowUnknownAge?: boolean;
  /**
   * How the first state is read. `linearizable` (the default): everything acknowledged before is in it. `serializable`:
   * as the nearest member has it, for clients that reach only learners; the watch brings the rest.
   */
  readonly load?: 'linearizable' | 'serializable';
  /** Default 1,000,000; beyond it the cache ends with `resource-exhausted`. */
  readonly keysMax?: number;
  /** Keys, values, and 500 bytes for each entry; default 256 MiB, else as `keysMax`. */
  readonly bytesMax?: number;
  /** Ends the cache. */
  readonly signal?: AbortSignal;
};

/** The options with their defaults, and the range in the form of the index: one character for each byte. */
export interface CacheSettings {
  readonly range: { readonly key: Buffer; readonly rangeEnd: Buffer };
  readonly span: Span;
  readonly maxAgeMs: number;
  readonly whenLapsed: WhenLapsed;
  readonly allowUnknownAge: boolean;
  readonly serializable: boolean;
  readonly bounds: CacheBounds;
}

/** Keys from `from` on and before `end`; null = to the last. One character for each byte. */
export interface Span {
  readonly from: string;
  readonly end: string | null;
}

/** @throws ClientError `invalid-argument` */
export function cacheSettings(options: CacheOptions): CacheSettings {
  const { maxAgeMs, whenLapsed, allowUnknownAge = false, load = 'linearizable' } = options;
  if (!(maxAgeMs >= MAX_AGE_MS_MIN && maxAgeMs <= MAX_AGE_MS_MAX))
    refuse(`maxAgeMs is ${MAX_AGE_MS_MIN} to ${MAX_AGE_MS_MAX}, not ${maxAgeMs}`);
  if (!['serve-stale', 'wait', 'fail'].includes(whenLapsed))
    refuse(`whenLapsed is serve-stale, wait or fail, not ${whenLapsed}`);
  const range = 'prefix' in options ? prefixRange(options.prefix) : rangeOf(options);
  const { keysMax, bytesMax } = { ...CACHE_BOUNDS_DEFAULT, ...defined(options) };
  if (!(keysMax > 0 && bytesMax > 0)) refuse('keysMax and bytesMax are above 0');
  return {
    range,
    span: spanOf(range),
    maxAgeMs,
    whenLapsed,
    allowUnknownAge,
    serializable: load === 'serializable',
    bounds: { keysMax, bytesMax },
  };
}

/** The keys that start with `prefix`, as a range of keys. */
export function prefixRange(prefix: Bytes): { readonly key: Buffer; readonly rangeEnd: Buffer } {
  const bytes = bytesOf(prefix);
  // No key is empty; the first one is a zero byte.
  return bytes.length === 0
    ? { key: ALL_FROM, rangeEnd: ALL_FROM }
    : { key: bytes, rangeEnd: prefixEnd(bytes) };
}

/** A range as etcd names it, as bytes. */
export function rangeOf(range: KeyRange): { readonly key: Buffer; readonly rangeEnd: Buffer } {
  return { key: bytesOf(range.key), rangeEnd: bytesOf(range.rangeEnd ?? '') };
}

/** A range as etcd names it, as from and to. */
export function spanOf({ key, rangeEnd }: { readonly key: Buffer; readonly rangeEnd: Buffer }): Span {
  const from = key.toString('latin1');
  if (rangeEnd.length === 0) return { from, end: `${from}\0` };
  return { from, end: rangeEnd.equals(ALL_FROM) ? null : rangeEnd.toString('latin1') };
}

/** Whether every key of `inner` is one of `outer`. */
export function covers(outer: Span, inner: Span): boolean {
  if (inner.from < outer.from) return false;
  return outer.end === null || (inner.end !== null && inner.end <= outer.end);
}

function defined({ keysMax, bytesMax }: CacheOptions): Partial<CacheBounds> {
  return { ...(keysMax === undefined ? {} : { keysMax }), ...(bytesMax === undefined ? {} : { bytesMax }) };
}

function refuse(message: string): never {
  throw new ClientError('invalid-argument', message, { unsent: true });
}
