import type { WatchHub } from '../core/watch/hub.ts';
import type { Clock } from './ports.ts';

/** Watchers that could not catch up (a slow client) are tried again this often at the latest. */
const RETRY_INTERVAL_MS = 100;
/** How often an idle watch with progress notification hears that it is up to date. */
const PROGRESS_INTERVAL_MS = 600_000;

/** Lets watchers that are behind catch up, one bounded slice of history a turn. */
export class WatchPump {
  readonly #hub: WatchHub;
  readonly #clock: Clock;
  #awake = false;
  #retriedMs = Number.NEGATIVE_INFINITY;
  #progressMs: number;
  #stopped = false;

  constructor(options: { readonly hub: WatchHub; readonly clock: Clock }) {
    this.#hub = options.hub;
    this.#clock = options.clock;
    this.#progressMs = options.clock.nowMs();
  }

  /** There may be something to catch up with. */
  wake(): void {
    if (this.#awake || this.#stopped) return;
    this.#awake = true;
    this.#clock.setImmediate(() => {
      this.#awake = false;
      if (!this.#stopped && this.#hub.syncSlice()) this.wake();
    });
  }

  tick(): void {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#retriedMs >= RETRY_INTERVAL_MS) {
      this.#retriedMs = nowMs;
      this.wake();
    }
    if (nowMs - this.#progressMs >= PROGRESS_INTERVAL_MS) {
      this.#progressMs = nowMs;
      this.#hub.tickProgress();
    }
  }

  stop(): void {
    this.#stopped = true;
  }
}
