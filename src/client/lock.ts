import { Held } from './held.ts';
import type { CallOptions } from './kv-client.ts';
import { type PlaceOptions, takePlace } from './place.ts';
import { Queue, type QueueCalls } from './queue.ts';
import type { Bytes } from './types.ts';

/**
 * A lock that is held until it is released or lost. A holder that was paused may not know yet that it lost its lock:
 * what the lock protects is safe only where `isHeld` is part of the transaction that changes it, or where the fencing
 * token is checked.
 */
export class Lock extends Held {
  /** @throws ClientError when no member could be told; the lock is then free when its lease is over */
  async release(call: CallOptions = {}): Promise<void> {
    await this.leave(call);
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
