/**
 * The port between the store and the configuration service: what the service needs of a revisioned store, with etcd's
 * meaning. A member in this process, one in another thread, an etcd v3 endpoint and a twin in memory implement it, and
 * pass one contract suite (test/contract).
 */
export interface Kv {
  /** What one transaction may hold here. */
  readonly limits: KvLimits;

  /** Keys with their values, at one revision. @throws KvError */
  range(request: KvRangeRequest, call: KvCall): Promise<KvRangeAnswer>;

  /** All operations of one side at one revision, or none. @throws KvError; `ambiguous` = it may have been done */
  txn(request: KvTxnRequest, call: KvCall): Promise<KvTxnAnswer>;

  /**
   * Every change of the range from `startRevision` on, in order, each once, whole revisions at a time; it survives lost
   * connections. It begins when its first batch is asked for, and ends when the signal is aborted or the iteration is
   * left; `close` ends it with `closed`.
   *
   * @throws KvError `compacted` with `compactRevision` when history from its revision on is gone
   */
  watch(request: KvWatchRequest, call: KvCall): AsyncIterable<KvWatchBatch>;

  /** @param request.ttlSeconds a whole number from 1. @returns the id of a new lease. @throws KvError */
  leaseGrant(request: { readonly ttlSeconds: number }, call: KvCall): Promise<bigint>;
  /** Renews the lease once. @returns its remaining seconds, 0 when it is gone */
  leaseKeepAlive(id: bigint, call: KvCall): Promise<number>;
  /** Ends the lease and deletes its keys; one that is gone already is fine. */
  leaseRevoke(id: bigint, call: KvCall): Promise<void>;

  /** Whether the store wants to know who is asking. */
  authEnabled(call: KvCall): Promise<boolean>;
  /**
   * @param login `address`: where the client is, for counting its failures, where the store does
   * @returns a token for `Principal`
   * @throws KvError `unauthenticated` for a wrong name or password, `invalid-argument` while authentication is off
   */
  signIn(login: KvLogin, call: KvCall): Promise<string>;
  /**
   * Who the principal is and whether it may do this to every key of the range; with authentication off everybody may.
   *
   * @throws KvError `unauthenticated` when the token is not, or no longer, known
   */
  permits(request: KvPermitRequest, call: KvCall): Promise<KvPermit>;

  /** Ends every watch and call. Leases stay until they expire. */
  close(): Promise<void>;
}

/** On whose behalf a call is made. Where authentication is off it makes no difference. */
export type Principal =
  /** The service itself, which keeps its own rows. */
  | { readonly type: 'service' }
  | { readonly type: 'anonymous' }
  | { readonly type: 'token'; readonly token: string };

export interface KvLogin {
  readonly name: string;
  readonly password: string;
  readonly address?: string;
}

/** On whose behalf, and for how long. */
export interface KvCall {
  readonly principal: Principal;
  readonly signal: AbortSignal;
}

export interface KvLimits {
  /** Operations of one side of a transaction, and comparisons; etcd's default is 128. */
  readonly txnOpsMax: number;
  /** Bytes of one request; etcd's default is 1.5 MiB. */
  readonly requestBytesMax: number;
}

/** `rangeEnd` absent = this key; else [key, rangeEnd). */
export interface KvKeys {
  readonly key: Buffer;
  readonly rangeEnd?: Buffer;
}

/** How fresh an answer must be. */
export type KvConsistency =
  | { readonly type: 'linearizable' }
  | { readonly type: 'serializable' }
  /** Reflects everything acknowledged more than so many ms ago; linearizable where ages are unknown. */
  | { readonly type: 'bounded'; readonly maxStalenessMs: number };

export interface KvRangeRequest extends KvKeys {
  readonly consistency: KvConsistency;
  /** 0 or absent = now. */
  readonly revision?: number;
  /** 0 or absent = all. */
  readonly limit?: number;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
  /** Leave out keys that were last changed before this revision. */
  readonly minModRevision?: number;
}

