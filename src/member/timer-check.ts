import type { MemberId } from '../core/raft/messages.ts';
import type { Logger } from '../lib/logger.ts';
import type { MemberInfo } from './membership.ts';
import type { Clock, Transport } from './ports.ts';

/** How often the timers are held against the round trips. */
const LOOK_MS = 10_000;
/** The least time between two warnings. */
const WARNING_MS_MIN = 60_000;
/** A round trip that differs by a smaller part from the one warned of is no news. */
const NEWS_PART = 0.25;
/** Within one heartbeat interval at least half a round trip passes; within an election timeout ten of them. */
const HEARTBEAT_ROUND_TRIPS_MIN = 0.5;
const ELECTION_ROUND_TRIPS_MIN = 10;
/** What is advised is rounded up to this. */
const HEARTBEAT_STEP_MS = 10;
const ELECTION_STEP_MS = 100;

export interface TimerCheckOptions {
  readonly self: MemberId;
  readonly heartbeatMs: number;
  readonly electionMs: number;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly logger: Logger;
  readonly transport: Pick<Transport, 'roundTrip'>;
  readonly members: () => readonly MemberInfo[];
}

/** What the timers should be, on every member, for the voter that is furthest away. */
export interface TimerAdvice {
  readonly to: MemberId;
  /** The smoothed round trip to it. */
  readonly roundTripMs: number;
  readonly heartbeatMs: number;
  readonly electionMs: number;
}

/**
 * Warns when heartbeat interval or election timeout are too short for the round trips to the other voters: an answer
 * that is merely far away would be taken for none, and leaders deposed for nothing (RELIABILITY 8.1). A round trip must
 * be too long at two looks in a row; the same warning is not repeated. Without a vote timers matter little: a learner
 * does not warn.
 */
export class TimerCheck {
  readonly #options: TimerCheckOptions;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #advice: TimerAdvice | null = null;
  #before: TimerAdvice | null = null;
  #warned: TimerAdvice | null = null;
  #warnedMs = Number.NEGATIVE_INFINITY;

  constructor(options: TimerCheckOptions) {
    this.#options = options;
  }

  /** As of the last look; null while the timers are long enough, or no round trip is known. */
  get advice(): TimerAdvice | null {
    return this.#advice;
  }

  tick(): void {
    const nowMs = this.#options.clock.nowMs();
    if (nowMs - this.#lookedMs < LOOK_MS) return;
    this.#lookedMs = nowMs;
    this.#before = this.#advice;
    this.#advice = this.#advise();
    if (this.#advice === null) this.#noteFit();
    else if (this.#before !== null) this.#warn(this.#advice, nowMs);
  }

  #advise(): TimerAdvice | null {
    const { heartbeatMs, electionMs } = this.#options;
    const furthest = this.#furthest();
    if (furthest === null) return null;
    const { roundTripMs } = furthest;
    const heartbeatFits = heartbeatMs >= HEARTBEAT_ROUND_TRIPS_MIN * roundTripMs;
    const electionFits = electionMs >= ELECTION_ROUND_TRIPS_MIN * roundTripMs;
    if (heartbeatFits && electionFits) return null;
    return {
      ...furthest,
      heartbeatMs: heartbeatFits ? heartbeatMs : roundedUp(roundTripMs, HEARTBEAT_STEP_MS),
      electionMs: Math.max(electionMs, roundedUp(ELECTION_ROUND_TRIPS_MIN * roundTripMs, ELECTION_STEP_MS)),
    };
  }

  #furthest(): { readonly to: MemberId; readonly roundTripMs: number } | null {
    const { self, transport, members } = this.#options;
    const voters = members().filter(({ isLearner }) => !isLearner);
    if (!voters.some(({ id }) => id === self)) return null;
    let furthest: { readonly to: MemberId; readonly roundTripMs: number } | null = null;
    for (const { id } of voters) {
      const roundTripMs = transport.roundTrip(id)?.smoothedMs;
      if (roundTripMs === undefined) continue;
      if (furthest === null || roundTripMs > furthest.roundTripMs) furthest = { to: id, roundTripMs };
    }
    return furthest;
  }

  #warn(advice: TimerAdvice, nowMs: number): void {
    const { heartbeatMs, electionMs, logger } = this.#options;
    const known = this.#warned?.roundTripMs;
    if (known !== undefined && Math.abs(advice.roundTripMs - known) <= NEWS_PART * known) return;
    if (nowMs - this.#warnedMs < WARNING_MS_MIN) return;
    this.#warned = advice;
    this.#warnedMs = nowMs;
    logger.warn(
      {
        heartbeatMs,
        electionMs,
        peer: advice.to.toString(16),
        roundTripMs: Math.round(advice.roundTripMs),
        advice: `--heartbeat-interval ${advice.heartbeatMs} --election-timeout ${advice.electionMs}`,
      },
      'the timers are too short for the round trip to a voter: set them as advised on every member',
    );
  }

  #noteFit(): void {
    if (this.#warned === null) return;
    this.#warned = null;
    this.#options.logger.info({}, 'the timers are long enough for the round trips again');
  }
}

function roundedUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
