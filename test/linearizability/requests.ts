import type { DeleteRangeRequest, PutRequest, RangeRequest } from '../../src/core/mvcc/operations.ts';

const EMPTY = Buffer.alloc(0);

/** A range request; what is not said has its default: the one key, now, everything of it. */
export function rangeOf(key: string, more: Partial<Omit<RangeRequest, 'type' | 'key'>> = {}): RangeRequest {
  return {
    type: 'range',
    key: Buffer.from(key),
    rangeEnd: EMPTY,
    limit: 0,
    revision: 0,
    sortOrder: 'none',
    sortTarget: 'key',
    keysOnly: false,
    countOnly: false,
    minModRevision: 0,
    maxModRevision: 0,
    minCreateRevision: 0,
    maxCreateRevision: 0,
    ...more,
  };
}

/** A put; what is not said is not asked for. */
export function putOf(
  key: string,
  value: string,
  more: Partial<Omit<PutRequest, 'type' | 'key' | 'value'>> = {},
): PutRequest {
  return {
    type: 'put',
    key: Buffer.from(key),
    value: Buffer.from(value),
    lease: 0n,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
    ...more,
  };
}

export function deleteOf(
  key: string,
  more: Partial<Omit<DeleteRangeRequest, 'type' | 'key'>> = {},
): DeleteRangeRequest {
  return { type: 'delete-range', key: Buffer.from(key), rangeEnd: EMPTY, prevKv: false, ...more };
}

/** A range request for all keys. */
export const EVERYTHING: RangeRequest = rangeOf('\0', { rangeEnd: Buffer.from([0]) });
