import { expect, test } from 'vitest';
import {
  LEASE_CHECKPOINT_INTERVAL_MS,
  LEASE_PROMOTE_EXPIRIES_PER_SECOND,
  Lessor,
} from '../../../src/core/lease/lessor.ts';
import { AssertionError } from '../../../src/lib/assert.ts';
import { bytes } from '../mvcc/fixture.ts';

function lessorWith(...ttls: readonly [id: bigint, ttlSeconds: number][]): Lessor {
  const lessor = new Lessor();
  for (const [id, ttlSeconds] of ttls) lessor.grant({ id, ttlSeconds, remainingSeconds: 0, grantedAt: 0 });
  return lessor;
}

const MAX = 1_000;

test('ids are any int64 but 0, and are granted once', () => {
  const lessor = lessorWith([-(2n ** 63n), 1], [2n ** 63n - 1n, 1], [-1n, 1]);
  expect(lessor.list().map(({ id }) => id)).toEqual([-(2n ** 63n), -1n, 2n ** 63n - 1n]);
  expect(() => lessor.grant({ id: -1n, ttlSeconds: 1, remainingSeconds: 0, grantedAt: 0 })).toThrow(
    AssertionError,
  );
  expect(() => lessorWith([0n, 1])).toThrow(AssertionError);
});

test('a lease expires when its time is over, not before', () => {
  const lessor = lessorWith([1n, 10]);
  lessor.promote(1_000, 0);
  expect(lessor.expired(10_999, MAX)).toEqual([]);
  expect(lessor.expired(11_000, MAX)).toEqual([1n]);
});

test('no lease expires while this member does not lead', () => {
  const lessor = lessorWith([1n, 10]);
  expect(lessor.expired(1e12, MAX)).toEqual([]);
  lessor.promote(0, 0);
  lessor.demote();
  expect(lessor.expired(1e12, MAX)).toEqual([]);
  expect(lessor.renew(1n, 0)).toBe(0);
  expect(lessor.remaining(1n, 0)).toBe(-1);
});

test('a lease granted under this leader starts with the first time it hears of', () => {
  const lessor = new Lessor();
  lessor.promote(0, 0);
  lessor.grant({ id: 1n, ttlSeconds: 5, remainingSeconds: 0, grantedAt: 0 });
  expect(lessor.remaining(1n, 60_000)).toBe(5);
  expect(lessor.expired(64_999, MAX)).toEqual([]);
  expect(lessor.expired(65_000, MAX)).toEqual([1n]);
});

test('a renewal gives the whole time again', () => {
  const lessor = lessorWith([1n, 10]);
  lessor.promote(0, 0);
  expect(lessor.renew(1n, 9_000)).toBe(10);
  expect(lessor.expired(18_999, MAX)).toEqual([]);
  expect(lessor.remaining(1n, 18_500)).toBe(0);
  expect(lessor.expired(19_000, MAX)).toEqual([1n]);
  expect(lessor.renew(2n, 0)).toBe(0);
});

test('a promotion extends every lease', () => {
  const lessor = lessorWith([1n, 10]);
  lessor.promote(0, 0);
  lessor.promote(8_000, 3_000);
  expect(lessor.expired(20_999, MAX)).toEqual([]);
  expect(lessor.expired(21_000, MAX)).toEqual([1n]);
});

test('leases that would all expire at once after a promotion are spread', () => {
  const lessor = new Lessor();
  for (let id = 1n; id <= 3_000n; id++)
    lessor.grant({ id, ttlSeconds: 1, remainingSeconds: 0, grantedAt: 0 });
  lessor.promote(0, 0);
  const inFirstSecond = lessor.expired(1_999, 10_000).length;
  expect(inFirstSecond).toBeLessThanOrEqual(LEASE_PROMOTE_EXPIRIES_PER_SECOND);
  expect(inFirstSecond).toBeGreaterThan(LEASE_PROMOTE_EXPIRIES_PER_SECOND / 2);
  expect(lessor.expired(60_000, 10_000)).toHaveLength(3_000);
});

test('no more than asked for expire at once', () => {
  const lessor = lessorWith([1n, 1], [2n, 1], [3n, 1]);
  lessor.promote(0, 0);
  expect(lessor.expired(60_000, 2)).toHaveLength(2);
});

test('a lease whose expiry is proposed is neither renewed nor proposed again until that is settled', () => {
  const lessor = lessorWith([1n, 1]);
  lessor.promote(0, 0);
  lessor.markExpiring([1n, 99n]);
  expect(lessor.isExpiring(1n)).toBe(true);
  expect(lessor.renew(1n, 500)).toBe(0);
  expect(lessor.expired(5_000, MAX)).toEqual([]);
  lessor.clearExpiring([1n, 99n]);
  expect(lessor.expired(5_000, MAX)).toEqual([1n]);
  expect(lessor.renew(1n, 5_000)).toBe(1);
  expect(lessor.expired(5_000, MAX)).toEqual([]);
});

