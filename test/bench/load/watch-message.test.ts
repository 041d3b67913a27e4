import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readWatchMessage } from '../../../bench/load/watch-message.ts';
import { codec } from '../../../src/rpc/codec.ts';

const response = codec('etcdserverpb.WatchResponse');
const header = { cluster_id: 2n ** 63n, member_id: 2n ** 64n - 1n, revision: 5, raft_term: 2 };

function encoded(fields: {
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly values?: readonly Buffer[];
}): Buffer {
  const events = (fields.values ?? []).map((value) => ({
    type: 0,
    kv: {
      key: Buffer.from('k'),
      create_revision: 1,
      mod_revision: 2 ** 52,
      version: 3,
      value,
      lease: -1n,
    },
  }));
  return response.encode({ header, watch_id: -1, cancel_reason: 'why', ...fields, events } as never);
}

test('the value of every event is read, whatever stands around it', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 300 })),
      fc.boolean(),
      fc.boolean(),
      (list, created, canceled) => {
        const values = list.map((bytes) => Buffer.from(bytes));
        const read = readWatchMessage(encoded({ values, created, canceled }));
        expect(read.created).toBe(created);
        expect(read.canceled).toBe(canceled);
        expect(read.values.map((value) => value.toString('hex'))).toEqual(
          values.map((value) => value.toString('hex')),
        );
      },
    ),
  );
});

test('a message that is cut off is refused, not read as something else', () => {
  const whole = encoded({ values: [Buffer.from('value')] });
  expect(() => readWatchMessage(whole.subarray(0, whole.length - 1))).toThrow('ends within');
});
