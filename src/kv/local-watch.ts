import type { WatchDelivery, WatchEvent, WatchSink } from '../core/watch/delivery.ts';
import type { KvEvent, KvWatchBatch } from './kv.ts';
import { watchErrorOf } from './store-errors.ts';

/** What a watch holds for whoever reads it, besides one delivery more: events, and bytes of keys and values. */
export const HELD_EVENTS_MAX = 4_096;
export const HELD_BYTES_MAX = 1024 * 1024;

type Ended = Extract<WatchDelivery, { readonly type: 'canceled' }>;

/**
 * The end of a watch where a reader takes what the member delivers. When it holds enough it takes nothing more: the
 * member then keeps nothing but the position, and gives history from there on once there is room again.
 */
export class LocalWatch implements WatchSink {
  #events: KvEvent[] = [];
  #bytes = 0;
  /** Everything up to it was delivered. */
  #revision = 0;
  /** Up to here the reader knows of that. */
  #told = 0;
  #ended: Ended | null = null;
  #wake: (() => void) | null = null;
  readonly #signal: AbortSignal;
  readonly #onRoom: () => void;

  /** @param onRoom called once something was taken, when it was full */
  constructor(signal: AbortSignal, onRoom: () => void) {
    this.#signal = signal;
    this.#onRoom = onRoom;
    signal.addEventListener('abort', () => this.#wake?.(), { once: true });
  }

  get writable(): boolean {
    return this.#events.length < HELD_EVENTS_MAX && this.#bytes < HELD_BYTES_MAX;
  }

  deliver(delivery: WatchDelivery): void {
    if (delivery.type === 'canceled') {
      this.#ended = delivery;
    } else {
      this.#revision = delivery.revision;
      if (delivery.type === 'events') for (const event of delivery.events) this.#add(event);
    }
    this.#wake?.();
  }

  /** All that is held, as one batch; waits until there is something. @returns null when the signal is aborted */
  async next(): Promise<KvWatchBatch | null> {
    while (!this.#signal.aborted) {
      if (this.#events.length > 0 || this.#revision > this.#told) return this.#take();
      if (this.#ended !== null) throw watchErrorOf(this.#ended);
      await this.#delivery();
    }
    return null;
  }

  #take(): KvWatchBatch {
    const wasFull = !this.writable;
    const batch = { revision: this.#revision, events: this.#events };
    this.#told = this.#revision;
    this.#events = [];
    this.#bytes = 0;
    if (wasFull) this.#onRoom();
    return batch;
  }

  #add({ event, prevKv }: WatchEvent): void {
    const { row, type } = event;
    this.#bytes += row.key.length + row.value.length + (prevKv?.value.length ?? 0);
    const { key, value, createRevision, version, lease } = row;
    this.#events.push({
      type,
      row: { key, value, createRevision, modRevision: row.main, version, lease },
      previous: prevKv,
    });
  }

  async #delivery(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = null;
  }
}
