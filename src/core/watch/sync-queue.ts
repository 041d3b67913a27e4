import { assert } from '../../lib/assert.ts';
import type { Watcher } from './watcher.ts';
import { WatcherIndex } from './watcher-index.ts';

/** Watchers that read history together, so that a row is looked at once for all of them. */
export class SyncBatch {
  readonly watchers = new Set<Watcher>();
  readonly index = new WatcherIndex();

  /** Where the hindmost of them stands. */
  get from(): number {
    let from = Number.MAX_SAFE_INTEGER;
    for (const { next } of this.watchers) from = Math.min(from, next);
    return from;
  }

  add(watcher: Watcher): void {
    this.watchers.add(watcher);
    this.index.add(watcher);
  }

  remove(watcher: Watcher): void {
    this.watchers.delete(watcher);
    this.index.remove(watcher);
  }
}

/**
 * The unsynced watchers, in batches that take turns: a long way back for some does not keep others waiting, and a
 * watcher that joins does not send those that have begun back to its own start.
 */
export class SyncQueue {
  readonly #batchWatchersMax: number;
  readonly #ring: SyncBatch[] = [];
  readonly #batchOf = new Map<Watcher, SyncBatch>();
  /** The last batch of the ring while it has not begun: newcomers join it. */
  #joinable: SyncBatch | null = null;

  constructor(batchWatchersMax: number) {
    this.#batchWatchersMax = batchWatchersMax;
  }

  get size(): number {
    return this.#batchOf.size;
  }

  add(watcher: Watcher): void {
    assert(!this.#batchOf.has(watcher), 'a watcher is queued once');
    if (this.#joinable === null || this.#joinable.watchers.size >= this.#batchWatchersMax) {
      this.#joinable = new SyncBatch();
      this.#ring.push(this.#joinable);
    }
    this.#joinable.add(watcher);
    this.#batchOf.set(watcher, this.#joinable);
  }

  remove(watcher: Watcher): void {
    const batch = this.#batchOf.get(watcher);
    assert(batch !== undefined, 'a watcher taken from the queue is in it');
    batch.remove(watcher);
    this.#batchOf.delete(watcher);
  }

  /** The batch whose turn it is, which then goes to the end; undefined when nobody is queued. */
  next(): SyncBatch | undefined {
    for (let batch = this.#ring.shift(); batch !== undefined; batch = this.#ring.shift()) {
      if (batch === this.#joinable) this.#joinable = null;
      if (batch.watchers.size === 0) continue;
      this.#ring.push(batch);
      return batch;
    }
    return undefined;
  }
}
