import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { StoreError } from '../../../src/lib/errors.ts';
import type {
  Compare,
  PutRequest,
  RangeRequest,
  RequestOp,
} from '../../../src/rpc/generated/etcdserverpb/rpc.ts';
import { failure } from '../../rpc/harness.ts';
import { KV, WIRE_HEADER } from './fake-backend.ts';
import { EtcdHarness } from './harness.ts';

const RANGE = '/etcdserverpb.KV/Range';
const PUT = '/etcdserverpb.KV/Put';
const DELETE = '/etcdserverpb.KV/DeleteRange';
const TXN = '/etcdserverpb.KV/Txn';
const REQUEST_BYTES_MAX = 10_000;
const HUGE = 2n ** 60n;
const bytes = (text: string): Buffer => Buffer.from(text);
const WIRE_KV = {
  key: KV.key,
  create_revision: 5,
  mod_revision: 6,
  version: 2,
  value: KV.value,
  lease: KV.lease,
};

let etcd: EtcdHarness;
beforeEach(async () => {
  etcd = new EtcdHarness({ requestBytesMax: REQUEST_BYTES_MAX });
  await etcd.start();
});
afterEach(async () => {
  expect(etcd.bugs).toEqual([]);
  await etcd[Symbol.asyncDispose]();
});

/** Encodable operations; the codec needs only the fields that are set. */
const putOp = (put: Partial<PutRequest>): RequestOp => ({ request_put: put as PutRequest });
const rangeOp = (range: Partial<RangeRequest>): RequestOp => ({ request_range: range as RangeRequest });
const compare = (fields: Partial<Compare>): Compare => fields as Compare;

describe('Range', () => {
  test('translates every field and the answer', async () => {
    const answer = await etcd.unary(RANGE, {
      key: bytes('a'),
      range_end: bytes('b'),
      limit: 10,
      revision: 7,
      sort_order: 2,
      sort_target: 4,
      serializable: true,
      keys_only: true,
      count_only: true,
      min_mod_revision: 1,
      max_mod_revision: HUGE,
      min_create_revision: 3,
      max_create_revision: -HUGE,
    });
    expect(etcd.backend.asked).toEqual([
      {
        serializable: true,
        request: {
          type: 'range',
          key: bytes('a'),
          rangeEnd: bytes('b'),
          limit: 10,
          revision: 7,
          sortOrder: 'descend',
          sortTarget: 'value',
          keysOnly: true,
          countOnly: true,
          minModRevision: 1,
          maxModRevision: Number.MAX_SAFE_INTEGER,
          minCreateRevision: 3,
          maxCreateRevision: Number.MIN_SAFE_INTEGER,
        },
      },
    ]);
    expect(answer.header).toMatchObject(WIRE_HEADER);
    expect(answer.kvs).toHaveLength(1);
    expect(answer.kvs[0]).toMatchObject(WIRE_KV);
    expect([answer.more, answer.count]).toEqual([true, 9]);
  });

  test.each([
    [{}, 3, 'etcdserver: key is not provided'],
    [{ sort_order: 9 as 0 }, 3, 'etcdserver: key is not provided'],
    [{ key: bytes('a'), sort_order: 9 as 0 }, 3, 'etcdserver: invalid sort option'],
    [{ key: bytes('a'), sort_target: 5 as 0 }, 3, 'etcdserver: invalid sort option'],
  ])('refuses %j', async (request, code, details) => {
    expect(await failure(etcd.unary(RANGE, request))).toEqual({ code, details });
    expect(etcd.backend.asked).toEqual([]);
  });

  test("passes the backend's failures on", async () => {
    etcd.backend.failure = new StoreError('future-revision');
    expect(await failure(etcd.unary(RANGE, { key: bytes('a') }))).toEqual({
      code: 11,
      details: 'etcdserver: mvcc: required revision is a future revision',
    });
  });
});

