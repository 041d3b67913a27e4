import type { Target } from '../access.ts';
import type { Caller } from '../caller.ts';
import { checkKnown } from '../configurations/refs.ts';
import type { ServiceContext } from '../context.ts';
import { HEAD_KEY } from '../keyspace.ts';
import { asService } from '../kv-errors.ts';
import type { ConfigurationName } from '../model.ts';
import { invalid, ServiceError } from '../service-error.ts';
import type { Cursor } from './cursor.ts';
import type { ConfigurationEvent, EventBatch } from './event.ts';
import { checkEventFilter, type EventFilter } from './event-filter.ts';
import type { EventHub } from './event-hub.ts';
import { Subscription } from './subscription.ts';

/** How long an answer about what the caller may read is believed, while events come. */
export const ACCESS_MS_MAX = 10_000;
/** How often it is asked who the caller is, also while nothing happens: whoever is nobody any more is not told on. */
const CONFIRM_MS = 60_000;

/** The longest that a poll waits. */
export const WAIT_MS_MAX = 60_000;
/** What there is when its time is over may take so much longer to be read. */
const READ_MS_MAX = 10_000;

export interface SubscribeRequest {
  readonly filter: EventFilter;
  /** Everything behind it is told; default: what comes from now on. */
  readonly cursor?: Cursor | undefined;
}

/**
 * A stream of events. Batches hold whole revisions, in order, each once; going on from an event's cursor, from a batch's
 * revision, or from `position`, loses and repeats nothing. It ends when the caller's signal is aborted, or when it is left.
 */
export interface EventStream extends AsyncIterable<EventBatch> {
  /**
   * A cursor that moves on also while nothing that is wanted happens. It does not count a batch that was taken last until
   * the next one is asked for.
   */
  readonly position: number;
  /**
   * Settled, once it is asked for its first batch, as soon as there is one, as it has ended, or as there is nothing to tell
   * for now: a cursor that is gone has shown itself by then.
   */
  readonly settled: Promise<void>;
  /** Ends it as soon as everything is told that there is now. */
  finish(): void;
  close(): void;
}

export interface PollRequest extends SubscribeRequest {
  /** How long to wait for the first event, from 0 to 60,000 ms. */
  readonly waitMs: number;
}

/** What came, if anything did, and where to go on. */
export interface PollAnswer {
  readonly events: readonly ConfigurationEvent[];
  /** The cursor of the next poll. */
  readonly next: number;
}

/** The use case that tells what changed. */
export class Events {
  readonly #context: ServiceContext;
  readonly #hub: EventHub;

  constructor(context: ServiceContext, hub: EventHub) {
    this.#context = context;
    this.#hub = hub;
  }

  /** Subscribers of this server. */
  get subscribers(): number {
    return this.#hub.subscribers;
  }

  /**
   * Tells what holds otherwise, as far as the caller may read it: own, inherited and default values. Keys that are named
   * must be readable. One who begins anew must name what is there; what was there when one left may have gone since.
   *
   * @throws ServiceError `invalid`; `not-found`; `forbidden`; `gone` for a cursor that this store never gave, here or from
   *   the stream when what came after it is not kept: then everything is to be read anew; `too-many-requests`
   */
  async subscribe(caller: Caller, { filter, cursor }: SubscribeRequest): Promise<EventStream> {
    checkEventFilter(filter);
    const { projection } = this.#context;
    await projection.catchUp(caller.signal);
    await this.#checkNamed(caller, filter);
    if (cursor === undefined) checkKnown(this.#context, filter);
    await this.#hub.start();
    if (cursor !== undefined && cursor.after > projection.revision) {
      await this.#checkCursor(caller, cursor.after);
    }
    const from = cursor ?? { after: projection.revision, taken: 0 };
    const subscription = new Subscription(this.#hub, filter, from);
    return new PermittedStream(this.#context, caller, { filter, subscription });
  }

  /**
   * Waits for the next change that is wanted, for those that cannot hold a stream: one batch, or none in time.
   *
   * @throws ServiceError as `subscribe` and its stream
   */
  async poll(caller: Caller, { waitMs, ...request }: PollRequest): Promise<PollAnswer> {
    if (!(waitMs >= 0 && waitMs <= WAIT_MS_MAX)) {
      throw invalid({ field: 'waitMs', message: `must be from 0 to ${WAIT_MS_MAX}` });
    }
    const stream = await this.subscribe(caller, request);
    const timer = setTimeout(() => stream.finish(), waitMs);
    // What there is now may take a while to be read, but not for ever.
    const end = setTimeout(() => stream.close(), waitMs + READ_MS_MAX);
    try {
      for await (const { revision, events } of stream) return { events, next: revision };
      return { events: [], next: stream.position };
    } finally {
      clearTimeout(timer);
      clearTimeout(end);
    }
  }

  /** Of several environments or applications what is not readable is left out as it comes. */
  async #checkNamed(caller: Caller, { tenant, environment, application, keys }: EventFilter): Promise<void> {
    if (environment === undefined || application === undefined || keys === undefined) return;
    const names = keys.map((key) => ({ tenant, environment, application, key }));
    await this.#context.access.checkAll(caller, 'read', names);
  }

  /** The projection hears of changes only: the store may be further. */
  async #checkCursor({ signal }: Caller, after: number): Promise<void> {
    const { revision } = await asService(
      this.#context.kv.range(
        { key: HEAD_KEY, keysOnly: true, consistency: { type: 'linearizable' } },
        { principal: { type: 'service' }, signal },
      ),
    );
    if (after > revision) throw new ServiceError('gone', `this store has not had the revision ${after}`);
  }
}

