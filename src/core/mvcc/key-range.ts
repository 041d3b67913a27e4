import type { KeyRange } from './key-index.ts';

/** The range of a request whose `rangeEnd` is not empty: a single zero byte means "to the end of all keys". */
export function rangeOf(key: string, rangeEnd: Buffer): KeyRange {
  const toEnd = rangeEnd.length === 1 && rangeEnd[0] === 0;
  return { key, end: toEnd ? null : rangeEnd.toString('latin1') };
}

/** The range that holds just one key: nothing lies between a key and the key with a zero byte after it. */
export function rangeOfOne(key: string): KeyRange {
  return { key, end: `${key}\0` };
}

/** The keys that a request's `key` and `rangeEnd` name. */
export function keysOf(request: { readonly key: Buffer; readonly rangeEnd: Buffer }): KeyRange {
  const key = request.key.toString('latin1');
  return request.rangeEnd.length === 0 ? rangeOfOne(key) : rangeOf(key, request.rangeEnd);
}
