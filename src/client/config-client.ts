import { canonicalEnvironment } from '../config-format/environments.ts';
import type { Json } from '../config-format/values.ts';
import type { CacheWait } from './cache.ts';
import { ClientError } from './client-error.ts';
import { SleepAwareClock } from './clock.ts';
import type { ConfigEntry } from './config-entry.ts';
import { ConfigFeed } from './config-feed.ts';
import { ConfigError, take, WANTED, type Wanted } from './config-get.ts';
import type { ConfigScope } from './config-layers.ts';
import { type ConfigHttpOptions, isAway, type SecretCall, Secrets } from './config-secrets.ts';
import { SnapshotFile } from './config-snapshot.ts';
import { type ConfigChange, ConfigValues } from './config-values.ts';
import { variableEntry } from './config-variables.ts';
import { KvClient, type KvClientOptions } from './kv-client.ts';
import { LinkedSignal } from './linked-signal.ts';
import { tellAll } from './listeners.ts';

/** The tenant where none is named. */
const TENANT_DEFAULT = 'default';
const START_TIMEOUT_MS_DEFAULT = 5_000;
const HTTP_TIMEOUT_MS_DEFAULT = 5_000;
/** Between two attempts to reach the cluster; twice as long after each failure. */
const RETRY_PAUSE_MS = 500;
const RETRY_PAUSE_MS_MAX = 30_000;

/** Whose configuration is wanted, from where, and what holds while that cannot be had. */
export interface ConfigClientOptions extends KvClientOptions {
  /** Default `default`. */
  readonly tenant?: string;
  /** In any spelling: `PROD`, `production`, or the name of one of your own. */
  readonly environment: string;
  readonly application: string;
  /** Where the last values are kept, for starting while no member can be reached; absent = nowhere. */
  readonly snapshotFile?: string;
  /** Where the last fallback is looked up; default the variables of the process. */
  readonly variables?: Readonly<Record<string, string | undefined>>;
  /** Where secrets are asked for; absent = they cannot be had. */
  readonly http?: ConfigHttpOptions;
  /** What a getter does with a value of another type where it was given a default; default `throw`. */
  readonly whenWrong?: WhenWrong;
  /** How long `open` waits for the cluster before it takes the snapshot; default 5000. */
  readonly startTimeoutMs?: number;
  /** What `open` does when there is neither the cluster nor a snapshot; default `throw`. */
  readonly whenAway?: 'throw' | 'start-empty';
  /** Hears of what was got over: a lost connection, a file that could not be written, a row that could not be read. */
  readonly onProblem?: (error: Error) => void;
  /** Gives up the opening, and closes the client. */
  readonly signal?: AbortSignal;
}

/** With `default` a getter that was given a default gives it for a value of another type, too. */
export type WhenWrong = 'throw' | 'default';

export interface GetOptions {
  readonly whenWrong?: WhenWrong;
}

/** Values that changed together. */
export interface ConfigUpdate {
  /** Of the store; the values include everything that was put into the places of these keys up to it. */
  readonly revision: number;
  /** Each key once. */
  readonly changes: readonly ConfigChange[];
}

/**
 * The configuration of one application in one environment, kept up to date in memory: reads are synchronous and touch no
 * network. A value comes from the first of these that has it:
 *
 * 1. the cluster: the environment itself, those that it inherits from, nearest first, the application's defaults - or the
 *    snapshot file of these, until the cluster was reached for the first time;
 * 2. a variable of the process, `PAY_DB_POOL_MAX` for `db.pool.max` of `pay`;
 * 3. the default that the getter was given.
 *
 * While the cluster is away what was there last holds.
 */
export class ConfigClient {
  readonly scope: ConfigScope;
  readonly #options: ConfigClientOptions;
  readonly #kv: KvClient;
  readonly #values = new ConfigValues();
  readonly #snapshot: SnapshotFile | null;
  readonly #secrets: Secrets | null;
  readonly #closing = new AbortController();
  readonly #onChange = new Set<(update: ConfigUpdate) => void>();
  readonly #onReady = new Set<() => void>();
  #feed: ConfigFeed | null = null;
  #source: 'cluster' | 'snapshot' | 'none' = 'none';
  /** Of the last feed, while there is none. */
  #revision = 0;
  #chain: readonly string[] = [];

