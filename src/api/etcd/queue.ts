import {
  deleteRequest,
  type KeyValue,
  putRequest,
  type RangeRequest,
  rangeRequest,
  type TxnRequest,
} from '../../core/mvcc/operations.ts';
import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import { prefixEnd } from '../../lib/range-end.ts';
import type { ClientContext } from '../../member/auth/access.ts';
import type { Header } from '../../member/client-calls.ts';
import type { EtcdBackend } from './backend.ts';
import { eventsOf } from './events.ts';

/** Time to live of a lease that is granted to who came without one, in seconds; etcd's. */
const LEASE_TTL_SECONDS = 60;
/** How long the clean-up after a client that went away may take. */
const CLEAN_UP_MS = 5_000;

const EMPTY = Buffer.alloc(0);

/** A place in a queue: a key below the queue's prefix, alive as long as its lease. */
export interface Ticket {
  readonly key: Buffer;
  readonly lease: bigint;
  /** The key's create revision: who has the lowest is first. Grows with every holder: a fencing token. */
  readonly revision: number;
}

/**
 * The queue behind locks and elections, in the form of etcd's client library, so that clients which queue by
 * themselves and clients which ask the server wait for each other: everybody puts a key `prefix/lease` (the lease in
 * hexadecimal), and the oldest key is at the head. Each waits for the deletion of the one before it only.
 */
export class Queue {
  readonly #backend: EtcdBackend;
  readonly #prefix: Buffer;
  readonly #context: ClientContext;

  /** @param context whose lock or election it is: he needs the permissions that it takes to do all this himself */
  constructor(backend: EtcdBackend, name: Buffer, context: ClientContext) {
    this.#backend = backend;
    this.#prefix = Buffer.concat([name, Buffer.from('/')]);
    this.#context = context;
  }

  /** The lease given, or a new one of 60 seconds for 0. It is not kept alive here: that is its owner's affair. */
  async lease(id: number | bigint): Promise<bigint> {
    if (BigInt(id) !== 0n) return BigInt(id);
    const { result } = await this.#backend.leaseGrant(
      { id: 0n, ttlSeconds: LEASE_TTL_SECONDS },
      this.#context,
    );
    return result.id;
  }

  /**
   * Joins the queue with `value`, or finds the place that the lease has in it already.
   *
   * @returns the place, what is at the head, and what was there before at this place
   * @throws StoreError `lease-not-found`
   */
  async join(
    lease: bigint,
    value: Buffer,
  ): Promise<{ header: Header; ticket: Ticket; head: KeyValue | undefined; found: KeyValue | undefined }> {
    const key = Buffer.concat([this.#prefix, Buffer.from(lease.toString(16))]);
    const { header, result } = await this.txn(
      [{ target: 'create', number: 0, result: 'equal', key, rangeEnd: EMPTY }],
      [putRequest({ key, value, lease }), this.#oldest()],
      [rangeRequest({ key }), this.#oldest()],
    );
    const [own, oldest] = result.responses;
    assert(oldest?.type === 'range', 'the second answer is the head of the queue');
    const found = own?.type === 'range' ? own.kvs[0] : undefined;
    const revision = found?.createRevision ?? header.revision;
    return { header, ticket: { key, lease, revision }, head: oldest.kvs[0], found };
  }

  /** Resolves when everybody who joined before `ticket` is gone. */
  async first({ revision }: Ticket): Promise<void> {
    for (;;) {
      const { header, result } = await this.#range({
        ...this.#everybody(),
        limit: 1,
        sortOrder: 'descend',
        sortTarget: 'create',
        maxCreateRevision: revision - 1,
      });
      const before = result.kvs[0];
      if (before === undefined) return;
      await this.#deleted(before.key, header.revision + 1);
    }
  }

  /** The oldest key: the holder of a lock, the leader of an election. */
  async head(): Promise<{ header: Header; kv: KeyValue | undefined }> {
    const { header, result } = await this.#range(this.#oldest());
    return { header, kv: result.kvs[0] };
  }

  async get(key: Buffer): Promise<{ header: Header; kv: KeyValue | undefined }> {
    const { header, result } = await this.#range(rangeRequest({ key }));
    return { header, kv: result.kvs[0] };
  }

  /** Every change in the queue from a revision on. */
  changes(startRevision: number): ReturnType<typeof eventsOf> {
    const { key, rangeEnd } = this.#everybody();
    return eventsOf(this.#backend, { key, rangeEnd, startRevision }, this.#context);
  }

  /** Every change of one key from a revision on. */
  changesOf(key: Buffer, startRevision: number): ReturnType<typeof eventsOf> {
    return eventsOf(this.#backend, { key, rangeEnd: EMPTY, startRevision }, this.#context);
  }

  /** Leaves the queue, if the place is still this one. Nothing happens to a later place of the same lease. */
  async leave(ticket: Ticket): Promise<Header> {
    const { header } = await this.txn([holds(ticket)], [deleteRequest({ key: ticket.key })], []);
    return header;
  }

  /** Leaves on behalf of a client that went away. Should it fail, the lease ends the place in time. */
  async abandon(ticket: Ticket): Promise<void> {
    const signal = AbortSignal.timeout(CLEAN_UP_MS);
    const queue = new Queue(this.#backend, this.#prefix, { ...this.#context, signal });
    try {
      await queue.leave(ticket);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
    }
  }

  txn(
    compare: TxnRequest['compare'],
    success: TxnRequest['success'],
    failure: TxnRequest['failure'],
  ): ReturnType<EtcdBackend['txn']> {
    return this.#backend.txn(
      { type: 'txn', compare, success, failure },
      { ...this.#context, serializable: false },
    );
  }

  #range(request: RangeRequest): ReturnType<EtcdBackend['range']> {
    return this.#backend.range(request, { ...this.#context, serializable: false });
  }

  async #deleted(key: Buffer, startRevision: number): Promise<void> {
    try {
      for await (const { events } of this.changesOf(key, startRevision)) {
        if (events.some(({ event }) => event.type === 'delete')) return;
      }
    } catch (error) {
      // Whoever was overtaken by a compaction looks anew.
      if (!(error instanceof StoreError) || error.code !== 'compacted') throw error;
    }
  }

  #everybody(): RangeRequest {
    return rangeRequest({ key: this.#prefix, rangeEnd: prefixEnd(this.#prefix) });
  }

  #oldest(): RangeRequest {
    return { ...this.#everybody(), limit: 1, sortOrder: 'ascend', sortTarget: 'create' };
  }
}

/** The comparison that a place is still held. */
export function holds({ key, revision }: Ticket): TxnRequest['compare'][number] {
  return { target: 'create', number: revision, result: 'equal', key, rangeEnd: EMPTY };
}
