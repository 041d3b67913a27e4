import type { Logger } from '../../lib/logger.ts';
import type { Clock } from '../ports.ts';

/** A peer that is refused for good tries again several times a second: the same reason is told this often. */
const REPEAT_MS = 60_000;
/** Reasons remembered; beyond it all are forgotten, and told anew. */
const REASONS_MAX = 256;

/** Tells of refused peers without filling the log with the same line. */
export class RefusalLog {
  readonly #clock: Pick<Clock, 'nowMs'>;
  readonly #logger: Logger;
  readonly #toldMs = new Map<string, number>();

  constructor(options: { readonly clock: Pick<Clock, 'nowMs'>; readonly logger: Logger }) {
    this.#clock = options.clock;
    this.#logger = options.logger;
  }

  log(reason: string): void {
    const nowMs = this.#clock.nowMs();
    const toldMs = this.#toldMs.get(reason);
    if (toldMs !== undefined && nowMs - toldMs < REPEAT_MS) {
      this.#logger.debug({ reason }, 'peer refused');
      return;
    }
    if (this.#toldMs.size >= REASONS_MAX) this.#toldMs.clear();
    this.#toldMs.set(reason, nowMs);
    this.#logger.warn({ reason }, 'peer refused');
  }
}