describe('Put', () => {
  test('translates every field, a lease beyond 2^53 exactly', async () => {
    const answer = await etcd.unary(PUT, {
      key: bytes('k'),
      lease: -HUGE - 1n,
      prev_kv: true,
      ignore_value: true,
    });
    expect(etcd.backend.asked).toEqual([
      {
        type: 'put',
        key: bytes('k'),
        value: Buffer.alloc(0),
        lease: -HUGE - 1n,
        prevKv: true,
        ignoreValue: true,
        ignoreLease: false,
      },
    ]);
    expect(answer.prev_kv).toMatchObject(WIRE_KV);
    expect((await etcd.unary(PUT, { key: bytes('k'), value: bytes('v') })).prev_kv).toBeNull();
  });

  test.each([
    [{ value: bytes('v'), ignore_value: true }, 'etcdserver: key is not provided'],
    [
      { key: bytes('k'), value: bytes('v'), ignore_value: true, ignore_lease: true, lease: 1 },
      'etcdserver: value is provided',
    ],
    [{ key: bytes('k'), ignore_lease: true, lease: 1 }, 'etcdserver: lease is provided'],
    [{ key: bytes('k'), value: Buffer.alloc(REQUEST_BYTES_MAX) }, 'etcdserver: request is too large'],
    [{ value: Buffer.alloc(REQUEST_BYTES_MAX) }, 'etcdserver: key is not provided'],
  ])('refuses mistakes in order (%#)', async (request, details) => {
    expect(await failure(etcd.unary(PUT, request))).toEqual({ code: 3, details });
    expect(etcd.backend.asked).toEqual([]);
  });
});

test('DeleteRange translates request and answer', async () => {
  const answer = await etcd.unary(DELETE, { key: bytes('a'), range_end: Buffer.from([0]), prev_kv: true });
  expect(etcd.backend.asked).toEqual([
    { type: 'delete-range', key: bytes('a'), rangeEnd: Buffer.from([0]), prevKv: true },
  ]);
  expect(answer.deleted).toBe(3);
  expect(answer.prev_kvs[0]).toMatchObject(WIRE_KV);
  expect(await failure(etcd.unary(DELETE, {}))).toEqual({
    code: 3,
    details: 'etcdserver: key is not provided',
  });
});

