import { assert } from '../lib/assert.ts';
import { type LoadedRange, loadRange } from './cache-load.ts';
import type { CacheSettings } from './cache-options.ts';
import { type CacheChange, CacheEndedError, type CacheStore } from './cache-store.ts';
import { ClientError, type ClientErrorCode } from './client-error.ts';
import type { ClientClock } from './clock.ts';
import type { FreshLease } from './fresh-lease.ts';
import { type Backoff, backoffMs } from './pause.ts';
import type { RangeAnswer, RangeOptions } from './types.ts';
import type { WatchStreamHandle, WatchStreamItem, WatchStreamOptions } from './watch-stream.ts';

/** The lease is renewed so often within its bound, and every 10 s at least. */
const RENEWALS_PER_BOUND = 3;
const RENEWAL_MS_MAX = 10_000;
/** A member that answers nothing for so long, or for a longer bound of the lease, is left; twice as long each time in a row. */
const PATIENCE_MS = 1_000;
const PATIENCE_MS_MAX = 30_000;
/** How often a member without nonces is asked how far the watch is, while somebody waits for a revision. */
const REVISION_LOOK_MS = 100;
const RETRY_PAUSE: Backoff = { firstMs: 100, longestMs: 2_000 };
/** How often a range is read anew, in a row, because it was compacted away under the reader. */
const LOADS_MAX = 10;

/** What no other member and no later attempt will see otherwise. */
const LASTING: ReadonlySet<ClientErrorCode> = new Set([
  'invalid-argument',
  'not-found',
  'permission-denied',
  'unauthenticated',
  'unimplemented',
]);

function lasts(error: unknown): boolean {
  return !(error instanceof ClientError) || error instanceof CacheEndedError || LASTING.has(error.code);
}

/** Where the contents of a cache come from. */
export interface CacheSource {
  range(options: RangeOptions, call: { readonly signal?: AbortSignal }): Promise<RangeAnswer>;
  watchStream(options: WatchStreamOptions): WatchStreamHandle;
}

/** What a feed tells, each after the store has it. */
export interface FeedListener {
  changed(changes: readonly CacheChange[]): void;
  /** The lease goes on, or the member has said by its answer that it knows of no leases. */
  answered(): void;
  lost(): void;
  reloaded(): void;
}

/** What a feed works on. */
export interface FeedParts {
  readonly source: CacheSource;
  readonly settings: CacheSettings;
  readonly store: CacheStore;
  readonly lease: FreshLease;
  readonly clock: ClientClock;
  readonly listener: FeedListener;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Keeps the store up to date by a load and a watch behind it, and the lease by questions on that watch. */
export class CacheFeed {
  readonly #parts: FeedParts;
  #watch: WatchStreamHandle | null = null;
  /** Whether a member has taken the watch, and its stream is there. */
  #isLive = false;
  /** Of the present stream; null until its first answer. */
  #knowsNonces: boolean | null = null;
  /** Counts streams. */
  #streams = 0;
  #clusterId = 0n;
  /** Since when the member owes an answer; null when it owes none. */
  #owedSinceMs: number | null = null;
  #movesInARow = 0;
  #waiting: (() => void)[] = [];
  #failure: unknown = null;
  #round: Promise<void> | null = null;
  #nextRound: Promise<void> | null = null;

  constructor(parts: FeedParts) {
    this.#parts = parts;
  }

  /** The first state. @throws ClientError what the call failed with */
  async load(): Promise<void> {
    const loaded = await this.#read();
    this.#clusterId = loaded.clusterId;
    this.#parts.store.replace(loaded.revision, loaded.entries);
  }

