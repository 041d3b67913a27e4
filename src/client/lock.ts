import type { CallOptions } from './kv-client.ts';
import type { Lease } from './lease.ts';
import { type HeldPlace, type PlaceOptions, takePlace } from './place.ts';
import { Queue, type QueueCalls } from './queue.ts';
import type { Bytes, Compare } from './types.ts';

/**
 * A lock that is held until it is released or lost. A holder that was paused may not know yet that it lost its lock:
 * what the lock protects is safe only where `isHeld` is part of the transaction that changes it, or where the fencing
 * token is checked.
 */
export class Lock {
  readonly #place: HeldPlace;

  constructor(place: HeldPlace) {
    this.#place = place;
  }

  /** What exists as long as the lock is held. */
  get key(): Buffer {
    return this.#place.key;
  }

  /** Grows with every holder: whoever shows a lower one than was seen before has lost the lock. */
  get fencingToken(): number {
    return this.#place.revision;
  }

  get lease(): Lease {
    return this.#place.lease;
  }

  /** Aborts when the lock is lost (its reason says why) or released. */
  get signal(): AbortSignal {
    return this.#place.signal;
  }

  /** The condition of a transaction that is to be performed only while the lock is held. */
  isHeld(): Compare {
    return this.#place.isHeld();
  }

  /** @throws ClientError when no member could be told; the lock is then free when its lease is over */
  async release(call: CallOptions = {}): Promise<void> {
    await this.#place.leave(call);
  }

  /** As `release`, but never rejects. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#place.leaveQuietly();
  }
}

/** Waits for the lock. @throws ClientError as `takePlace` */
export async function acquireLock(calls: QueueCalls, name: Bytes, options: PlaceOptions): Promise<Lock> {
  const queue = new Queue(calls, name);
  const place = await takePlace(calls, { queue, value: '', wait: true }, options);
  return new Lock(place!);
}

/** The lock, or null when somebody else has it. */
export async function tryLock(calls: QueueCalls, name: Bytes, options: PlaceOptions): Promise<Lock | null> {
  const queue = new Queue(calls, name);
  const place = await takePlace(calls, { queue, value: '', wait: false }, options);
  return place === null ? null : new Lock(place);
}
