import type { ServiceError } from '../service-error.ts';
import type { Cursor } from './cursor.ts';
import type { ConfigurationEvent, EventBatch } from './event.ts';
import { type EventFilter, placeOf, wantedBy } from './event-filter.ts';
import type { EventHub } from './event-hub.ts';
import { Replay } from './replay.ts';

/** A subscriber that takes nothing for so long gives its turn of reading the records to another one. */
const IDLE_MS_MAX = 30_000;

/**
 * The events of one subscriber after its cursor, in order, each once. Who is slow gets them later: from the log, or from
 * the records of the changes, or is told that they are gone; nothing is left out.
 */
export class Subscription implements AsyncIterable<EventBatch> {
  readonly place: string;
  readonly wants: (event: ConfigurationEvent) => boolean;
  readonly #hub: EventHub;
  readonly #stop = new AbortController();
  #buffer: EventBatch[] = [];
  #buffered = 0;
  /** What is buffered goes up to here. While it is not behind, nothing that is wanted came since. */
  #tail: number;
  #isBehind = true;
  #delivered: number;
  /** Of the batch that is still being looked at; 0 = there is none. */
  #inHand = 0;
  #replaying: AsyncGenerator<EventBatch, void> | null = null;
  #isFinishing = false;
  #error: ServiceError | null = null;
  #wake: () => void = () => undefined;
  #settle: () => void = () => undefined;
  /** Settled as soon as it has a first batch, has ended, or has nothing more to tell for now. */
  readonly settled: Promise<void> = new Promise((resolve) => {
    this.#settle = resolve;
  });

  /** @param cursor everything behind it is wanted. @throws ServiceError as `EventHub.add` */
  constructor(hub: EventHub, filter: EventFilter, cursor: Cursor) {
    this.place = placeOf(filter);
    this.wants = wantedAfter(cursor, wantedBy(filter));
    this.#hub = hub;
    this.#tail = cursor.after;
    this.#delivered = cursor.after;
    hub.add(this);
  }

