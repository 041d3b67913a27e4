import { afterEach, beforeEach, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import { RpcError, rpcStatus } from '../../src/rpc/status.ts';
import { SmallMember, SmallStore } from './small-store.ts';

let store: SmallStore;
let one: SmallMember;
let two: SmallMember;
let client: KvClient;

beforeEach(async () => {
  store = new SmallStore();
  one = await new SmallMember(store).start();
  two = await new SmallMember(store).start();
  client = new KvClient({ endpoints: [one.address, two.address] });
});
afterEach(async () => {
  client.close();
  await one.stop();
  await two.stop();
});

const renewals = ({ calls }: SmallMember): number =>
  calls.filter((path) => path === '/etcdserverpb.Lease/LeaseKeepAlive').length;

test('a lease renews itself at a third of its time, and is revoked at the end of its block', async () => {
  store.ttlSeconds = 3;
  {
    await using lease = await client.lease({ ttlSeconds: 3 });
    expect(lease).toMatchObject({ id: -77n, ttlSeconds: 3 });
    expect(lease.remainingMs).toBeGreaterThan(0);
    expect(lease.remainingMs).toBeLessThan(3_000);
    await expect.poll(() => renewals(one)).toBeGreaterThan(3);
    expect(lease.signal.aborted).toBe(false);
  }
  expect([...store.revoked]).toEqual([-77n]);
});

test('renewals go to the next member when one fails, or says nothing', async () => {
  store.ttlSeconds = 6;
  const lease = await client.lease({ ttlSeconds: 6 });
  one.failing = () => new RpcError(rpcStatus.unavailable, 'etcdserver: no leader');
  await expect.poll(() => renewals(two)).toBeGreaterThan(0);
  one.failing = null;
  two.stalled = true;
  const before = renewals(one);
  await expect.poll(() => renewals(one)).toBeGreaterThan(before);
  expect(lease.signal.aborted).toBe(false);
});

test('a lease that is gone is told by an event and by a promise', async () => {
  store.ttlSeconds = 1;
  const lease = await client.lease({ ttlSeconds: 1 });
  const aborted = new Promise((resolve) => lease.signal.addEventListener('abort', resolve));
  store.revoked.add(-77n);
  expect(await lease.ended).toMatchObject({ type: 'lost', error: { code: 'not-found' } });
  await aborted;
  expect(lease.signal.reason).toMatchObject({ message: 'etcdserver: requested lease not found' });
  expect(lease.remainingMs).toBe(0);
});

test('a lease that could not be renewed in time counts as lost', async () => {
  const lease = await client.lease({ ttlSeconds: 1 });
  one.stalled = true;
  two.stalled = true;
  expect(await lease.ended).toMatchObject({ type: 'lost', error: { code: 'unavailable' } });
});

test('a refusal of a renewal ends the lease without waiting for its time', async () => {
  store.ttlSeconds = 3;
  const lease = await client.lease({ ttlSeconds: 3 });
  store.ttlSeconds = 3600;
  await expect.poll(() => lease.remainingMs).toBeGreaterThan(3_000_000);
  const other = await client.lease({ ttlSeconds: 3 });
  one.failing = two.failing = () => new RpcError(rpcStatus.permissionDenied, 'etcdserver: permission denied');
  expect(await other.ended).toMatchObject({ type: 'lost', error: { code: 'permission-denied' } });
});

test('a signal ends the lease, and closing the client ends its renewal', async () => {
  const control = new AbortController();
  const lease = await client.lease({ ttlSeconds: 60, signal: control.signal });
  control.abort();
  expect(await lease.ended).toEqual({ type: 'revoked' });
  expect(store.revoked.size).toBe(1);

  const left = await client.lease({ ttlSeconds: 60 });
  client.close();
  expect(await left.ended).toMatchObject({ type: 'lost', error: { code: 'canceled' } });

  const late = client.lease({ ttlSeconds: 60, signal: AbortSignal.abort() });
  await expect(late).rejects.toMatchObject({ code: 'canceled' });
});

test('revoking says whether it came through; the lease is not renewed in any case', async () => {
  const lease = await client.lease({ ttlSeconds: 60 });
  one.failing = two.failing = () => new RpcError(rpcStatus.permissionDenied, 'etcdserver: permission denied');
  await expect(lease.revoke()).rejects.toMatchObject({ code: 'permission-denied' });
  expect(await lease.ended).toEqual({ type: 'revoked' });
  one.failing = two.failing = () => new RpcError(rpcStatus.notFound, 'etcdserver: requested lease not found');
  await lease.revoke();
});

test('a lease of more time than a timer can wait for is neither lost nor renewed without a pause', async () => {
  store.ttlSeconds = 9_000_000_000;
  const lease = await client.lease({ ttlSeconds: 9_000_000_000 });
  await client.range({ key: 'a' });
  await client.range({ key: 'b' });
  expect(lease.signal.aborted).toBe(false);
  expect(renewals(one)).toBe(0);
});
