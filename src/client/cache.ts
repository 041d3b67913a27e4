import type { CachedEntry } from './cache-entry.ts';
import { CacheFeed, type CacheSource } from './cache-feed.ts';
import {
  type CacheOptions,
  type CacheSettings,
  cacheSettings,
  covers,
  prefixRange,
  rangeOf,
  type Span,
  spanOf,
} from './cache-options.ts';
import { type CacheChange, CacheStore } from './cache-store.ts';
import { ClientError, canceled } from './client-error.ts';
import type { ClientClock } from './clock.ts';
import { FreshLease } from './fresh-lease.ts';
import { LinkedSignal } from './linked-signal.ts';
import { tellAll } from './listeners.ts';
import type { Bytes, KeyRange } from './types.ts';

/** Whole revisions that went into a cache in one step. */
export interface CacheUpdate {
  /** The cache includes everything up to it. */
  readonly revision: number;
  /** Each key once. */
  readonly changes: readonly CacheChange[];
}

/**
 * fresh: the lease holds. lapsed: it does not at present. unknown: no member has told an age yet, as none of a real etcd
 * ever does. ended: closed, or failed for good; every read throws.
 */
export type CacheState = 'fresh' | 'lapsed' | 'unknown' | 'ended';

/** Counts since the cache was opened, and how it is now. */
export interface CacheMetrics {
  /** `get`s that found their key, and those that did not. */
  readonly hits: number;
  readonly misses: number;
  /** 0 to 1; 0 before the first read. */
  readonly hitRatio: number;
  /** Reads that were served though the lease had lapsed. */
  readonly staleServes: number;
  /** As `ageMs()`. */
  readonly ageMs: number | undefined;
  /** The lease held, then did not. */
  readonly lapses: number;
  /** The range was read anew, since history was gone. */
  readonly reloads: number;
  /** Streams that were lost; the watch went on elsewhere. */
  readonly losses: number;
  readonly revision: number;
  readonly keys: number;
  readonly bytes: number;
}

/** How long something may be waited for. */
export interface CacheWait {
  /** Default: the client's `timeoutMs`. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** What a cache needs besides its options. */
export interface CacheSurroundings {
  readonly source: CacheSource;
  readonly timeoutMs: number;
  /** Ends the cache, too: its client is closed. */
  readonly closing?: AbortSignal;
  readonly clock: ClientClock;
}

/**
 * A range of keys in memory, as it was at one revision, moved forward by a watch whole revisions at a time: between two
 * `await`s all reads see the same state, and nobody ever sees a part of a transaction. While its freshness lease holds
 * (`isFresh()`) it includes everything acknowledged more than `maxAgeMs` ago. When the lease has lapsed, reads do what
 * `whenLapsed` says: `serve-stale` reads on; `fail` and `wait` throw ClientError `unavailable` (`failed-precondition`
 * when no member has told an age). With `wait` readers use `await getFresh(key)`.
 *
 * The clock is read with every read, so a read after a stall of the process claims nothing that is not so.
 */
export class KvCache {
  readonly #settings: CacheSettings;
  readonly #timeoutMs: number;
  readonly #clock: ClientClock;
  readonly #store: CacheStore;
  readonly #lease: FreshLease;
  readonly #feed: CacheFeed;
  readonly #closing = new AbortController();
  readonly #link: LinkedSignal;
  readonly #onChange = new Set<(update: CacheUpdate) => void>();
  readonly #onState = new Set<(state: CacheState) => void>();
  /** Called once each at the next answer, change of state or end. */
  readonly #waiting = new Set<() => void>();
  #state: CacheState = 'unknown';
  /** Why every read throws. */
  #end: unknown = null;
  #wasAnswered = false;
  #callOffLapse = (): void => {};
  #hits = 0;
  #misses = 0;
  #staleServes = 0;
  #lapses = 0;
  #reloads = 0;
  #losses = 0;

