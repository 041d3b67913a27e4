import { randomInt } from 'node:crypto';
import { uptime } from 'node:os';
import type { Clock, Random, Timer } from './ports.ts';

/**
 * The process's own monotonic clock and timers. The uptime is the first number of `/proc/uptime`, in steps of 10 ms, and
 * costs 5 us; where there is no such file it comes in whole seconds.
 */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  uptimeMs: () => uptime() * 1000,
  setTimer(callback, delayMs): Timer {
    const timer = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
  setImmediate(callback): void {
    setImmediate(callback);
  },
};

/** Randomness from the operating system. */
export const systemRandom: Random = {
  integer: (bound) => randomInt(Math.min(bound, 2 ** 48 - 1)),
};