  /**
   * Follows the range until the signal ends it. After a loss it goes on behind what is in; when history is gone it reads
   * the range anew.
   *
   * @throws ClientError what will not heal
   */
  async run(): Promise<void> {
    const callOff = this.#renewFromTimeToTime();
    try {
      for (let failures = 0; !this.#isOver; ) {
        const before = this.#parts.store.revision;
        const failure = await this.#follow();
        failures = this.#parts.store.revision > before ? 1 : failures + 1;
        const { revision } = this.#parts.store;
        if (failure?.code === 'out-of-range' && failure.compactRevision !== undefined) await this.#reload();
        // A reload that led nowhere would be followed by the same failure.
        if (this.#parts.store.revision === revision) await this.#pause(failures);
      }
    } catch (error) {
      this.#failure = error;
      throw error;
    } finally {
      callOff();
      this.#isLive = false;
      this.#wake();
    }
  }

  /**
   * Resolves when everything acknowledged before the call is in the store. Calls that wait at the same time share a
   * round.
   *
   * @throws ClientError
   */
  linearize(): Promise<void> {
    if (this.#round === null) return this.#beginRound();
    this.#nextRound ??= this.#round.then(
      () => this.#beginRound(),
      () => this.#beginRound(),
    );
    return this.#nextRound;
  }

  get #isOver(): boolean {
    return this.#parts.signal.aborted;
  }

  // ---- the state ----------------------------------------------------------------------------------------------

  async #read(): Promise<LoadedRange> {
    const { source, settings, store, signal } = this.#parts;
    for (let failures = 1; ; failures += 1) {
      try {
        return await loadRange((options) => source.range(options, { signal }), settings, store);
      } catch (error) {
        // Compacted away under the reader.
        const again = error instanceof ClientError && error.code === 'out-of-range';
        if (!again || failures > LOADS_MAX) throw error;
        await this.#pause(failures);
      }
    }
  }

  /** One watch, until it fails for good. */
  async #follow(): Promise<ClientError | null> {
    const { source, settings, store, signal } = this.#parts;
    const startRevision = store.revision + 1;
    const watch = source.watchStream({
      ...settings.range,
      startRevision,
      signal,
      failuresMax: Number.POSITIVE_INFINITY,
    });
    this.#watch = watch;
    this.#owe();
    try {
      for await (const item of watch) {
        // What had come in before the end is not told after it.
        if (this.#isOver) break;
        this.#take(item);
      }
      return null;
    } catch (error) {
      if (lasts(error)) throw error;
      return error as ClientError;
    } finally {
      this.#watch = null;
      watch.close();
      this.#lose();
    }
  }

  /** Goes over to the present state in one step: readers have the old one until then. */
  async #reload(): Promise<void> {
    const { store, listener } = this.#parts;
    for (let failures = 1; !this.#isOver; failures += 1) {
      try {
        const { revision, clusterId, entries } = await this.#read();
        this.#checkCluster(clusterId);
        // A member that is behind has nothing to tell.
        if (revision >= store.revision) {
          const changes = store.replace(revision, entries);
          listener.reloaded();
          if (changes.length > 0) listener.changed(changes);
          return this.#wake();
        }
      } catch (error) {
        if (this.#isOver) return;
        if (lasts(error)) throw error;
      }
      await this.#pause(failures);
    }
  }

  #take(item: WatchStreamItem): void {
    const { store, listener } = this.#parts;
    switch (item.type) {
      case 'created':
        this.#checkCluster(item.header.clusterId);
        this.#isLive = true;
        this.#askForLease();
        break;
      case 'events': {
        if (this.#owedSinceMs !== null) this.#owe();
        const changes = store.apply(item.events);
        if (changes.length > 0) listener.changed(changes);
        break;
      }
      case 'progress':
        store.advance(item.header.revision);
        this.#answered(item);
        break;
      case 'lost':
        this.#lose();
        this.#owe();
        listener.lost();
        break;
    }
    this.#wake();
  }

  /** @throws CacheEndedError what was cached means nothing there */
  #checkCluster(clusterId: bigint): void {
    if (clusterId === this.#clusterId) return;
    const text = 'the endpoints belong to another cluster than the one that was cached';
    throw new CacheEndedError('failed-precondition', text);
  }

