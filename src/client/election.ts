import { ClientError } from './client-error.ts';
import type { CallOptions } from './kv-client.ts';
import type { Lease } from './lease.ts';
import { LinkedSignal } from './linked-signal.ts';
import { type HeldPlace, type PlaceOptions, takePlace } from './place.ts';
import { Queue, type QueueCalls } from './queue.ts';
import { putOp } from './txn.ts';
import type { Bytes, Compare, KeyValue, ResponseHeader, TxnAnswer, TxnOptions } from './types.ts';

/** What an election needs of its client. */
export interface ElectionCalls extends QueueCalls {
  /** Sends a transaction once. */
  once(txn: TxnOptions, call: CallOptions): Promise<TxnAnswer>;
}

/**
 * One leader among those who campaign under a name: who has waited longest. It leads until it resigns or is lost. Works
 * together with etcd's client libraries and the servers' Election service, in one election.
 */
export class Election {
  readonly #calls: ElectionCalls;
  readonly #queue: Queue;

  constructor(calls: ElectionCalls, name: Bytes) {
    this.#calls = calls;
    this.#queue = new Queue(calls, name);
  }

  /**
   * Waits until elected.
   *
   * @param value what the others are told of the leader
   * @throws ClientError `deadline-exceeded`, `canceled`, `aborted` when its key was deleted while it waited; what ended
   *   the lease meanwhile
   */
  async campaign(value: Bytes, options: PlaceOptions = {}): Promise<Leadership> {
    const place = await takePlace(this.#calls, { queue: this.#queue, value, wait: true }, options);
    return new Leadership(this.#calls, place!);
  }

  /** Who leads now: the key with what was proclaimed last; null when nobody does. @throws ClientError */
  async leader(call: CallOptions = {}): Promise<KeyValue | null> {
    return (await this.#queue.head(call)).kv ?? null;
  }

  /**
   * Who leads now, then every leader and everything it proclaims, and null when nobody leads. Over lost connections what
   * was overtaken may be left out, never the newest, and so is the null before a successor that takes over at once. Ends when the signal aborts, the client is closed or the loop
   * is left.
   *
   * @throws ClientError `unavailable` when no member could be reached for a long while, and what a member refuses it with
   */
  async *observe(
    call: { readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<KeyValue | null, void, undefined> {
    const left = new AbortController();
    using link = new LinkedSignal([left.signal, call.signal, this.#calls.closing]);
    const { signal } = link;
    let toldRevision = -1;
    try {
      while (!signal.aborted) {
        const { revision, kv } = await this.#queue.head({ signal });
        const now = kv?.modRevision ?? 0;
        if (now !== toldRevision) yield kv ?? null;
        toldRevision = now;
        if (kv === undefined) await this.#arrival(revision + 1, signal);
        else
          for await (const proclaimed of this.#proclamations(kv, revision + 1, signal)) {
            toldRevision = proclaimed.modRevision;
            yield proclaimed;
          }
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      left.abort();
    }
  }

  async #arrival(startRevision: number, signal: AbortSignal): Promise<void> {
    for await (const { events } of this.#queue.arrivals(startRevision, signal)) if (events.length > 0) return;
  }

  /** What a leader says after `leader`, until its key is deleted. */
  async *#proclamations(
    leader: KeyValue,
    startRevision: number,
    signal: AbortSignal,
  ): AsyncGenerator<KeyValue, void, undefined> {
    for await (const { events } of this.#queue.changesOf(leader.key, startRevision, signal)) {
      for (const { type, kv } of events) {
        if (type === 'delete') return;
        yield kv;
      }
    }
  }
}

/** The lead of an election, until it is resigned or lost. */
export class Leadership {
  readonly #calls: ElectionCalls;
  readonly #place: HeldPlace;

  constructor(calls: ElectionCalls, place: HeldPlace) {
    this.#calls = calls;
    this.#place = place;
  }

  /** What exists as long as this leads. */
  get key(): Buffer {
    return this.#place.key;
  }

  /** Grows with every leader: whoever shows a lower one than was seen before does not lead any more. */
  get fencingToken(): number {
    return this.#place.revision;
  }

  get lease(): Lease {
    return this.#place.lease;
  }

  /** Aborts when the lead is lost (its reason says why) or resigned. */
  get signal(): AbortSignal {
    return this.#place.signal;
  }

  /** The condition of a transaction that is to be performed only by the leader. */
  isHeld(): Compare {
    return this.#place.isHeld();
  }

  /**
   * Tells the others something new.
   *
   * @throws ClientError `failed-precondition` when this does not lead any more, and what the call failed with
   */
  async proclaim(value: Bytes, call: CallOptions = {}): Promise<ResponseHeader> {
    const put = putOp(this.key, value, { lease: this.lease.id });
    const txn = { compare: [this.isHeld()], success: [put], failure: [] };
    const { header, succeeded } = await this.#calls.once(txn, call);
    if (!succeeded) throw new ClientError('failed-precondition', 'somebody else leads, or nobody');
    return header;
  }

  /** @throws ClientError when no member could be told; the next one leads when the lease is over */
  async resign(call: CallOptions = {}): Promise<void> {
    await this.#place.leave(call);
  }

  /** As `resign`, but never rejects. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#place.leaveQuietly();
  }
}
