export type { AuthClient } from './client/auth-client.ts';
export { type ProvenAge, STALENESS_MS_MAX } from './client/bounded-read.ts';
export type { CacheMetrics, CacheState, CacheUpdate, CacheWait, KvCache } from './client/cache.ts';
export type { CachedEntry } from './client/cache-entry.ts';
export type { CacheOptions, WhenLapsed } from './client/cache-options.ts';
export type { CacheChange } from './client/cache-store.ts';
export { ClientError, type ClientErrorCode } from './client/client-error.ts';
export {
  ConfigClient,
  type ConfigClientOptions,
  type ConfigUpdate,
  type GetOptions,
  type WhenWrong,
} from './client/config-client.ts';
export type { ConfigEntry } from './client/config-entry.ts';
export { ConfigError, type ConfigErrorCode } from './client/config-get.ts';
export type { ConfigScope } from './client/config-layers.ts';
export type { ConfigHttpOptions, SecretCall } from './client/config-secrets.ts';
export type { ConfigChange } from './client/config-values.ts';
export type { Election, Leadership } from './client/election.ts';
export type { ClientTls } from './client/endpoint.ts';
export {
  FlagClient,
  type FlagClientOptions,
  type FlagClientState,
  type FlagUpdate,
} from './client/flag-client.ts';
export { type CallOptions, KvClient, type KvClientOptions } from './client/kv-client.ts';
export type { Lease, LeaseEnd, LeaseOptions } from './client/lease.ts';
export type { Lock } from './client/lock.ts';
export type { PlaceOptions } from './client/place.ts';
export { ProblemError, type ProblemField } from './client/problem.ts';
export type { Login } from './client/sign-in.ts';
export {
  type AnswersOf,
  compare,
  deleteOp,
  getOp,
  putOp,
  type TxnBuilder,
  type TypedTxnAnswer,
} from './client/txn.ts';
export type {
  AuthStatusAnswer,
  Bytes,
  Compare,
  DeleteAnswer,
  DeleteOptions,
  KeyRange,
  KeyValue,
  LeaseGrantAnswer,
  LeaseTtlAnswer,
  MemberEntry,
  MembersAnswer,
  Permission,
  PutAnswer,
  PutOptions,
  RangeAnswer,
  RangeOptions,
  ReadOptions,
  ResponseHeader,
  RoundTrip,
  SnapshotSlice,
  StatusAnswer,
  TxnAnswer,
  TxnOp,
  TxnOptions,
  WatchBatch,
  WatchEvent,
  WatchOptions,
} from './client/types.ts';
export type { WatchStreamHandle, WatchStreamItem, WatchStreamOptions } from './client/watch-stream.ts';
export type { Json, ValueType } from './config-format/values.ts';
export type { ErrorCode, Evaluation, EvaluationContext, Reason } from './evaluation/evaluation.ts';
export type { Explanation } from './evaluation/explain.ts';
export type { FlagMetadata, FlagType } from './evaluation/model.ts';
export { ALL_FROM, prefixEnd } from './lib/range-end.ts';
