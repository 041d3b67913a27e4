import { assert } from '../../lib/assert.ts';
import type { WatchOptions, WatchSink } from './delivery.ts';
import type { Watcher } from './watcher.ts';

/** What a stream asks of its hub. */
export interface StreamHost {
  create(stream: WatchStream, options: WatchOptions): string | null;
  release(watcher: Watcher): void;
  progressRequested(stream: WatchStream): void;
  closed(stream: WatchStream): void;
}

/** The watches that share one connection and one order of deliveries. */
export class WatchStream {
  readonly sink: WatchSink;
  /** Read by the hub, which alone changes it. */
  readonly watchers = new Map<bigint, Watcher>();
  /** Watchers whose sink took nothing when they had something to say. */
  readonly slow = new Set<Watcher>();
  /** Watchers that are not synced, the slow ones included. */
  behind = 0;
  readonly #host: StreamHost;
  #open = true;

  constructor(host: StreamHost, sink: WatchSink) {
    this.#host = host;
    this.sink = sink;
  }

  get open(): boolean {
    return this.#open;
  }

  /**
   * Adds a watch. Nothing is delivered before the call returns, so that the face can acknowledge it first; a start
   * below the compaction is answered with a `canceled` delivery soon after.
   *
   * @returns null, or why there is no such watch, as text for the client
   */
  create(options: WatchOptions): string | null {
    assert(this.#open, 'a watch is created on an open stream');
    return this.#host.create(this, options);
  }

  /** Ends a watch; nothing is delivered for it any more. Returns false when there is none (any more). */
  cancel(watchId: bigint): boolean {
    const watcher = this.watchers.get(watchId);
    if (watcher === undefined) return false;
    this.#host.release(watcher);
    return true;
  }

  /**
   * Asks for one `progress` delivery of the whole stream. It comes in stream order as soon as no watch is behind or
   * waits for a future revision (RELIABILITY P49); requests made until then are answered by the same one.
   */
  requestProgress(): void {
    assert(this.#open, 'progress is requested on an open stream');
    this.#host.progressRequested(this);
  }

  /** Ends all watches. Idempotent. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const watcher of this.watchers.values()) this.#host.release(watcher);
    this.#host.closed(this);
  }
}
