import type {
  DeleteRangeRequest,
  DeleteRangeResult,
  PutRequest,
  PutResult,
  RangeRequest,
  RangeResult,
  TxnRequest,
  TxnResult,
} from '../../core/mvcc/operations.ts';
import type { WatchOptions, WatchSink } from '../../core/watch/delivery.ts';

/**
 * What the etcd face needs of a member: the face translates, the backend decides. Everything rejects with StoreErrors.
 * Ids of members and the cluster are below 2^53; those of leases and watches cover the int64 range.
 */
export interface EtcdBackend {
  range(request: RangeRequest, options: ReadOptions): Promise<Answer<RangeResult>>;
  put(request: PutRequest, options: CallOptions): Promise<Answer<PutResult>>;
  deleteRange(request: DeleteRangeRequest, options: CallOptions): Promise<Answer<DeleteRangeResult>>;
  /** `serializable`: the transaction holds nothing but serializable ranges. */
  txn(request: TxnRequest, options: ReadOptions): Promise<Answer<TxnResult>>;
  compact(
    request: { readonly revision: number; readonly physical: boolean },
    options: CallOptions,
  ): Promise<Answer<null>>;

  /** Id 0: chosen by the backend. */
  leaseGrant(request: LeaseGrant, options: CallOptions): Promise<Answer<LeaseGrant>>;
  leaseRevoke(request: { readonly id: bigint }, options: CallOptions): Promise<Answer<null>>;
  /** A TTL of 0: the lease is gone. */
  leaseKeepAlive(
    request: { readonly id: bigint },
    options: CallOptions,
  ): Promise<Answer<{ readonly ttlSeconds: number }>>;
  /** A TTL of -1: there is no such lease. */
  leaseTimeToLive(
    request: { readonly id: bigint; readonly keys: boolean },
    options: CallOptions,
  ): Promise<Answer<LeaseTimeToLive>>;
  leaseLeases(options: CallOptions): Promise<Answer<readonly bigint[]>>;

  openWatch(sink: WatchSink): WatchStream;
  /** The sink can take deliveries again. */
  resumeWatch(sink: WatchSink): void;

  memberList(
    request: { readonly linearizable: boolean },
    options: CallOptions,
  ): Promise<Answer<readonly MemberInfo[]>>;
  memberAdd(
    request: { readonly peerUrls: readonly string[]; readonly isLearner: boolean },
    options: CallOptions,
  ): Promise<Answer<{ readonly member: MemberInfo; readonly members: readonly MemberInfo[] }>>;
  memberRemove(
    request: { readonly id: number },
    options: CallOptions,
  ): Promise<Answer<readonly MemberInfo[]>>;
  memberUpdate(
    request: { readonly id: number; readonly peerUrls: readonly string[] },
    options: CallOptions,
  ): Promise<Answer<readonly MemberInfo[]>>;
  memberPromote(
    request: { readonly id: number },
    options: CallOptions,
  ): Promise<Answer<readonly MemberInfo[]>>;

  alarm(request: AlarmRequest, options: CallOptions): Promise<Answer<readonly RaisedAlarm[]>>;
  status(): Answer<MemberStatus>;
  defragment(options: CallOptions): Promise<Answer<null>>;
  /** 32 bits. */
  hash(options: CallOptions): Promise<Answer<{ readonly hash: number }>>;
  hashKv(request: { readonly revision: number }, options: CallOptions): Promise<Answer<KvHash>>;
  snapshot(options: CallOptions): Promise<Snapshot>;
  moveLeader(request: { readonly target: number }, options: CallOptions): Promise<Answer<null>>;

  header(): Header;
  hasLeader(): boolean;
  /** Calls back when a leader is found or lost; the result unsubscribes. */
  onLeaderChange(listener: (hasLeader: boolean) => void): () => void;
}

/** Who answers, in which state. */
export interface Header {
  readonly clusterId: number;
  readonly memberId: number;
  readonly revision: number;
  readonly raftTerm: number;
}
export interface Answer<T> {
  readonly header: Header;
  readonly result: T;
}
export interface CallOptions {
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}
export interface ReadOptions extends CallOptions {
  /** Answer from this member's own state, which may be behind. */
  readonly serializable: boolean;
}
export interface LeaseGrant {
  readonly id: bigint;
  readonly ttlSeconds: number;
}
export interface LeaseTimeToLive {
  readonly ttlSeconds: number;
  readonly grantedTtlSeconds: number;
  readonly keys: readonly Buffer[];
}
export interface MemberInfo {
  readonly id: number;
  /** Empty until the member has started. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  readonly isLearner: boolean;
}
export type AlarmKind = 'no-space' | 'corrupt';
export interface AlarmRequest {
  readonly action: 'get' | 'activate' | 'deactivate';
  /** 0: every member. */
  readonly member: number;
  readonly alarm: AlarmKind | 'none';
}
export interface RaisedAlarm {
  readonly member: number;
  readonly alarm: AlarmKind;
}
export interface MemberStatus {
  /** 0: none. */
  readonly leader: number;
  /** The commit index. */
  readonly raftIndex: number;
  readonly raftTerm: number;
  readonly appliedIndex: number;
  readonly isLearner: boolean;
  readonly dbSizeBytes: number;
  readonly dbSizeInUseBytes: number;
  readonly quotaBytes: number;
  readonly errors: readonly string[];
}
export interface KvHash {
  readonly hash: number;
  readonly compactRevision: number;
  readonly revision: number;
}
/** A backup, whole with its checksum. */
export interface Snapshot {
  /** About what all frames have together. */
  readonly sizeBytes: number;
  readonly frames: AsyncIterable<Buffer>;
}

/** The watches of one stream; the core's `WatchStream`. */
export interface WatchStream {
  /**
   * Nothing is delivered before it returns.
   *
   * @returns null, or why there is no such watch, as text for the client
   */
  create(options: WatchOptions): string | null;
  /** False when there is no such watch. Nothing is delivered for it afterwards. */
  cancel(watchId: bigint): boolean;
  /** Answered by one `progress` delivery, in the order of the stream. */
  requestProgress(): void;
  close(): void;
}
