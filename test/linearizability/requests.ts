import {
  type DeleteRangeRequest,
  deleteRequest,
  type PutRequest,
  putRequest,
  type RangeRequest,
  rangeRequest,
} from '../../src/core/mvcc/operations.ts';

/** A range request; what is not said has its default: the one key, now, everything of it. */
export function rangeOf(key: string, more: Partial<Omit<RangeRequest, 'type' | 'key'>> = {}): RangeRequest {
  return rangeRequest({ key: Buffer.from(key), ...more });
}

/** A put; what is not said is not asked for. */
export function putOf(
  key: string,
  value: string,
  more: Partial<Omit<PutRequest, 'type' | 'key' | 'value'>> = {},
): PutRequest {
  return putRequest({ key: Buffer.from(key), value: Buffer.from(value), ...more });
}

export function deleteOf(
  key: string,
  more: Partial<Omit<DeleteRangeRequest, 'type' | 'key'>> = {},
): DeleteRangeRequest {
  return deleteRequest({ key: Buffer.from(key), ...more });
}

/** A range request for all keys. */
export const EVERYTHING: RangeRequest = rangeOf('\0', { rangeEnd: Buffer.from([0]) });