/** Leaves out what the caller may not read. */
class PermittedStream implements EventStream {
  readonly #context: ServiceContext;
  readonly #caller: Caller;
  readonly #subscription: Subscription;
  readonly #close = (): void => this.close();
  readonly #timer: NodeJS.Timeout;
  /** What all of the events are about. */
  readonly #target: Target;
  #askedAtMs = -Infinity;
  #mayRead: (name: ConfigurationName) => Promise<boolean>;
  /** Null = it must be asked for. */
  #mayReadAll: boolean | null = null;

  constructor(
    context: ServiceContext,
    caller: Caller,
    { filter, subscription }: { readonly filter: EventFilter; readonly subscription: Subscription },
  ) {
    const { tenant, environment, application } = filter;
    this.#target = { tenant, environment, application };
    this.#context = context;
    this.#caller = caller;
    this.#subscription = subscription;
    this.#mayRead = context.access.filter(caller, 'read');
    this.#timer = setInterval(() => void this.#confirm(), CONFIRM_MS).unref();
    caller.signal.addEventListener('abort', this.#close);
    if (caller.signal.aborted) this.close();
  }

  get position(): number {
    return this.#subscription.position;
  }

  get settled(): Promise<void> {
    return this.#subscription.settled;
  }

  finish(): void {
    this.#subscription.finish();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#caller.signal.removeEventListener('abort', this.#close);
    this.#subscription.end();
  }

  [Symbol.asyncIterator](): AsyncIterator<EventBatch> {
    const batches = this.#subscription[Symbol.asyncIterator]();
    return {
      next: () => this.#next(batches),
      return: async () => {
        this.close();
        await batches.return?.();
        return { done: true, value: undefined };
      },
    };
  }

  async #next(batches: AsyncIterator<EventBatch>): Promise<IteratorResult<EventBatch>> {
    try {
      for (;;) {
        const next = await batches.next();
        if (next.done === true) break;
        const events = await this.#permitted(next.value.events);
        if (events.length > 0) return { done: false, value: { revision: next.value.revision, events } };
      }
    } catch (error) {
      this.close();
      throw error;
    }
    this.close();
    return { done: true, value: undefined };
  }

  /** A token that is used stays known; and who is not known any more hears nothing more. */
  async #confirm(): Promise<void> {
    try {
      await this.#context.access.permits(this.#caller, 'read', this.#target);
    } catch (error) {
      if (error instanceof ServiceError && error.code === 'unauthenticated') this.#subscription.end(error);
    }
  }

  async #permitted(events: readonly ConfigurationEvent[]): Promise<readonly ConfigurationEvent[]> {
    const nowMs = this.#context.clock.nowMs();
    if (nowMs - this.#askedAtMs >= ACCESS_MS_MAX) {
      this.#mayReadAll = null;
      this.#mayRead = this.#context.access.filter(this.#caller, 'read');
      this.#askedAtMs = nowMs;
    }
    this.#mayReadAll ??= await this.#context.access.permits(this.#caller, 'read', this.#target);
    if (this.#mayReadAll) return events;
    const permitted: ConfigurationEvent[] = [];
    for (const event of events) if (await this.#mayRead(event.name)) permitted.push(event);
    return permitted;
  }
}
