import { expect, test } from 'vitest';
import { encodeDeleteRange, encodeRange, encodeTxn } from '../../../src/api/etcd/answers.ts';
import * as translate from '../../../src/api/etcd/translate.ts';
import type { KeyValue, RangeResult, TxnResult } from '../../../src/core/mvcc/operations.ts';
import { codec } from '../../../src/rpc/codec.ts';
import type { UnaryAnswer } from '../../../src/rpc/server.ts';
import { HEADER, WIRE_HEADER } from './fake-backend.ts';

const kvs: KeyValue[] = Array.from({ length: 3_000 }, (_, i) => ({
  key: Buffer.from(`key ${i}`),
  createRevision: i + 1,
  modRevision: i + 2,
  version: 1,
  value: Buffer.alloc(1_000, i),
  lease: i % 2 === 0 ? 0n : -1n,
}));
const range: RangeResult = { type: 'range', revision: 9, kvs, more: true, count: 5_000 };

function pieces(answer: UnaryAnswer): readonly Buffer[] {
  if (Buffer.isBuffer(answer)) throw new Error('the answer is not in pieces');
  return answer;
}

test('a large range in pieces is the same message', async () => {
  const parts = pieces(await encodeRange(range, HEADER));
  expect(parts.length).toBeGreaterThan(5);
  expect(Math.max(...parts.map((part) => part.length))).toBeLessThan(300_000);
  const response = codec('etcdserverpb.RangeResponse');
  const whole = response.encode(translate.rangeResponse(range, WIRE_HEADER));
  expect(response.encode(response.decode(Buffer.concat(parts))).equals(whole)).toBe(true);
});

test('so is a large deletion', async () => {
  const result = { type: 'delete-range', revision: 9, deleted: 3_000, prevKvs: kvs } as const;
  const parts = pieces(await encodeDeleteRange(result, HEADER));
  const response = codec('etcdserverpb.DeleteRangeResponse');
  const whole = response.encode(translate.deleteRangeResponse(result, WIRE_HEADER));
  expect(response.encode(response.decode(Buffer.concat(parts))).equals(whole)).toBe(true);
});

test('so is a transaction with large answers at every depth among small ones', async () => {
  const small: RangeResult = { ...range, kvs: kvs.slice(0, 2) };
  const result: TxnResult = {
    type: 'txn',
    revision: 9,
    succeeded: true,
    responses: [
      small,
      range,
      { type: 'put', revision: 9, prevKv: kvs[0]! },
      { type: 'txn', revision: 9, succeeded: false, responses: [small, range] },
      { type: 'delete-range', revision: 9, deleted: 3_000, prevKvs: kvs },
    ],
  };
  const response = codec('etcdserverpb.TxnResponse');
  const whole = response.encode(translate.txnResponse(result, WIRE_HEADER));
  const parts = pieces(await encodeTxn(result, HEADER));
  expect(Buffer.concat(parts).length).toBe(whole.length);
  expect(response.encode(response.decode(Buffer.concat(parts))).equals(whole)).toBe(true);
});

test('a small answer is one piece', async () => {
  const answer = await encodeRange({ ...range, kvs: kvs.slice(0, 10) }, HEADER);
  expect(Buffer.isBuffer(answer)).toBe(true);
});
