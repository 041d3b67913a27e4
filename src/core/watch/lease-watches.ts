import type { Watcher } from './watcher.ts';

/** Watchers by the lease they end with. */
export class LeaseWatches {
  readonly #byLease = new Map<bigint, Set<Watcher>>();

  ids(): readonly bigint[] {
    return [...this.#byLease.keys()];
  }

  add(watcher: Watcher): void {
    const bound = this.#byLease.get(watcher.lease);
    if (bound === undefined) this.#byLease.set(watcher.lease, new Set([watcher]));
    else bound.add(watcher);
  }

  /** No matter whether it is there. */
  remove(watcher: Watcher): void {
    const bound = this.#byLease.get(watcher.lease);
    if (bound?.delete(watcher) === true && bound.size === 0) this.#byLease.delete(watcher.lease);
  }

  /** Takes out those of one lease. */
  take(lease: bigint): readonly Watcher[] {
    const bound = this.#byLease.get(lease);
    this.#byLease.delete(lease);
    return bound === undefined ? [] : [...bound];
  }
}