test('a new leader forgets what the old one proposed', () => {
  const lessor = lessorWith([1n, 1]);
  lessor.promote(0, 0);
  lessor.markExpiring([1n]);
  lessor.promote(10_000, 0);
  expect(lessor.renew(1n, 10_000)).toBe(1);
  lessor.clearExpiring([1n]);
  expect(lessor.expired(10_999, MAX)).toEqual([]);
  expect(lessor.expired(11_000, MAX)).toEqual([1n]);
});

test('a revoked lease gives up its keys in byte order and leaves nothing behind', () => {
  const lessor = lessorWith([1n, 10], [2n, 10]);
  lessor.promote(0, 0);
  // As UTF-16 the order of the first two would be another one than as bytes.
  for (const key of ['\xff', '\x00', 'b', 'a', 'a\x00']) lessor.attach(1n, bytes(key));
  lessor.attach(2n, bytes('c'));
  expect(lessor.revoke(1n)).toEqual(['\x00', 'a', 'a\x00', 'b', '\xff'].map(bytes));
  expect(lessor.has(1n)).toBe(false);
  expect(lessor.leaseOf(bytes('a'))).toBe(0n);
  expect(lessor.expired(1e9, MAX)).toEqual([2n]);
  expect(() => lessor.revoke(1n)).toThrow(AssertionError);
});

test('a key has one lease at a time', () => {
  const lessor = lessorWith([1n, 10], [2n, 10]);
  lessor.attach(1n, bytes('k'));
  lessor.attach(2n, bytes('k'));
  expect(lessor.keys(1n)).toEqual([]);
  expect(lessor.keys(2n)).toEqual([bytes('k')]);
  lessor.detach(bytes('k'));
  lessor.detach(bytes('unknown'));
  expect(lessor.keys(2n)).toEqual([]);
  expect(lessor.leaseOf(bytes('k'))).toBe(0n);
  expect(() => lessor.attach(3n, bytes('k'))).toThrow(AssertionError);
});

const LONG_SECONDS = (10 * LEASE_CHECKPOINT_INTERVAL_MS) / 1_000;

test('the remaining time of long leases is checkpointed now and then', () => {
  const lessor = lessorWith([1n, LONG_SECONDS], [2n, 5]);
  lessor.promote(0, 0);
  expect(lessor.dueCheckpoints(LEASE_CHECKPOINT_INTERVAL_MS - 1, MAX)).toEqual([]);
  const due = lessor.dueCheckpoints(LEASE_CHECKPOINT_INTERVAL_MS, MAX);
  expect(due).toEqual([{ id: 1n, remainingSeconds: LONG_SECONDS - LEASE_CHECKPOINT_INTERVAL_MS / 1_000 }]);
  expect(lessor.dueCheckpoints(LEASE_CHECKPOINT_INTERVAL_MS, MAX)).toEqual([]);
  // Lost on its way, it is made again.
  expect(lessor.dueCheckpoints(2 * LEASE_CHECKPOINT_INTERVAL_MS, MAX)).toHaveLength(1);
});

test('a new leader starts from the checkpoint', () => {
  const lessor = lessorWith([1n, LONG_SECONDS]);
  lessor.checkpoint({ id: 1n, remainingSeconds: 100 });
  lessor.checkpoint({ id: 99n, remainingSeconds: 100 });
  lessor.promote(0, 0);
  expect(lessor.remaining(1n, 0)).toBe(100);
});

test('a renewal after a checkpoint, applied or on its way, has to take it back', () => {
  const lessor = lessorWith([1n, LONG_SECONDS]);
  lessor.promote(0, 0);
  lessor.renew(1n, 0);
  expect(lessor.needsCheckpointReset(1n)).toBe(false);
  const due = lessor.dueCheckpoints(LEASE_CHECKPOINT_INTERVAL_MS, MAX);
  expect(due).toHaveLength(1);
  expect(lessor.needsCheckpointReset(1n)).toBe(true);
  lessor.checkpoint(due[0]!);
  expect(lessor.needsCheckpointReset(1n)).toBe(true);
  lessor.checkpoint({ id: 1n, remainingSeconds: 0 });
  expect(lessor.needsCheckpointReset(1n)).toBe(false);
});

test('a hundred thousand leases are cheap', () => {
  const lessor = new Lessor();
  const count = 100_000n;
  for (let id = 1n; id <= count; id++)
    lessor.grant({ id, ttlSeconds: 3_600, remainingSeconds: 0, grantedAt: 0 });
  lessor.promote(0, 0);
  // A scan of all leases at each of the ticks would run into the test's time limit.
  for (let nowMs = 1; nowMs <= 20_000; nowMs++) {
    lessor.renew(BigInt(nowMs), nowMs);
    expect(lessor.expired(nowMs, MAX).length).toBe(0);
  }
  expect(lessor.expired(3_700_000, MAX)).toHaveLength(MAX);
});
