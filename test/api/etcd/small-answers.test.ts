import fc from 'fast-check';
import { expect, test } from 'vitest';
import { headerField, putBytes, rangeBytes, watchBytes } from '../../../src/api/etcd/small-answers.ts';
import * as translate from '../../../src/api/etcd/translate.ts';
import type { KeyValue } from '../../../src/core/mvcc/operations.ts';
import type { Header } from '../../../src/member/client-calls.ts';
import { codec } from '../../../src/rpc/codec.ts';

/** Every length of a varint comes up. */
const natural = fc.integer({ min: 0, max: 53 }).chain((bits) => fc.maxSafeNat().map((n) => n % 2 ** bits));
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 20 }),
  fc.uint8Array({ minLength: 100, maxLength: 300 }),
  fc.constant(new Uint8Array(20_000)),
);
const header: fc.Arbitrary<Header> = fc.record({
  clusterId: natural,
  memberId: natural,
  revision: natural,
  raftTerm: natural,
});
const keyValue: fc.Arbitrary<KeyValue> = fc.record({
  key: bytes.map((array) => Buffer.from(array)),
  createRevision: natural,
  modRevision: natural,
  version: natural,
  value: bytes.map((array) => Buffer.from(array)),
  lease: fc.oneof(fc.constant(0n), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
});

test('the answer of a range has the bytes of the codec', () => {
  const range = fc.record({
    kvs: fc.array(keyValue, { maxLength: 3 }),
    more: fc.boolean(),
    count: natural,
  });
  fc.assert(
    fc.property(range, header, (parts, head) => {
      const result = { type: 'range', revision: 1, ...parts } as const;
      const message = translate.rangeResponse(result, translate.wireHeader(head));
      const expected = codec('etcdserverpb.RangeResponse').encode(message);
      expect(rangeBytes(result, head).equals(expected)).toBe(true);
    }),
  );
});

test('the answer of a put has the bytes of the codec', () => {
  fc.assert(
    fc.property(fc.option(keyValue), header, (prevKv, head) => {
      const result = { type: 'put', revision: 1, prevKv } as const;
      const message = translate.putResponse(result, translate.wireHeader(head));
      expect(putBytes(result, head).equals(codec('etcdserverpb.PutResponse').encode(message))).toBe(true);
    }),
  );
});

test('the answer of a watch has the bytes of the codec', () => {
  const watchId = fc.oneof(
    natural.map((id) => BigInt(id)),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  );
  fc.assert(
    fc.property(header, watchId, fc.boolean(), (head, id, fragment) => {
      const watchResponse = codec('etcdserverpb.WatchResponse');
      const event = { type: 0, kv: null, prev_kv: null } as const;
      const expected = watchResponse.encode({
        header: translate.wireHeader(head),
        watch_id: translate.wireInteger(id),
        fragment,
        events: [event, event],
      });
      const events = [0, 1].map(() => watchResponse.encode({ events: [event] }));
      const found = watchBytes({ header: headerField(head), watchId: id, fragment, events });
      expect(found.equals(expected)).toBe(true);
    }),
  );
});
