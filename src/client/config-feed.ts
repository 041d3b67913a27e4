import { applicationRowKey, environmentRowsPrefix, plainPrefixText } from '../config-format/keys.ts';
import { RowError } from '../config-format/rows.ts';
import type { CacheUpdate, KvCache } from './cache.ts';
import type { CacheOptions } from './cache-options.ts';
import { ClientError } from './client-error.ts';
import { type ConfigScope, DefaultsLayer, EnvironmentLayer, Inheritance } from './config-layers.ts';
import type { ConfigLayer } from './config-values.ts';

/**
 * How fresh the caches try to be; reads are served without it, so it only says how often they ask, and how long a silent
 * member is kept.
 */
const MAX_AGE_MS = 5_000;

/** What the feed tells, once it was started. */
export interface ConfigFeedListener {
  /** These keys, or any, may have other values now. */
  readonly changed: (keys: readonly string[] | 'all', revision: number) => void;
  /** It goes on as though that were not there. */
  readonly problem: (error: Error) => void;
  /** It has ended, and nothing comes any more. */
  readonly failed: (error: unknown) => void;
}

interface ConfigFeedParts {
  /** Opens a live cache; that of a KvClient. */
  readonly open: (options: CacheOptions) => Promise<KvCache>;
  readonly scope: ConfigScope;
  readonly listener: ConfigFeedListener;
  readonly signal: AbortSignal;
}

/**
 * Live caches of everything that makes an application's values in an environment: one for each environment of the chain
 * of inheritance, one for the rows that say what that chain is, one for the application's defaults. When the chain changes
 * readers have the old one until all of the new one is there.
 */
export class ConfigFeed {
  readonly #parts: ConfigFeedParts;
  readonly #caches = new Set<KvCache>();
  readonly #layers = new Map<string, EnvironmentLayer>();
  #chain: readonly string[] = [];
  #inheritance: Inheritance | null = null;
  #defaults: DefaultsLayer | null = null;
  #isMoving = false;
  #isStarted = false;
  #isOver = false;
  #failure: unknown = null;

  private constructor(parts: ConfigFeedParts) {
    this.#parts = parts;
  }

  /** @throws ClientError what the caches could not be loaded for; `data-loss` for a row that cannot be read */
  static async open(parts: ConfigFeedParts): Promise<ConfigFeed> {
    const feed = new ConfigFeed(parts);
    try {
      await feed.#load();
      return feed;
    } catch (error) {
      feed.close();
      throw error instanceof RowError ? new ClientError('data-loss', error.message, { cause: error }) : error;
    }
  }

