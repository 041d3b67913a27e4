import type { Method } from '../../src/client/connection.ts';
import type { PutAnswer, RangeAnswer, RangeOptions } from '../../src/client/types.ts';
import {
  METHODS,
  putAnswer,
  putRequest,
  rangeAnswer,
  rangeRequest,
  txnRequest,
} from '../../src/client/wire.ts';
import type { GrpcConnection } from './grpc-connection.ts';

/** A unary call as bytes: what every load generator takes. */
export interface UnaryCall {
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly message: Buffer;
}

export function putCall(key: Buffer, value: Buffer): UnaryCall {
  return callOf(METHODS.put, putRequest({ key, value }));
}

export function rangeCall(options: RangeOptions): UnaryCall {
  return callOf(METHODS.range, rangeRequest(options));
}

/** Sets the key if it is there: one compare, one put. */
export function compareAndPutCall(key: Buffer, value: Buffer): UnaryCall {
  const compare = [{ key, target: 'version', result: 'greater', number: 0 }] as const;
  return callOf(METHODS.txn, txnRequest({ compare, success: [{ type: 'put', key, value }], failure: [] }));
}

/** @throws CallFailed */
export async function put(connection: GrpcConnection, key: Buffer, value: Buffer): Promise<PutAnswer> {
  const { path, message } = putCall(key, value);
  return putAnswer(METHODS.put.decode(await connection.call(path, message)));
}

/** @throws CallFailed */
export async function range(connection: GrpcConnection, options: RangeOptions): Promise<RangeAnswer> {
  const { path, message } = rangeCall(options);
  return rangeAnswer(METHODS.range.decode(await connection.call(path, message)));
}

function callOf<Req, Res>({ path, encode }: Method<Req, Res>, request: Partial<Req>): UnaryCall {
  return { path, message: encode(request) };
}
