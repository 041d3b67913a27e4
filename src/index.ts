export { ClientError, type ClientErrorCode } from './client/client-error.ts';
export type { ClientTls } from './client/endpoint.ts';
export { type CallOptions, KvClient, type KvClientOptions } from './client/kv-client.ts';
export type {
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
