import { randomBytes } from 'node:crypto';
import { prefixEnd } from '../lib/range-end.ts';
import { ClientError } from './client-error.ts';
import type { CallOptions, KvClient } from './kv-client.ts';
import type { Lease } from './lease.ts';
import { compare, deleteOp, getOp, putOp } from './txn.ts';
import type { Bytes, Compare, KeyValue, RangeAnswer, TxnAnswer, TxnOptions, WatchBatch } from './types.ts';

/** What a queue needs of its client. */
export interface QueueCalls extends Pick<KvClient, 'range' | 'watch' | 'lease'> {
  /** Sends a transaction that may be performed twice without harm, until it is answered. */
  insist(txn: TxnOptions, call: CallOptions): Promise<TxnAnswer>;
  /** Aborts when the client is closed. */
  readonly closing: AbortSignal;
}

/** A place in a queue: a key below the queue's prefix, alive as long as its lease. */
export interface Ticket {
  readonly key: Buffer;
  /** The key's create revision: who has the lowest is first. */
  readonly revision: number;
}

/**
 * The queue behind locks and elections, in the form of etcd's client library, so that clients of all kinds wait for
 * each other: everybody puts a key `name/lease` (the lease in hexadecimal), and the oldest key is at the head.
 *
 * It is done by transactions of this client and not by the servers' Lock and Election services. A server deletes the
 * place of a caller whose connection was cut, whenever it notices; a caller that came back through another member, and
 * was given the same place meanwhile, would lose what it holds without a word. Here nobody but the owner deletes a place.
 */
export class Queue {
  readonly #calls: QueueCalls;
  readonly #prefix: Buffer;

  /** @param name keys begin with it and `/`: no queue's name should begin with another's and `/` */
  constructor(calls: QueueCalls, name: Bytes) {
    this.#calls = calls;
    this.#prefix = Buffer.concat([Buffer.from(name), Buffer.from('/')]);
  }

  /** The key of a lease's place. @param suffix tells places of one lease apart */
  keyOf(lease: Lease, suffix: string): Buffer {
    const id = BigInt.asUintN(64, lease.id).toString(16);
    return Buffer.concat([this.#prefix, Buffer.from(`${id}${suffix}`)]);
  }

  /**
   * Takes a new place at the end.
   *
   * @param place `key` as `keyOf` says
   * @throws ClientError `not-found` when the lease is gone
   */
  async join(
    place: { readonly key: Buffer; readonly lease: Lease; readonly value: Bytes },
    call: CallOptions,
  ): Promise<{ readonly ticket: Ticket; readonly isFirst: boolean }> {
    const { key, lease, value } = place;
    // Whatever was tried before and not heard of: the second time finds what the first one put.
    const { header, succeeded, responses } = await this.#calls.insist(
      {
        compare: [compare(key, 'create', '=', 0)],
        success: [putOp(key, value, { lease: lease.id }), this.#oldest()],
        failure: [getOp(key), this.#oldest()],
      },
      call,
    );
    const [own, oldest] = responses as readonly [RangeAnswer, RangeAnswer];
    const revision = succeeded ? header.revision : own.kvs[0]!.createRevision;
    return { ticket: { key, revision }, isFirst: oldest.kvs[0]?.createRevision === revision };
  }

  /** Resolves when everybody who joined before `ticket` is gone. Only the one before it is watched. */
  async first({ revision }: Ticket, signal: AbortSignal): Promise<void> {
    for (;;) {
      const { header, kvs } = await this.#calls.range(
        {
          ...this.#everybody(),
          limit: 1,
          sortOrder: 'descend',
          sortTarget: 'create',
          maxCreateRevision: revision - 1,
        },
        { signal },
      );
      const before = kvs[0];
      if (before === undefined) return;
      await this.deleted(before.key, header.revision + 1, signal);
    }
  }

  /** Whether the place is still there, and the revision of which that is true. */
  async holds(
    { key, revision }: Ticket,
    signal: AbortSignal,
  ): Promise<{ readonly held: boolean; readonly revision: number }> {
    const { header, kvs } = await this.#calls.range({ key }, { signal });
    return { held: kvs[0]?.createRevision === revision, revision: header.revision };
  }

  /** Resolves when the key was deleted, at `startRevision` or later, or history has been compacted beyond it. */
  async deleted(key: Buffer, startRevision: number, signal: AbortSignal): Promise<void> {
    for await (const { events } of this.#changes({ key, startRevision, only: 'deletes', signal })) {
      if (events.length > 0) return;
    }
    signal.throwIfAborted();
  }

  /** The oldest key: the holder of a lock, the leader of an election. */
  async head(call: CallOptions): Promise<{ readonly revision: number; readonly kv: KeyValue | undefined }> {
    const { header, kvs } = await this.#calls.range(this.#oldest(), call);
    return { revision: header.revision, kv: kvs[0] };
  }

  /** Everything that is put anywhere in the queue, from a revision on. */
  arrivals(startRevision: number, signal: AbortSignal): AsyncIterable<WatchBatch> {
    return this.#changes({ ...this.#everybody(), startRevision, only: 'puts', signal });
  }

  /** Every change of one place, from a revision on. */
  changesOf(key: Buffer, startRevision: number, signal: AbortSignal): AsyncIterable<WatchBatch> {
    return this.#changes({ key, startRevision, signal });
  }

  /** Leaves the queue. Nothing happens to a later place of the same key. */
  async leave(ticket: Ticket, call: CallOptions): Promise<void> {
    const success = [deleteOp(ticket.key)];
    await this.#calls.insist({ compare: [isHeld(ticket)], success, failure: [] }, call);
  }

  /** Leaves the queue, whether it was joined or not: nobody else may ever have the key. */
  async abandon(key: Buffer, call: CallOptions): Promise<void> {
    await this.#calls.insist({ compare: [], success: [deleteOp(key)], failure: [] }, call);
  }

  /** Ends early where history was compacted away: whoever waits looks anew. */
  async *#changes(options: Parameters<KvClient['watch']>[0]): AsyncGenerator<WatchBatch, void, undefined> {
    try {
      yield* this.#calls.watch(options);
    } catch (error) {
      if (!(error instanceof ClientError) || error.code !== 'out-of-range') throw error;
    }
  }

  #everybody(): { readonly key: Buffer; readonly rangeEnd: Buffer } {
    return { key: this.#prefix, rangeEnd: prefixEnd(this.#prefix) };
  }

  #oldest(): ReturnType<typeof getOp> {
    const { key, rangeEnd } = this.#everybody();
    return getOp(key, { rangeEnd, limit: 1, sortOrder: 'ascend', sortTarget: 'create' });
  }
}

/** The comparison that a place is still held. */
export function isHeld({ key, revision }: Ticket): Compare {
  return compare(key, 'create', '=', revision);
}

/** Tells places apart that one lease has in one queue. */
export function freshSuffix(): string {
  return `/${randomBytes(8).toString('hex')}`;
}
