/** What a watchdog looks after, and how patiently. */
export interface WatchdogOptions {
  /** Between two pings. */
  readonly pingMs: number;
  /** So many times in a row a ping has stayed unanswered: whoever is pinged hangs. */
  readonly missedMax: number;
  readonly ping: () => void;
  /** Called once. */
  readonly hung: () => void;
}

/**
 * Finds out that another thread hangs: it answers no pings. Counted are this thread's own looks, not the time: one that
 * stood still itself, like a stopped process or a machine that slept, has looked once, however long that took. After the
 * end nothing is called any more.
 */
export class Watchdog {
  readonly #options: WatchdogOptions;
  readonly #timer: NodeJS.Timeout;
  /** Looks since the ping that is not answered yet; null = it was. */
  #missed: number | null = 0;

  constructor(options: WatchdogOptions) {
    this.#options = options;
    options.ping();
    this.#timer = setInterval(() => this.#look(), options.pingMs);
    this.#timer.unref();
  }

  /** Anything that was heard of the other thread. */
  heard(): void {
    this.#missed = null;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { missedMax, ping, hung } = this.#options;
    if (this.#missed === null) {
      this.#missed = 0;
      ping();
      return;
    }
    this.#missed += 1;
    if (this.#missed < missedMax) return;
    this.close();
    hung();
  }
}
