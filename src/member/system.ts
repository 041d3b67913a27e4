import { randomInt } from 'node:crypto';
import type { Clock, Random, Timer } from './ports.ts';

/** The process's own monotonic clock and timers. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
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
