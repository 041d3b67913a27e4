import { expect, test } from 'vitest';
import { MemoryKv } from '../../src/kv/memory-kv.ts';
import { AS_SERVICE, codeOf, kvContract } from '../contract/kv.ts';

kvContract('memory', async () => {
  let nowMs = 0;
  const store = new MemoryKv({ nowMs: () => nowMs });
  return {
    connect: async () => store.connect(),
    compact: async (revision) => store.compact(revision),
    elapse: async (seconds) => {
      nowMs += seconds * 1000;
    },
    stop: () => store.close(),
  };
});

const key = Buffer.from('key');

test('a lease ends at its time, and its keys with it', async () => {
  let nowMs = 0;
  const kv = new MemoryKv({ nowMs: () => nowMs });
  const lease = await kv.leaseGrant({ ttlSeconds: 10 }, AS_SERVICE);
  await kv.txn({ compare: [], success: [{ type: 'put', key, value: key, lease }], failure: [] }, AS_SERVICE);
  const watch = kv.watch({ key, startRevision: 2 }, AS_SERVICE);
  expect((await watch.next()).value).toMatchObject({ revision: 2, events: [{ type: 'put' }] });

  nowMs = 9_999;
  expect(await kv.leaseKeepAlive(lease, AS_SERVICE)).toBe(10);
  nowMs = 19_998;
  kv.expireLeases();
  expect(await kv.range({ key, consistency: { type: 'linearizable' } }, AS_SERVICE)).toMatchObject({
    count: 1,
  });

  const next = watch.next();
  nowMs = 19_999;
  kv.expireLeases();
  expect((await next).value).toMatchObject({ revision: 3, events: [{ type: 'delete', row: { key } }] });
  expect(await kv.leaseKeepAlive(lease, AS_SERVICE)).toBe(0);
  await watch.return();
});

test('limits are those that it was given', async () => {
  const kv = new MemoryKv({ limits: { txnOpsMax: 1, requestBytesMax: 1_000 } });
  const put = (name: string, value: string) =>
    ({ type: 'put', key: Buffer.from(name), value: Buffer.from(value) }) as const;
  const txn = (...success: ReturnType<typeof put>[]) =>
    codeOf(kv.txn({ compare: [], success, failure: [] }, AS_SERVICE));
  expect(await txn(put('a', ''), put('b', ''))).toBe('too-large');
  expect(await txn(put('a', 'v'.repeat(1_000)))).toBe('too-large');
});

test('a deletion at the compacted revision is told by a watch from there, as a member and etcd from 3.5.13 on do', async () => {
  const kv = new MemoryKv();
  const put = { type: 'put', key, value: key } as const;
  await kv.txn({ compare: [], success: [put], failure: [] }, AS_SERVICE);
  await kv.txn({ compare: [], success: [{ type: 'delete', key }], failure: [] }, AS_SERVICE);
  kv.compact(3);
  const watch = kv.watch({ key, startRevision: 3 }, AS_SERVICE);
  expect((await watch.next()).value).toMatchObject({ revision: 3, events: [{ type: 'delete' }] });
  expect(await kv.range({ key, consistency: { type: 'linearizable' } }, AS_SERVICE)).toMatchObject({
    count: 0,
  });
  await kv.txn({ compare: [], success: [put], failure: [] }, AS_SERVICE);
  kv.compact(4);
  expect((await kv.range({ key, consistency: { type: 'linearizable' } }, AS_SERVICE)).rows).toMatchObject([
    { createRevision: 4, version: 1 },
  ]);
  await watch.return();
});
