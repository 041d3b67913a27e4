import { CLOCK_DRIFT } from './clock.ts';

/** Requests without an answer at one time; their times are all that is kept of them. */
export const RENEWALS_MAX = 8;

/**
 * The freshness lease of one watch, as its client counts it. A renewal is asked for at the client's own instant `asked`
 * and answered, in the stream and behind every event it covers, with an age: the member then knew of everything
 * acknowledged more than `age` before. So the client knows of everything acknowledged before `asked - age`, and with a
 * bound X the lease holds until `asked - age + X`, less what the client's clock may have lost meanwhile
 * (RELIABILITY 8.6). Only the rate of that one clock is relied on.
 *
 * The lease outlives the stream that renewed it: what was known stays known, whoever tells the rest.
 */
export class FreshLease {
  readonly #boundMs: number;
  /** When each request that may still be answered was made, by its nonce; oldest first. */
  readonly #asked = new Map<number, number>();
  #nonce = 0;
  /** Everything acknowledged before this instant of the client's clock is known. */
  #provenMs = Number.NEGATIVE_INFINITY;
  #untilMs = Number.NEGATIVE_INFINITY;

  /** @param boundMs X, above 0 */
  constructor(boundMs: number) {
    this.#boundMs = boundMs;
  }

  /** The lease holds before this instant of the client's clock; -Infinity as long as nothing was proven. */
  get untilMs(): number {
    return this.#untilMs;
  }

  /** Whether so many requests wait that another would tell no more. */
  get isAskedEnough(): boolean {
    return this.#asked.size >= RENEWALS_MAX;
  }

  /** Whether any request may still be answered. */
  get isWaiting(): boolean {
    return this.#asked.size > 0;
  }

  /** To be called before the request is sent. @returns its nonce, which no other request of this lease has */
  ask(nowMs: number): number {
    this.#nonce += 1;
    this.#asked.set(this.#nonce, nowMs);
    return this.#nonce;
  }

  /** Whether an answer to this request would still count. */
  isAsked(nonce: number): boolean {
    return this.#asked.has(nonce);
  }

  /** Takes an answer of the stream that was asked. @returns false when it proves nothing */
  answered(nonce: number, ageMs: number): boolean {
    const askedMs = this.#asked.get(nonce);
    if (askedMs === undefined || !(ageMs >= 0)) return false;
    this.#asked.delete(nonce);
    const provenMs = askedMs - ageMs;
    if (provenMs > this.#provenMs) {
      this.#provenMs = provenMs;
      this.#untilMs = provenMs + this.#boundMs - CLOCK_DRIFT * this.#boundMs;
    }
    return true;
  }

  /** The stream is gone, and with it whatever was asked on it. */
  forget(): void {
    this.#asked.clear();
  }

  /** Ends the lease at once. */
  end(): void {
    this.#asked.clear();
    this.#provenMs = Number.NEGATIVE_INFINITY;
    this.#untilMs = Number.NEGATIVE_INFINITY;
  }

  /**
   * What is known includes everything acknowledged more than so many ms ago; at most X while the lease holds. Undefined
   * as long as nothing was proven.
   */
  ageMs(nowMs: number): number | undefined {
    if (this.#provenMs === Number.NEGATIVE_INFINITY) return undefined;
    return (nowMs - this.#provenMs) / (1 - CLOCK_DRIFT);
  }
}
