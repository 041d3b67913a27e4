import { uptime } from 'node:os';

/** How much slower than true time this process's own clock may run: 1 ms in a second. Machines drift by a tenth of it. */
export const CLOCK_DRIFT = 0.001;

/** The time of caches and leases, and what is to happen in it. */
export interface ClientClock {
  /** Milliseconds since some instant, sleep of the machine included; never goes back. */
  nowMs(): number;
  /** Runs `action` once, so much later, or after 24 days; sleep is not counted. @returns what calls it off */
  after(delayMs: number, action: () => void): () => void;
}

/** How long a sleep of the machine may go unnoticed while the process runs: the look costs 6 us. */
export const SLEEP_LOOK_MS = 1;
/** Uptime is told in steps, of 10 ms or of a second: one that falls back further than that has been set. */
const UPTIME_SET_MS = 2_000;
/** Timers cannot wait longer: 24 days. */
export const TIMER_MS_MAX = 2 ** 31 - 1;

/** The clocks of the machine. */
export interface MachineClocks {
  /** May stand still while the machine sleeps. */
  readonly runningMs: () => number;
  /** Does not, and may be told in steps. */
  readonly uptimeMs: () => number;
}

/** Where `performance.now()` goes on in sleep; macOS tells its uptime in whole seconds of the wall clock besides. */
const RUNS_IN_SLEEP: ReadonlySet<string> = new Set(['darwin', 'win32']);

const MACHINE: MachineClocks = {
  runningMs: () => performance.now(),
  uptimeMs: RUNS_IN_SLEEP.has(process.platform) ? () => performance.now() : () => uptime() * 1000,
};

/**
 * `performance.now()` and the time that the machine slept, which is looked for at most once in a millisecond: by how
 * much the uptime has come further ahead of it than it ever was. Steps of the uptime only ever hide a part of that, so
 * between any two moments the clock is wrong by less than a step, and right again as soon as the uptime was seen at
 * the beginning of one. A virtual machine that is frozen with all its clocks is beyond what a process can see.
 */
export class SleepAwareClock implements ClientClock {
  readonly #clocks: MachineClocks;
  #sleptMs = 0;
  #lookAtMs: number;
  /** Uptime less running time, as high as it has been since the uptime was set. */
  #aheadMs: number;

  constructor(clocks: MachineClocks = MACHINE) {
    this.#clocks = clocks;
    this.#aheadMs = this.#ahead();
    this.#lookAtMs = clocks.runningMs() + SLEEP_LOOK_MS;
  }

  nowMs(): number {
    const runningMs = this.#clocks.runningMs();
    if (runningMs >= this.#lookAtMs) this.#look(runningMs);
    return runningMs + this.#sleptMs;
  }

  after(delayMs: number, action: () => void): () => void {
    const timer = setTimeout(action, Math.min(delayMs, TIMER_MS_MAX));
    return () => clearTimeout(timer);
  }

  #look(runningMs: number): void {
    this.#lookAtMs = runningMs + SLEEP_LOOK_MS;
    const aheadMs = this.#ahead();
    if (aheadMs > this.#aheadMs) this.#sleptMs += aheadMs - this.#aheadMs;
    if (aheadMs > this.#aheadMs || aheadMs < this.#aheadMs - UPTIME_SET_MS) this.#aheadMs = aheadMs;
  }

  /** Never too much: a pause between the two, in this order, makes it less, and nothing would be seen below a peak. */
  #ahead(): number {
    const uptimeMs = this.#clocks.uptimeMs();
    return uptimeMs - this.#clocks.runningMs();
  }
}
