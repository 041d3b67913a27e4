import { expect, test } from 'vitest';
import type { KvCall } from '../../src/kv/kv.ts';
import { MemoryKv } from '../../src/kv/memory-kv.ts';

const call: KvCall = { principal: { type: 'service' }, signal: new AbortController().signal };
const key = Buffer.from('key');

test('a lease ends at its time, and its keys with it', async () => {
  let nowMs = 0;
  const kv = new MemoryKv({ nowMs: () => nowMs });
  const lease = await kv.leaseGrant({ ttlSeconds: 10 }, call);
  await kv.txn({ compare: [], success: [{ type: 'put', key, value: key, lease }], failure: [] }, call);
  const watch = kv.watch({ key, startRevision: 2 }, call);
  expect((await watch.next()).value).toMatchObject({ revision: 2, events: [{ type: 'put' }] });

  nowMs = 9_999;
  expect(await kv.leaseKeepAlive(lease, call)).toBe(10);
  nowMs = 19_998;
  kv.expireLeases();
  expect(await kv.range({ key, consistency: { type: 'linearizable' } }, call)).toMatchObject({ count: 1 });

  const next = watch.next();
  nowMs = 19_999;
  kv.expireLeases();
  expect((await next).value).toMatchObject({ revision: 3, events: [{ type: 'delete', row: { key } }] });
  expect(await kv.leaseKeepAlive(lease, call)).toBe(0);
  await watch.return();
});
