import { setTimeout as delay } from 'node:timers/promises';
import { canceled } from './client-error.ts';
import { TIMER_MS_MAX } from './clock.ts';

/** Waits, 24 days at most. @throws ClientError `canceled` by the signal */
export async function pause(durationMs: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(Math.min(durationMs, TIMER_MS_MAX), undefined, signal === undefined ? {} : { signal });
  } catch {
    throw canceled();
  }
}

/** How long a pause is after failures in a row. */
export interface Backoff {
  /** After the first one; twice as long after each further one. */
  readonly firstMs: number;
  readonly longestMs: number;
}

/** The pause after so many failures in a row, from 1, in ms. */
export function backoffMs(failures: number, { firstMs, longestMs }: Backoff): number {
  return Math.min(firstMs * 2 ** (failures - 1), longestMs);
}
