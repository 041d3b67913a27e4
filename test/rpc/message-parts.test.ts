import { expect, test } from 'vitest';
import { codec, messageType } from '../../src/rpc/codec.ts';
import { encodeJson } from '../../src/rpc/json.ts';
import { hasTooManyParts, REQUEST_PARTS_MAX } from '../../src/rpc/message-parts.ts';
import { unary } from '../../src/rpc/service.ts';
import { failure, Harness } from './harness.ts';

const TXN = 'etcdserverpb.TxnRequest';
const type = messageType(TXN);

/** So many times the same bytes. */
function times(count: number, ...bytes: readonly number[]): Buffer {
  return Buffer.concat(Array<Buffer>(count).fill(Buffer.from(bytes)));
}

test('empty messages, at the top and within others, are counted', () => {
  const empty = times(REQUEST_PARTS_MAX, 0x12, 0);
  expect(hasTooManyParts(type, empty)).toBe(false);
  expect(hasTooManyParts(type, Buffer.concat([empty, Buffer.of(0x12, 0)]))).toBe(true);
  // success { request_txn { success {} ... } }
  const inner = Buffer.concat([empty, Buffer.of(0x12, 0)]);
  const length = (bytes: number): number[] => [
    (bytes & 0x7f) | 0x80,
    ((bytes >> 7) & 0x7f) | 0x80,
    bytes >> 14,
  ];
  const op = Buffer.concat([Buffer.of(0x22, ...length(inner.length)), inner]);
  expect(hasTooManyParts(type, Buffer.concat([Buffer.of(0x12, ...length(op.length)), op]))).toBe(true);
});

test('groups, numbers and texts hide nothing', () => {
  const many = times(REQUEST_PARTS_MAX, 0x12, 0);
  for (const first of [
    // Field 9: a group begins and ends, a varint, eight bytes, four bytes, a text.
    Buffer.of(0x4b, 0x4c),
    Buffer.of(0x48, 0xff, 0xff, 0x01),
    Buffer.of(0x49, 1, 2, 3, 4, 5, 6, 7, 8),
    Buffer.of(0x4d, 1, 2, 3, 4),
    Buffer.of(0x4a, 3, 1, 2, 3),
  ]) {
    expect(hasTooManyParts(type, Buffer.concat([first, many]))).toBe(true);
  }
  const filters = Buffer.concat([Buffer.of(0x2a, 0x80, 0x80, 0x40), Buffer.alloc(2 ** 20)]);
  expect(hasTooManyParts(messageType('etcdserverpb.WatchCreateRequest'), filters)).toBe(true);
});

test('what is in the entries of a map is counted', () => {
  const bytes = (field: number, message: Buffer): Buffer => {
    const { length } = message;
    return Buffer.concat([
      Buffer.of(field * 8 + 2, (length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, length >> 14),
      message,
    ]);
  };
  // context { fields { value { list_value { values {} ... } } } }
  const nested = [6, 2, 1, 2].reduce(
    (message, field) => bytes(field, message),
    times(REQUEST_PARTS_MAX, 0x0a, 0),
  );
  expect(hasTooManyParts(messageType('flagd.evaluation.v2.ResolveBooleanRequest'), nested)).toBe(true);
  const value = codec('flagd.evaluation.v2.ResolveBooleanRequest').decode(nested).context!.fields[''];
  expect(value!.list_value!.values).toHaveLength(REQUEST_PARTS_MAX);
});

test('one large value is no part more than a small one, whatever is in it', () => {
  const put = codec('etcdserverpb.PutRequest').encode({ value: times(2 ** 20, 0x12, 0) });
  expect(hasTooManyParts(messageType('etcdserverpb.PutRequest'), put)).toBe(false);
  expect(hasTooManyParts(type, Buffer.alloc(2 ** 20, 0xff))).toBe(false);
});

test('such requests are refused, as bytes and as JSON', async () => {
  await using harness = new Harness({ receiveBytesMax: 2 ** 22 });
  unary(harness.server, '/etcdserverpb.KV/Txn', async () => ({}));
  await harness.start();
  const refused = await failure(harness.unaryBytes('/etcdserverpb.KV/Txn', times(2 ** 20, 0x12, 0)));
  expect(refused).toEqual({
    code: 8,
    details: `grpc: the request has more than ${REQUEST_PARTS_MAX} fields`,
  });
  const text = `{"success":[${'{},'.repeat(REQUEST_PARTS_MAX)}{}]}`;
  expect(() => encodeJson(TXN, text)).toThrow(/more than/);
});