describe('Txn', () => {
  test('translates comparisons, operations and nested answers', async () => {
    etcd.backend.txnResult = {
      type: 'txn',
      revision: 40,
      succeeded: false,
      responses: [
        { type: 'put', revision: 40, prevKv: null },
        {
          type: 'txn',
          revision: 40,
          succeeded: true,
          responses: [
            { type: 'delete-range', revision: 40, deleted: 1, prevKvs: [] },
            { type: 'range', revision: 40, kvs: [], more: false, count: 0 },
          ],
        },
      ],
    };
    const answer = await etcd.unary(TXN, {
      compare: [
        compare({ target: 0, result: 1, key: bytes('a'), version: HUGE }),
        compare({ target: 1, result: 2, key: bytes('a'), create_revision: 4 }),
        compare({ target: 2, result: 3, key: bytes('a'), range_end: bytes('b'), mod_revision: 5 }),
        compare({ target: 3, result: 0, key: bytes('a'), value: bytes('v') }),
        compare({ target: 4, result: 0, key: bytes('a'), lease: HUGE }),
        // The union holds something else than the target names.
        compare({ target: 0, key: bytes('a'), value: bytes('v') }),
      ],
      success: [putOp({ key: bytes('p') })],
      failure: [{ request_txn: { compare: [], success: [rangeOp({ key: bytes('r') })], failure: [] } }],
    });
    const { request, serializable } = etcd.backend.asked[0] as {
      request: { compare: unknown[]; success: unknown[]; failure: unknown[] };
      serializable: boolean;
    };
    const key = bytes('a');
    const rangeEnd = Buffer.alloc(0);
    expect(request.compare).toEqual([
      { target: 'version', number: Number.MAX_SAFE_INTEGER, result: 'greater', key, rangeEnd },
      { target: 'create', number: 4, result: 'less', key, rangeEnd },
      { target: 'mod', number: 5, result: 'not-equal', key, rangeEnd: bytes('b') },
      { target: 'value', value: bytes('v'), result: 'equal', key, rangeEnd },
      { target: 'lease', lease: HUGE, result: 'equal', key, rangeEnd },
      { target: 'version', number: 0, result: 'equal', key, rangeEnd },
    ]);
    expect(request.success).toMatchObject([{ type: 'put', key: bytes('p') }]);
    expect(request.failure).toMatchObject([{ type: 'txn', success: [{ type: 'range', key: bytes('r') }] }]);
    expect(serializable).toBe(false);

    expect(answer.header).toMatchObject(WIRE_HEADER);
    expect(answer.succeeded).toBe(false);
    const [put, nested] = answer.responses;
    expect(put!.response_put!.header).toMatchObject({ revision: 40, member_id: 0 });
    expect(nested!.response_txn!.succeeded).toBe(true);
    // Only the outermost transaction tells its revision; what is in an inner one tells it again.
    expect(nested!.response_txn!.header).toMatchObject({ revision: 0, member_id: 0 });
    expect(nested!.response_txn!.responses[0]!.response_delete_range!.header).toMatchObject({ revision: 40 });
    expect(nested!.response_txn!.responses[0]!.response_delete_range!.deleted).toBe(1);
    expect(nested!.response_txn!.responses[1]!.response_range!.kvs).toEqual([]);
  });

  test('is serializable only when every operation is a serializable range', async () => {
    const serializable = rangeOp({ key: bytes('a'), serializable: true });
    const linearizable = rangeOp({ key: bytes('a') });
    const ask = async (success: RequestOp[], otherwise: RequestOp[] = []): Promise<unknown> => {
      await etcd.unary(TXN, { success, failure: otherwise });
      return (etcd.backend.asked.at(-1) as { serializable: boolean }).serializable;
    };
    expect(await ask([serializable], [serializable])).toBe(true);
    expect(await ask([serializable], [linearizable])).toBe(false);
    expect(await ask([serializable, putOp({ key: bytes('a') })])).toBe(false);
  });

  const many = (count: number): RequestOp[] =>
    Array.from({ length: count }, (_, index) => putOp({ key: bytes(`k${index}`) }));

  test('takes 128 operations', async () => {
    await etcd.unary(TXN, { success: many(128) });
    expect(etcd.backend.asked).toHaveLength(1);
  });

  test.each([
    ['too many operations', { success: [...many(128), putOp({})] }, 'too many operations in txn request'],
    ['the same key twice', { success: [...many(2), ...many(1)] }, 'duplicate key given in txn request'],
    ['an empty key compared', { compare: [compare({})] }, 'key is not provided'],
    ['an empty key put', { failure: [putOp({})] }, 'key is not provided'],
    ['no operation', { success: [{}] }, 'key not found'],
    ['of two mistakes the first', { success: [rangeOp({}), {}] }, 'key is not provided'],
    ['of two mistakes the first', { success: [{}, rangeOp({})] }, 'key not found'],
    [
      'of two mistakes that of the comparison',
      { compare: [compare({})], success: [{}] },
      'key is not provided',
    ],
    [
      'too many operations before what is wrong with them',
      { compare: [compare({})], success: many(129) },
      'too many operations in txn request',
    ],
    [
      'too many operations within',
      { success: [{ request_txn: { compare: [], success: many(128), failure: [] } }] },
      'too many operations in txn request',
    ],
    [
      'an unknown comparison',
      { compare: [compare({ key: bytes('a'), result: 7 as 0 })] },
      'invalid comparison',
    ],
    [
      'an unknown order',
      { success: [rangeOp({ key: bytes('a'), sort_order: 7 as 0 })] },
      'invalid sort option',
    ],
    [
      'too many bytes',
      { success: [putOp({ key: bytes('a'), value: Buffer.alloc(REQUEST_BYTES_MAX) })] },
      'request is too large',
    ],
  ])('refuses %s', async (_name, request, text) => {
    expect(await failure(etcd.unary(TXN, request))).toEqual({ code: 3, details: `etcdserver: ${text}` });
    expect(etcd.backend.asked).toEqual([]);
  });

  test('that only reads may be large', async () => {
    await etcd.unary(TXN, {
      compare: [compare({ target: 3, key: bytes('a'), value: Buffer.alloc(REQUEST_BYTES_MAX) })],
    });
    expect(etcd.backend.asked).toHaveLength(1);
  });
});

