import type { Logger } from '../../lib/logger.ts';
import type { ServiceContext } from '../context.ts';
import { sweepExpired } from './expiry.ts';
import { Resealer, type ResealingStatus } from './resealing.ts';
import { type Retention, sweepVersions } from './retention.ts';

/** How often what has expired is looked for, old versions are, and secrets that another key sealed. */
const EXPIRY_MS = 1_000;
const RETENTION_MS = 3_600_000;
const RESEALING_MS = 5_000;

/** What clears up behind the use cases, now and then, on one server of the cluster at a time. */
export class Sweepers {
  readonly #context: ServiceContext;
  readonly #retention: Retention;
  readonly #logger: Logger;
  readonly #resealer: Resealer;
  readonly #stop = new AbortController();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #running = new Set<Promise<void>>();

  constructor(
    context: ServiceContext,
    { retention, logger }: { readonly retention: Retention; readonly logger: Logger },
  ) {
    this.#context = context;
    this.#retention = retention;
    this.#logger = logger;
    this.#resealer = new Resealer(context, { logger });
  }

  /** How far the secrets are sealed under the key that seals here. */
  get resealing(): ResealingStatus {
    return this.#resealer.status;
  }

  /** Sweeps from now on until it is closed. */
  start(): void {
    this.#every(EXPIRY_MS, () => this.sweepExpired());
    this.#every(RETENTION_MS, () => this.sweepVersions());
    this.#every(RESEALING_MS, () => this.reseal());
  }

  /** Ends what has expired. @returns how many. @throws ServiceError, KvError */
  sweepExpired(): Promise<number> {
    return sweepExpired(this.#context, this.#stop.signal);
  }

  /** Deletes versions that are kept no longer. @returns how many. @throws ServiceError, KvError */
  sweepVersions(): Promise<number> {
    return sweepVersions(this.#context, this.#retention, this.#stop.signal);
  }

  /** Seals secrets anew that another key sealed. @returns how many. @throws ServiceError, KvError */
  reseal(): Promise<number> {
    return this.#resealer.sweep(this.#stop.signal);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    for (const timer of this.#timers) clearInterval(timer);
    await Promise.all(this.#running);
  }

  #every(ms: number, sweep: () => Promise<number>): void {
    let isRunning = false;
    const timer = setInterval(() => {
      if (isRunning) return;
      isRunning = true;
      const run = this.#run(sweep).finally(() => {
        isRunning = false;
        this.#running.delete(run);
      });
      this.#running.add(run);
    }, ms);
    timer.unref();
    this.#timers.add(timer);
  }

  async #run(sweep: () => Promise<number>): Promise<void> {
    try {
      await sweep();
    } catch (error) {
      // The next one begins anew.
      if (!this.#stop.signal.aborted) this.#logger.warn({ error: String(error) }, 'a sweep failed');
    }
  }
}
