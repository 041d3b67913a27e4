import type { WatchDelivery, WatchSink } from '../../src/core/watch/hub.ts';
import type { GuardedStream } from '../../src/member/auth/watch-guard.ts';
import type { Place } from './place.ts';
import type { Prng } from './prng.ts';
import type { SimProcess } from './process.ts';
import type { Scheduler } from './scheduler.ts';

export interface WatchAttachmentParts {
  readonly process: SimProcess;
  readonly place: Place;
  readonly random: Prng;
  /** How far away the client is, in ms at most. */
  readonly wayMsMax: number;
  readonly deliver: (delivery: WatchDelivery) => void;
}

const WAY_MS_MIN = 0.05;
/** Two deliveries never arrive at once: their order would be the scheduler's. */
const APART_MS = 1e-6;

/** A client's stream of watches at one process. */
export class WatchAttachment implements WatchSink {
  readonly process: SimProcess;
  readonly place: Place;
  readonly deliver: (delivery: WatchDelivery) => void;
  stream: GuardedStream | null = null;
  ended = false;
  readonly #random: Prng;
  readonly #wayMsMax: number;
  #writable = true;

  constructor({ process, place, random, wayMsMax, deliver }: WatchAttachmentParts) {
    this.process = process;
    this.place = place;
    this.deliver = deliver;
    this.#random = random;
    this.#wayMsMax = wayMsMax;
  }

  get writable(): boolean {
    return this.#writable;
  }

  get isLive(): boolean {
    return !this.ended && this.process.alive;
  }

  /** Draws how long something takes between the client and the process, in ms. */
  wayMs(): number {
    return WAY_MS_MIN + this.#random.fraction() * this.#wayMsMax;
  }

  /** The client takes no more, or if it took none, again what there is. */
  toggle(): void {
    this.#setWritable(() => !this.#writable);
  }

  /** The client takes what there is. */
  resume(): void {
    this.#setWritable(() => true);
  }

  /** The client hears nothing more of it from now on; its process learns of that a moment later. */
  detach(): void {
    this.ended = true;
    this.process.schedule(this.wayMs(), 'client', () => this.stream?.close());
  }

  #setWritable(wanted: () => boolean): void {
    this.process.schedule(0, 'client', () => {
      this.#writable = wanted();
      if (this.#writable) this.place.member?.resumeWatch(this);
    });
  }
}

/** What is on its way to one client, from whichever process: it arrives in order, even when its process has died. */
export class Arrivals {
  readonly #scheduler: Scheduler;
  #lastMs = 0;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  add(wayMs: number, run: () => void): void {
    const { nowMs } = this.#scheduler;
    this.#lastMs = Math.max(nowMs + wayMs, this.#lastMs + APART_MS);
    this.#scheduler.schedule(this.#lastMs - nowMs, { owner: null, kind: 'client', run });
  }
}
