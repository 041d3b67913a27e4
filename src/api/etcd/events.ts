import type { WatchDelivery, WatchEvent, WatchOptions, WatchSink } from '../../core/watch/delivery.ts';
import { abortError, StoreError } from '../../lib/errors.ts';
import type { ClientContext } from '../../member/auth/access.ts';
import { refusalOf } from '../../member/auth/watch-guard.ts';
import type { EtcdBackend } from './backend.ts';

/** Deliveries kept for a reader that is slower than the watch; beyond it the watch waits and catches up. */
const DELIVERIES_MAX = 16;

/** What one watch tells: events of whole revisions, in order. */
export interface Events {
  /** Everything up to it that the watch asked for is told. */
  readonly revision: number;
  readonly events: readonly WatchEvent[];
}

/**
 * Watches one range from within the server for a client, until the reader stops reading or the call is over.
 *
 * @throws StoreError `compacted` when the start or a position left behind is compacted; why the client may not watch
 *   the range, or may not any more; `too-many-requests` when the watch is refused; why the call is over
 */
export async function* eventsOf(
  backend: Pick<EtcdBackend, 'credentialsSettled' | 'openWatch' | 'resumeWatch'>,
  range: Pick<WatchOptions, 'key' | 'rangeEnd' | 'startRevision'>,
  context: ClientContext,
): AsyncGenerator<Events> {
  const { signal } = context;
  await backend.credentialsSettled(context);
  const queue = new EventQueue();
  const stream = backend.openWatch(queue, context);
  const wake = (): void => queue.wake();
  signal.addEventListener('abort', wake, { once: true });
  try {
    const refusal = stream.create({ ...range, ...EVERYTHING });
    if (refusal !== null) throw refused(refusal);
    for (;;) {
      const delivery = queue.take();
      if (signal.aborted) throw abortError(signal);
      if (delivery === undefined) {
        await queue.filled();
        continue;
      }
      if (delivery.type === 'canceled') throw new StoreError(refusalOf(delivery.reason) ?? 'compacted');
      if (delivery.type === 'events') yield delivery;
      if (queue.writable) backend.resumeWatch(queue);
    }
  } finally {
    signal.removeEventListener('abort', wake);
    stream.close();
  }
}

function refused(reason: string): StoreError {
  const code = refusalOf(reason);
  return code === undefined ? new StoreError('too-many-requests', reason) : new StoreError(code);
}

const EVERYTHING = {
  watchId: 0n,
  noPut: false,
  noDelete: false,
  prevKv: false,
  progressNotify: false,
} as const;

class EventQueue implements WatchSink {
  readonly #deliveries: WatchDelivery[] = [];
  #wake: (() => void) | null = null;

  get writable(): boolean {
    return this.#deliveries.length < DELIVERIES_MAX;
  }

  deliver(delivery: WatchDelivery): void {
    this.#deliveries.push(delivery);
    this.wake();
  }

  take(): WatchDelivery | undefined {
    return this.#deliveries.shift();
  }

  wake(): void {
    this.#wake?.();
    this.#wake = null;
  }

  filled(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
