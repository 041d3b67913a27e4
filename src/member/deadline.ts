import type { CancelSignal } from '../lib/cancellation.ts';
import { abortError } from '../lib/errors.ts';
import type { Clock } from './ports.ts';

/** Does `work` with a signal that is aborted after `timeoutMs` by the member's own clock. */
export async function withDeadline<T>(
  clock: Pick<Clock, 'setTimer'>,
  timeoutMs: number,
  work: (signal: CancelSignal) => Promise<T>,
): Promise<T> {
  const abort = new AbortController();
  const timer = clock.setTimer(() => abort.abort(), timeoutMs);
  try {
    return await work(abort.signal);
  } finally {
    timer.cancel();
  }
}

/** Settles as `work` does, or rejects with why `signal` was aborted. */
export async function orAborted<T>(signal: CancelSignal, work: Promise<T>): Promise<T> {
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(abortError(signal));
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
