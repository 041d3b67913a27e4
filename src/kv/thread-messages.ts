import type {
  KvErrorCode,
  KvLogin,
  KvPermit,
  KvPermitRequest,
  KvRangeAnswer,
  KvRangeRequest,
  KvTxnAnswer,
  KvTxnRequest,
  KvWatchBatch,
  KvWatchRequest,
  Principal,
} from './kv.ts';

/** What is asked and answered across threads, by the name of the method. */
export interface ThreadMethods {
  readonly range: { readonly request: KvRangeRequest; readonly answer: KvRangeAnswer };
  readonly txn: { readonly request: KvTxnRequest; readonly answer: KvTxnAnswer };
  readonly leaseGrant: { readonly request: { readonly ttlSeconds: number }; readonly answer: bigint };
  readonly leaseKeepAlive: { readonly request: bigint; readonly answer: number };
  readonly leaseRevoke: { readonly request: bigint; readonly answer: undefined };
  readonly authEnabled: { readonly request: null; readonly answer: boolean };
  readonly signIn: { readonly request: KvLogin; readonly answer: string };
  readonly permits: { readonly request: KvPermitRequest; readonly answer: KvPermit };
}
export type ThreadMethod = keyof ThreadMethods;

/** One call of any method. */
export type ThreadCall = {
  readonly [Method in ThreadMethod]: {
    readonly method: Method;
    readonly request: ThreadMethods[Method]['request'];
  };
}[ThreadMethod];

/** From who calls to where the store is. Ids are of the sender's choice, each used once. */
export type ToStore =
  | ({ readonly type: 'call'; readonly id: number; readonly principal: Principal } & ThreadCall)
  | {
      readonly type: 'watch';
      readonly id: number;
      readonly principal: Principal;
      readonly request: KvWatchRequest;
    }
  /** One batch of the watch was taken: there is room for another. */
  | { readonly type: 'taken'; readonly id: number }
  /** Nobody waits for the call or watch any more. */
  | { readonly type: 'cancel'; readonly id: number };

/** From where the store is. */
export type FromStore =
  | { readonly type: 'answer'; readonly id: number; readonly answer: unknown }
  | { readonly type: 'batch'; readonly id: number; readonly batch: KvWatchBatch }
  /** Of a call or a watch. */
  | { readonly type: 'failure'; readonly id: number; readonly failure: ThreadFailure };

/** A KvError without its stack. */
export interface ThreadFailure {
  readonly code: KvErrorCode;
  readonly message: string;
  readonly compactRevision: number | undefined;
}

/** Batches of one watch on their way that were not taken yet: the store's side then waits. */
export const BATCHES_AHEAD_MAX = 4;
/** Calls of one thread under way; one more is `too-many-requests`. */
export const CALLS_MAX = 10_000;
