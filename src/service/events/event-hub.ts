import { setTimeout as delay } from 'node:timers/promises';
import { Limiter } from '../../lib/limiter.ts';
import type { Logger } from '../../lib/logger.ts';
import { idsBefore } from '../audit/change-log.ts';
import { configurationId } from '../keyspace.ts';
import type { Change } from '../recent-changes.ts';
import { ServiceError } from '../service-error.ts';
import { effectsOf } from './effects.ts';
import { ConfigurationEvent, type EventBatch } from './event.ts';
import { placesOf } from './event-filter.ts';
import { EventLog } from './event-log.ts';
import { type EventSource, Replay } from './replay.ts';
import type { Subscription } from './subscription.ts';
import { PresentView, viewBefore } from './view.ts';

/** Subscribers of one server. */
export const SUBSCRIBERS_MAX = 20_000;
/** Replays of single subscribers that run at a time; others wait. */
const REPLAYS_MAX = 4;
/** What is kept in memory. */
export interface EventLimits {
  /** The newest events, for those that come back. */
  readonly logEvents: number;
  /** Changes before the first subscriber that are gone through again, so that they are in the log. */
  readonly warmChanges: number;
  /** Events that wait for one subscriber; further ones it finds in the log, or they are read again when it comes. */
  readonly bufferedEvents: number;
}

export const EVENT_LIMITS_DEFAULT: EventLimits = {
  logEvents: 20_000,
  warmChanges: 1_000,
  bufferedEvents: 256,
};

/** Between two attempts to read the store, doubled each time. */
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 5_000;

/**
 * Makes each event once, keeps the newest, and hands them to those who wait for them. It begins with its first subscriber;
 * where it missed changes, because history was compacted, it reads their records.
 */
export class EventHub {
  readonly source: EventSource;
  readonly limits: EventLimits;
  /** The newest events, up to `revision`. */
  readonly log: EventLog;
  /** For those whose cursor is older than the log. */
  readonly replays = new Limiter(REPLAYS_MAX);
  readonly #logger: Logger;
  readonly #present: PresentView;
  readonly #stop = new AbortController();
  readonly #places = new Map<string, Set<Subscription>>();
  #subscribers = 0;
  #revision = 0;
  #started: Promise<void> | null = null;
  #unsubscribe: () => void = () => undefined;
  /** What is being read from the records: up to where. Newer batches wait. */
  #gap: { to: number } | null = null;
  #filling: Promise<void> = Promise.resolve();
  #waiting: EventBatch[] = [];
  #waitingEvents = 0;

  constructor(
    source: EventSource,
    {
      logger,
      limits = EVENT_LIMITS_DEFAULT,
    }: { readonly logger: Logger; readonly limits?: EventLimits | undefined },
  ) {
    this.source = source;
    this.limits = limits;
    this.log = new EventLog(0, limits.logEvents);
    this.#logger = logger;
    this.#present = new PresentView(() => source.projection.state);
  }

  /** Every event up to this revision was handed out. */
  get revision(): number {
    return this.#revision;
  }

  /** Changes are being read that nobody was told of yet. */
  get isFilling(): boolean {
    return this.#gap !== null;
  }

  get subscribers(): number {
    return this.#subscribers;
  }

  /** Begins with the first call; the others wait for it. */
  async start(): Promise<void> {
    this.#started ??= this.#start();
    await this.#started;
  }

