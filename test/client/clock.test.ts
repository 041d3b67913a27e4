import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SLEEP_LOOK_MS, SleepAwareClock } from '../../src/client/clock.ts';

/** Uptime in steps of 10 ms, as Linux tells it, or of others. */
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

test.each([10, 1_000])(
  'steps of %i ms of the uptime make one step of difference in all, then none',
  (stepMs) => {
    const machine = new Machine();
    machine.stepMs = stepMs;
    const clock = new SleepAwareClock(machine);
    const offset = clock.nowMs() - machine.running;
    const pass = (durationMs: number): void => {
      for (const endMs = machine.running + durationMs; machine.running < endMs; machine.running += 3.7)
        clock.nowMs();
    };
    pass(2 * stepMs);
    const settled = clock.nowMs() - machine.running;
    expect(settled - offset).toBeGreaterThanOrEqual(0);
    expect(settled - offset).toBeLessThan(stepMs);
    pass(50_000);
    // What was found since is less than the time between two looks.
    expect(clock.nowMs() - machine.running - settled).toBeLessThan(3.7);
  },
);

test('short sleeps add up', () => {
  const machine = new Machine();
  const clock = new SleepAwareClock(machine);
  const before = clock.nowMs();
  for (let step = 0; step < 1_000; step += 1) {
    machine.running += 10;
    machine.asleep += 15;
    clock.nowMs();
  }
  expect(clock.nowMs() - before).toBeGreaterThanOrEqual(25_000 - 10);
});

test('whenever it is read, and however the machine sleeps, less than a step of the uptime is missing, or too much', () => {
  const passing = fc.record({
    runs: fc.double({ min: 0, max: 5_000, noNaN: true }),
    sleeps: fc.nat({ max: 3_000 }),
  });
  fc.assert(
    fc.property(
      fc.constantFrom(10, 1_000),
      fc.nat({ max: 999 }),
      fc.array(passing),
      (stepMs, phase, steps) => {
        const machine = new Machine();
        machine.stepMs = stepMs;
        machine.asleep += phase;
        const clock = new SleepAwareClock(machine);
        const read = (): number => {
          machine.running += SLEEP_LOOK_MS;
          return clock.nowMs() - machine.running - machine.asleep;
        };
        const wrong = [read()];
        for (const { runs, sleeps } of steps) {
          machine.running += runs;
          machine.asleep += sleeps;
          wrong.push(read());
        }
        expect(Math.max(...wrong) - Math.min(...wrong)).toBeLessThan(stepMs + 1e-6);
      },
    ),
  );
});

test('with an uptime of whole seconds a sleep is told in full once a second has begun', () => {
  const machine = new Machine();
  machine.stepMs = 1_000;
  const clock = new SleepAwareClock(machine);
  const pass = (durationMs: number): void => {
    for (let ms = 0; ms < durationMs; ms += 2) {
      machine.running += 2;
      clock.nowMs();
    }
  };
  pass(1_000);
  const before = clock.nowMs();
  machine.asleep += 60_500;
  pass(1_000);
  expect(clock.nowMs() - before).toBeGreaterThan(61_500 - 4);
  expect(clock.nowMs() - before).toBeLessThan(61_500 + 4);
});

test('a stop of the process while it looks hides no later sleep', () => {
  const machine = new Machine();
  const clock = new SleepAwareClock(machine);
  const { uptimeMs } = machine;
  machine.uptimeMs = () => {
    machine.running += 600_000;
    const told = uptimeMs();
    machine.running += 600_000;
    return told;
  };
  machine.running += 5;
  clock.nowMs();
  machine.uptimeMs = uptimeMs;
  const before = clock.nowMs();
  machine.asleep += 300_000;
  machine.running += 5;
  expect(clock.nowMs() - before).toBeGreaterThanOrEqual(300_005 - 10);
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
  expect(clock.nowMs() - before).toBeGreaterThanOrEqual(1_020 - 10);
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
  // Not at once, as timers do that are asked for more than they can.
  const callOff = clock.after(Infinity, () => expect.unreachable('that time is not over'));
  await new Promise((resolve) => setTimeout(resolve, 5));
  callOff();
});
