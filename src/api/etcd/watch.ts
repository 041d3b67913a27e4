import { STREAM_WATCH_ID, type WatchDelivery, type WatchSink } from '../../core/watch/delivery.ts';
import { assert, unreachable } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import type { ClientContext } from '../../member/auth/access.ts';
import type * as wire from '../../rpc/generated/etcdserverpb/rpc.ts';
import { WatchCreateRequest_FilterType as Filter } from '../../rpc/generated/etcdserverpb/rpc.ts';
import { TOO_MANY_REQUESTS } from '../../rpc/grpc-call.ts';
import type { RpcServer } from '../../rpc/server.ts';
import { bidi, type MessageWriter } from '../../rpc/service.ts';
import { toRpcError } from '../errors.ts';
import type { EtcdBackend, WatchStream } from './backend.ts';
import { contextOf } from './credentials.ts';
import { HeldBytes } from './held-bytes.ts';
import { whileLeader } from './leader.ts';
import { type EtcdLimits, GRPC_OVERHEAD_BYTES } from './limits.ts';
import { saturated, wireHeader, wireInteger } from './translate.ts';
import { encodeEvents } from './watch-encoding.ts';

/** Of a watch that is canceled before it has begun. */
const CANCELED = toRpcError(new StoreError('canceled')).message;

/** Registers `etcdserverpb.Watch`. */
export function registerWatch(server: RpcServer, backend: EtcdBackend, limits: EtcdLimits): void {
  const allKeys = new HeldBytes(limits.watchKeyBytesMax);
  bidi(server, '/etcdserverpb.Watch/Watch', (requests, call, out) =>
    whileLeader({ call, backend, graceMs: limits.leaderLossGraceMs }, async () => {
      const context = contextOf(call);
      const keys = new HeldBytes(limits.streamWatchKeyBytesMax, allKeys);
      const session = new WatchSession({ backend, limits, out, context, keys });
      const close = (): void => session.close();
      call.signal.addEventListener('abort', close, { once: true });
      try {
        for await (const request of requests) {
          if (request.create_request) await backend.credentialsSettled(context);
          session.take(request);
          // A client that asks without reading the answers is not read further.
          await out.bytes.drained();
        }
        // Who has said all there is to say may go on listening.
        await session.idle();
      } finally {
        close();
      }
    }),
  );
}

/** A creation that waits until it is known whether its lease is there. */
interface WaitingCreation {
  readonly request: wire.WatchCreateRequest;
  readonly keyBytes: number;
}

interface OpenWatch {
  readonly fragment: boolean;
  /** What its key and end take of the room for them. */
  readonly keyBytes: number;
}

/** One stream with its watches. */
class WatchSession implements WatchSink {
  readonly #backend: EtcdBackend;
  readonly #out: MessageWriter<Partial<wire.WatchResponse>>;
  readonly #fragmentBytesMax: number;
  readonly #stream: WatchStream;
  /** A key can be as large as a request, and is kept as long as its watch. */
  readonly #keys: HeldBytes;
  readonly #watches = new Map<bigint, OpenWatch>();
  readonly #context: ClientContext;
  readonly #creationsMax: number;
  readonly #waiting = new Set<WaitingCreation>();
  #nextId = 0n;
  /** Called when the last watch is over, or the session. */
  #onIdle: (() => void) | null = null;
  #closed = false;

