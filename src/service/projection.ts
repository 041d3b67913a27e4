import { setTimeout as delay } from 'node:timers/promises';
import { type Kv, KvError, type KvEvent } from '../kv/kv.ts';
import { assert } from '../lib/assert.ts';
import type { Logger } from '../lib/logger.ts';
import {
  applicationKey,
  applicationOrderKey,
  environmentKey,
  HEAD_KEY,
  PREFIXES,
  SERVICE_PREFIX,
} from './keyspace.ts';
import { serviceErrorOf } from './kv-errors.ts';
import type { ChangeRecord } from './model.ts';
import { completed, isConfigurationKey, loadState, wholeOf } from './projection-load.ts';
import type { ProjectionState } from './projection-state.ts';
import { type Change, RecentChanges } from './recent-changes.ts';
import { decodeChange, RowError } from './rows.ts';
import { ServiceError } from './service-error.ts';
import { SharedCall } from './shared-call.ts';

/** How fresh a read must be. `strong` misses nothing that was acknowledged before it began. */
export type Consistency =
  | { readonly type: 'strong' }
  | { readonly type: 'bounded'; readonly maxStalenessMs: number }
  | { readonly type: 'eventual' };

/** Hears of every change in order, synchronously; it must not throw. */
export interface ProjectionListener {
  changed(change: Change): void;
  /**
   * History was compacted before it was read: everything up to `revision` is in, and what changed after `from` was not
   * told one by one. The change records have it.
   */
  jumped(gap: { readonly from: number; readonly revision: number }): void;
}

/** How long a read waits for the projection to reach a revision. */
export const CATCH_UP_MS_MAX = 10_000;
/** Between two attempts to read the store, doubled each time. */
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 5_000;

/** Bounds of bounded reads that share answers: clients use few. With any other bound each asks for itself. */
const BOUNDS_SHARED_MAX = 16;

/** From the rows of applications to the head, which lie together; versions, locks and leased rows lie behind. */
const WATCHED = {
  key: Buffer.from(`${SERVICE_PREFIX}application`),
  rangeEnd: Buffer.concat([HEAD_KEY, Buffer.from([0])]),
};

interface Waiter {
  readonly revision: number;
  readonly resolve: () => void;
}

/**
 * What the service answers reads from: its rows in memory, kept up by a watch. It always shows one revision as a whole;
 * when history was compacted before it was read, it is read anew and goes over in one step.
 */
export class Projection {
  readonly #kv: Kv;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  readonly #head: SharedCall<number>;
  /** Of bounded reads, by their bound in ms. */
  readonly #boundedHeads = new Map<number, SharedCall<number>>();
  readonly #listeners = new Set<ProjectionListener>();
  readonly #waiters = new Set<Waiter>();
  readonly #recent = new RecentChanges();
  #state: ProjectionState;
  #revision: number;
  #isLive = true;
  #unreadable = 0;
  #hits = 0;
  #misses = 0;
  #done: Promise<void> = Promise.resolve();

  private constructor(
    kv: Kv,
    loaded: { readonly state: ProjectionState; readonly revision: number; readonly unreadable: number },
    logger: Logger,
  ) {
    this.#kv = kv;
    this.#logger = logger;
    this.#state = loaded.state;
    this.#revision = loaded.revision;
    this.#unreadable = loaded.unreadable;
    this.#recent.reset(loaded.revision);
    this.#head = new SharedCall(() => this.#headRevision({ type: 'linearizable' }));
  }

  /** Reads the store, and goes on watching it until it is closed. @throws ServiceError when it cannot be read */
  static async open(
    kv: Kv,
    { logger, signal }: { readonly logger: Logger; readonly signal: AbortSignal },
  ): Promise<Projection> {
    let unreadable = 0;
    try {
      const loaded = await loadAgain(kv, {
        signal,
        consistency: { type: 'serializable' },
        onUnreadable: (key, error) => {
          unreadable += 1;
          logger.error({ key, error: error.message }, 'a row cannot be read and is left out');
        },
      });
      const projection = new Projection(kv, { ...loaded, unreadable }, logger);
      projection.#done = projection.#follow();
      return projection;
    } catch (error) {
      throw serviceErrorOf(error);
    }
  }

  /** What the rows say at `revision`. Not to be kept across an await. */
  get state(): ProjectionState {
    return this.#state;
  }

  /** Everything of the service up to this revision is in. */
  get revision(): number {
    return this.#revision;
  }

  /** False while the store cannot be watched: the projection then stays behind. */
  get isLive(): boolean {
    return this.#isLive;
  }

  /** Rows that could not be read since this was opened. */
  get unreadable(): number {
    return this.#unreadable;
  }

