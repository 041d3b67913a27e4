/** What every answer says about the cluster and the member that gave it. */
export interface ResponseHeader {
  readonly clusterId: bigint;
  readonly memberId: bigint;
  /** The store's revision when the answer was made. */
  readonly revision: number;
  readonly raftTerm: number;
}

/** A key with its value. With `keysOnly` the value is empty. */
export interface KeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
  readonly createRevision: number;
  readonly modRevision: number;
  /** Changes since the key was created, from 1. */
  readonly version: number;
  /** 0n when none is attached. */
  readonly lease: bigint;
}

/** Bytes, or text that stands for its UTF-8. */
export type Bytes = Buffer | string;

/** Keys as etcd names them: `rangeEnd` absent = this key; `\0` = every key from `key` on; else [key, rangeEnd). */
export interface KeyRange {
  readonly key: Bytes;
  readonly rangeEnd?: Bytes;
}
export interface RangeOptions extends KeyRange {
  /** 0 = all. */
  readonly limit?: number;
  /** 0 = now. */
  readonly revision?: number;
  readonly sortOrder?: 'none' | 'ascend' | 'descend';
  readonly sortTarget?: 'key' | 'version' | 'create' | 'mod' | 'value';
  /** Answered by the member asked, possibly from the past; the default is linearizable. */
  readonly serializable?: boolean;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
  /** Leave out keys whose last change, or whose creation, lies outside of these revisions. */
  readonly minModRevision?: number;
  readonly maxModRevision?: number;
  readonly minCreateRevision?: number;
  readonly maxCreateRevision?: number;
}
/** A read by itself. */
export interface ReadOptions extends RangeOptions {
  /**
   * The answer must reflect everything that was acknowledged more than so many ms before it was given: up to 2^31. A
   * member that can prove as much answers from its own state, else it asks the others. A real etcd heeds `serializable`
   * only.
   */
  readonly maxStalenessMs?: number;
}
export interface PutOptions {
  readonly key: Bytes;
  readonly value: Bytes;
  readonly lease?: bigint;
  readonly prevKv?: boolean;
  /** Keep the value, or the lease, that the key has; it must exist. */
  readonly ignoreValue?: boolean;
  readonly ignoreLease?: boolean;
}
export interface DeleteOptions extends KeyRange {
  readonly prevKv?: boolean;
}
export type Compare = {
  readonly key: Bytes;
  readonly rangeEnd?: Bytes;
  readonly result: 'equal' | 'greater' | 'less' | 'not-equal';
} & (
  | { readonly target: 'version' | 'create' | 'mod'; readonly number: number }
  | { readonly target: 'value'; readonly value: Bytes }
  | { readonly target: 'lease'; readonly lease: bigint }
);
export type TxnOp =
  | ({ readonly type: 'range' } & RangeOptions)
  | ({ readonly type: 'put' } & PutOptions)
  | ({ readonly type: 'delete' } & DeleteOptions);
export interface TxnOptions {
  readonly compare: readonly Compare[];
  readonly success: readonly TxnOp[];
  readonly failure: readonly TxnOp[];
  /** Of one that only reads; as with a range. */
  readonly maxStalenessMs?: number;
}

export interface RangeAnswer {
  readonly type: 'range';
  readonly header: ResponseHeader;
  readonly kvs: readonly KeyValue[];
  readonly more: boolean;
  readonly count: number;
}
export interface PutAnswer {
  readonly type: 'put';
  readonly header: ResponseHeader;
  readonly prevKv: KeyValue | null;
}
export interface DeleteAnswer {
  readonly type: 'delete';
  readonly header: ResponseHeader;
  readonly deleted: number;
  readonly prevKvs: readonly KeyValue[];
}
export interface TxnAnswer {
  readonly type: 'txn';
  readonly header: ResponseHeader;
  readonly succeeded: boolean;
  readonly responses: readonly (RangeAnswer | PutAnswer | DeleteAnswer | TxnAnswer)[];
}

export interface WatchOptions extends KeyRange {
  /** The first revision to hear of; 0 = what comes after the watch was made. */
  readonly startRevision?: number;
  readonly prevKv?: boolean;
  /** Also yield batches without events that only move the revision forward. */
  readonly progressNotify?: boolean;
  /** Leave out what the watcher does not want to hear; default all. */
  readonly only?: 'puts' | 'deletes';
  /** Ends the watch when this lease ends, on members that know of it; etcd's do not. */
  readonly lease?: bigint;
  readonly signal?: AbortSignal;
  /** Who is watching, in the place of the client's own login; null = nobody who signed in. */
  readonly token?: string | null;
}
export interface WatchEvent {
  readonly type: 'put' | 'delete';
  /** After a deletion only key and mod revision mean something. */
  readonly kv: KeyValue;
  readonly prevKv: KeyValue | null;
}
/** Whole revisions: everything of the watched range up to `header.revision`'s last event has been told. */
export interface WatchBatch {
  readonly header: ResponseHeader;
  readonly events: readonly WatchEvent[];
}

export interface LeaseGrantAnswer {
  readonly header: ResponseHeader;
  readonly id: bigint;
  readonly ttlSeconds: number;
}
export interface LeaseTtlAnswer {
  readonly header: ResponseHeader;
  /** -1 when the lease is unknown or has ended. */
  readonly ttlSeconds: number;
  readonly grantedTtlSeconds: number;
  readonly keys: readonly Buffer[];
}

export interface MemberEntry {
  readonly id: bigint;
  /** Empty until the member has started for the first time. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  readonly isLearner: boolean;
  /** Where it runs; absent when it does not say. */
  readonly region?: string;
}
export interface MembersAnswer {
  readonly header: ResponseHeader;
  readonly members: readonly MemberEntry[];
}
export interface StatusAnswer {
  readonly header: ResponseHeader;
  readonly version: string;
  readonly leader: bigint;
  readonly raftTerm: number;
  readonly raftIndex: number;
  readonly raftAppliedIndex: number;
  readonly dbSizeBytes: number;
  readonly dbSizeInUseBytes: number;
  readonly isLearner: boolean;
  /** What is wrong with the member, in its own words. */
  readonly errors: readonly string[];
  /** Where the member runs; absent when it does not say. */
  readonly region?: string;
  /** How far away it finds the members that it is connected to; empty on a real etcd. */
  readonly roundTrips: readonly RoundTrip[];
  /** How old its state may be, in ms; absent when it cannot say. */
  readonly ageMs?: number;
}
/** The mean time of late between a message to a member and its answer. */
export interface RoundTrip {
  readonly memberId: bigint;
  readonly micros: number;
}
/** A slice of a backup; the file is all slices in order. */
export interface SnapshotSlice {
  readonly blob: Buffer;
  /** What is still to come, after this slice; an estimate on members that do not know it. */
  readonly remainingBytes: number;
}

export interface AuthStatusAnswer {
  readonly header: ResponseHeader;
  readonly enabled: boolean;
  readonly authRevision: number;
}
/** What a role may do with a key or a range; an empty or absent end means the key alone. */
export interface Permission extends KeyRange {
  readonly type: 'read' | 'write' | 'read-write';
}
