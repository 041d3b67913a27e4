import type { ConfigEntry, HeldEntry } from './config-entry.ts';

/** Where values come from: an environment, or the defaults of the application. */
export interface ConfigLayer {
  get(key: string): HeldEntry | undefined;
  keys(): Iterable<string>;
}

/** A key that has another value now; undefined = none. */
export interface ConfigChange {
  readonly key: string;
  readonly before: ConfigEntry | undefined;
  readonly after: ConfigEntry | undefined;
}

/**
 * The values that hold, by key: of each the one of the nearest layer. They stay as they are until they are told of a
 * change, so a reader sees one state until then, whatever happens to the layers.
 */
export class ConfigValues {
  #held = new Map<string, HeldEntry>();

  get(key: string): HeldEntry | undefined {
    return this.#held.get(key);
  }

  get size(): number {
    return this.#held.size;
  }

  /** In the order of the keys. */
  entries(): readonly HeldEntry[] {
    return [...this.#held.values()].sort((left, right) => (left.key < right.key ? -1 : 1));
  }

  /**
   * Looks at these keys again.
   *
   * @param layers nearest first
   * @returns those whose value is another one now, in the order of `keys`
   */
  update(layers: readonly ConfigLayer[], keys: Iterable<string>): readonly ConfigChange[] {
    const changes: ConfigChange[] = [];
    for (const key of keys) {
      const before = this.#held.get(key);
      const after = nearest(layers, key);
      if (after === undefined) this.#held.delete(key);
      else this.#held.set(key, after);
      if (before?.mark !== after?.mark) changes.push({ key, before, after });
    }
    return changes;
  }

  /** Looks at everything again. @returns as `update`, in the order of the keys */
  updateAll(layers: readonly ConfigLayer[]): readonly ConfigChange[] {
    const keys = new Set(this.#held.keys());
    for (const layer of layers) for (const key of layer.keys()) keys.add(key);
    return this.update(layers, [...keys].sort());
  }

  /** Starts from what was kept. */
  restore(entries: Iterable<HeldEntry>): void {
    this.#held = new Map([...entries].map((entry) => [entry.key, entry]));
  }
}

function nearest(layers: readonly ConfigLayer[], key: string): HeldEntry | undefined {
  for (const layer of layers) {
    const found = layer.get(key);
    if (found !== undefined) return found;
  }
  return undefined;
}