  /** Reads since the start, by whether what was in memory was fresh enough for them. */
  get freshened(): { readonly hits: number; readonly misses: number } {
    return { hits: this.#hits, misses: this.#misses };
  }

  /** @returns what ends it */
  subscribe(listener: ProjectionListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * The changes after a revision, as far as they are still in memory; the change records in the store go back further.
   *
   * @throws ServiceError `gone` when some are not
   */
  changesAfter(revision: number): readonly Change[] {
    return this.#recent.after(revision);
  }

  /**
   * Waits until a read from `state` is as fresh as it must be.
   *
   * @throws ServiceError `unavailable` when the store does not answer or the projection stays behind for 10 s
   */
  async freshen(consistency: Consistency, signal: AbortSignal): Promise<void> {
    const revision = await this.#revisionFor(consistency, signal);
    if (revision <= this.#revision) this.#hits += 1;
    else this.#misses += 1;
    await this.reach(revision, signal);
  }

  async #revisionFor(consistency: Consistency, signal: AbortSignal): Promise<number> {
    switch (consistency.type) {
      case 'eventual':
        return 0;
      case 'strong':
        return this.#ask(this.#head.ask(), signal);
      case 'bounded':
        return this.#ask(this.#boundedHead(consistency), signal);
    }
  }

  /** Those who ask at once with the same bound share an answer. */
  #boundedHead(consistency: Consistency & { readonly type: 'bounded' }): Promise<number> {
    const { maxStalenessMs } = consistency;
    const shared =
      this.#boundedHeads.get(maxStalenessMs) ?? new SharedCall(() => this.#headRevision(consistency));
    if (this.#boundedHeads.size < BOUNDS_SHARED_MAX) this.#boundedHeads.set(maxStalenessMs, shared);
    return shared.ask();
  }

  /** Waits until everything acknowledged before this call is in. @throws ServiceError */
  async catchUp(signal: AbortSignal): Promise<void> {
    await this.reach(await this.#ask(this.#head.ask(), signal), signal);
  }

  /** Waits until everything up to a revision of a change is in. @throws ServiceError `unavailable`, `canceled` */
  async reach(revision: number, signal: AbortSignal): Promise<void> {
    if (revision <= this.#revision) return;
    if (signal.aborted) throw canceled(signal);
    if (this.#stop.signal.aborted) throw new ServiceError('unavailable', 'the service was closed');
    let settle = (): void => undefined;
    let timer: NodeJS.Timeout | undefined;
    const settled = new Promise<void>((resolve) => {
      settle = resolve;
      timer = setTimeout(resolve, CATCH_UP_MS_MAX);
    });
    const waiter = { revision, resolve: settle };
    this.#waiters.add(waiter);
    signal.addEventListener('abort', settle);
    await settled;
    clearTimeout(timer);
    signal.removeEventListener('abort', settle);
    this.#waiters.delete(waiter);
    if (revision <= this.#revision) return;
    if (signal.aborted) throw canceled(signal);
    throw new ServiceError('unavailable', `this server is at revision ${this.#revision}, behind ${revision}`);
  }

  /** Ends the watch and every wait. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#wake(Infinity);
    await this.#done;
  }

  async #headRevision(
    consistency:
      | { readonly type: 'linearizable' }
      | { readonly type: 'bounded'; readonly maxStalenessMs: number },
  ): Promise<number> {
    const answer = await this.#kv.range(
      { key: HEAD_KEY, keysOnly: true, consistency },
      { principal: { type: 'service' }, signal: this.#stop.signal },
    );
    return answer.rows[0]?.modRevision ?? 0;
  }

  /** The answer, unless whoever asked gives up before. */
  async #ask(answer: Promise<number>, signal: AbortSignal): Promise<number> {
    if (signal.aborted) throw canceled(signal);
    let giveUp = (): void => undefined;
    const givenUp = new Promise<never>((_, reject) => {
      giveUp = () => reject(canceled(signal));
    });
    signal.addEventListener('abort', giveUp);
    try {
      return await Promise.race([answer, givenUp]);
    } catch (error) {
      if (this.#stop.signal.aborted) throw new ServiceError('unavailable', 'the service was closed');
      throw serviceErrorOf(error);
    } finally {
      signal.removeEventListener('abort', giveUp);
      // Whichever of the two is not waited for any more may fail later.
      answer.catch(() => undefined);
      givenUp.catch(() => undefined);
    }
  }

  async #follow(): Promise<void> {
    let retryMs = RETRY_MS_MIN;
    while (!this.#stop.signal.aborted) {
      try {
        for await (const batch of this.#watch()) {
          await this.#take(batch);
          this.#isLive = true;
          retryMs = RETRY_MS_MIN;
        }
        // A watch that just ends is begun again, but not at once.
        await this.#pause(RETRY_MS_MIN);
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (error instanceof KvError && error.code === 'compacted' && (await this.#tryReload())) continue;
        this.#isLive = false;
        this.#logger.warn({ error: String(error), retryMs }, 'the configurations cannot be watched');
        await this.#pause(retryMs);
        retryMs = Math.min(RETRY_MS_MAX, retryMs * 2);
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }

  #watch(): ReturnType<Kv['watch']> {
    return this.#kv.watch(
      { ...WATCHED, startRevision: this.#revision + 1 },
      { principal: { type: 'service' }, signal: this.#stop.signal },
    );
  }

  /** Whole revisions, oldest first. */
  async #take(batch: { readonly revision: number; readonly events: readonly KvEvent[] }): Promise<void> {
    let at = 0;
    while (at < batch.events.length) {
      const revision = batch.events[at]!.row.modRevision;
      let end = at;
      while (batch.events[end]?.row.modRevision === revision) end += 1;
      if (revision > this.#revision) await this.#takeRevision(revision, batch.events.slice(at, end));
      at = end;
    }
    if (batch.revision > this.#revision) this.#advance(batch.revision);
  }

  async #takeRevision(revision: number, events: readonly KvEvent[]): Promise<void> {
    const wholes = [];
    for (const { type, row } of events) {
      if (type === 'put' && isConfigurationKey(row.key)) {
        const whole = await this.#readable(row.key, async () => {
          return wholeOf(row) ?? (await completed(this.#kv, row, { revision: 0, signal: this.#stop.signal }));
        });
        if (whole !== null) wholes.push(whole);
      }
    }
    const record = await this.#recordOf(events);
    // From here on nothing is awaited: a revision becomes visible as a whole.
    const configurations = wholes.map((whole) => {
      const before = this.#state.configurations.byId(whole.configuration.id) ?? null;
      return { before, after: this.#state.putConfiguration(whole) };
    });
    for (const { type, row } of events) this.#takeOther(type, row);
    // An etcd before 3.6 drops a deletion that was made at just the revision that was compacted, but not the record of it.
    for (const key of record === null ? [] : deletedRows(record)) this.#state.delete(key);
    this.#advance(revision);
    if (record !== null) this.#tell({ revision, record, configurations });
  }

  #takeOther(type: 'put' | 'delete', row: KvEvent['row']): void {
    if (isConfigurationKey(row.key)) return;
    if (type === 'delete') {
      this.#state.delete(row.key);
      return;
    }
    try {
      this.#state.put(row);
    } catch (error) {
      this.#leaveOut(row.key, error);
    }
  }

  async #recordOf(events: readonly KvEvent[]): Promise<ChangeRecord | null> {
    const event = events.find(
      ({ type, row }) => type === 'put' && row.key.toString().startsWith(PREFIXES.change),
    );
    if (event === undefined) return null;
    return this.#readable(event.row.key, async () => decodeChange(event.row.value));
  }

  /** Runs a reading of a row; one that cannot be read is left out. */
  async #readable<T>(key: Buffer, read: () => Promise<T>): Promise<T | null> {
    try {
      return await read();
    } catch (error) {
      this.#leaveOut(key, error);
      return null;
    }
  }

  #leaveOut(key: Buffer, error: unknown): void {
    if (!(error instanceof RowError)) throw error;
    this.#unreadable += 1;
    this.#logger.error({ key: key.toString(), error: error.message }, 'a row cannot be read and is left out');
  }

  #advance(revision: number): void {
    assert(revision > this.#revision, 'a projection never goes back');
    this.#revision = revision;
    this.#wake(revision);
  }

  #wake(revision: number): void {
    for (const waiter of this.#waiters) if (waiter.revision <= revision) waiter.resolve();
  }

  #tell(change: Change): void {
    this.#recent.add(change);
    for (const listener of this.#listeners) listener.changed(change);
  }

  /** @returns false when it could not be done now */
  async #tryReload(): Promise<boolean> {
    try {
      await this.#reload();
      return true;
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      return false;
    }
  }

  async #reload(): Promise<void> {
    const { state, revision } = await loadAgain(this.#kv, {
      signal: this.#stop.signal,
      // A member that lags must not take the projection back.
      consistency: { type: 'linearizable' },
      onUnreadable: (key, error) => this.#leaveOut(Buffer.from(key), error),
    });
    const from = this.#revision;
    assert(revision >= from, 'a linearizable load is not older than what was watched');
    this.#logger.info({ from, revision }, 'history was compacted: the configurations were read anew');
    this.#state = state;
    this.#recent.reset(revision);
    this.#revision = revision;
    this.#wake(revision);
    for (const listener of this.#listeners) listener.jumped({ from, revision });
  }
}

/** Of environments and applications: other rows that are kept here are never deleted. */
function deletedRows({ items }: ChangeRecord): readonly Buffer[] {
  return items.flatMap((item) => {
    if (item.kind === 'configuration' || item.type !== 'deleted') return [];
    const { kind, tenant, name } = item;
    if (kind === 'environment') return [environmentKey(tenant, name)];
    return [applicationKey(tenant, name), applicationOrderKey(tenant, name)];
  });
}

/** A compaction may overtake a load; the next one begins behind it. */
const LOADS_MAX = 5;

async function loadAgain(kv: Kv, options: Parameters<typeof loadState>[1]): ReturnType<typeof loadState> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await loadState(kv, options);
    } catch (error) {
      if (!(error instanceof KvError) || error.code !== 'compacted' || attempt === LOADS_MAX) throw error;
    }
  }
}

function canceled(signal: AbortSignal): ServiceError {
  return new ServiceError('canceled', 'the request was given up', { cause: signal.reason });
}