  /** From now on it is offered what comes. @throws ServiceError `too-many-requests`, `unavailable` when it was closed */
  add(subscription: Subscription): void {
    if (this.#stop.signal.aborted) throw closed();
    if (this.#subscribers >= SUBSCRIBERS_MAX) {
      throw new ServiceError('too-many-requests', `this server has ${SUBSCRIBERS_MAX} subscribers`);
    }
    this.#subscribers += 1;
    const place = this.#places.get(subscription.place);
    if (place === undefined) this.#places.set(subscription.place, new Set([subscription]));
    else place.add(subscription);
  }

  remove(subscription: Subscription): void {
    const place = this.#places.get(subscription.place);
    if (place?.delete(subscription) !== true) return;
    this.#subscribers -= 1;
    if (place.size === 0) this.#places.delete(subscription.place);
  }

  /** Ends every subscription. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#unsubscribe();
    this.#endAll(closed());
    await this.#started?.catch(() => undefined);
    await this.#filling;
  }

  async #start(): Promise<void> {
    const { projection } = this.source;
    const from = await this.#warmFrom();
    if (this.#stop.signal.aborted) return;
    this.#unsubscribe = projection.subscribe({
      changed: (change) => this.#deliver({ revision: change.revision, events: this.#eventsOf(change) }),
      jumped: ({ revision }) => this.#jumped(revision),
    });
    this.#revision = Math.min(from, projection.revision);
    this.log.reset(this.#revision);
    if (this.#revision < projection.revision) this.#jumped(projection.revision);
  }

  /** Behind this revision not many changes were made. */
  async #warmFrom(): Promise<number> {
    const { kv, projection } = this.source;
    const { revision } = projection;
    let oldest = revision + 1;
    let count = 0;
    try {
      for await (const ids of idsBefore(kv, revision + 1, this.#stop.signal)) {
        const wanted = ids.slice(0, this.limits.warmChanges - count);
        count += wanted.length;
        oldest = wanted.at(-1)?.revision ?? oldest;
        if (count >= this.limits.warmChanges) break;
      }
    } catch (error) {
      this.#logger.warn({ error: String(error) }, 'earlier events are not in memory');
    }
    return oldest - 1;
  }

  #eventsOf(change: Change): readonly ConfigurationEvent[] {
    const { record, revision, configurations } = change;
    const effects = effectsOf(record, viewBefore(this.#present, change), this.#present);
    const known = new Map(
      configurations.flatMap(({ before, after }) =>
        [before, after].flatMap((entry) =>
          entry === null ? [] : ([[`${entry.id}/${entry.version}`, entry]] as const),
        ),
      ),
    );
    const { state } = this.source.projection;
    return effects.map((effect, position) => {
      const affectedInstances = this.source.instancesOf(effect.name);
      return new ConfigurationEvent(effect, {
        record,
        revision,
        place: { position, count: effects.length },
        affectedInstances,
        valueOf: ({ name, version }) => {
          const entry = state.configurations.find(name);
          const found = entry?.version === version ? entry : known.get(`${configurationId(name)}/${version}`);
          // A row that this program cannot read is left out, wherever it is looked for.
          return () => found?.read() ?? { value: { type: 'json', json: null }, updatedAt: record.at };
        },
      });
    });
  }

  #deliver(batch: EventBatch): void {
    if (this.#gap === null) {
      this.#dispatch(batch);
      return;
    }
    this.#waiting.push(batch);
    this.#waitingEvents += batch.events.length + 1;
    if (this.#waitingEvents > this.limits.logEvents) this.#jumped(batch.revision);
  }

  #dispatch(batch: EventBatch): void {
    this.#revision = batch.revision;
    this.log.add(batch);
    const [first] = batch.events;
    if (first === undefined) return;
    if (batch.events.length === 1) {
      for (const subscription of this.#waitingFor(first)) {
        if (subscription.wants(first)) subscription.offer(batch);
      }
      return;
    }
    const wanted = new Map<Subscription, ConfigurationEvent[]>();
    for (const event of batch.events) {
      for (const subscription of this.#waitingFor(event)) {
        if (!subscription.wants(event)) continue;
        const events = wanted.get(subscription);
        if (events === undefined) wanted.set(subscription, [event]);
        else events.push(event);
      }
    }
    for (const [subscription, events] of wanted) subscription.offer({ revision: batch.revision, events });
  }

  *#waitingFor(event: ConfigurationEvent): Generator<Subscription> {
    for (const place of placesOf(event)) yield* this.#places.get(place) ?? [];
  }

  /** Everything up to `revision` must be read from the records. */
  #jumped(revision: number): void {
    this.#waiting = [];
    this.#waitingEvents = 0;
    if (this.#gap !== null) {
      this.#gap.to = revision;
      return;
    }
    this.#gap = { to: revision };
    this.#filling = this.#fill(this.#gap);
  }

  async #fill(gap: { readonly to: number }): Promise<void> {
    let retryMs = RETRY_MS_MIN;
    while (this.#revision < gap.to && !this.#stop.signal.aborted) {
      try {
        await this.#replay();
        retryMs = RETRY_MS_MIN;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (error instanceof ServiceError && error.code === 'gone') this.#lose(error);
        else {
          this.#logger.warn({ error: String(error), retryMs }, 'changes could not be read for their events');
          await delay(retryMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
          retryMs = Math.min(RETRY_MS_MAX, retryMs * 2);
        }
      }
    }
    this.#gap = null;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingEvents = 0;
    for (const batch of waiting) if (batch.revision > this.#revision) this.#dispatch(batch);
    for (const place of this.#places.values()) for (const subscription of place) subscription.filled();
  }

  async #replay(): Promise<void> {
    const replay = new Replay(this.source, this.#revision, this.#stop.signal);
    for await (const batch of replay.batches()) this.#dispatch(batch);
    this.#revision = replay.reached;
  }

  /** Nobody who waits for what was lost can go on. */
  #lose(error: ServiceError): void {
    const { revision } = this.source.projection;
    this.#logger.warn({ revision, error: error.message }, 'events were lost: their subscribers begin anew');
    this.#endAll(error, revision);
    this.#revision = revision;
    this.log.reset(revision);
  }

  /** @param unless it has everything up to this revision */
  #endAll(error: ServiceError, unless = Infinity): void {
    for (const place of this.#places.values()) {
      for (const subscription of place) if (!subscription.has(unless)) subscription.end(error);
    }
  }
}

function closed(): ServiceError {
  return new ServiceError('unavailable', 'the service was closed');
}
