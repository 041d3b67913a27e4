import { ClientError, clientClosed } from './client-error.ts';
import type { CallOptions } from './kv-client.ts';
import { FAREWELL_TIMEOUT_MS, type Lease } from './lease.ts';
import { LinkedSignal } from './linked-signal.ts';
import { pause } from './pause.ts';
import { freshSuffix, isHeld, type Queue, type QueueCalls, type Ticket } from './queue.ts';
import type { Bytes, Compare } from './types.ts';

/** How long a lock or a leadership outlives a client that vanished; its default. */
const TTL_SECONDS_DEFAULT = 10;
/** How long a place is not watched over after a failure. */
const SUPERVISION_PAUSE_MS = 1000;

/** How a place at the head of a queue is got and kept. */
export interface PlaceOptions {
  /** How long it outlives a client that vanished; default 10. Not with `lease`. */
  readonly ttlSeconds?: number;
  /** To be bound to; it is left alone at the end. Absent = a lease of its own, revoked at the end. */
  readonly lease?: Lease;
  /** How long to wait for it; absent = as long as it takes. */
  readonly timeoutMs?: number;
  /** Ends the wait. What is held already is not touched by it. */
  readonly signal?: AbortSignal;
}

/** The head of a queue, held until it is left or lost. */
export class HeldPlace {
  readonly #queue: Queue;
  readonly #ticket: Ticket;
  readonly #lease: Lease;
  readonly #ownsLease: boolean;
  readonly #over = new AbortController();

  constructor(
    calls: QueueCalls,
    queue: Queue,
    held: {
      readonly ticket: Ticket;
      readonly lease: Lease;
      readonly ownsLease: boolean;
      /** The revision at which it was seen to be held. */
      readonly seenAt: number;
    },
  ) {
    this.#queue = queue;
    this.#ticket = held.ticket;
    this.#lease = held.lease;
    this.#ownsLease = held.ownsLease;
    this.#endsWith(calls.closing, clientClosed);
    const { signal: ofLease } = held.lease;
    this.#endsWith(ofLease, () => ofLease.reason as ClientError);
    void this.#watchOver(held.seenAt);
  }

  get key(): Buffer {
    return this.#ticket.key;
  }

  get revision(): number {
    return this.#ticket.revision;
  }

  get lease(): Lease {
    return this.#lease;
  }

  get signal(): AbortSignal {
    return this.#over.signal;
  }

  isHeld(): Compare {
    return isHeld(this.#ticket);
  }

  /** @throws ClientError when no member could be told; the place is then gone when its lease is */
  async leave(call: CallOptions): Promise<void> {
    this.#end(new ClientError('canceled', 'it was given up'));
    if (this.#ownsLease) await this.#lease.revoke(call);
    else await this.#queue.leave(this.#ticket, call);
  }

  /** As `leave`, but never rejects. */
  async leaveQuietly(): Promise<void> {
    if (this.#lease.signal.aborted) return;
    await this.leave({ timeoutMs: FAREWELL_TIMEOUT_MS }).catch(() => {});
  }

  /** Notices that somebody else deletes the key. */
  async #watchOver(seenAt: number): Promise<void> {
    const { signal } = this.#over;
    for (let from = seenAt + 1; !signal.aborted; ) {
      try {
        await this.#queue.deleted(this.#ticket.key, from, signal);
        const { held, revision } = await this.#queue.holds(this.#ticket, signal);
        if (!held) this.#end(new ClientError('aborted', 'its key was deleted'));
        from = revision + 1;
      } catch {
        // It is over, or nobody can be asked: until somebody can, the lease decides.
        await pause(SUPERVISION_PAUSE_MS, signal).catch(() => {});
      }
    }
  }

  #endsWith(source: AbortSignal, reason: () => ClientError): void {
    const onAbort = (): void => this.#end(reason());
    source.addEventListener('abort', onAbort, { once: true, signal: this.#over.signal });
    if (source.aborted) onAbort();
  }

  #end(reason: ClientError): void {
    if (!this.#over.signal.aborted) this.#over.abort(reason);
  }
}

/**
 * Waits for the head of the queue.
 *
 * @returns null only without `wait`: when somebody else is first
 * @throws ClientError `deadline-exceeded`, `canceled`, `aborted` when its key was deleted while it waited, what ended the
 *   lease meanwhile, what a call failed with; then nothing of it is left, as far as the cluster can be reached
 */
export async function takePlace(
  calls: QueueCalls,
  wanted: { readonly queue: Queue; readonly value: Bytes; readonly wait: boolean },
  options: PlaceOptions,
): Promise<HeldPlace | null> {
  const { queue, value, wait } = wanted;
  using limit = new LinkedSignal([options.signal, calls.closing], options.timeoutMs);
  const ownsLease = options.lease === undefined;
  const lease = options.lease ?? (await ownLease(calls, options, limit));
  using either = new LinkedSignal([limit.signal, lease.signal]);
  const { signal } = either;
  const key = queue.keyOf(lease, ownsLease ? '' : freshSuffix());
  try {
    const { ticket, isFirst } = await queue.join({ key, lease, value }, { signal });
    if (wait || isFirst) {
      await queue.first(ticket, signal);
      const { held, revision } = await queue.holds(ticket, signal);
      if (!held) throw new ClientError('aborted', 'its key was deleted while it waited');
      signal.throwIfAborted();
      return new HeldPlace(calls, queue, { ticket, lease, ownsLease, seenAt: revision });
    }
  } catch (error) {
    const reason = lease.signal.aborted ? lease.signal.reason : reasonOf(error, limit);
    if (!calls.closing.aborted) await giveUp(queue, { key, lease, ownsLease });
    throw reason;
  }
  await giveUp(queue, { key, lease, ownsLease });
  return null;
}

async function ownLease(calls: QueueCalls, options: PlaceOptions, limit: LinkedSignal): Promise<Lease> {
  const ttlSeconds = options.ttlSeconds ?? TTL_SECONDS_DEFAULT;
  try {
    return await calls.lease({ ttlSeconds }, { signal: limit.signal });
  } catch (error) {
    throw reasonOf(error, limit);
  }
}

/** Takes back what may have been put: a call that was cut short may have been performed all the same. */
async function giveUp(
  queue: Queue,
  { key, lease, ownsLease }: { readonly key: Buffer; readonly lease: Lease; readonly ownsLease: boolean },
): Promise<void> {
  if (ownsLease) await lease[Symbol.asyncDispose]();
  else await queue.abandon(key, { timeoutMs: FAREWELL_TIMEOUT_MS }).catch(() => {});
}

/** What ended the wait, in the words of who ended it. */
function reasonOf(error: unknown, limit: LinkedSignal): unknown {
  if (!limit.signal.aborted) return error;
  return limit.isTimeout
    ? new ClientError('deadline-exceeded', 'it was not got in time')
    : new ClientError('canceled', 'the call was canceled');
}
