import { uptime } from 'node:os';

/** How much slower than true time this process's own clock may run: 1 ms in a second. Machines drift by a tenth of it. */
export const CLOCK_DRIFT = 0.001;

/** The time of caches and leases, and what is to happen in it. */
export interface ClientClock {
  /** Milliseconds since some instant, sleep of the machine included; never goes back. */
  nowMs(): number;
  /** Runs `action` once, so much later. @returns what calls it off */
  after(delayMs: number, action: () => void): () => void;
}

/** How long a sleep of the machine may go unnoticed while the process runs: the look costs 6 us. */
export const SLEEP_LOOK_MS = 1;
/**
 * Uptime is told in steps of 10 ms: less than two of them is no sleep. So, of all sleep, up to three steps may not be
 * counted. Where it is told in whole seconds each step counts as sleep: time then goes up to twice as fast.
 */
const SLEEP_MS_MIN = 20;

/** The clocks of the machine; `performance.now()` stands still while the machine sleeps, its uptime does not. */
export interface MachineClocks {
  readonly runningMs: () => number;
  readonly uptimeMs: () => number;
}

const MACHINE: MachineClocks = {
  runningMs: () => performance.now(),
  uptimeMs: () => uptime() * 1000,
};

/**
 * `performance.now()` and the time that the machine slept, which is looked for at most once in a millisecond. A virtual
 * machine that is frozen with all its clocks is beyond what a process can see.
 */
export class SleepAwareClock implements ClientClock {
  readonly #clocks: MachineClocks;
  #sleptMs = 0;
  #lookAtMs: number;
  /** Uptime less running time, as low as it has been. */
  #aheadMs: number;

  constructor(clocks: MachineClocks = MACHINE) {
    this.#clocks = clocks;
    this.#aheadMs = clocks.uptimeMs() - clocks.runningMs();
    this.#lookAtMs = clocks.runningMs() + SLEEP_LOOK_MS;
  }

  nowMs(): number {
    const runningMs = this.#clocks.runningMs();
    if (runningMs >= this.#lookAtMs) this.#look(runningMs);
    return runningMs + this.#sleptMs;
  }

  after(delayMs: number, action: () => void): () => void {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  }

  #look(runningMs: number): void {
    this.#lookAtMs = runningMs + SLEEP_LOOK_MS;
    const aheadMs = this.#clocks.uptimeMs() - runningMs;
    const sleptMs = aheadMs - this.#aheadMs;
    if (sleptMs > SLEEP_MS_MIN) this.#sleptMs += sleptMs;
    if (sleptMs > SLEEP_MS_MIN || sleptMs < 0) this.#aheadMs = aheadMs;
  }
}