  #lose(): void {
    this.#parts.lease.forget();
    this.#isLive = false;
    this.#knowsNonces = null;
    this.#streams += 1;
    this.#owedSinceMs = null;
    this.#wake();
  }

  // ---- the lease ----------------------------------------------------------------------------------------------

  #answered({ nonce, ageMs }: WatchStreamItem & { readonly type: 'progress' }): void {
    const { lease, listener } = this.#parts;
    this.#movesInARow = 0;
    this.#knowsNonces = nonce !== 0;
    if (ageMs === undefined) lease.forget();
    else lease.answered(nonce, ageMs);
    this.#owedSinceMs = null;
    if (lease.isWaiting) this.#owe();
    listener.answered();
  }

  #renewFromTimeToTime(): () => void {
    const { clock, settings } = this.#parts;
    const everyMs = Math.min(settings.maxAgeMs / RENEWALS_PER_BOUND, RENEWAL_MS_MAX);
    let callOff = (): void => {};
    const renew = (): void => {
      callOff = clock.after(everyMs, renew);
      this.#leaveSilent();
      if (this.#isLive && this.#knowsNonces !== false && !this.#parts.lease.isAskedEnough)
        this.#askForLease();
    };
    callOff = clock.after(everyMs, renew);
    return () => callOff();
  }

  /**
   * A member that was asked by nobody of late would tell how long ago that was. So the first question to it has it prove
   * its state anew, and so does every one while the lease does not hold: a member that cannot, says nothing, and is left.
   */
  #askForLease(): void {
    const { lease, clock } = this.#parts;
    this.#ask(this.#knowsNonces === null || clock.nowMs() >= lease.untilMs);
  }

  /** @returns the nonce, to be looked for in the lease */
  #ask(linearizable: boolean): number {
    const { lease, clock } = this.#parts;
    assert(this.#watch !== null, 'only a stream that is there is asked');
    const nonce = lease.ask(clock.nowMs());
    if (this.#owedSinceMs === null) this.#owe();
    this.#watch.requestProgress(linearizable ? { nonce, linearizable } : { nonce });
    return nonce;
  }

  #owe(): void {
    this.#owedSinceMs = this.#parts.clock.nowMs();
  }

  /** A member that is stopped or cut off keeps its streams open and says nothing. */
  #leaveSilent(): void {
    if (this.#owedSinceMs === null) return;
    const { clock, settings } = this.#parts;
    const patienceMs = Math.max(PATIENCE_MS * 2 ** this.#movesInARow, settings.maxAgeMs);
    if (clock.nowMs() - this.#owedSinceMs < Math.min(patienceMs, PATIENCE_MS_MAX)) return;
    this.#movesInARow += 1;
    this.#owe();
    this.#watch?.move();
  }

  // ---- a linearizable point -----------------------------------------------------------------------------------

  #beginRound(): Promise<void> {
    this.#nextRound = null;
    const round = this.#linearizeOnce().finally(() => {
      if (this.#round === round) this.#round = null;
    });
    this.#round = round;
    return round;
  }

  async #linearizeOnce(): Promise<void> {
    for (;;) {
      while (!this.#isLive) await this.#nextWake();
      const reached = this.#knowsNonces === false ? await this.#reachPresent() : await this.#reachByNonce();
      if (reached) return;
    }
  }

  /** @returns false when the stream was lost, or knows no nonces */
  async #reachByNonce(): Promise<boolean> {
    const stream = this.#streams;
    const nonce = this.#ask(true);
    while (this.#parts.lease.isAsked(nonce)) await this.#nextWake();
    return stream === this.#streams && this.#knowsNonces === true;
  }

  /** As with any etcd: the revision by a linearizable read, then the watch up to it. @returns false when it was lost */
  async #reachPresent(): Promise<boolean> {
    const { source, settings, store, clock, signal } = this.#parts;
    const stream = this.#streams;
    const { header } = await source.range({ key: settings.range.key, countOnly: true }, { signal });
    while (store.revision < header.revision) {
      if (stream !== this.#streams) return false;
      this.#watch?.requestProgress({ nonce: 1 });
      const callOff = clock.after(REVISION_LOOK_MS, () => this.#wake());
      await this.#nextWake().finally(callOff);
    }
    return true;
  }

  // ---- waiting ------------------------------------------------------------------------------------------------

  /** Until something happens to the watch. @throws ClientError what ended the feed */
  async #nextWake(): Promise<void> {
    if (!this.#isOver && this.#failure === null)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.#failure !== null) throw this.#failure;
    if (this.#isOver) throw new ClientError('canceled', 'the cache is closed');
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Ends early, without an error, when the feed does. */
  async #pause(failures: number): Promise<void> {
    const { clock, signal } = this.#parts;
    const durationMs = backoffMs(failures, RETRY_PAUSE);
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const callOff = clock.after(durationMs, () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      });
      const onAbort = (): void => {
        callOff();
        resolve();
      };
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}
