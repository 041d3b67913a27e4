import { describe, expect, test } from 'vitest';
import {
  FlowWindow,
  REPORT_BYTES,
  REPORT_BYTES_MIN,
  REPORT_INTERVAL_MS,
} from '../../../src/member/transport/flow-window.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

interface LinkOptions {
  readonly roundTripMs: number;
  readonly bytesPerSecond: number;
}

/** A sender that always has more, unless told otherwise, over a link with one queue, in steps of a millisecond. */
class Course {
  readonly window = new FlowWindow();
  link: LinkOptions;
  nowMs = 0;
  arrivedBytes = 0;
  /** The most bytes that waited in front of the link. */
  queuedBytesMax = 0;
  /** What the sender gets to send in a millisecond, and the most that waited for room. */
  offeredBytes = Number.POSITIVE_INFINITY;
  heldBytesMax = 0;
  #heldBytes = 0;
  #sentBytes = 0;
  #leftBytes = 0;
  #reportedBytes = 0;
  #reportedMs = Number.NEGATIVE_INFINITY;
  readonly #onTheWay: { readonly atMs: number; readonly position: number }[] = [];
  readonly #reports: { readonly atMs: number; readonly position: number }[] = [];

  constructor(link: LinkOptions) {
    this.link = link;
  }

  run(ms: number): this {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; this.nowMs++) this.#step();
    return this;
  }

  #step(): void {
    const { roundTripMs, bytesPerSecond } = this.link;
    while (this.#reports[0] !== undefined && this.#reports[0].atMs <= this.nowMs) {
      expect(this.window.arrived(this.#reports.shift()!.position, this.nowMs)).toBe(true);
    }
    this.#heldBytes += this.offeredBytes;
    const bytes = Math.min(this.#heldBytes, this.window.room());
    if (bytes > 0) {
      this.window.sent(bytes, this.nowMs);
      this.#sentBytes += bytes;
      this.#heldBytes -= bytes;
    }
    this.heldBytesMax = Math.max(this.heldBytesMax, this.#heldBytes);
    this.#leftBytes = Math.min(this.#sentBytes, this.#leftBytes + bytesPerSecond / 1000);
    this.queuedBytesMax = Math.max(this.queuedBytesMax, this.#sentBytes - this.#leftBytes);
    this.#onTheWay.push({ atMs: this.nowMs + roundTripMs / 2, position: Math.floor(this.#leftBytes) });
    while (this.#onTheWay[0] !== undefined && this.#onTheWay[0].atMs <= this.nowMs) {
      this.arrivedBytes = this.#onTheWay.shift()!.position;
    }
    const unreported = this.arrivedBytes - this.#reportedBytes;
    const isLate = this.nowMs - this.#reportedMs >= REPORT_INTERVAL_MS && unreported >= REPORT_BYTES_MIN;
    if (unreported < REPORT_BYTES && !isLate) return;
    this.#reportedBytes = this.arrivedBytes;
    this.#reportedMs = this.nowMs;
    this.#reports.push({ atMs: this.nowMs + roundTripMs / 2, position: this.arrivedBytes });
  }
}

describe('a window', () => {
  test.each([
    { roundTripMs: 140, bytesPerSecond: 100 * MIB },
    { roundTripMs: 140, bytesPerSecond: MIB },
    { roundTripMs: 65, bytesPerSecond: 10 * MIB },
    { roundTripMs: 2, bytesPerSecond: 100 * MIB },
  ])('fills a pipe of $roundTripMs ms and $bytesPerSecond bytes/s', (link) => {
    const course = new Course(link).run(5_000);
    const before = course.arrivedBytes;
    course.run(10_000);
    expect(course.arrivedBytes - before).toBeGreaterThan(0.9 * 10 * link.bytesPerSecond);
    expect(course.window.windowBytes).toBeLessThanOrEqual(32 * MIB);
  });

  test('leaves little waiting in front of a link that crawls', () => {
    const course = new Course({ roundTripMs: 140, bytesPerSecond: 64 * KIB }).run(20_000);
    expect(course.arrivedBytes).toBeGreaterThan(0.9 * 20 * 64 * KIB);
    expect(course.queuedBytesMax).toBeLessThanOrEqual(64 * KIB);
  });

  test('follows a link that becomes a crawl, and one that becomes wide again', () => {
    const course = new Course({ roundTripMs: 140, bytesPerSecond: 10 * MIB }).run(5_000);
    course.link = { roundTripMs: 140, bytesPerSecond: 64 * KIB };
    course.run(120_000);
    expect(course.window.inFlight).toBeLessThanOrEqual(64 * KIB);
    course.link = { roundTripMs: 140, bytesPerSecond: 10 * MIB };
    course.run(5_000);
    const before = course.arrivedBytes;
    course.run(1_000);
    expect(course.arrivedBytes - before).toBeGreaterThan(8 * MIB);
  });

  test('learns that a route has become longer', () => {
    const course = new Course({ roundTripMs: 1, bytesPerSecond: 10 * MIB }).run(5_000);
    course.link = { roundTripMs: 140, bytesPerSecond: 10 * MIB };
    course.run(40_000);
    expect(course.window.roundTripMs).toBeGreaterThanOrEqual(140);
    const before = course.arrivedBytes;
    course.run(2_000);
    expect(course.arrivedBytes - before).toBeGreaterThan(16 * MIB);
  });

  test.each([
    { roundTripMs: 1, bytesPerSecond: 100 * MIB, offeredBytes: 5_000 },
    { roundTripMs: 1, bytesPerSecond: 100 * MIB, offeredBytes: 200 },
    { roundTripMs: 65, bytesPerSecond: 10 * MIB, offeredBytes: 2_000 },
    { roundTripMs: 140, bytesPerSecond: 10 * MIB, offeredBytes: 200 },
  ])('holds nothing up on a link that stays as it is: $roundTripMs ms, $offeredBytes bytes/ms', (link) => {
    const course = new Course(link);
    course.offeredBytes = link.offeredBytes;
    course.run(5_000);
    course.heldBytesMax = 0;
    course.run(120_000);
    expect(course.heldBytesMax).toBeLessThanOrEqual(10 * link.offeredBytes);
  });

  test('does not grow while it is not what limits', () => {
    const window = new FlowWindow();
    const bytes = window.windowBytes;
    for (let nowMs = 0, position = 0; nowMs < 10_000; nowMs += 100) {
      position += 2 * KIB;
      expect(window.room()).toBeGreaterThanOrEqual(2 * KIB);
      window.sent(2 * KIB, nowMs);
      expect(window.arrived(position, nowMs + 50)).toBe(true);
    }
    expect(window.windowBytes).toBe(bytes);
    expect(window.roundTripMs).toBe(50);
  });

  test('refuses a report of bytes that were never sent, and takes an old one', () => {
    const window = new FlowWindow();
    window.sent(3_000, 0);
    expect(window.arrived(3_001, 5)).toBe(false);
    expect(window.arrived(3_000, 5)).toBe(true);
    expect(window.arrived(1_000, 6)).toBe(true);
    expect(window.inFlight).toBe(0);
  });
});
