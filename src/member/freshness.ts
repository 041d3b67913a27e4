import { assert } from '../lib/assert.ts';
import type { Clock, Timer } from './ports.ts';

/** After somebody relied on ages they are kept low for so long. */
const DEMAND_MS = 10_000;
/** The machine's uptime is told in steps of this: every age has so much more than its measure, to be on the safe side. */
export const UPTIME_STEP_MS = 10;
/** Or of this, which is so until an uptime was seen that is no whole second. */
export const UPTIME_STEP_MS_MAX = 1_000;
/** How often a member whose ages are relied on proves its state anew. */
export const FRESHNESS_INTERVAL_MS_DEFAULT = 100;

/** An instant by this machine's own clocks. */
export interface Instant {
  /** On the clock that stands still while the machine sleeps. */
  readonly nowMs: number;
  /** On the one that does not: the instant was no earlier. */
  readonly uptimeMs: number;
}

export interface FreshnessOptions {
  readonly clock: Clock;
  /** A round that nobody waits for, begun soon. */
  readonly probe: () => void;
  /** Between two rounds while somebody relies on ages. */
  readonly intervalMs: number;
}

/**
 * How old this member's state may be. It has age `a` when it reflects every write that was acknowledged more than `a`
 * ago, whichever member acknowledged it.
 *
 * The proof is a ReadIndex round: asked at an instant `s`, confirmed by a quorum and applied here, it says that the
 * state reflects all that was acknowledged before `s` (RELIABILITY 8.3). Since the applied state never goes back, the
 * age is what has passed since the latest such `s`: it grows when this member is cut off, is stopped or is behind, and
 * never errs to the low side. Nothing but the rate of this machine's clock is trusted. Time in which the machine
 * slept counts; that in which a virtual machine and all its clocks were frozen cannot be seen.
 */
export class Freshness {
  readonly #options: FreshnessOptions;
  #proof: Instant | null = null;
  /** The uptime is ahead of the clock by this at least; more with every sleep. */
  #aheadMs = Number.NEGATIVE_INFINITY;
  #uptimeStepMs = UPTIME_STEP_MS_MAX;
  #askedMs = Number.NEGATIVE_INFINITY;
  #demandedUntilMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | null = null;
  #stopped = false;

  constructor(options: FreshnessOptions) {
    this.#options = options;
    this.tick();
  }

  /** The latest instant of which everything acknowledged before is in the applied state; null before any was proven. */
  get proof(): Instant | null {
    return this.#proof;
  }

  /**
   * The age of the state, in milliseconds with fractions, now; Infinity when nothing is proven. For what was read
   * earlier ask with the proof there was then: a later one says nothing about it.
   */
  ageMs(proof: Instant | null = this.#proof): number {
    if (proof === null) return Number.POSITIVE_INFINITY;
    const uptimeMs = this.#uptimeMs() + this.#uptimeStepMs - proof.uptimeMs;
    return Math.max(uptimeMs, this.#options.clock.nowMs() - proof.nowMs);
  }

  /** The age is no less, sleep left out: tells cheaply, unlike `ageMs`, that it is too high. */
  atLeastMs(): number {
    if (this.#proof === null) return Number.POSITIVE_INFINITY;
    return this.#options.clock.nowMs() - this.#proof.nowMs;
  }

  /** Somebody relies on low ages: rounds are asked for a while even when no read needs one. */
  demand(): void {
    const nowMs = this.#options.clock.nowMs();
    this.#demandedUntilMs = nowMs + DEMAND_MS;
    if (this.#timer === null && !this.#stopped) this.#renew(nowMs);
  }

  /** Looks how much the machine has slept; cheap, and to be called often: what it does not know yet adds to ages. */
  tick(): void {
    // In this order: a pause between the two makes it less than it is, never more.
    const uptimeMs = this.#uptimeMs();
    this.#aheadMs = Math.max(this.#aheadMs, uptimeMs - this.#options.clock.nowMs());
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#timer = null;
  }

  // ---- for the rounds -----------------------------------------------------------------------------------------

  /** A round is about to be asked. */
  asked(): Instant {
    const nowMs = this.#options.clock.nowMs();
    this.#askedMs = nowMs;
    return { nowMs, uptimeMs: nowMs + this.#aheadMs };
  }

  /** The index of a round asked then is applied. */
  proven(asked: Instant): void {
    assert(asked.nowMs <= this.#askedMs, 'only what was asked is proven');
    if (this.#proof === null || asked.nowMs > this.#proof.nowMs) this.#proof = asked;
  }

  /** The uptime as it is told, which is late by less than the step. */
  #uptimeMs(): number {
    const uptimeMs = this.#options.clock.uptimeMs();
    if (uptimeMs % UPTIME_STEP_MS_MAX !== 0) this.#uptimeStepMs = UPTIME_STEP_MS;
    return uptimeMs;
  }

  #renew(nowMs: number): void {
    const { clock, intervalMs, probe } = this.#options;
    if (this.#stopped || nowMs >= this.#demandedUntilMs) return;
    const waitMs = this.#askedMs + intervalMs - nowMs;
    if (waitMs <= 0) probe();
    this.#timer = clock.setTimer(
      () => {
        this.#timer = null;
        this.#renew(clock.nowMs());
      },
      waitMs <= 0 ? intervalMs : waitMs,
    );
  }
}
