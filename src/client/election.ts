import { ClientError } from './client-error.ts';
import { Held } from './held.ts';
import type { CallOptions } from './kv-client.ts';
import { LinkedSignal } from './linked-signal.ts';
import { type HeldPlace, type PlaceOptions, takePlace } from './place.ts';
import { Queue, type QueueCalls } from './queue.ts';
import { putOp } from './txn.ts';
import type { Bytes, KeyValue, ResponseHeader, TxnAnswer, TxnOptions } from './types.ts';

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
export class Leadership extends Held {
  readonly #calls: ElectionCalls;

  constructor(calls: ElectionCalls, place: HeldPlace) {
    super(place);
    this.#calls = calls;
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
    await this.leave(call);
  }
}
