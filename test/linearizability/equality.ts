import type { KeyValue, ResponseOp } from '../../src/core/mvcc/operations.ts';
import type { HistoryEvent, HistoryResult } from './history.ts';

export function sameKeyValue(a: KeyValue, b: KeyValue): boolean {
  return (
    a.modRevision === b.modRevision &&
    a.createRevision === b.createRevision &&
    a.version === b.version &&
    a.lease === b.lease &&
    a.key.equals(b.key) &&
    a.value.equals(b.value)
  );
}

/** Whether two events say the same, their `prevKv` apart; of a delete only key and revision are read. */
export function sameEvent(a: HistoryEvent, b: HistoryEvent): boolean {
  if (a.type !== b.type) return false;
  if (a.type === 'put') return sameKeyValue(a.kv, b.kv);
  return a.kv.modRevision === b.kv.modRevision && a.kv.key.equals(b.kv.key);
}

export function sameEvents(a: readonly HistoryEvent[], b: readonly HistoryEvent[]): boolean {
  return a.length === b.length && a.every((event, index) => sameEvent(event, b[index]!));
}

/**
 * Whether an answer is exactly the expected one. A revision of 0 in a response within a transaction was not told, and
 * the revision of `compact`, `lease-grant` and `lease-revoke` may be any that is not below the expected one: their
 * header is made when they answer, not where they took effect.
 */
export function sameResult(expected: HistoryResult, actual: HistoryResult): boolean {
  switch (expected.type) {
    case 'compact':
    case 'lease-grant':
    case 'lease-revoke':
      return actual.type === expected.type && actual.revision >= expected.revision;
    default:
      return isKv(actual) && actual.revision === expected.revision && sameBody(expected, actual);
  }
}

function isKv(result: HistoryResult): result is ResponseOp {
  return result.type !== 'compact' && result.type !== 'lease-grant' && result.type !== 'lease-revoke';
}

function sameBody(expected: ResponseOp, actual: ResponseOp): boolean {
  switch (expected.type) {
    case 'range':
      return (
        actual.type === 'range' &&
        actual.count === expected.count &&
        actual.more === expected.more &&
        sameKeyValues(expected.kvs, actual.kvs)
      );
    case 'put':
      return actual.type === 'put' && sameMaybe(expected.prevKv, actual.prevKv);
    case 'delete-range':
      return (
        actual.type === 'delete-range' &&
        actual.deleted === expected.deleted &&
        sameKeyValues(expected.prevKvs, actual.prevKvs)
      );
    case 'txn':
      return (
        actual.type === 'txn' &&
        actual.succeeded === expected.succeeded &&
        actual.responses.length === expected.responses.length &&
        expected.responses.every((response, index) => sameResponse(response, actual.responses[index]!))
      );
  }
}

function sameResponse(expected: ResponseOp, actual: ResponseOp): boolean {
  const sameRevision = actual.revision === 0 || actual.revision === expected.revision;
  return sameRevision && sameBody(expected, actual);
}

function sameKeyValues(a: readonly KeyValue[], b: readonly KeyValue[]): boolean {
  return a.length === b.length && a.every((kv, index) => sameKeyValue(kv, b[index]!));
}

function sameMaybe(a: KeyValue | null, b: KeyValue | null): boolean {
  return a === null || b === null ? a === b : sameKeyValue(a, b);
}
