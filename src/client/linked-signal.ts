import { ClientError } from './client-error.ts';
import { TIMER_MS_MAX } from './clock.ts';

/**
 * A signal that aborts with the first of its sources, and for its reason, or when its time is over, with a ClientError
 * `deadline-exceeded`. In the place of `AbortSignal.any`, which on Node 20 does not keep its sources alive: a source of
 * `AbortSignal.timeout` that nobody else refers to may be collected, and then it never fires.
 */
export class LinkedSignal {
  readonly #control = new AbortController();
  readonly #unlink: (() => void)[] = [];

  /** @param timeoutMs absent = without an end; at most 24 days, as timers have it */
  constructor(sources: readonly (AbortSignal | undefined)[], timeoutMs?: number) {
    for (const source of sources) {
      if (source === undefined) continue;
      const onAbort = (): void => this.#control.abort(source.reason);
      if (source.aborted) onAbort();
      else source.addEventListener('abort', onAbort, { once: true });
      this.#unlink.push(() => source.removeEventListener('abort', onAbort));
    }
    if (timeoutMs === undefined || this.#control.signal.aborted) return;
    const timer = setTimeout(
      () => this.#control.abort(new ClientError('deadline-exceeded', 'the time is over')),
      Math.min(Math.max(0, timeoutMs), TIMER_MS_MAX),
    );
    this.#unlink.push(() => clearTimeout(timer));
  }

  get signal(): AbortSignal {
    return this.#control.signal;
  }

  /** Whether it was the time that ran out first. */
  get isTimeout(): boolean {
    const reason: unknown = this.#control.signal.reason;
    return reason instanceof ClientError && reason.code === 'deadline-exceeded';
  }

  /** Lets go of the sources and of the timer; the signal does not abort any more. */
  [Symbol.dispose](): void {
    for (const unlink of this.#unlink.splice(0)) unlink();
  }
}
