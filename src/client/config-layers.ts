import { chainFrom } from '../config-format/environments.ts';
import { applicationRowKey, environmentRowKey, plainPrefixText } from '../config-format/keys.ts';
import { decodeRow, RowError } from '../config-format/rows.ts';
import type { Json } from '../config-format/values.ts';
import type { KvCache } from './cache.ts';
import { entryOfDefault, entryOfPlain, type HeldEntry } from './config-entry.ts';
import type { ConfigLayer } from './config-values.ts';

/** Whose values are wanted. */
export interface ConfigScope {
  readonly tenant: string;
  /** Its canonical id. */
  readonly environment: string;
  readonly application: string;
}

/** What the client needs to know of an environment's row. */
interface EnvironmentRow {
  readonly format: 1;
  readonly parent: string | null;
}
/** And of an application's. */
interface ApplicationRow {
  readonly format: 1;
  readonly defaults: { readonly [key: string]: Json };
}

/** The plain values of an application in one environment. */
export class EnvironmentLayer implements ConfigLayer {
  readonly environment: string;
  readonly cache: KvCache;
  readonly #prefix: string;

  constructor(scope: ConfigScope, cache: KvCache) {
    this.environment = scope.environment;
    this.cache = cache;
    this.#prefix = plainPrefixText(scope);
  }

  get(key: string): HeldEntry | undefined {
    const cached = this.cache.get(`${this.#prefix}${key}`);
    return cached === undefined ? undefined : entryOfPlain(key, { cached, environment: this.environment });
  }

  keys(): Iterable<string> {
    return this.cache.entries().map((entry) => this.keyOf(entry.key));
  }

  /** The configuration's key, from the one in the store. */
  keyOf(plainKey: string): string {
    return plainKey.slice(this.#prefix.length);
  }
}

/** The application's default values, as its row has them; a row that cannot be read leaves those that were there. */
export class DefaultsLayer implements ConfigLayer {
  readonly cache: KvCache;
  readonly #rowKey: string;
  #defaults: ReadonlyMap<string, HeldEntry> = new Map();

  /** @throws RowError */
  constructor({ tenant, application }: ConfigScope, cache: KvCache) {
    this.cache = cache;
    this.#rowKey = applicationRowKey(tenant, application);
    this.refresh();
  }

  /** Reads the row again. @throws RowError */
  refresh(): void {
    const cached = this.cache.get(this.#rowKey);
    const row = cached === undefined ? null : decodeRow<ApplicationRow>(cached.value);
    const revision = cached?.modRevision ?? 0;
    this.#defaults = new Map(
      Object.entries(row?.defaults ?? {}).map(([key, json]) => [
        key,
        entryOfDefault(key, { json, revision }),
      ]),
    );
  }

  get(key: string): HeldEntry | undefined {
    return this.#defaults.get(key);
  }

  keys(): Iterable<string> {
    return this.#defaults.keys();
  }
}

/** What the environments of a tenant inherit from, as their rows say. */
export class Inheritance {
  readonly #scope: ConfigScope;
  readonly #rows: KvCache;
  readonly #known = new Map<string, string | null>();

  constructor(scope: ConfigScope, rows: KvCache) {
    this.#scope = scope;
    this.#rows = rows;
  }

  /**
   * The environment and those that it inherits from, nearest first. Of a row that cannot be read the last that could
   * holds; `onUnreadable` hears of it.
   *
   * @throws RowError when there was none
   */
  chain(onUnreadable: (error: RowError) => void): readonly string[] {
    return chainFrom(this.#scope.environment, (id) => this.#parentOf(id, onUnreadable));
  }

  #parentOf(id: string, onUnreadable: (error: RowError) => void): string | null {
    const row = this.#rows.get(environmentRowKey(this.#scope.tenant, id));
    try {
      const parent = row === undefined ? null : decodeRow<EnvironmentRow>(row.value).parent;
      this.#known.set(id, parent);
      return parent;
    } catch (error) {
      const known = this.#known.get(id);
      if (!(error instanceof RowError) || known === undefined) throw error;
      onUnreadable(error);
      return known;
    }
  }
}
