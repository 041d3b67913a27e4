import type { Clock } from './ports.ts';

/** Does `work` with a signal that is aborted after `timeoutMs` by the member's own clock. */
export async function withDeadline<T>(
  clock: Pick<Clock, 'setTimer'>,
  timeoutMs: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const abort = new AbortController();
  const timer = clock.setTimer(() => abort.abort(), timeoutMs);
  try {
    return await work(abort.signal);
  } finally {
    timer.cancel();
  }
}
