import { assert } from '../../lib/assert.ts';
import { IntervalTree } from './interval-tree.ts';
import type { Watcher } from './watcher.ts';

/** Watchers by what they watch: finds those of a key without looking at the others. */
export class WatcherIndex {
  readonly #byKey = new Map<string, Set<Watcher>>();
  /** Watchers of equal ranges share one node. */
  readonly #byRange = new IntervalTree<Set<Watcher>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(watcher: Watcher): void {
    const { target } = watcher;
    let group = 'key' in target ? this.#byKey.get(target.key) : this.#byRange.get(target);
    if (group === undefined) {
      group = new Set();
      if ('key' in target) this.#byKey.set(target.key, group);
      else this.#byRange.insert(target, group);
    }
    assert(!group.has(watcher), 'a watcher is indexed once');
    group.add(watcher);
    this.#size += 1;
  }

  remove(watcher: Watcher): void {
    const { target } = watcher;
    const group = 'key' in target ? this.#byKey.get(target.key) : this.#byRange.get(target);
    assert(group?.delete(watcher) === true, 'a watcher taken from the index is in it');
    this.#size -= 1;
    if (group.size > 0) return;
    if ('key' in target) this.#byKey.delete(target.key);
    else this.#byRange.delete(target);
  }

  /** Whether anybody watches the key. */
  watched(key: string): boolean {
    return this.#byKey.has(key) || this.#byRange.some(key);
  }

  /** Calls with every watcher of the key. The index must not change meanwhile. */
  visit(key: string, visit: (watcher: Watcher) => void): void {
    const group = this.#byKey.get(key);
    if (group !== undefined) for (const watcher of group) visit(watcher);
    this.#byRange.containing(key, (watchers) => {
      for (const watcher of watchers) visit(watcher);
    });
  }
}
