/**
 * What a client may send besides requests. HTTP/2 lets it send frames without end that cost it nothing: pings,
 * settings, priorities, empty data, requests canceled as soon as they are made. Each connection has two budgets,
 * filled by time and, for the first, by what the server sends: acknowledgements and window updates follow that.
 */
export interface FrameLimits {
  /** Frames that carry no request: at once, and more a second. */
  readonly idleFramesBurst: number;
  readonly idleFramesPerSecond: number;
  /** Requests that the client resets (CVE-2023-44487): at once, and more a second. */
  readonly resetsBurst: number;
  readonly resetsPerSecond: number;
}

/** A little below what nghttp2 allows for resets: beyond its own bound it falls silent instead of closing. */
export const DEFAULT_FRAME_LIMITS: FrameLimits = {
  idleFramesBurst: 10_000,
  idleFramesPerSecond: 1_000,
  resetsBurst: 900,
  resetsPerSecond: 30,
};

const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
/** So many bytes sent to the client allow it one more frame: less than an answer, more than an acknowledgement. */
const SENT_BYTES_PER_FRAME = 64;

/** Judges the frames of one connection. */
export class FrameGuard {
  readonly #idle: Budget;
  readonly #resets: Budget;

  /** @param nowMs any monotonic clock */
  constructor(limits: FrameLimits, nowMs: () => number) {
    this.#idle = new Budget({ burst: limits.idleFramesBurst, perSecond: limits.idleFramesPerSecond }, nowMs);
    this.#resets = new Budget({ burst: limits.resetsBurst, perSecond: limits.resetsPerSecond }, nowMs);
  }

  /** Takes a frame's head into account. @returns why the connection must end, or null */
  judge(type: number, payloadBytes: number): string | null {
    if (type === HEADERS || (type === DATA && payloadBytes > 0)) return null;
    if (type === RST_STREAM && !this.#resets.take()) return 'too many requests were reset';
    return this.#idle.take() ? null : 'too many frames without a request';
  }

  /** That many bytes went to the client. */
  sent(bytes: number): void {
    this.#idle.give(bytes / SENT_BYTES_PER_FRAME);
  }
}

/** A token bucket. */
class Budget {
  readonly #rate: { readonly burst: number; readonly perSecond: number };
  readonly #nowMs: () => number;
  #left: number;
  #filledMs: number;

  constructor(rate: { readonly burst: number; readonly perSecond: number }, nowMs: () => number) {
    this.#rate = rate;
    this.#nowMs = nowMs;
    this.#left = rate.burst;
    this.#filledMs = nowMs();
  }

  take(): boolean {
    if (this.#left < 1) this.#fill();
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }

  give(amount: number): void {
    this.#left = Math.min(this.#rate.burst, this.#left + amount);
  }

  /** The clock is only asked when it matters. */
  #fill(): void {
    const nowMs = this.#nowMs();
    const { burst, perSecond } = this.#rate;
    this.#left = Math.min(burst, this.#left + ((nowMs - this.#filledMs) / 1000) * perSecond);
    this.#filledMs = nowMs;
  }
}
