import type { Clock, Timer } from '../../src/member/ports.ts';
import type { Prng } from './prng.ts';
import type { Scheduler, SimEvent } from './scheduler.ts';

/** What one turn of a simulated event loop costs, in ms. */
const TURN_MS_MIN = 0.005;
const TURN_MS_MAX = 0.05;

/** How a paused process finds its clock afterwards. */
export type PauseKind =
  /** The process was stopped; its clocks went on. */
  | 'stopped'
  /** The machine slept: its monotonic clock stood still, its uptime went on. */
  | 'suspended'
  /** A virtual machine stood still with all its clocks, of which nothing inside it can know. */
  | 'frozen';

/** Uptime is told in steps, in ms, as Linux tells it. */
const UPTIME_STEP_MS = 10;

/**
 * One operating system process of the simulation: its clock, and whether its code runs. Everything it waits for is
 * an event it owns, so a dead process simply never hears of anything again.
 */
export class SimProcess {
  readonly name: string;
  /** Distinguishes processes in the trace hash. */
  readonly number: number;
  alive = true;
  paused = false;
  readonly clock: Clock;
  /** Ends the process over an error that its code did not catch. */
  readonly uncaught: (error: unknown) => void;
  readonly #scheduler: Scheduler;
  readonly #random: Prng;
  /** The clock's rate against true time. */
  readonly rate: number;
  readonly #timerLagMsMax: number;
  readonly #startedMs: number;
  readonly #baseMs: number;
  /** For how long the monotonic clock has stood still, and for how much of it the uptime too. */
  #stoodMs = 0;
  #frozenMs = 0;
  #pausedAtMs = 0;
  #lastTurnMs = 0;
  #held: SimEvent[] = [];

  constructor(options: {
    readonly name: string;
    readonly number: number;
    readonly scheduler: Scheduler;
    readonly random: Prng;
    readonly rate: number;
    /** Timers are late by up to this much, in ms. */
    readonly timerLagMsMax: number;
    readonly uncaught: (process: SimProcess, error: unknown) => void;
  }) {
    this.uncaught = (error) => options.uncaught(this, error);
    this.name = options.name;
    this.number = options.number;
    this.#scheduler = options.scheduler;
    this.#random = options.random;
    this.rate = options.rate;
    this.#timerLagMsMax = options.timerLagMsMax;
    this.#startedMs = options.scheduler.nowMs;
    this.#baseMs = options.random.integer(1_000_000);
    this.clock = {
      nowMs: () => this.#nowMs(),
      uptimeMs: () => this.#uptimeMs(),
      setTimer: (callback, delayMs) => this.#setTimer(callback, delayMs),
      setImmediate: (callback) => this.#setImmediate(callback),
    };
  }

  /** Keeps an event that comes while the process is paused. */
  hold(event: SimEvent): void {
    this.#held.push(event);
  }

  pause(): void {
    if (this.paused) return;
    this.paused = true;
    this.#pausedAtMs = this.#scheduler.nowMs;
  }

  resume(kind: PauseKind): void {
    if (!this.paused) return;
    this.paused = false;
    const forMs = this.#scheduler.nowMs - this.#pausedAtMs;
    if (kind !== 'stopped') this.#stoodMs += forMs;
    if (kind === 'frozen') this.#frozenMs += forMs;
    const held = this.#held;
    this.#held = [];
    const timersFirst = [
      ...held.filter((event) => event.kind === 'timer'),
      ...held.filter((event) => event.kind !== 'timer'),
    ];
    for (const [position, event] of timersFirst.entries()) this.#scheduler.again(event, position * 1e-6);
  }

  /** Runs something as this process after a delay of true time. */
  schedule(delayMs: number, kind: SimEvent['kind'], run: () => void): SimEvent {
    return this.#scheduler.schedule(delayMs, { owner: this, kind, run });
  }

  #nowMs(): number {
    return this.#baseMs + (this.#scheduler.nowMs - this.#startedMs - this.#stoodMs) * this.rate;
  }

  #uptimeMs(): number {
    const upMs = this.#baseMs + (this.#scheduler.nowMs - this.#startedMs - this.#frozenMs) * this.rate;
    return Math.floor(upMs / UPTIME_STEP_MS) * UPTIME_STEP_MS;
  }

  #setTimer(callback: () => void, delayMs: number): Timer {
    const dueMs = this.#nowMs() + Math.max(0, delayMs);
    let event: SimEvent;
    const fire = (): void => {
      const leftMs = dueMs - this.#nowMs();
      // A clock that stood still puts its timers off.
      if (leftMs > 1e-6) event = this.schedule(leftMs / this.rate, 'timer', fire);
      else callback();
    };
    const lagMs = this.#random.fraction() * this.#timerLagMsMax;
    event = this.schedule(Math.max(0, delayMs) / this.rate + lagMs, 'timer', fire);
    return {
      cancel: () => {
        event.canceled = true;
      },
    };
  }

  /** In the order of the calls, each a moment later. */
  #setImmediate(callback: () => void): void {
    const costMs = TURN_MS_MIN + this.#random.fraction() * (TURN_MS_MAX - TURN_MS_MIN);
    this.#lastTurnMs = Math.max(this.#scheduler.nowMs, this.#lastTurnMs) + costMs;
    this.schedule(this.#lastTurnMs - this.#scheduler.nowMs, 'immediate', callback);
  }
}
