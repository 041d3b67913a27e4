import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CLOCK_DRIFT } from '../../src/client/clock.ts';
import { FreshLease, RENEWALS_MAX } from '../../src/client/fresh-lease.ts';

test('nothing is known before the first answer', () => {
  const lease = new FreshLease(1_000);
  expect(lease.untilMs).toBe(-Infinity);
  expect(lease.ageMs(5_000)).toBeUndefined();
  expect(lease.isWaiting).toBe(false);
});

test('the lease counts from when it was asked for, less the age, and ends early by what the clock may lose', () => {
  const lease = new FreshLease(1_000);
  const nonce = lease.ask(5_000);
  expect(lease.isAsked(nonce)).toBe(true);
  expect(lease.answered(nonce, 40)).toBe(true);
  expect(lease.untilMs).toBe(5_000 - 40 + 1_000 - 1);
  expect(lease.ageMs(5_000)).toBeCloseTo(40 / 0.999, 6);
  expect(lease.ageMs(lease.untilMs)).toBeCloseTo(1_000, 6);
  expect(lease.isAsked(nonce)).toBe(false);
});

test('an age beyond the bound makes a lease that is over', () => {
  const lease = new FreshLease(1_000);
  lease.answered(lease.ask(5_000), 7_000);
  expect(lease.untilMs).toBeLessThan(5_000);
  expect(lease.ageMs(5_000)).toBeGreaterThanOrEqual(7_000);
});

test('an answer proves something once, and only to a question of the present stream', () => {
  const lease = new FreshLease(1_000);
  const first = lease.ask(1_000);
  expect(lease.answered(first, 0)).toBe(true);
  const { untilMs } = lease;
  expect(lease.answered(first, 0)).toBe(false);
  expect(lease.answered(99, 0)).toBe(false);
  const second = lease.ask(1_500);
  lease.forget();
  expect(lease.answered(second, 0)).toBe(false);
  expect(lease.untilMs).toBe(untilMs);
});

test('ages that are none prove nothing', () => {
  const lease = new FreshLease(1_000);
  for (const age of [-1, Number.NaN]) expect(lease.answered(lease.ask(1_000), age)).toBe(false);
  expect(lease.untilMs).toBe(-Infinity);
});

test('a later answer that proves less takes nothing away', () => {
  const lease = new FreshLease(1_000);
  lease.answered(lease.ask(1_000), 0);
  lease.answered(lease.ask(1_100), 900);
  expect(lease.untilMs).toBe(1_999);
});

test('the lease ends at once when it is told to', () => {
  const lease = new FreshLease(1_000);
  lease.answered(lease.ask(1_000), 0);
  lease.end();
  expect(lease.untilMs).toBe(-Infinity);
  expect(lease.ageMs(1_000)).toBeUndefined();
});

test('questions without answers are bounded', () => {
  const lease = new FreshLease(1_000);
  for (let at = 0; at < RENEWALS_MAX; at += 1) {
    expect(lease.isAskedEnough).toBe(false);
    lease.ask(at);
  }
  expect(lease.isAskedEnough).toBe(true);
});

test('whatever the client’s clock does within its drift, no claim is too good', () => {
  const ms = fc.double({ min: 0, max: 100_000, noNaN: true });
  const rate = fc.double({ min: 1 - CLOCK_DRIFT, max: 1 + CLOCK_DRIFT, noNaN: true });
  fc.assert(
    fc.property(rate, ms, ms, ms, ms, (clockRate, bound, age, wayBack, since) => {
      const boundMs = bound + 10;
      const lease = new FreshLease(boundMs);
      // True time 0 is when the question is asked, and the member answers at once: the worst case.
      lease.answered(lease.ask(0), age);
      const nowMs = (wayBack + since) * clockRate;
      const trueAgeMs = age + wayBack + since;
      expect(lease.ageMs(nowMs)! + 1e-6).toBeGreaterThanOrEqual(trueAgeMs);
      if (nowMs < lease.untilMs) expect(trueAgeMs).toBeLessThanOrEqual(boundMs + 1e-6);
    }),
  );
});
