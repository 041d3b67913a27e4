import { assert } from '../../lib/assert.ts';
import type { WatchOptions, WatchSink } from './delivery.ts';
import type { Watcher } from './watcher.ts';

/** Progress of one watch, or of the whole stream by `STREAM_WATCH_ID`, to be answered with its nonce. */
export interface NonceRequest {
  readonly watchId: bigint;
  /** Above 0. */
  readonly nonce: bigint;
}

/** What a stream asks of its hub. */
export interface StreamHost {
  create(stream: WatchStream, options: WatchOptions): string | null;
  release(watcher: Watcher): void;
  progressRequested(stream: WatchStream): void;
  nonceRequested(stream: WatchStream, request: NonceRequest): void;
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
  /** Progress of the whole stream was asked for without a nonce. */
  progressAsked = false;
  /** As much by nonces not answered yet, oldest first. */
  nonces: readonly bigint[] = [];
  /** Watchers that have such requests of their own. */
  readonly asking = new Set<Watcher>();
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

  /**
   * Asks for one `progress` delivery with this nonce. It comes in stream order, after every event up to its revision,
   * as soon as the watch (each watch, for the whole stream) has everything and waits for no future revision. Of
   * requests that wait, the latest `noncesMax` of each watch are kept. There is no answer for a watch that is not there.
   */
  requestNonce(request: NonceRequest): void {
    assert(this.#open, 'progress is requested on an open stream');
    assert(request.nonce > 0n, 'a nonce is above 0');
    this.#host.nonceRequested(this, request);
  }

  /** Ends all watches. Idempotent. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const watcher of this.watchers.values()) this.#host.release(watcher);
    this.#host.closed(this);
  }
}
