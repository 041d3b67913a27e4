import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ClientError } from '../../src/client/client-error.ts';
import type { ClientClock } from '../../src/client/clock.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import { Lease, type LeaseCalls } from '../../src/client/lease.ts';
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

/** A machine that can sleep: its timers stand still meanwhile. */
class SleepyClock implements ClientClock {
  #runningMs = 0;
  #sleptMs = 0;
  readonly #timers = new Map<() => void, number>();

  nowMs(): number {
    return this.#runningMs + this.#sleptMs;
  }

  after(delayMs: number, action: () => void): () => void {
    const run = (): void => action();
    this.#timers.set(run, this.#runningMs + delayMs);
    return () => this.#timers.delete(run);
  }

  sleep(durationMs: number): void {
    this.#sleptMs += durationMs;
  }

  async run(durationMs: number): Promise<void> {
    const untilMs = this.#runningMs + durationMs;
    for (;;) {
      const [next] = [...this.#timers].toSorted(([, left], [, right]) => left - right);
      if (next === undefined || next[1] > untilMs) break;
      this.#runningMs = next[1];
      this.#timers.delete(next[0]);
      next[0]();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#runningMs = untilMs;
  }

  get timers(): number {
    return this.#timers.size;
  }
}

describe('on a machine that sleeps', () => {
  const renewedMs: number[] = [];
  const granted = { id: 7n, ttlSeconds: 30, sentMs: 0 };
  let clock: SleepyClock;
  let renew: () => Promise<number>;
  let lease: Lease;

  beforeEach(() => {
    clock = new SleepyClock();
    renewedMs.length = 0;
    renew = () => Promise.resolve(30);
    const calls: LeaseCalls = {
      clock,
      closing: new AbortController().signal,
      grant: () => expect.unreachable(),
      revoke: () => expect.unreachable(),
      renew: () => {
        renewedMs.push(clock.nowMs());
        return renew();
      },
    };
    lease = new Lease(calls, granted);
  });

  test('the time of a lease goes on, and whoever asks for it learns that it is lost', async () => {
    await clock.run(4_000);
    clock.sleep(3_000);
    expect(lease.remainingMs).toBe(30_000 * 0.999 - 7_000);
    expect(lease.signal.aborted).toBe(false);
    clock.sleep(60_000);
    expect(lease.remainingMs).toBe(0);
    expect(lease.signal.aborted).toBe(true);
    expect(await lease.ended).toMatchObject({ type: 'lost', error: { code: 'unavailable' } });
    expect(clock.timers).toBe(0);
  });

  test('a loss is noticed within a second though nobody asks', async () => {
    clock.sleep(60_000);
    await clock.run(1_000);
    expect(lease.signal.aborted).toBe(true);
    expect(renewedMs).toEqual([]);
  });

  test('a renewal that became due meanwhile is made within a second', async () => {
    clock.sleep(25_000);
    await clock.run(1_000);
    expect(renewedMs).toHaveLength(1);
    expect(lease.remainingMs).toBeGreaterThan(28_000);
    await clock.run(10_000);
    expect(renewedMs).toHaveLength(2);
  });

  test('an answer counts from when it was asked for, though the machine slept before it came', async () => {
    let answer = (_ttlSeconds: number): void => {};
    renew = () =>
      new Promise((resolve) => {
        answer = resolve;
      });
    await clock.run(10_000);
    expect(renewedMs).toEqual([10_000]);
    clock.sleep(15_000);
    answer(30);
    await clock.run(0);
    expect(lease.remainingMs).toBe(30_000 * 0.999 - 15_000);
  });

  test('renewals that fail are repeated after a pause until the time is over', async () => {
    renew = () => Promise.reject(new ClientError('unavailable', 'nobody is there'));
    await clock.run(29_000);
    expect(lease.signal.aborted).toBe(false);
    expect(renewedMs.length).toBeGreaterThan(50);
    expect(renewedMs.length).toBeLessThan(100);
    await clock.run(1_000);
    expect(lease.signal.aborted).toBe(true);
  });
});

test('a lease of more time than a timer can wait for is neither lost nor renewed without a pause', async () => {
  store.ttlSeconds = 9_000_000_000;
  const lease = await client.lease({ ttlSeconds: 9_000_000_000 });
  await client.range({ key: 'a' });
  await client.range({ key: 'b' });
  expect(lease.signal.aborted).toBe(false);
  expect(renewals(one)).toBe(0);
});
