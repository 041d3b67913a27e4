import { setImmediate } from 'node:timers/promises';
import type {
  DeleteRangeResult,
  KeyValue,
  RangeResult,
  ResponseOp,
  TxnResult,
} from '../../core/mvcc/operations.ts';
import type { Header } from '../../member/client-calls.ts';
import { type Codec, codec } from '../../rpc/codec.ts';
import type * as wire from '../../rpc/generated/etcdserverpb/rpc.ts';
import type { UnaryAnswer } from '../../rpc/server.ts';
import { rangeBytes } from './small-answers.ts';
import * as translate from './translate.ts';

/**
 * Answers as bytes. Large ones are encoded in pieces, and others have their turn in between: encoding 100 MB at once
 * would keep the member from its heartbeats. A message may be cut anywhere between two elements of a repeated field:
 * the encodings of its parts, one after the other, are its encoding.
 */

/** Keys and values encoded in one turn, in bytes. */
const PIECE_BYTES_MAX = 256 * 1024;
/** What a key costs besides its key and value, about. */
const KEY_OVERHEAD_BYTES = 40;
/** Wire type 2, length-delimited, below the field's number. */
const LENGTH_DELIMITED = 2;
/** A varint of 32 bits. */
const LENGTH_BYTES_MAX = 5;

/** Field numbers of etcd's messages, where answers are put together here. */
const TXN_RESPONSES = 3;
const RESPONSE_RANGE = 1;
const RESPONSE_DELETE_RANGE = 3;
const RESPONSE_TXN = 4;

const rangeCodec = codec('etcdserverpb.RangeResponse');
const deleteRangeCodec = codec('etcdserverpb.DeleteRangeResponse');
const txnCodec = codec('etcdserverpb.TxnResponse');
const responseOpCodec = codec('etcdserverpb.ResponseOp');

export function encodeRange(result: RangeResult, header: Header): UnaryAnswer | Promise<UnaryAnswer> {
  if (answerBytes(result) <= PIECE_BYTES_MAX) return rangeBytes(result, header);
  return rangePieces(result, translate.wireHeader(header));
}

export async function encodeDeleteRange(result: DeleteRangeResult, header: Header): Promise<UnaryAnswer> {
  const wireHeader = translate.wireHeader(header);
  if (answerBytes(result) > PIECE_BYTES_MAX) return deleteRangePieces(result, wireHeader);
  return deleteRangeCodec.encode(translate.deleteRangeResponse(result, wireHeader));
}

export async function encodeTxn(result: TxnResult, header: Header): Promise<UnaryAnswer> {
  const wireHeader = translate.wireHeader(header);
  if (answerBytes(result) > PIECE_BYTES_MAX) return txnPieces(result, wireHeader);
  return txnCodec.encode(translate.txnResponse(result, wireHeader));
}

/** About the bytes that a result will take on the wire. */
export function answerBytes(result: ResponseOp): number {
  switch (result.type) {
    case 'range':
      return bytesOf(result.kvs);
    case 'put':
      return result.prevKv === null ? 0 : bytesOf([result.prevKv]);
    case 'delete-range':
      return bytesOf(result.prevKvs);
    case 'txn':
      return result.responses.reduce((bytes, response) => bytes + answerBytes(response), 0);
  }
}

function bytesOf(kvs: readonly KeyValue[]): number {
  let bytes = 0;
  for (const kv of kvs) bytes += kv.key.length + kv.value.length + KEY_OVERHEAD_BYTES;
  return bytes;
}

async function rangePieces(result: RangeResult, header: wire.ResponseHeader): Promise<Buffer[]> {
  const head = rangeCodec.encode(translate.rangeResponse({ ...result, kvs: [] }, header));
  const kvs = await kvPieces(result.kvs, { codec: rangeCodec, field: 'kvs' });
  return [head, ...kvs];
}

async function deleteRangePieces(result: DeleteRangeResult, header: wire.ResponseHeader): Promise<Buffer[]> {
  const head = deleteRangeCodec.encode(translate.deleteRangeResponse({ ...result, prevKvs: [] }, header));
  const kvs = await kvPieces(result.prevKvs, { codec: deleteRangeCodec, field: 'prev_kvs' });
  return [head, ...kvs];
}

async function txnPieces(result: TxnResult, header: wire.ResponseHeader): Promise<Buffer[]> {
  const pieces = [txnCodec.encode(translate.txnResponse({ ...result, responses: [] }, header))];
  for (const response of result.responses) {
    for (const piece of framed(TXN_RESPONSES, await responsePieces(response))) pieces.push(piece);
  }
  return pieces;
}

async function responsePieces(response: ResponseOp): Promise<Buffer[]> {
  if (answerBytes(response) <= PIECE_BYTES_MAX) {
    return [responseOpCodec.encode(translate.responseOp(response))];
  }
  const header = translate.innerHeader(response);
  switch (response.type) {
    case 'range':
      return framed(RESPONSE_RANGE, await rangePieces(response, header));
    case 'put':
      return [responseOpCodec.encode(translate.responseOp(response))];
    case 'delete-range':
      return framed(RESPONSE_DELETE_RANGE, await deleteRangePieces(response, header));
    case 'txn':
      return framed(RESPONSE_TXN, await txnPieces(response, header));
  }
}

async function kvPieces<F extends string>(
  kvs: readonly KeyValue[],
  target: { readonly codec: Codec<Partial<Record<F, unknown>>>; readonly field: F },
): Promise<Buffer[]> {
  const pieces: Buffer[] = [];
  for (let from = 0; from < kvs.length; ) {
    let bytes = 0;
    let end = from;
    for (; end < kvs.length && bytes < PIECE_BYTES_MAX; end++) bytes += bytesOf([kvs[end]!]);
    const part = kvs.slice(from, end).map(translate.wireKeyValue);
    pieces.push(target.codec.encode({ [target.field]: part } as Partial<Record<F, unknown>>));
    from = end;
    await setImmediate();
  }
  return pieces;
}

/** A message of the given pieces, as a field of the message around it. */
function framed(field: number, pieces: readonly Buffer[]): Buffer[] {
  const head = Buffer.allocUnsafe(1 + LENGTH_BYTES_MAX);
  let at = 0;
  head[at++] = (field << 3) | LENGTH_DELIMITED;
  let length = pieces.reduce((bytes, piece) => bytes + piece.length, 0);
  for (; length > 0x7f; length = Math.floor(length / 0x80)) head[at++] = (length & 0x7f) | 0x80;
  head[at++] = length;
  return [head.subarray(0, at), ...pieces];
}
