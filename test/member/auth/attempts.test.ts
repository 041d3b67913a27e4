import { expect, test } from 'vitest';
import { Attempts } from '../../../src/member/auth/attempts.ts';
import { ManualClock } from '../manual-clock.ts';

function fail(attempts: Attempts, address: string, times: number): void {
  for (let i = 0; i < times; i++) attempts.failed(address);
}

test('an address that keeps failing must wait; others are not concerned', () => {
  const clock = new ManualClock();
  const attempts = new Attempts(clock);
  fail(attempts, 'a', 19);
  attempts.check('a');
  fail(attempts, 'a', 1);
  expect(() => attempts.check('a')).toThrow('too-many-requests');
  attempts.check('b');
  clock.advance(1_000);
  attempts.check('a');
  attempts.failed('a');
  expect(() => attempts.check('a')).toThrow('too-many-requests');
});

test('failures under way at once keep an address out for a minute at most', () => {
  const clock = new ManualClock();
  const attempts = new Attempts(clock);
  fail(attempts, 'a', 1_000);
  clock.advance(59_000);
  expect(() => attempts.check('a')).toThrow('too-many-requests');
  clock.advance(2_000);
  attempts.check('a');
});

test('an unknown address counts for nobody', () => {
  const attempts = new Attempts(new ManualClock());
  fail(attempts, '', 100);
  attempts.check('');
});

test('ten thousand addresses are remembered; for one more the one that failed longest ago is forgotten', () => {
  const attempts = new Attempts(new ManualClock());
  const others = Array.from({ length: 9_998 }, (_, i) => `other ${i}`);
  for (const address of ['first', 'second']) fail(attempts, address, 20);
  for (const address of others) fail(attempts, address, 1);
  fail(attempts, 'first', 1);
  for (const address of ['first', 'second']) {
    expect(() => attempts.check(address)).toThrow('too-many-requests');
  }
  fail(attempts, 'one more', 1);
  attempts.check('second');
  expect(() => attempts.check('first')).toThrow('too-many-requests');
});
