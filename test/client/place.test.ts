import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import { prefixEnd } from '../../src/lib/range-end.ts';
import { RpcError, rpcStatus } from '../../src/rpc/status.ts';
import { SmallMember, SmallStore } from './small-store.ts';

const bytes = (text: string): Buffer => Buffer.from(text);
let store: SmallStore;
let one: SmallMember;
let client: KvClient;

beforeEach(async () => {
  store = new SmallStore();
  one = await new SmallMember(store).start();
  client = new KvClient({ endpoints: [one.address] });
});
afterEach(async () => {
  client.close();
  await one.stop();
});

const queued = (name: string): string[] =>
  store.range(bytes(`${name}/`), prefixEnd(bytes(`${name}/`))).map(({ key }) => key.toString());

test('an attempt that is canceled while it joins leaves no place behind', async () => {
  const lease = await client.lease({ ttlSeconds: 600 });
  const given = new AbortController();
  one.delayMs = 50;
  // The member has the transaction, and performs it though nobody waits for the answer.
  one.failing = (path) => {
    if (path === '/etcdserverpb.KV/Txn') given.abort();
    return null;
  };
  const attempt = client.lock('l', { lease, signal: given.signal });
  await expect(attempt).rejects.toMatchObject({ code: 'canceled' });
  expect(store.transactions).toHaveLength(2);
  expect(store.revision).toBeGreaterThan(1);
  expect(queued('l')).toEqual([]);
  await using lock = await client.lock('l', { lease, timeoutMs: 30_000 });
  expect(queued('l')).toEqual([lock.key.toString()]);
});

test('closing the client ends its watches and observers, and what waits or is held, whose lease it may be', async () => {
  using owner = new KvClient({ endpoints: [one.address] });
  const lease = await owner.lease({ ttlSeconds: 600 });
  const held = await client.lock('l', { lease });
  const waiting = client.lock('l', { lease });
  await expect.poll(() => queued('l')).toHaveLength(2);
  const watch = client.watch({ key: 'w' });
  using handle = client.watchStream({ key: 'w' });
  const stream = handle[Symbol.asyncIterator]();
  await stream.next();
  const observed = client.election('nobody').observe();
  expect(await observed.next()).toMatchObject({ value: null });
  const endings = [watch.next(), stream.next(), observed.next()];
  // Those three, what watches over the lock, and what waits for it.
  await expect.poll(() => store.watchCount).toBe(5);
  client.close();
  const ended = { value: undefined, done: true };
  expect(await Promise.all(endings)).toEqual([ended, ended, ended]);
  await expect(waiting).rejects.toMatchObject({ code: 'canceled' });
  expect(held.signal.reason).toMatchObject({ code: 'canceled', message: 'the client was closed' });
  await expect.poll(() => store.watchCount).toBe(0);
});

test('locks that come and go leave nothing behind at the lease that they share', async () => {
  const lease = await client.lease({ ttlSeconds: 600 });
  const before = getEventListeners(lease.signal, 'abort').length;
  for (let cycle = 0; cycle < 100; cycle += 1) await (await client.lock('l', { lease })).release();
  expect(getEventListeners(lease.signal, 'abort')).toHaveLength(before);
});

test('a lock is watched over again after nobody could be asked', async () => {
  const lease = await client.lease({ ttlSeconds: 600 });
  const held = await client.lock('l', { lease });
  await expect.poll(() => store.watchCount).toBe(1);
  const watches = (): number => one.calls.filter((path) => path === '/etcdserverpb.Watch/Watch').length;
  const before = watches();
  one.failing = (path) =>
    path === '/etcdserverpb.Watch/Watch'
      ? new RpcError(rpcStatus.permissionDenied, 'etcdserver: permission denied')
      : null;
  await one.stop();
  await one.start();
  await expect.poll(watches).toBeGreaterThan(before);
  expect(held.signal.aborted).toBe(false);
  one.failing = null;
  store.delete(held.key, Buffer.alloc(0));
  await expect.poll(() => held.signal.reason).toMatchObject({ message: 'its key was deleted' });
  expect(lease.signal.aborted).toBe(false);
});
