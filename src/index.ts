export type { AuthClient } from './client/auth-client.ts';
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
export { ALL_FROM, prefixEnd } from './lib/range-end.ts';
