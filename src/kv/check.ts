import { ALL_FROM } from '../lib/range-end.ts';
import {
  KvError,
  type KvKeys,
  type KvLimits,
  type KvOp,
  type KvRangeRequest,
  type KvTxnRequest,
} from './kv.ts';

/** What every implementation refuses before it asks the store, so that all refuse alike. */

/** The limits of etcd as it comes, and of a member that was not told others. */
export const DEFAULT_LIMITS: KvLimits = { txnOpsMax: 128, requestBytesMax: 1.5 * 1024 * 1024 };

/** The longest lease, as in etcd. */
const TTL_SECONDS_MAX = 9_000_000_000;

/** What each operation and comparison takes besides its keys and value: a bound of their encodings. */
const OP_BYTES = 64;

/** @throws KvError `invalid-argument` for an empty key */
export function checkKeys({ key }: KvKeys): void {
  if (key.length === 0) throw new KvError('invalid-argument', 'key is not provided');
}

/** @throws KvError `invalid-argument` for an empty key, or a bound that is no whole number from 0 to 2^31 */
export function checkRange(request: KvRangeRequest): void {
  checkKeys(request);
  const { consistency } = request;
  if (consistency.type !== 'bounded') return;
  const { maxStalenessMs } = consistency;
  if (Number.isInteger(maxStalenessMs) && maxStalenessMs >= 0 && maxStalenessMs <= 2 ** 31) return;
  throw new KvError('invalid-argument', 'the bound of a read is a whole number of ms from 0 to 2^31');
}

/** As etcd, which refuses to watch a range without a key. @throws KvError `invalid-argument` */
export function checkWatch(request: KvKeys): void {
  checkKeys(request);
  const { key, rangeEnd } = request;
  if (rangeEnd === undefined || rangeEnd.length === 0 || rangeEnd.equals(ALL_FROM)) return;
  if (key.compare(rangeEnd) >= 0) throw new KvError('invalid-argument', 'watcher range is empty');
}

/** Whether a transaction changes nothing, whichever side is performed. */
export function isReadOnly({ success, failure }: KvTxnRequest): boolean {
  return [...success, ...failure].every(({ type }) => type === 'range');
}

/** @throws KvError `too-large` for too many operations or bytes, `invalid-argument` for an empty key */
export function checkTxn(request: KvTxnRequest, limits: KvLimits): void {
  const { compare, success, failure } = request;
  if (Math.max(compare.length, success.length, failure.length) > limits.txnOpsMax) {
    throw new KvError('too-large', 'too many operations in txn request');
  }
  for (const operation of [...compare, ...success, ...failure]) checkKeys(operation);
  if (txnBytes(request) > limits.requestBytesMax) throw new KvError('too-large', 'request is too large');
}

/** @throws KvError `invalid-argument` for anything but whole seconds from 1 on */
export function checkTtl(ttlSeconds: number): void {
  if (Number.isInteger(ttlSeconds) && ttlSeconds >= 1 && ttlSeconds <= TTL_SECONDS_MAX) return;
  throw new KvError('invalid-argument', 'a lease lasts from 1 to 9,000,000,000 whole seconds');
}

/** What a transaction takes encoded, at most. */
function txnBytes({ compare, success, failure }: KvTxnRequest): number {
  let bytes = 0;
  for (const { key, ...rest } of compare) {
    bytes += OP_BYTES + key.length + (rest.target === 'value' ? rest.value.length : 0);
  }
  for (const op of [...success, ...failure]) bytes += OP_BYTES + op.key.length + payloadBytes(op);
  return bytes;
}

function payloadBytes(op: KvOp): number {
  return op.type === 'put' ? op.value.length : (op.rangeEnd?.length ?? 0);
}