test('Compact passes its revision', async () => {
  const answer = await etcd.unary('/etcdserverpb.KV/Compact', { revision: HUGE, physical: true });
  expect(etcd.backend.asked).toEqual([{ revision: Number.MAX_SAFE_INTEGER, physical: true }]);
  expect(answer.header).toMatchObject(WIRE_HEADER);
});

test('a client that insists on a leader is told when there is none', async () => {
  etcd.backend.leader = false;
  const ask = (metadata: Record<string, string>): Promise<unknown> =>
    etcd.unary(RANGE, { key: bytes('a'), serializable: true }, { metadata });
  expect(await failure(ask({ hasleader: 'true' }))).toEqual({ code: 14, details: 'etcdserver: no leader' });
  await ask({});
  await ask({ hasleader: 'false' });
});

describe('RangeStream', () => {
  const STREAM = '/etcdserverpb.KV/RangeStream';

  test('answers in pieces whose last has the header, the count and whether there is more', async () => {
    const stream = etcd.stream(STREAM);
    stream.send({ key: bytes('a'), range_end: bytes('b'), sort_target: 3, serializable: true });
    stream.call.end();
    expect((await stream.next()).range_response).toEqual({ kvs: [WIRE_KV] });
    expect((await stream.next()).range_response).toEqual({
      header: WIRE_HEADER,
      kvs: [WIRE_KV, WIRE_KV],
      more: true,
      count: 9,
    });
    expect((await stream.status).code).toBe(0);
    expect(etcd.backend.asked).toMatchObject([{ serializable: true, request: { sortTarget: 'key' } }]);
  });

  test('an empty range is one piece', async () => {
    etcd.backend.rangePages = [];
    const stream = etcd.stream(STREAM);
    stream.send({ key: bytes('a') });
    stream.call.end();
    expect((await stream.next()).range_response).toMatchObject({ header: WIRE_HEADER, count: 9 });
    expect((await stream.status).code).toBe(0);
  });

  test('refuses what etcd refuses', async () => {
    for (const [request, code, details] of [
      [{}, 3, 'etcdserver: key is not provided'],
      [{ key: bytes('a'), sort_order: 2 }, 12, 'RangeStream does not support custom sort orders'],
      [
        { key: bytes('a'), sort_order: 1, sort_target: 3 },
        12,
        'RangeStream does not support custom sort orders',
      ],
      [{ key: bytes('a'), min_mod_revision: 1 }, 12, 'RangeStream does not support revision filters'],
    ] as const) {
      const stream = etcd.stream(STREAM);
      stream.send(request);
      stream.call.end();
      expect(await stream.status).toMatchObject({ code, details });
    }
  });
});

test('a read that is begun anew keeps the room that its answer has', async () => {
  // More than there is room for, twice.
  const bytes = 600 * 1024 * 1024;
  const { range } = etcd.backend;
  etcd.backend.range = async (request, context) => {
    await context.reserve!(bytes);
    await context.reserve!(bytes);
    return range(request, context);
  };
  const answer = await etcd.unary('/etcdserverpb.KV/Range', { key: Buffer.from('k') }, { deadlineMs: 5_000 });
  expect(answer.kvs).toHaveLength(1);
});
