import type {
  DeleteRangeRequest,
  DeleteRangeResult,
  KeyValue,
  PutRequest,
  PutResult,
  RangeRequest,
  RangeResult,
  TxnRequest,
  TxnResult,
} from '../../src/core/mvcc/operations.ts';
import type { StoreErrorCode } from '../../src/lib/errors.ts';

/**
 * What clients saw, as the checkers of this folder read it. A history begins on an empty store at revision 1.
 * Nothing here may come from inside a member but `CommittedRevision`, which a watch over all keys gives as well.
 */

/** What a client asked for. */
export type HistoryRequest =
  | RangeRequest
  /** A read that the member asked may answer from its own past. */
  | { readonly type: 'serializable-range'; readonly range: RangeRequest }
  | PutRequest
  | DeleteRangeRequest
  | TxnRequest
  | { readonly type: 'compact'; readonly revision: number }
  | { readonly type: 'lease-grant'; readonly id: bigint }
  | { readonly type: 'lease-revoke'; readonly id: bigint };

/** What a client was told. `revision` is the header's; within a transaction's responses 0 = not told. */
export type HistoryResult =
  | RangeResult
  | PutResult
  | DeleteRangeResult
  | TxnResult
  | { readonly type: 'compact' | 'lease-grant' | 'lease-revoke'; readonly revision: number };

export type HistoryOutcome =
  | { readonly type: 'answered'; readonly result: HistoryResult }
  /**
   * Surely without effect. The codes of `STATE_CODES` say something about the state and are checked; any other, and
   * null, says only that nothing happened.
   */
  | { readonly type: 'refused'; readonly code: StoreErrorCode | null }
  /** No answer, or one that leaves it open: it took effect once, at any time after the call, or never. */
  | { readonly type: 'unknown' };

/** Refusals that are true of some states only. */
export const STATE_CODES: ReadonlySet<StoreErrorCode> = new Set<StoreErrorCode>([
  'compacted',
  'future-revision',
  'key-not-found',
  'lease-not-found',
  'lease-exists',
]);

/**
 * One operation of one client. Times are of one clock for all clients, in any unit, never going back; an operation
 * that returned at the very time of another's call counts as concurrent with it. A simulator counts events instead.
 */
export interface HistoryOp {
  /** Operations of one client do not overlap, unknown ones apart. */
  readonly client: number;
  readonly callTime: number;
  /** Infinity when the outcome is unknown: it may yet take effect. */
  readonly returnTime: number;
  readonly request: HistoryRequest;
  readonly outcome: HistoryOutcome;
}

/** One change of one key. Its revision is `kv.modRevision`. */
export interface HistoryEvent {
  readonly type: 'put' | 'delete';
  /** Of a delete only key and mod revision count. */
  readonly kv: KeyValue;
  /** Null when the key was not there, was not asked for, or is compacted. */
  readonly prevKv: KeyValue | null;
}

/** Everything that changed at one revision, in order, never empty. `prevKv` is not read. */
export interface CommittedRevision {
  readonly revision: number;
  readonly events: readonly HistoryEvent[];
}

/** What one watch asked for and was sent, from its creation to its end, over however many connections. */
export interface WatchHistory {
  readonly key: Buffer;
  /** As in a range: empty = one key, `\0` = every key from `key` on. */
  readonly rangeEnd: Buffer;
  /** 0 = what comes after it was made. */
  readonly startRevision: number;
  readonly prevKv: boolean;
  readonly filters: readonly ('no-put' | 'no-delete')[];
  readonly items: readonly WatchItem[];
  /** The revision up to which the test saw to it that everything was delivered; 0 = no such claim. */
  readonly deliveredThrough: number;
}

/** One message on a watch, in the order of arrival. `revision` is the header's. */
export type WatchItem =
  /** At most one, first; a recorder that cannot see it leaves it out. */
  | { readonly type: 'created'; readonly revision: number }
  | {
      readonly type: 'events';
      readonly revision: number;
      readonly events: readonly HistoryEvent[];
      /** More of the last event's revision follows in the next item. */
      readonly fragment: boolean;
    }
  /** A promise: everything up to this revision has been sent. */
  | { readonly type: 'progress'; readonly revision: number }
  /** The last item. `compactRevision` 0 = for another reason. */
  | { readonly type: 'canceled'; readonly compactRevision: number };

/** One thing that must not be. */
export interface Violation {
  /** Which rule, in a word or two. */
  readonly rule: string;
  /** What happened, for people. */
  readonly message: string;
}
