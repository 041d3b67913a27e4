import type { Clock, Timer } from '../../src/member/ports.ts';

interface Due {
  readonly atMs: number;
  readonly callback: () => void;
}

/** The machine has been up for so long when the clock begins: no whole seconds. */
const BOOTED_MS = 1_234;

/** A clock that stands still until told to go on. */
export class ManualClock implements Clock {
  #nowMs = 0;
  #asleepMs = 0;
  /** Of the machine's uptime no more is told. */
  inWholeSeconds = false;
  readonly #timers = new Set<Due>();
  #onTimer: (() => void)[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  uptimeMs(): number {
    const uptimeMs = BOOTED_MS + this.#nowMs + this.#asleepMs;
    return this.inWholeSeconds ? Math.floor(uptimeMs / 1_000) * 1_000 : uptimeMs;
  }

  /** The machine sleeps: this clock stands still meanwhile. */
  sleep(ms: number): void {
    this.#asleepMs += ms;
  }

  setTimer(callback: () => void, delayMs: number): Timer {
    const due = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.add(due);
    for (const resolve of this.#onTimer.splice(0)) resolve();
    return { cancel: () => void this.#timers.delete(due) };
  }

  setImmediate(callback: () => void): void {
    setImmediate(callback);
  }

  /** Timers set and neither due nor cancelled. */
  get timerCount(): number {
    return this.#timers.size;
  }

  /** Resolves when somebody waits for time to pass. */
  async untilTimer(): Promise<void> {
    if (this.#timers.size > 0) return;
    await new Promise<void>((resolve) => void this.#onTimer.push(resolve));
  }

  /** Lets time pass; what falls due is called in order. */
  advance(ms: number): void {
    this.#nowMs += ms;
    const due = [...this.#timers].filter((timer) => timer.atMs <= this.#nowMs);
    for (const timer of due.sort((a, b) => a.atMs - b.atMs)) {
      if (this.#timers.delete(timer)) timer.callback();
    }
  }
}
