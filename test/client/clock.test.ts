import { expect, test } from 'vitest';
import { SLEEP_LOOK_MS, SleepAwareClock } from '../../src/client/clock.ts';

/** Uptime in steps of 10 ms, as Linux tells it. */
class Machine {
  stepMs = 10;
  running = 1_000;
  asleep = 4_321;
  uptimeMs = (): number => Math.floor((this.running + this.asleep) / this.stepMs) * this.stepMs;
  runningMs = (): number => this.running;
}

test('time that the machine slept counts, and is seen by the first read after a millisecond', () => {
  const machine = new Machine();
  const clock = new SleepAwareClock(machine);
  const before = clock.nowMs();
  machine.running += 5;
  expect(clock.nowMs() - before).toBe(5);
  machine.asleep += 60_000;
  machine.running += SLEEP_LOOK_MS;
  const after = clock.nowMs() - before;
  expect(after).toBeGreaterThanOrEqual(60_000 - 10);
  expect(after).toBeLessThanOrEqual(60_006 + 10);
});

test('the steps of the uptime are no sleep, however long it runs', () => {
  const machine = new Machine();
  const clock = new SleepAwareClock(machine);
  const offset = clock.nowMs() - machine.running;
  for (let step = 0; step < 10_000; step += 1) {
    machine.running += 3.7;
    expect(clock.nowMs() - machine.running).toBe(offset);
  }
});

test('short sleeps add up', () => {
  const machine = new Machine();
  const clock = new SleepAwareClock(machine);
  const before = clock.nowMs();
  for (let step = 0; step < 1_000; step += 1) {
    machine.running += 10;
    machine.asleep += 15;
    clock.nowMs();
  }
  expect(clock.nowMs() - before).toBeGreaterThanOrEqual(25_000 - 40);
});

test('of all sleep less than 30 ms is not counted', () => {
  for (let sleepMs = 1; sleepMs < 100; sleepMs += 1) {
    const machine = new Machine();
    machine.asleep += sleepMs / 7;
    const clock = new SleepAwareClock(machine);
    const before = clock.nowMs();
    machine.asleep += sleepMs;
    for (let step = 0; step < 50; step += 1) {
      machine.running += 3.7;
      clock.nowMs();
    }
    const passedMs = 50 * 3.7 + sleepMs;
    expect(clock.nowMs() - before).toBeGreaterThan(passedMs - 30);
  }
});

test('where the uptime comes in whole seconds time goes up to twice as fast, and a long sleep counts', () => {
  const machine = new Machine();
  machine.stepMs = 1_000;
  const clock = new SleepAwareClock(machine);
  const before = clock.nowMs();
  const pass = (seconds: number): void => {
    for (let step = 0; step < seconds * 100; step += 1) {
      machine.running += 10;
      clock.nowMs();
    }
  };
  pass(10);
  expect(clock.nowMs() - before).toBeGreaterThan(18_000);
  expect(clock.nowMs() - before).toBeLessThanOrEqual(20_000);
  machine.asleep += 60_000;
  pass(1);
  expect(clock.nowMs() - before).toBeGreaterThan(79_000);
});

test('time never goes back, though the uptime be set', () => {
  const machine = new Machine();
  const clock = new SleepAwareClock(machine);
  const before = clock.nowMs();
  machine.asleep -= 3_600_000;
  machine.running += 10;
  expect(clock.nowMs() - before).toBe(10);
  machine.asleep += 1_000;
  machine.running += 10;
  expect(clock.nowMs() - before).toBeGreaterThanOrEqual(1_010);
});

test('the machine’s own clocks go forward together', async () => {
  const clock = new SleepAwareClock();
  const before = clock.nowMs();
  const startedMs = performance.now();
  await new Promise<void>((resolve) => {
    clock.after(30, resolve);
  });
  const passedMs = performance.now() - startedMs;
  expect(clock.nowMs() - before).toBeGreaterThanOrEqual(passedMs);
  clock.after(0, () => expect.unreachable('it was called off'))();
});
