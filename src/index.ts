export type { AuthClient } from './client/auth-client.ts';
export type { CacheMetrics, CacheState, CacheUpdate, CacheWait, KvCache } from './client/cache.ts';
export type { CachedEntry } from './client/cache-entry.ts';
export type { CacheOptions, WhenLapsed } from './client/cache-options.ts';
export type { CacheChange } from './client/cache-store.ts';
export { ClientError, type ClientErrorCode } from './client/client-error.ts';
export type { ClientTls } from './client/endpoint.ts';
export { type CallOptions, KvClient, type KvClientOptions } from './client/kv-client.ts';
export type { Login } from './client/sign-in.ts';
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
  ResponseHeader,
  SnapshotSlice,
  StatusAnswer,
  TxnAnswer,
  TxnOp,
  TxnOptions,
  WatchBatch,
  WatchEvent,
  WatchOptions,
} from './client/types.ts';
export { ALL_FROM, prefixEnd } from './lib/range-end.ts';