export interface KvRow {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly createRevision: number;
  readonly modRevision: number;
  /** Changes since the key was created, from 1. */
  readonly version: number;
  /** 0n = none. */
  readonly lease: bigint;
}

export interface KvRangeAnswer {
  /** The store's revision when the answer was made. */
  readonly revision: number;
  readonly rows: readonly KvRow[];
  readonly more: boolean;
  readonly count: number;
  /** Of bounded reads, where it is known. */
  readonly ageMs?: number;
}

/** Of a key that is not there version, create and mod are 0, and a comparison of its value fails. */
export type KvCompare = {
  readonly key: Buffer;
  readonly result: 'equal' | 'greater' | 'less' | 'not-equal';
} & (
  | { readonly target: 'version' | 'create' | 'mod'; readonly number: number }
  | { readonly target: 'value'; readonly value: Buffer }
  | { readonly target: 'lease'; readonly lease: bigint }
);

export type KvOp =
  | ({ readonly type: 'range' } & Omit<KvRangeRequest, 'consistency'>)
  | { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer; readonly lease?: bigint }
  | ({ readonly type: 'delete' } & KvKeys);

/** `success` when all of `compare` hold, else `failure`. A key is put once on a side, and not deleted beside. */
export interface KvTxnRequest {
  readonly compare: readonly KvCompare[];
  readonly success: readonly KvOp[];
  readonly failure: readonly KvOp[];
}

export interface KvTxnAnswer {
  /** Of the transaction's own change when it made one, else the store's revision. */
  readonly revision: number;
  readonly succeeded: boolean;
  /** One for each operation of the side that was performed. */
  readonly responses: readonly KvOpAnswer[];
}
export type KvOpAnswer =
  | {
      readonly type: 'range';
      readonly rows: readonly KvRow[];
      readonly more: boolean;
      readonly count: number;
    }
  | { readonly type: 'put' }
  | { readonly type: 'delete'; readonly deleted: number };

export interface KvWatchRequest extends KvKeys {
  /** The first revision to hear of; 0 = what comes after the watch was made, told first by an empty batch. */
  readonly startRevision: number;
  readonly prevKv?: boolean;
}
export interface KvEvent {
  readonly type: 'put' | 'delete';
  /** After a deletion only key and mod revision mean something. */
  readonly row: KvRow;
  /** With `prevKv`: the row before, if there was one and it is still known. */
  readonly previous: KvRow | null;
}
/** Everything of the range up to `revision` has been told with it; without events it only moves the revision on. */
export interface KvWatchBatch {
  readonly revision: number;
  readonly events: readonly KvEvent[];
}

export interface KvPermitRequest extends KvKeys {
  readonly access: 'read' | 'write';
}
/** `user` is the name of who is asking, null when the store does not know. */
export interface KvPermit {
  readonly user: string | null;
  readonly permitted: boolean;
}

/**
 * `unavailable`: nothing was done. `ambiguous`: a write may have been done. `closed`: this port was closed.
 * `too-large`: more operations or bytes than the store takes. `canceled`: the signal was aborted; a write may have been
 * done. The others speak for themselves.
 */
export type KvErrorCode =
  | 'invalid-argument'
  | 'compacted'
  | 'future-revision'
  | 'too-large'
  | 'no-space'
  | 'lease-not-found'
  | 'unauthenticated'
  | 'permission-denied'
  | 'too-many-requests'
  | 'unavailable'
  | 'ambiguous'
  | 'canceled'
  | 'closed'
  | 'internal';

/** Why a call of the port failed. */
export class KvError extends Error {
  override readonly name = 'KvError';
  readonly code: KvErrorCode;
  /** Of `compacted`, where it is known: the oldest revision that can still be read. */
  readonly compactRevision: number | undefined;

  constructor(
    code: KvErrorCode,
    message: string,
    options: ErrorOptions & { readonly compactRevision?: number } = {},
  ) {
    super(message, options);
    this.code = code;
    this.compactRevision = options.compactRevision;
  }
}