  constructor(options: {
    readonly backend: EtcdBackend;
    readonly limits: EtcdLimits;
    readonly out: MessageWriter<Partial<wire.WatchResponse>>;
    readonly context: ClientContext;
    readonly keys: HeldBytes;
  }) {
    this.#backend = options.backend;
    this.#out = options.out;
    this.#keys = options.keys;
    this.#context = options.context;
    this.#creationsMax = options.limits.waitingWatchesMax;
    this.#fragmentBytesMax = options.limits.requestBytesMax + GRPC_OVERHEAD_BYTES;
    this.#stream = options.backend.openWatch(this, options.context);
    options.out.bytes.onDrain(() => {
      if (!this.#closed) this.#backend.resumeWatch(this);
    });
  }

  get writable(): boolean {
    return this.#out.bytes.writable;
  }

  take(request: wire.WatchRequest): void {
    if (this.#closed) return;
    if (request.create_request) this.#create(request.create_request);
    else if (request.cancel_request) this.#cancel(request.cancel_request);
    else if (request.progress_request) this.#progress(request.progress_request);
  }

  deliver(delivery: WatchDelivery): void {
    if (this.#closed) return;
    switch (delivery.type) {
      case 'events':
        return this.#deliverEvents(delivery);
      case 'progress':
        return this.#deliverProgress(delivery);
      case 'canceled':
        this.#out.write({
          header: this.#header(),
          watch_id: wireInteger(delivery.watchId),
          canceled: true,
          compact_revision: delivery.compactRevision,
          cancel_reason: delivery.reason,
        });
        return this.#remove(delivery.watchId);
      default:
        return unreachable(delivery);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stream.close();
    this.#keys.giveAll();
    this.#onIdle?.();
  }

  /** Resolves when no watch is left and none is being made, or when the session is closed. */
  async idle(): Promise<void> {
    if (this.#isIdle || this.#closed) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  get #isIdle(): boolean {
    return this.#watches.size === 0 && this.#waiting.size === 0;
  }

  #remove(watchId: bigint): void {
    this.#forget(watchId);
    if (this.#isIdle) this.#onIdle?.();
  }

  #forget(watchId: bigint): void {
    this.#keys.give(this.#watches.get(watchId)?.keyBytes ?? 0);
    this.#watches.delete(watchId);
  }

  #deliverEvents(delivery: WatchDelivery & { readonly type: 'events' }): void {
    const fragment = this.#watches.get(delivery.watchId)?.fragment === true;
    const { clusterId, memberId, raftTerm } = this.#backend.header();
    const { revision, watchId } = delivery;
    const messages = encodeEvents(
      { header: { clusterId, memberId, revision, raftTerm }, watchId },
      delivery.events,
      fragment ? this.#fragmentBytesMax : Infinity,
    );
    for (const message of messages) this.#out.bytes.write(message);
  }

  #deliverProgress({ watchId, revision, nonce }: WatchDelivery & { readonly type: 'progress' }): void {
    const progress = { header: this.#header(revision), watch_id: wireInteger(watchId) };
    if (nonce === 0n) return this.#out.write(progress);
    const ageMs = this.#backend.ageMs();
    assert(ageMs < Number.POSITIVE_INFINITY, 'fresh progress is told once an age is proven');
    this.#out.write({ ...progress, nonce: wireInteger(nonce), age_ms: ageMs });
  }

  /** Without a nonce exactly as etcd's. */
  #progress(request: wire.WatchProgressRequest): void {
    const nonce = BigInt(request.nonce);
    if (nonce === 0n) return this.#stream.requestProgress();
    const watchId = BigInt(request.watch_id);
    this.#stream.requestFresh({
      watchId: watchId === 0n ? STREAM_WATCH_ID : watchId,
      nonce,
      linearizable: request.linearizable === true,
    });
  }

  #create(request: wire.WatchCreateRequest): void {
    const keyBytes = request.key.length + request.range_end.length;
    if (!this.#keys.take(keyBytes)) return this.#refuse(TOO_MANY_REQUESTS);
    const lease = BigInt(request.lease ?? 0);
    if (lease === 0n) this.#begin(request, keyBytes);
    else if (this.#waiting.size >= this.#creationsMax) this.#giveUp({ request, keyBytes }, TOO_MANY_REQUESTS);
    else this.#createBound({ request, keyBytes }, this.#backend.leaseSettled(lease, this.#context));
  }

  #createBound(creation: WaitingCreation, settled: Promise<void> | null): void {
    if (settled === null) return this.#begin(creation.request, creation.keyBytes);
    this.#waiting.add(creation);
    void refusalOf(settled).then((refusal) => this.#settled(creation, refusal));
  }

  /** Nothing else on the stream has waited for it: it may have taken as long as there was no leader. */
  #settled(creation: WaitingCreation, refusal: string | null): void {
    // It may have been canceled meanwhile, or its stream be over.
    if (this.#closed || !this.#waiting.delete(creation)) return;
    if (refusal === null) this.#begin(creation.request, creation.keyBytes);
    else this.#giveUp(creation, refusal);
    if (this.#isIdle) this.#onIdle?.();
  }

  #giveUp({ keyBytes }: WaitingCreation, refusal: string): void {
    this.#keys.give(keyBytes);
    this.#refuse(refusal);
  }

  /** A refused watch has no id of its own. */
  #refuse(reason: string): void {
    this.#out.write({
      header: this.#header(),
      watch_id: Number(STREAM_WATCH_ID),
      created: true,
      canceled: true,
      cancel_reason: reason,
    });
  }

  /** Of a creation whose lease, if it asks for one, is there or surely not. */
  #begin(request: wire.WatchCreateRequest, keyBytes: number): void {
    const asked = BigInt(request.watch_id);
    const watchId = asked === 0n ? this.#freeId() : asked;
    const refusal = this.#stream.create({
      watchId,
      // The request's bytes are views of its whole message, which the watch would keep alive.
      key: Buffer.from(request.key),
      rangeEnd: Buffer.from(request.range_end),
      startRevision: saturated(request.start_revision),
      noPut: request.filters.includes(Filter.NOPUT),
      noDelete: request.filters.includes(Filter.NODELETE),
      prevKv: request.prev_kv,
      progressNotify: request.progress_notify,
      lease: BigInt(request.lease ?? 0),
    });
    if (refusal !== null) {
      this.#keys.give(keyBytes);
      return this.#refuse(refusal);
    }
    // As in etcd a refused watch takes no id away.
    if (asked === 0n) this.#nextId = watchId + 1n;
    this.#watches.set(watchId, { fragment: request.fragment, keyBytes });
    // Nothing was delivered yet: this comes before anything that the watch delivers.
    this.#out.write({ header: this.#header(), watch_id: wireInteger(watchId), created: true });
  }

  #freeId(): bigint {
    let id = this.#nextId;
    while (this.#watches.has(id)) id += 1n;
    return id;
  }

  /** A watch that is not there gets no answer. */
  #cancel(request: wire.WatchCancelRequest): void {
    const watchId = BigInt(request.watch_id);
    if (watchId !== 0n) this.#cancelWaiting(watchId);
    if (!this.#stream.cancel(watchId)) return;
    this.#forget(watchId);
    this.#out.write({ header: this.#header(), watch_id: wireInteger(watchId), canceled: true });
  }

  /** One that has not begun is told as refused. */
  #cancelWaiting(watchId: bigint): void {
    for (const creation of this.#waiting) {
      if (BigInt(creation.request.watch_id) !== watchId) continue;
      this.#waiting.delete(creation);
      this.#giveUp(creation, CANCELED);
    }
  }

  #header(revision?: number): wire.ResponseHeader {
    const header = this.#backend.header();
    return wireHeader(revision === undefined ? header : { ...header, revision });
  }
}

/** Null, or why it failed, as text for the client. Other watches of the stream need no leader. */
function refusalOf(settled: Promise<void>): Promise<string | null> {
  return settled.then(
    () => null,
    (error: unknown) => {
      if (error instanceof StoreError) return toRpcError(error).message;
      throw error;
    },
  );
}