  /** A cursor: everything up to here that was wanted has been taken, and more was asked for since. */
  get position(): number {
    const isIdle = this.#buffer.length === 0 && !this.#isBehind && this.#inHand === 0;
    if (!isIdle || this.#stop.signal.aborted) return this.#delivered;
    return Math.max(this.#delivered, this.#tail, this.#hub.revision);
  }

  /** Events that wait. */
  get buffered(): number {
    return this.#buffered;
  }

  /** Whether nothing up to the revision is missing, whatever came of it meanwhile. */
  has(revision: number): boolean {
    return this.#tail >= revision;
  }

  /** What was just made; it is taken unless there is too much already. */
  offer(batch: EventBatch): void {
    if (this.#isBehind || batch.revision <= this.#tail) return;
    if (this.#buffered > 0 && this.#buffered + batch.events.length > this.#hub.limits.bufferedEvents) {
      this.#isBehind = true;
      // Up to here nothing is missing.
      this.#tail = batch.revision - 1;
      return;
    }
    this.#take(batch);
    this.#wake();
  }

  /** Ends it, after what is buffered was taken; without an error it just ends. */
  end(error: ServiceError | null = null): void {
    if (this.#stop.signal.aborted) return;
    this.#delivered = this.position;
    this.#error = error;
    this.#stop.abort();
    this.#hub.remove(this);
    this.#wake();
    this.#settle();
  }

  /** Everything that was made while the hub read changes anew was offered. */
  filled(): void {
    this.#wake();
  }

  /** Ends it as soon as everything is told that there is now. */
  finish(): void {
    this.#isFinishing = true;
    this.#wake();
  }

  /** Can be gone through once, and asked for one batch at a time. @throws ServiceError `gone`, `unavailable` */
  [Symbol.asyncIterator](): AsyncIterator<EventBatch> {
    return {
      next: () => this.#next(),
      return: async () => {
        this.end();
        await this.#replaying?.return();
        return { done: true, value: undefined };
      },
    };
  }

  async #next(): Promise<IteratorResult<EventBatch>> {
    // Whoever asks for more has done with what it got.
    this.#delivered = Math.max(this.#delivered, this.#inHand);
    this.#inHand = 0;
    try {
      for (;;) {
        const batch =
          this.#drained() ?? (this.#replaying === null ? null : await this.#replayedNext(this.#replaying));
        if (batch !== null) return this.#handed(batch);
        if (this.#stop.signal.aborted) break;
        if (!this.#isBehind) {
          if (this.#isFinishing && !this.#hub.isFilling) break;
          await this.#nextOffer();
        } else if (!this.#catchUp()) this.#replaying = this.#replayed();
      }
    } catch (error) {
      this.end();
      this.#settle();
      throw error;
    }
    this.end();
    if (this.#error !== null) throw this.#error;
    return { done: true, value: undefined };
  }

  /** All that is buffered, in one batch. */
  #drained(): EventBatch | null {
    const buffer = this.#buffer;
    const last = buffer.at(-1);
    if (last === undefined) return null;
    this.#buffer = [];
    this.#buffered = 0;
    if (buffer.length === 1) return last;
    return { revision: last.revision, events: buffer.flatMap(({ events }) => events) };
  }

  /** Null = none is under way any more. */
  async #replayedNext(replaying: AsyncGenerator<EventBatch, void>): Promise<EventBatch | null> {
    const next = await replaying.next();
    if (next.done !== true) return next.value;
    this.#replaying = null;
    return null;
  }

  #handed(batch: EventBatch): IteratorResult<EventBatch> {
    this.#inHand = batch.revision;
    this.#settle();
    return { done: false, value: batch };
  }

  #take(batch: EventBatch): void {
    this.#buffer.push(batch);
    this.#buffered += batch.events.length;
    this.#tail = batch.revision;
  }

  async #nextOffer(): Promise<void> {
    if (!this.#hub.isFilling) this.#settle();
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = () => undefined;
  }

  /** From what is in memory. @returns false when that does not go back far enough */
  #catchUp(): boolean {
    const { log, revision, limits } = this.#hub;
    if (this.#tail >= revision) this.#isBehind = false;
    else if (!log.covers(this.#tail)) return false;
    else {
      const found = log.after(this.#tail, { wanted: this.wants, eventsMax: limits.bufferedEvents });
      for (const batch of found.batches) this.#take(batch);
      if (found.isWhole) {
        this.#isBehind = false;
        this.#tail = revision;
      }
    }
    return true;
  }

  /** From the records, when it is its turn. */
  async *#replayed(): AsyncGenerator<EventBatch, void> {
    const turn = await this.#turn();
    const { signal } = this.#stop;
    const replay = new Replay(this.#hub.source, this.#tail, signal);
    let timer: NodeJS.Timeout | undefined;
    try {
      for await (const { revision, events } of replay.batches()) {
        const wanted = events.filter(this.wants);
        this.#tail = revision;
        if (wanted.length === 0) continue;
        timer = setTimeout(() => {
          replay.end();
          turn.over();
        }, IDLE_MS_MAX);
        timer.unref();
        yield { revision, events: wanted };
        clearTimeout(timer);
      }
      this.#tail = replay.reached;
    } catch (error) {
      // Whoever ended it says why.
      if (!signal.aborted) throw error;
    } finally {
      clearTimeout(timer);
      replay.end();
      turn.over();
    }
  }

  /** Waits for its turn; it must be over some time, whatever happens. */
  async #turn(): Promise<{ readonly over: () => void }> {
    let over = (): void => undefined;
    const isOver = new Promise<void>((resolve) => {
      over = resolve;
    });
    const { signal } = this.#stop;
    let begin = (): void => undefined;
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    signal.addEventListener('abort', begin);
    void this.#hub.replays.run(async () => {
      begin();
      await isOver;
    });
    await begun;
    signal.removeEventListener('abort', begin);
    return { over };
  }
}

/** Without the first events of the next revision, if they were taken. */
function wantedAfter(
  { after, taken }: Cursor,
  wanted: (event: ConfigurationEvent) => boolean,
): (event: ConfigurationEvent) => boolean {
  if (taken === 0) return wanted;
  return (event) => (event.revision !== after + 1 || event.position >= taken) && wanted(event);
}
