import { setImmediate } from 'node:timers/promises';
import type { Caller } from '../../../service/caller.ts';
import type { InstanceInfo } from '../../../service/delivery/instance.ts';
import type { Registration } from '../../../service/delivery/instances.ts';
import { type Cursor, cursorText } from '../../../service/events/cursor.ts';
import type { ConfigurationEvent, EventBatch } from '../../../service/events/event.ts';
import type { EventStream, SubscribeRequest } from '../../../service/events/events.ts';
import type { Service } from '../../../service/service.ts';

/** What somebody asked for. */
export interface StreamRequest extends SubscribeRequest {
  /** The instance that takes the stream, if it says so. */
  readonly instance: InstanceInfo | null;
}

/** The client's end of a stream. */
export interface Peer {
  /** Resolves when it has room for more, or is gone. */
  send(events: readonly ConfigurationEvent[]): Promise<void>;
  /**
   * A sign of life.
   *
   * @param cursor to go on from, where it has moved on although nothing was sent; else null
   */
  beat(cursor: string | null): void;
  /** Nothing more comes: because of a failure, or null when the client has gone or the server stops. */
  end(error: unknown): void;
}

/** A stream of events on its way to one client. */
export class LiveStream {
  /** Of the instance that it came with. */
  readonly registration: Registration | null;
  readonly #stream: EventStream;
  readonly #batches: AsyncIterator<EventBatch>;
  readonly #first: Promise<IteratorResult<EventBatch>>;
  /** The client can go on from here. */
  #told: Cursor;
  #isSending = false;

  private constructor(
    stream: EventStream,
    { registration, cursor }: { readonly registration: Registration | null; readonly cursor: Cursor },
  ) {
    this.registration = registration;
    this.#stream = stream;
    this.#told = cursor;
    this.#batches = stream[Symbol.asyncIterator]();
    this.#first = this.#batches.next();
    this.#first.catch(() => undefined);
  }

  /**
   * Begins, and knows when it returns whether it can go on from where it was asked to.
   *
   * @throws ServiceError as `Events.subscribe` and `Delivery.register`
   */
  static async open(
    { events, delivery }: Pick<Service, 'events' | 'delivery'>,
    caller: Caller,
    { instance, ...request }: StreamRequest,
  ): Promise<LiveStream> {
    const stream = await events.subscribe(caller, request);
    let registration: Registration | null = null;
    try {
      const cursor = request.cursor ?? { after: stream.position, taken: 0 };
      registration =
        instance === null ? null : await delivery.register(caller, instance, { signal: caller.signal });
      const live = new LiveStream(stream, { registration, cursor });
      await stream.settled;
      // A failure that is there by then is told as that of any other request.
      await Promise.race([live.#first, setImmediate()]);
      return live;
    } catch (error) {
      registration?.close();
      stream.close();
      throw error;
    }
  }

  /** Behind which it begins. */
  get begin(): string {
    return cursorText(this.#told);
  }

  /** Tells the peer everything until one of them ends. */
  async run(peer: Peer, heartbeatMs: number): Promise<void> {
    const timer = setInterval(() => peer.beat(this.#movedOn()), heartbeatMs).unref();
    let failure: unknown = null;
    try {
      for (let next = await this.#first; next.done !== true; next = await this.#batches.next()) {
        const { events } = next.value;
        this.#isSending = true;
        await peer.send(events);
        this.#isSending = false;
        this.#told = events.at(-1)!.cursor;
      }
    } catch (error) {
      failure = error;
    } finally {
      clearInterval(timer);
      this.close();
    }
    peer.end(failure);
  }

  close(): void {
    this.registration?.close();
    this.#stream.close();
  }

  #movedOn(): string | null {
    const { position } = this.#stream;
    if (this.#isSending || position <= this.#told.after) return null;
    this.#told = { after: position, taken: 0 };
    return cursorText(this.#told);
  }
}
