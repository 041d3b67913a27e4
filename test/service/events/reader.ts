import { setMaxListeners } from 'node:events';
import type { Caller } from '../../../src/service/caller.ts';
import type { Cursor } from '../../../src/service/events/cursor.ts';
import type { ConfigurationEvent } from '../../../src/service/events/event.ts';
import type { EventFilter } from '../../../src/service/events/event-filter.ts';
import type { EventStream } from '../../../src/service/events/events.ts';
import type { Service } from '../../../src/service/service.ts';
import { callerOf } from '../world.ts';

/** Takes everything that a stream tells, as fast as it comes, unless it is told to pause. */
export class Reader {
  readonly events: ConfigurationEvent[] = [];
  /** Of the batches, in the order in which they came. */
  readonly revisions: number[] = [];
  readonly #stream: EventStream;
  readonly #stop: AbortController;
  #error: unknown = null;
  #done: Promise<void>;

  private constructor(stream: EventStream, stop: AbortController) {
    this.#stream = stream;
    this.#stop = stop;
    this.#done = this.#run();
  }

  static async open(service: Service, filter: EventFilter, after?: number): Promise<Reader> {
    const stop = new AbortController();
    setMaxListeners(0, stop.signal);
    const caller: Caller = { ...callerOf('reader'), signal: stop.signal };
    return new Reader(await service.events.subscribe(caller, { filter, cursor: cursorAfter(after) }), stop);
  }

  get position(): number {
    return Math.max(this.#stream.position, this.revisions.at(-1) ?? 0);
  }

  /** What ended it, or null. */
  get error(): unknown {
    return this.#error;
  }

  /** Until everything up to a revision was told, or it has ended. */
  async reach(revision: number): Promise<void> {
    let isOver = false;
    void this.#done.then(() => {
      isOver = true;
    });
    while (this.#stream.position < revision && !isOver) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    if (this.#error !== null) throw this.#error;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #run(): Promise<void> {
    try {
      for await (const { revision, events } of this.#stream) {
        this.revisions.push(revision);
        this.events.push(...events);
      }
    } catch (error) {
      this.#error = error;
    }
  }
}

function cursorAfter(after: number | undefined): Cursor | undefined {
  return after === undefined ? undefined : { after, taken: 0 };
}
