import type { RoundTrip } from '../ports.ts';

/** Pings whose longest counts: at one a second, those of the last minute. */
export const ROUND_TRIPS_KEPT = 60;
/** How much a new round trip moves the mean (as TCP's, RFC 6298). */
const SMOOTHING = 1 / 8;

/** The round trips on one connection: the last one, their mean, which forgets, and the longest of late. */
export class RoundTripMeter {
  readonly #recentMs: number[] = [];
  #smoothedMs = 0;

  note(ms: number): void {
    this.#smoothedMs =
      this.#recentMs.length === 0 ? ms : this.#smoothedMs + SMOOTHING * (ms - this.#smoothedMs);
    this.#recentMs.push(ms);
    if (this.#recentMs.length > ROUND_TRIPS_KEPT) this.#recentMs.shift();
  }

  /** Undefined until a ping has come back. */
  get roundTrip(): RoundTrip | undefined {
    const lastMs = this.#recentMs.at(-1);
    if (lastMs === undefined) return undefined;
    return { lastMs, smoothedMs: this.#smoothedMs, maxMs: Math.max(...this.#recentMs) };
  }
}
