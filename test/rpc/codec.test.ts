import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { codec, fileDescriptions, serviceMethods } from '../../src/rpc/codec.ts';
import { RpcError } from '../../src/rpc/status.ts';

const put = codec('etcdserverpb.PutRequest');
const header = codec('etcdserverpb.ResponseHeader');
const bytes = (text: string): Buffer => Buffer.from(text);

describe('64-bit integers', () => {
  const signed = (value: number | bigint): number | bigint => put.decode(put.encode({ lease: value })).lease;
  const unsigned = (value: number | bigint): number | bigint =>
    header.decode(header.encode({ member_id: value })).member_id;

  test.each([
    [1, 1],
    [-1, -1],
    [2 ** 31, 2 ** 31],
    [2 ** 32 - 1, 2 ** 32 - 1],
    [-(2 ** 32), -(2 ** 32)],
    [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
    [Number.MIN_SAFE_INTEGER, Number.MIN_SAFE_INTEGER],
    [2n ** 53n - 1n, Number.MAX_SAFE_INTEGER],
    [2n ** 53n, 2n ** 53n],
    [2n ** 53n + 1n, 2n ** 53n + 1n],
    [-(2n ** 53n), -(2n ** 53n)],
    [-(2n ** 53n) - 1n, -(2n ** 53n) - 1n],
    [2n ** 63n - 1n, 2n ** 63n - 1n],
    [-(2n ** 63n), -(2n ** 63n)],
    [7n, 7],
    [-7n, -7],
  ])('int64 %s is exact', (value, expected) => {
    expect(signed(value)).toBe(expected);
  });

  test.each([
    [2n ** 53n - 1n, Number.MAX_SAFE_INTEGER],
    [2n ** 53n, 2n ** 53n],
    [2n ** 63n, 2n ** 63n],
    [2n ** 64n - 1n, 2n ** 64n - 1n],
  ])('uint64 %s is exact', (value, expected) => {
    expect(unsigned(value)).toBe(expected);
  });

  test('every int64 and uint64 survives the wire', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
        const read = signed(value);
        expect(BigInt(read)).toBe(value);
        expect(typeof read === 'number').toBe(Number.isSafeInteger(Number(value)));
      }),
    );
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
        expect(BigInt(unsigned(value))).toBe(value);
      }),
    );
  });
});

describe('golden bytes', () => {
  test.each([
    [put.encode({ key: bytes('k'), value: bytes('v'), lease: -1n }), '0a016b12017618ffffffffffffffffff01'],
    [put.encode({ key: bytes('k'), lease: 0, prev_kv: false, value: Buffer.alloc(0) }), '0a016b'],
    [put.encode({ lease: 300n, ignore_lease: true }), '18ac023001'],
    [header.encode({ cluster_id: 2n ** 64n - 1n, revision: 5 }), '08ffffffffffffffffff011805'],
    [
      codec('etcdserverpb.WatchRequest').encode({ progress_request: { nonce: 1, watch_id: 2 } }),
      '1a06c03e01c83e02',
    ],
    [
      codec('etcdserverpb.Compare').encode({ target: 0, result: 1, key: bytes('a'), version: 0 }),
      '08011a01612000',
    ],
    [codec('etcdserverpb.WatchCreateRequest').encode({ filters: [0, 1], watch_id: 9 }), '2a0200013809'],
    [codec('mvccpb.Event').encode({ type: 1 }), '0801'],
  ])('%#', (encoded, expected) => {
    expect(encoded.toString('hex')).toBe(expected);
  });

  test('a message of every kind of field decodes', () => {
    const wire = Buffer.from('0a0b08011002180320ffffff0f' + '12060a016b2a0176' + '1801' + '20ac02', 'hex');
    const message = codec('etcdserverpb.RangeResponse').decode(wire);
    expect(message.header).toMatchObject({
      cluster_id: 1,
      member_id: 2,
      revision: 3,
      raft_term: 2 ** 25 - 1,
    });
    expect(message.kvs).toHaveLength(1);
    expect(message.kvs[0]!.key).toEqual(bytes('k'));
    expect(message.kvs[0]!.value).toEqual(bytes('v'));
    expect(message.more).toBe(true);
    expect(message.count).toBe(300);
  });
});

describe('what is absent', () => {
  test('bytes are an empty buffer, messages and oneof members null, lists empty', () => {
    const create = codec('etcdserverpb.WatchCreateRequest').decode(Buffer.alloc(0));
    expect(Buffer.isBuffer(create.key)).toBe(true);
    expect(create.key).toHaveLength(0);
    expect(create.filters).toEqual([]);
    expect(create.start_revision).toBe(0);
    const compare = codec('etcdserverpb.Compare').decode(Buffer.alloc(0));
    expect([compare.version, compare.value, compare.lease]).toEqual([null, null, null]);
    expect(codec('etcdserverpb.RequestOp').decode(Buffer.alloc(0)).request_txn).toBeNull();
    expect(codec('etcdserverpb.RangeResponse').decode(Buffer.alloc(0)).header).toBeNull();
    // A message that is reached only through another one.
    const txn = codec('etcdserverpb.TxnRequest').decode(Buffer.from('0a00', 'hex'));
    expect(Buffer.isBuffer(txn.compare[0]!.key)).toBe(true);
  });

  test('unknown fields and unknown enum values do not fail decoding', () => {
    const range = codec('etcdserverpb.RangeRequest').decode(Buffer.from('0a016b2863a80f01', 'hex'));
    expect(range.key).toEqual(bytes('k'));
    expect(range.sort_order).toBe(99);
  });
});

test('bytes that are no such message fail as internal', () => {
  for (const wrong of ['0a05', 'ff', '0aff ff ff ff 0f'.replaceAll(' ', '')]) {
    expect(() => put.decode(Buffer.from(wrong, 'hex'))).toThrow(RpcError);
  }
});

test('services list their methods with their kinds', () => {
  const kv = serviceMethods('etcdserverpb.KV');
  expect(kv.map((method) => `${method.path} ${method.kind}`)).toEqual([
    '/etcdserverpb.KV/Range unary',
    '/etcdserverpb.KV/RangeStream server-stream',
    '/etcdserverpb.KV/Put unary',
    '/etcdserverpb.KV/DeleteRange unary',
    '/etcdserverpb.KV/Txn unary',
    '/etcdserverpb.KV/Compact unary',
  ]);
  expect(serviceMethods('etcdserverpb.Watch')[0]!.kind).toBe('bidi');
  expect(serviceMethods('etcdserverpb.Auth')).toHaveLength(17);
});

test('file descriptions name what they define, imports first', () => {
  const files = fileDescriptions();
  const rpc = files.find((file) => file.name === 'etcdserverpb/rpc.proto')!;
  expect(rpc.dependencies).toEqual(['authpb/auth.proto', 'mvccpb/kv.proto']);
  for (const symbol of [
    'etcdserverpb.KV',
    'etcdserverpb.KV.Range',
    'etcdserverpb.RangeRequest',
    'etcdserverpb.RangeRequest.SortOrder',
    'etcdserverpb.RangeRequest.range_end',
    'etcdserverpb.AlarmType',
  ]) {
    expect(rpc.symbols).toContain(symbol);
  }
  const names = files.map((file) => file.name);
  for (const file of files) {
    for (const name of file.dependencies) expect(names.indexOf(name)).toBeLessThan(names.indexOf(file.name));
  }
});