  private constructor(options: ConfigClientOptions) {
    const { tenant = TENANT_DEFAULT, application, snapshotFile, http, timeoutMs, tls } = options;
    this.scope = { tenant, environment: canonicalEnvironment(options.environment), application };
    checkScope(this.scope);
    this.#options = options;
    this.#kv = new KvClient(options);
    this.#snapshot =
      snapshotFile === undefined
        ? null
        : new SnapshotFile({
            path: snapshotFile,
            scope: this.scope,
            clock: new SleepAwareClock(),
            onProblem: (error) => this.#problem(error),
          });
    this.#secrets =
      http === undefined
        ? null
        : new Secrets(this.scope, http, {
            tls,
            login: options.login,
            timeoutMs: timeoutMs ?? HTTP_TIMEOUT_MS_DEFAULT,
          });
  }

  /**
   * Opens a client: the cluster's values are there, or those of the snapshot file while no member answers (`source` tells).
   * It then goes on trying to reach the cluster.
   *
   * @throws ClientError `invalid-argument`; `permission-denied`, `unauthenticated`; `canceled`; what kept it from the
   *   cluster when there is no snapshot either
   */
  static async open(options: ConfigClientOptions): Promise<ConfigClient> {
    const client = new ConfigClient(options);
    try {
      await client.#start();
      return client;
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  // ---- reads --------------------------------------------------------------------------------------------------

  /** @throws ConfigError `missing` without a default; `wrong-type`, `secret`, `malformed` unless `whenWrong` says otherwise */
  string(key: string, fallback?: string, options?: GetOptions): string {
    return this.#get(WANTED.string, { key, fallback, options });
  }

  /** An integer or a float; a variable's text as a number. @throws ConfigError as `string` */
  number(key: string, fallback?: number, options?: GetOptions): number {
    return this.#get(WANTED.number, { key, fallback, options });
  }

  /** Between -2^53 and 2^53. @throws ConfigError as `string` */
  integer(key: string, fallback?: number, options?: GetOptions): number {
    return this.#get(WANTED.integer, { key, fallback, options });
  }

  /** Of a variable: true, false, 1 or 0. @throws ConfigError as `string` */
  boolean(key: string, fallback?: boolean, options?: GetOptions): boolean {
    return this.#get(WANTED.boolean, { key, fallback, options });
  }

  /** Any value, not to be written to. @throws ConfigError as `string` */
  json(key: string, fallback?: Json, options?: GetOptions): Json {
    return this.#get(WANTED.json, { key, fallback, options });
  }

  /** Not to be written to. @throws ConfigError as `string` */
  array(key: string, fallback?: readonly Json[], options?: GetOptions): readonly Json[] {
    return this.#get(WANTED.array, { key, fallback, options });
  }

  /** The value with where it comes from, the variable included; undefined = there is none. */
  get(key: string): ConfigEntry | undefined {
    const { application } = this.scope;
    return (
      this.#values.get(key) ?? variableEntry(this.#options.variables ?? process.env, { application, key })
    );
  }

  /** Everything that the cluster, or the snapshot, has, in the order of the keys; variables are none of it. */
  entries(): readonly ConfigEntry[] {
    return this.#values.entries();
  }

  /** As `entries`, values alone; without secrets, and what is malformed. */
  all(): Readonly<Record<string, Json>> {
    const shown = this.#values.entries().filter(({ type }) => type !== 'secret' && type !== 'malformed');
    return Object.fromEntries(shown.map(({ key, json }) => [key, json]));
  }

  /**
   * The text of a secret, of which the store holds only what is sealed: asked for over HTTP, where the reading is recorded,
   * and kept in memory until the configuration changes. While no member answers it is the one that was read before, else
   * the variable. What is no secret is given as text, too.
   *
   * @throws ConfigError `missing`; `secret` without `http`; ProblemError, ClientError
   */
  async secret(key: string, call: SecretCall = {}): Promise<string> {
    const entry = this.get(key);
    if (entry?.type !== 'secret') {
      const json = take(key, entry, WANTED.json);
      return typeof json === 'string' ? json : JSON.stringify(json);
    }
    if (this.#secrets === null)
      throw new ConfigError('secret', { key, message: `${key} is a secret: it needs http` });
    try {
      return await this.#secrets.text(entry, call);
    } catch (error) {
      const { variables = process.env } = this.#options;
      const variable = variableEntry(variables, { application: this.scope.application, key });
      if (variable === undefined || !isAway(error)) throw error;
      return variable.json as string;
    }
  }

  // ---- what it is worth ---------------------------------------------------------------------------------------

  /** Where the values come from; none: from variables and defaults alone. */
  get source(): 'cluster' | 'snapshot' | 'none' {
    return this.#source;
  }

  /** Everything up to it is in. */
  get revision(): number {
    return this.#feed?.revision ?? this.#revision;
  }

  /** Everything acknowledged more than so many ms ago is in; undefined when that is not known, as on a real etcd. */
  ageMs(): number | undefined {
    return this.#feed?.ageMs();
  }

  /** The environment and those that it inherits from, nearest first; empty until the cluster was reached. */
  get environments(): readonly string[] {
    return this.#feed?.chain ?? this.#chain;
  }

  /**
   * Resolves once the values are the cluster's.
   *
   * @param wait `timeoutMs`: default without an end
   * @throws ClientError `deadline-exceeded`, `canceled`
   */
  async ready(wait: CacheWait = {}): Promise<void> {
    if (this.#source === 'cluster') return;
    using limit = new LinkedSignal([wait.signal, this.#closing.signal], wait.timeoutMs);
    const { signal } = limit;
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#onReady.delete(onReady);
        reject(
          limit.isTimeout
            ? new ClientError('deadline-exceeded', 'the cluster was not reached in time')
            : new ClientError('canceled', 'the call was canceled'),
        );
      };
      const onReady = (): void => {
        this.#onReady.delete(onReady);
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      if (signal.aborted) return onAbort();
      signal.addEventListener('abort', onAbort, { once: true });
      this.#onReady.add(onReady);
    });
  }

  // ---- events -------------------------------------------------------------------------------------------------

  /**
   * Calls back when values have changed, once for each change and in order, with the new ones in place. A value that is
   * put again as it was, or overridden by the same, is no change; after a gap each key is told once.
   *
   * @returns what ends that
   */
  onChange(listener: (update: ConfigUpdate) => void): () => void {
    this.#onChange.add(listener);
    return () => this.#onChange.delete(listener);
  }

  /** The same, of one key. @returns what ends that */
  onKey(key: string, listener: (change: ConfigChange) => void): () => void {
    return this.onChange(({ changes }) => {
      for (const change of changes) if (change.key === key) listener(change);
    });
  }

  /** Lets go of the cluster, and writes the snapshot file if something is to be written. Reads go on as they were. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#feed?.close();
    this.#kv.close();
    this.#secrets?.forget();
    await this.#snapshot?.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---- the way to the cluster ---------------------------------------------------------------------------------

  readonly #onAbort = (): void => void this.close();

  async #start(): Promise<void> {
    const { signal, startTimeoutMs = START_TIMEOUT_MS_DEFAULT } = this.#options;
    if (signal?.aborted) throw new ClientError('canceled', 'the call was canceled', { unsent: true });
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    try {
      await this.#connect(startTimeoutMs);
    } catch (error) {
      if (this.#closing.signal.aborted) throw new ClientError('canceled', 'the call was canceled');
      if (!isAway(error) || !(await this.#startWithout())) throw error;
      this.#problem(error);
      void this.#reconnect();
    }
  }

  /** @returns whether it can go on without the cluster */
  async #startWithout(): Promise<boolean> {
    try {
      const snapshot = (await this.#snapshot?.read()) ?? null;
      if (snapshot !== null) {
        this.#values.restore(snapshot.entries);
        this.#revision = snapshot.revision;
        this.#source = 'snapshot';
        return true;
      }
    } catch (error) {
      this.#problem(error);
    }
    return this.#options.whenAway === 'start-empty';
  }

  /** @throws ClientError */
  async #connect(timeoutMs?: number): Promise<void> {
    using limit = new LinkedSignal([this.#closing.signal], timeoutMs);
    const feed = await ConfigFeed.open({
      open: (options) => this.#kv.cache(options),
      scope: this.scope,
      signal: limit.signal,
      listener: {
        changed: (keys, revision) => this.#changed(keys, revision),
        problem: (error) => this.#problem(error),
        failed: (error) => this.#lost(error),
      },
    }).catch((error: unknown) => {
      throw limit.isTimeout
        ? new ClientError('deadline-exceeded', 'the cluster was not reached in time')
        : error;
    });
    try {
      this.#take(feed);
    } catch (error) {
      feed.close();
      throw error;
    }
  }

  /** Goes over to what the cluster has. */
  #take(feed: ConfigFeed): void {
    const changes = this.#values.updateAll(feed.layers);
    this.#feed = feed;
    this.#source = 'cluster';
    this.#tell({ revision: feed.revision, changes });
    this.#save();
    for (const ready of this.#onReady) ready();
    feed.start();
  }

  /** Tries until the cluster was reached, or the client is closed. */
  async #reconnect(): Promise<void> {
    const { signal } = this.#closing;
    for (let failures = 0; !signal.aborted; failures += 1) {
      await pause(Math.min(RETRY_PAUSE_MS * 2 ** failures, RETRY_PAUSE_MS_MAX), signal);
      if (signal.aborted) return;
      try {
        return await this.#connect();
      } catch (error) {
        if (!signal.aborted) this.#problem(error);
      }
    }
  }

  #lost(error: unknown): void {
    if (this.#closing.signal.aborted) return;
    this.#revision = this.revision;
    this.#chain = this.environments;
    this.#feed = null;
    this.#problem(error);
    void this.#reconnect();
  }

  #changed(keys: readonly string[] | 'all', revision: number): void {
    const { layers } = this.#feed!;
    const changes = keys === 'all' ? this.#values.updateAll(layers) : this.#values.update(layers, keys);
    this.#tell({ revision, changes });
  }

  #tell(update: ConfigUpdate): void {
    if (update.changes.length === 0) return;
    this.#save();
    tellAll(this.#onChange, update);
  }

  #save(): void {
    this.#snapshot?.save(() => ({ revision: this.revision, entries: this.#values.entries() }));
  }

  #problem(error: unknown): void {
    this.#options.onProblem?.(error instanceof Error ? error : new Error(String(error)));
  }

  #get<T>(
    wanted: Wanted<T>,
    {
      key,
      fallback,
      options,
    }: { readonly key: string; readonly fallback: T | undefined; readonly options: GetOptions | undefined },
  ): T {
    const entry = this.get(key);
    if (entry === undefined && fallback !== undefined) return fallback;
    const whenWrong = options?.whenWrong ?? this.#options.whenWrong ?? 'throw';
    if (fallback === undefined || whenWrong === 'throw') return take(key, entry, wanted);
    try {
      return take(key, entry, wanted);
    } catch (error) {
      if (error instanceof ConfigError) return fallback;
      throw error;
    }
  }
}

/** @throws ClientError `invalid-argument` */
function checkScope(scope: ConfigScope): void {
  for (const [name, text] of Object.entries(scope) as [string, string][]) {
    if (text === '' || text.includes('/'))
      throw new ClientError('invalid-argument', `${name} must be a name without a slash`, { unsent: true });
  }
}

/** Ends early when the signal aborts; keeps no process alive. */
async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, durationMs).unref();
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done, { once: true });
  });
}
