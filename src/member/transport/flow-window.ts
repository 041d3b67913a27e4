import { assert } from '../../lib/assert.ts';

const KIB = 1024;

/**
 * The receiving end of a stream tells how much has arrived as soon as this is news of so many bytes; of fewer, but not
 * of almost none, when its last report is as old as the interval, or becomes so.
 */
export const REPORT_BYTES = 16 * KIB;
export const REPORT_BYTES_MIN = KIB;
export const REPORT_INTERVAL_MS = 100;

/** Window of a new connection, and the least of any: three reports' worth, so that one is always on its way. */
const WINDOW_BYTES_MIN = 48 * KIB;
/** What is sent while no round trip is known: so little that its own length does not show in it. */
const PROBE_BYTES = 4 * KIB;
/** 140 ms at 230 MB/s. */
const WINDOW_BYTES_MAX = 32 * KIB * KIB;
/**
 * A round trip of up to this many shortest ones, and a little more, is no reason to send less: a link that is never
 * idle has something waiting for it, and a busy process looks like a longer link.
 */
const QUEUED_FACTOR = 1.5;
const SLACK_MS = 50;
/** After so long the shortest round trip is measured anew: routes change. */
const BASE_AGE_MS_MAX = 15_000;
/** Times of sending that are remembered; beyond it neighbours are joined, which overstates a round trip. */
const MARKS_MAX = 1_024;

interface Mark {
  /** Position of the first byte sent then. */
  readonly start: number;
  readonly sentMs: number;
}

/**
 * How many bytes of one connection may be on their way: bandwidth times delay, as far as reports of what has arrived
 * show it. What lies between two members, socket buffers and routers, takes megabytes before it says no; on a link
 * that crawls that is minutes, which heartbeats on the same link would wait, too. While the window is what limits, it
 * grows by what has arrived, doubling in a round trip, as long as a byte takes little longer than the shortest round
 * trip (QUEUED_FACTOR, SLACK_MS); otherwise it shrinks in proportion, once in a round trip.
 *
 * Positions count bytes since the start of the connection. Pure: time comes with each call, ascending.
 */
export class FlowWindow {
  #bytes = WINDOW_BYTES_MIN;
  #sent = 0;
  #arrived = 0;
  readonly #marks: Mark[] = [];
  /** The shortest round trip, and when it was begun to be looked for. */
  #baseMs = Number.POSITIVE_INFINITY;
  #baseSinceMs: number | null = null;
  /** The shortest one since then. */
  #recentMs = Number.POSITIVE_INFINITY;
  /** Nothing is sent until nearly all has arrived: only then is a round trip free of our own queue. */
  #draining = false;
  /** The last thing asked for more room than there was. */
  #limited = false;
  /** What was sent before this position says nothing about the window as it is now. */
  #judgedFrom = 0;

  /** Bytes that may be sent now; asking for none counts as being held up. */
  room(): number {
    const room = this.#draining ? 0 : this.#limit - this.inFlight;
    if (room > 0) return room;
    this.#limited = true;
    return 0;
  }

  get inFlight(): number {
    return this.#sent - this.#arrived;
  }

  /** The window as it is now, in bytes. */
  get windowBytes(): number {
    return this.#bytes;
  }

  /** The shortest round trip seen, in ms; undefined before the first report. */
  get roundTripMs(): number | undefined {
    return this.#baseMs === Number.POSITIVE_INFINITY ? undefined : this.#baseMs;
  }

  /** Books bytes handed to the connection. */
  sent(sizeBytes: number, nowMs: number): void {
    this.#baseSinceMs ??= nowMs;
    const last = this.#marks.at(-1);
    if (last?.sentMs !== nowMs && this.#marks.length < MARKS_MAX) {
      this.#marks.push({ start: this.#sent, sentMs: nowMs });
    }
    this.#sent += sizeBytes;
  }

  /**
   * Everything up to `position` has arrived.
   *
   * @returns false for a position that was never sent: the peer is lying
   */
  arrived(position: number, nowMs: number): boolean {
    if (position > this.#sent) return false;
    if (position <= this.#arrived) return true;
    const gained = position - this.#arrived;
    this.#arrived = position;
    while (this.#marks.length > 1 && this.#marks[1]!.start < position) this.#marks.shift();
    const mark = this.#marks[0];
    assert(mark !== undefined, 'what has arrived was sent at some time');
    this.#judge({ gained, sentFrom: mark.start, roundTripMs: nowMs - mark.sentMs });
    this.#renewBase(nowMs);
    return true;
  }

  /** While no round trip is known, a little is enough to learn one. */
  get #limit(): number {
    return this.roundTripMs === undefined ? PROBE_BYTES : this.#bytes;
  }

  #judge(sample: { readonly gained: number; readonly sentFrom: number; readonly roundTripMs: number }): void {
    const { gained, sentFrom, roundTripMs } = sample;
    this.#baseMs = Math.min(this.#baseMs, roundTripMs);
    this.#recentMs = Math.min(this.#recentMs, roundTripMs);
    if (!this.#limited) return;
    const targetMs = targetOf(this.#baseMs);
    if (roundTripMs <= targetMs) this.#bytes = Math.min(WINDOW_BYTES_MAX, this.#bytes + gained);
    else if (sentFrom >= this.#judgedFrom) {
      this.#bytes = Math.max(WINDOW_BYTES_MIN, Math.floor((this.#bytes * targetMs) / roundTripMs));
      this.#judgedFrom = this.#sent;
    }
    if (this.inFlight < this.#bytes / 2) this.#limited = false;
  }

  #renewBase(nowMs: number): void {
    assert(this.#baseSinceMs !== null, 'nothing arrives before it was sent');
    if (nowMs - this.#baseSinceMs < BASE_AGE_MS_MAX) return;
    // What is as short as ever shows a link that has not changed: nobody need wait for it to drain.
    this.#draining = this.#recentMs > targetOf(this.#baseMs) && this.inFlight >= REPORT_BYTES_MIN;
    if (this.#draining) return;
    this.#baseMs = this.#recentMs <= targetOf(this.#baseMs) ? this.#recentMs : Number.POSITIVE_INFINITY;
    this.#recentMs = Number.POSITIVE_INFINITY;
    this.#baseSinceMs = nowMs;
  }
}

/** A round trip that shows no more of a queue than there may be, in ms. */
function targetOf(baseMs: number): number {
  return QUEUED_FACTOR * baseMs + SLACK_MS;
}
