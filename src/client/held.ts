import type { CallOptions } from './kv-client.ts';
import type { Lease } from './lease.ts';
import type { HeldPlace } from './place.ts';
import type { Compare } from './types.ts';

/** What is had at the head of a queue, until it is given up or lost: a lock, the lead of an election. */
export class Held {
  readonly #place: HeldPlace;

  constructor(place: HeldPlace) {
    this.#place = place;
  }

  /** What exists as long as this is held. */
  get key(): Buffer {
    return this.#place.key;
  }

  /** Grows with every holder: whoever shows a lower one than was seen before does not hold it any more. */
  get fencingToken(): number {
    return this.#place.revision;
  }

  get lease(): Lease {
    return this.#place.lease;
  }

  /** Aborts when it is lost (its reason says why) or given up. */
  get signal(): AbortSignal {
    return this.#place.signal;
  }

  /** The condition of a transaction that is to be performed only while this is held. */
  isHeld(): Compare {
    return this.#place.isHeld();
  }

  /** @throws ClientError when no member could be told; it is then given up when its lease is over */
  protected async leave(call: CallOptions): Promise<void> {
    await this.#place.leave(call);
  }

  /** Gives it up; where no member can be told, its lease's end does. Never rejects. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#place.leaveQuietly();
  }
}