  /** From now on the listener hears of what happens; what happened since it was opened is in the layers. */
  start(): void {
    if (this.#isOver) return this.#parts.listener.failed(this.#failure);
    this.#isStarted = true;
    this.#follow();
  }

  /** Nearest first, the application's defaults last. */
  get layers(): readonly ConfigLayer[] {
    const environments = this.#chain.map((id) => this.#layers.get(id)!);
    return this.#defaults === null ? environments : [...environments, this.#defaults];
  }

  /** The environment and those that it inherits from. */
  get chain(): readonly string[] {
    return this.#chain;
  }

  /** Everything up to it is in. */
  get revision(): number {
    return Math.min(...[...this.#caches].map(({ revision }) => revision));
  }

  /** Everything acknowledged more than so many ms ago is in; undefined when some member has not told. */
  ageMs(): number | undefined {
    const ages = [...this.#caches].map((cache) => cache.ageMs());
    return ages.every((age) => age !== undefined) ? Math.max(...ages) : undefined;
  }

  close(): void {
    this.#isOver = true;
    for (const cache of this.#caches) cache.close();
  }

  // ---- opening ------------------------------------------------------------------------------------------------

  async #load(): Promise<void> {
    const { scope } = this.#parts;
    const [rows, application] = await this.#all([
      this.#open({ prefix: environmentRowsPrefix(scope.tenant) }),
      this.#open({ key: applicationRowKey(scope.tenant, scope.application) }),
    ]);
    this.#inheritance = new Inheritance(scope, rows!);
    this.#defaults = new DefaultsLayer(scope, application!);
    rows!.onChange(() => this.#follow());
    application!.onChange(({ revision }) => this.#readDefaults(revision));
    // The rows may say something else by the time that the values are loaded.
    for (;;) {
      const chain = this.#wantedChain();
      if (chain.join() === this.#chain.join()) return;
      await this.#take(chain);
    }
  }

  /** Waits for all of them, so that none is left opening. */
  async #all(openings: readonly Promise<KvCache>[]): Promise<readonly KvCache[]> {
    const settled = await Promise.allSettled(openings);
    for (const result of settled) if (result.status === 'rejected') throw result.reason;
    return settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  }

  async #open(range: { readonly prefix: string } | { readonly key: string }): Promise<KvCache> {
    const cache = await this.#parts.open({
      ...range,
      maxAgeMs: MAX_AGE_MS,
      whenLapsed: 'serve-stale',
      allowUnknownAge: true,
      signal: this.#parts.signal,
    });
    this.#caches.add(cache);
    cache.onState((state) => {
      if (state === 'ended' && this.#caches.has(cache)) this.#fail(endOf(cache));
    });
    if (this.#isOver) {
      cache.close();
      throw new ClientError('canceled', 'the client is closed');
    }
    return cache;
  }

  // ---- the chain ----------------------------------------------------------------------------------------------

  #wantedChain(): readonly string[] {
    return this.#inheritance!.chain((error) => this.#parts.listener.problem(error));
  }

  /** Goes over to another chain once all of it is loaded, and lets go of what is not part of it. */
  async #take(chain: readonly string[]): Promise<void> {
    const { scope } = this.#parts;
    const missing = chain.filter((environment) => !this.#layers.has(environment));
    const caches = await this.#all(
      missing.map((environment) => this.#open({ prefix: plainPrefixText({ ...scope, environment }) })),
    );
    for (const [at, environment] of missing.entries()) {
      const layer = new EnvironmentLayer({ ...scope, environment }, caches[at]!);
      this.#layers.set(environment, layer);
      layer.cache.onChange((update) => this.#changed(layer, update));
    }
    this.#chain = chain;
    for (const [environment, layer] of this.#layers) {
      if (chain.includes(environment)) continue;
      this.#layers.delete(environment);
      this.#caches.delete(layer.cache);
      layer.cache.close();
    }
  }

  /** The rows of environments have changed. One at a time goes over to what they say, until it is what they say. */
  #follow(): void {
    if (!this.#isStarted || this.#isMoving) return;
    this.#isMoving = true;
    this.#move()
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#isMoving = false;
      });
  }

  async #move(): Promise<void> {
    for (let chain = this.#wantedChain(); chain.join() !== this.#chain.join(); chain = this.#wantedChain()) {
      await this.#take(chain);
      this.#tell('all', this.revision);
    }
  }

  // ---- what happens -------------------------------------------------------------------------------------------

  #changed(layer: EnvironmentLayer, { revision, changes }: CacheUpdate): void {
    const keys = changes.map((change) =>
      layer.keyOf(change.type === 'put' ? change.entry.key : change.before.key),
    );
    this.#tell(keys, revision);
  }

  #readDefaults(revision: number): void {
    try {
      this.#defaults?.refresh();
    } catch (error) {
      if (!(error instanceof RowError)) return this.#fail(error);
      this.#parts.listener.problem(error);
    }
    this.#tell('all', revision);
  }

  #tell(keys: readonly string[] | 'all', revision: number): void {
    if (!this.#isStarted || this.#isOver) return;
    try {
      this.#parts.listener.changed(keys, revision);
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#failure = error;
    this.close();
    if (this.#isStarted) this.#parts.listener.failed(error);
  }
}

/** Why a cache has ended. */
function endOf(cache: KvCache): unknown {
  try {
    cache.entries();
    return new ClientError('canceled', 'the cache is closed');
  } catch (error) {
    return error;
  }
}