  private constructor({ source, timeoutMs, closing, clock }: CacheSurroundings, options: CacheOptions) {
    this.#settings = cacheSettings(options);
    this.#timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#store = new CacheStore(this.#settings.bounds);
    this.#lease = new FreshLease(this.#settings.maxAgeMs);
    this.#link = new LinkedSignal([options.signal, closing, this.#closing.signal]);
    this.#feed = new CacheFeed({
      source,
      settings: this.#settings,
      store: this.#store,
      lease: this.#lease,
      clock,
      signal: this.#link.signal,
      listener: {
        changed: (changes) => this.#changed(changes),
        answered: () => this.#answered(),
        lost: () => {
          this.#losses += 1;
        },
        reloaded: () => {
          this.#reloads += 1;
        },
      },
    });
  }

  /**
   * Opens a cache: it has been loaded, and a member has told how fresh it is, or could not within the time of a call (the
   * cache is then open and not fresh).
   *
   * @throws ClientError `invalid-argument`, `resource-exhausted` when the range is too large, `canceled`, and what the
   *   load failed with
   */
  static async open(surroundings: CacheSurroundings, options: CacheOptions): Promise<KvCache> {
    const cache = new KvCache(surroundings, options);
    try {
      await cache.#begin();
      return cache;
    } catch (error) {
      cache.close();
      throw error;
    }
  }

  // ---- reads --------------------------------------------------------------------------------------------------

  /**
   * The key as the cache has it; undefined when it is not there.
   *
   * @param key text stands for its UTF-8
   * @throws ClientError as `whenLapsed` says; `invalid-argument` when the key is none of the cached range; `canceled`
   *   when the cache is closed; what it failed with
   */
  get(key: Bytes): CachedEntry | undefined {
    const entry = this.#find(key);
    // After the look, so that a pause between the two cannot make the claim too good.
    if (this.#clock.nowMs() >= this.#lease.untilMs) this.#notFresh();
    return entry === undefined ? this.#missed(key) : this.#hit(entry);
  }

  /** Every key with this prefix (absent = all), in the order of their bytes, as of one revision. @throws as `get` */
  entries(prefix?: Bytes): readonly CachedEntry[] {
    return this.#inSpan(prefix === undefined ? this.#settings.span : spanOf(prefixRange(prefix)));
  }

  /** Every key of the range, which lies within the cached one; else as `entries`. @throws as `get` */
  range(range: KeyRange): readonly CachedEntry[] {
    return this.#inSpan(spanOf(rangeOf(range)));
  }

  /**
   * As `get`, once the lease holds. @throws ClientError `deadline-exceeded`, `canceled`; `failed-precondition` when no
   * member tells ages
   */
  async getFresh(key: Bytes, wait: CacheWait = {}): Promise<CachedEntry | undefined> {
    return this.#bounded((over) => this.#whenFresh(key, over), wait);
  }

  /**
   * One linearizable point: once it resolves the cache includes everything acknowledged before the call, on Conclave and
   * on etcd.
   *
   * @throws ClientError `deadline-exceeded`, `canceled`, `unavailable`
   */
  linearize(wait: CacheWait = {}): Promise<void> {
    return this.#bounded(
      () => (this.#end === null ? this.#feed.linearize() : Promise.reject(this.#end)),
      wait,
    );
  }

  // ---- what it is worth ---------------------------------------------------------------------------------------

  /** Everything of the range up to this revision is in. */
  get revision(): number {
    return this.#store.revision;
  }

  get size(): number {
    return this.#store.size;
  }

  /** Everything acknowledged more than so many ms ago is in; undefined when no member has told. Grows without news. */
  ageMs(): number | undefined {
    return this.#lease.ageMs(this.#clock.nowMs());
  }

  /** Whether the lease holds now. */
  isFresh(): boolean {
    return this.#clock.nowMs() < this.#lease.untilMs;
  }

  get state(): CacheState {
    if (this.#state === 'fresh' && !this.isFresh()) this.#goTo('lapsed');
    return this.#state;
  }

  metrics(): CacheMetrics {
    const reads = this.#hits + this.#misses;
    return {
      hits: this.#hits,
      misses: this.#misses,
      hitRatio: reads === 0 ? 0 : this.#hits / reads,
      staleServes: this.#staleServes,
      ageMs: this.ageMs(),
      lapses: this.#lapses,
      reloads: this.#reloads,
      losses: this.#losses,
      revision: this.#store.revision,
      keys: this.#store.size,
      bytes: this.#store.bytes,
    };
  }

  // ---- events -------------------------------------------------------------------------------------------------

  /** Calls back after each step forward, with the cache at the update's revision. @returns what ends that */
  onChange(listener: (update: CacheUpdate) => void): () => void {
    this.#onChange.add(listener);
    return () => this.#onChange.delete(listener);
  }

  /** Calls back soon after each change of state, once for each. @returns what ends that */
  onState(listener: (state: CacheState) => void): () => void {
    this.#onState.add(listener);
    return () => this.#onState.delete(listener);
  }

  /** Ends the watch. Reads throw `canceled` from now on. */
  close(): void {
    this.#finish(new ClientError('canceled', 'the cache is closed'));
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // ---- parts of reads -----------------------------------------------------------------------------------------

  #find(key: Bytes): CachedEntry | undefined {
    return typeof key === 'string' ? this.#store.get(key) : this.#store.find(key.toString('latin1'));
  }

  #hit(entry: CachedEntry): CachedEntry {
    this.#hits += 1;
    return entry;
  }

  #missed(key: Bytes): undefined {
    this.#misses += 1;
    const order = (typeof key === 'string' ? Buffer.from(key) : key).toString('latin1');
    this.#checkSpan({ from: order, end: `${order}\0` });
    return undefined;
  }

  #inSpan(span: Span): readonly CachedEntry[] {
    this.#checkSpan(span);
    const found = this.#store.range(span.from, span.end);
    if (!this.isFresh()) this.#notFresh();
    return found;
  }

  /** What lies outside is not known to be absent. @throws ClientError `invalid-argument` */
  #checkSpan(span: Span): void {
    if (covers(this.#settings.span, span)) return;
    throw new ClientError('invalid-argument', 'that is not within the cached range', { unsent: true });
  }

  /** A read without a lease. @throws ClientError unless the policy serves it */
  #notFresh(): void {
    if (this.#end !== null) throw this.#end;
    if (this.#state === 'fresh') this.#goTo('lapsed');
    const isUnknown = this.#state === 'unknown';
    if (isUnknown && this.#settings.allowUnknownAge) return;
    if (this.#settings.whenLapsed !== 'serve-stale') throw this.#refusal();
    this.#staleServes += 1;
  }

  #refusal(): ClientError {
    if (this.#state === 'unknown')
      return new ClientError('failed-precondition', 'no member has told how old the cache is');
    const { maxAgeMs } = this.#settings;
    return new ClientError('unavailable', `the cache is not known to be at most ${maxAgeMs} ms old`);
  }

  /** @param over aborts when nobody waits for it any more: it then never settles, and nothing holds it */
  async #whenFresh(key: Bytes, over: AbortSignal): Promise<CachedEntry | undefined> {
    for (;;) {
      const entry = this.#find(key);
      if (this.isFresh()) return entry === undefined ? this.#missed(key) : this.#hit(entry);
      if (this.#end !== null) throw this.#end;
      if (this.#state === 'unknown' && this.#wasAnswered) return this.get(key);
      await this.#nextWake(over);
    }
  }

  // ---- what happens -------------------------------------------------------------------------------------------

  async #begin(): Promise<void> {
    const { signal } = this.#link;
    if (signal.aborted) throw new ClientError('canceled', 'the cache is closed', { unsent: true });
    signal.addEventListener('abort', () => this.close(), { once: true });
    await this.#feed.load();
    this.#feed.run().catch((error: unknown) => this.#finish(error));
    const callOff = this.#clock.after(this.#timeoutMs, () => this.#wake());
    if (!this.#wasAnswered) await this.#nextWake();
    callOff();
    if (this.#end !== null) throw this.#end;
  }

  #changed(changes: readonly CacheChange[]): void {
    const update = { revision: this.#store.revision, changes };
    tellAll(this.#onChange, update);
  }

  #answered(): void {
    this.#wasAnswered = true;
    const { untilMs } = this.#lease;
    if (untilMs !== Number.NEGATIVE_INFINITY) {
      const leftMs = untilMs - this.#clock.nowMs();
      this.#goTo(leftMs > 0 ? 'fresh' : 'lapsed');
      this.#lapseAfter(leftMs);
    }
    this.#wake();
  }

  #lapseAfter(leftMs: number): void {
    this.#callOffLapse();
    if (leftMs <= 0) return;
    this.#callOffLapse = this.#clock.after(leftMs, () => {
      // Timers may be early by a part of a millisecond.
      if (this.isFresh()) this.#lapseAfter(1);
      else if (this.#state === 'fresh') this.#goTo('lapsed');
    });
  }

  #goTo(state: CacheState): void {
    if (state === this.#state || this.#end !== null) return;
    if (this.#state === 'fresh' && state === 'lapsed') this.#lapses += 1;
    this.#state = state;
    for (const listener of this.#onState) queueMicrotask(() => listener(state));
  }

  #finish(reason: unknown): void {
    if (this.#end !== null) return;
    this.#goTo('ended');
    this.#end = reason;
    this.#lease.end();
    this.#callOffLapse();
    this.#closing.abort();
    this.#link[Symbol.dispose]();
    this.#wake();
  }

  // ---- waiting ------------------------------------------------------------------------------------------------

  #nextWake(over?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (over?.aborted) return;
      const forget = (): void => void this.#waiting.delete(wake);
      const wake = (): void => {
        forget();
        over?.removeEventListener('abort', forget);
        resolve();
      };
      this.#waiting.add(wake);
      over?.addEventListener('abort', forget, { once: true });
    });
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }

  /**
   * @param begin given a signal that aborts when nobody waits any more; what it began may then never settle
   * @throws ClientError `deadline-exceeded`, `canceled`
   */
  async #bounded<T>(
    begin: (over: AbortSignal) => Promise<T>,
    { timeoutMs = this.#timeoutMs, signal }: CacheWait,
  ): Promise<T> {
    if (signal?.aborted) throw canceled();
    const over = new AbortController();
    try {
      return await new Promise<T>((resolve, reject) => {
        const late = new ClientError(
          'deadline-exceeded',
          `the cache was not that fresh within ${timeoutMs} ms`,
        );
        const callOff = this.#clock.after(timeoutMs, () => reject(late));
        over.signal.addEventListener('abort', callOff, { once: true });
        const onAbort = (): void => reject(canceled());
        signal?.addEventListener('abort', onAbort, { once: true, signal: over.signal });
        begin(over.signal).then(resolve, reject);
      });
    } finally {
      over.abort();
    }
  }
}
