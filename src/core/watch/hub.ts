import { assert } from '../../lib/assert.ts';
import type { KvEvent } from '../mvcc/event.ts';
import type { HistorySlice } from '../mvcc/scan.ts';
import type { Store } from '../mvcc/store.ts';
import { STREAM_WATCH_ID, type WatchEvent, type WatchOptions, type WatchSink } from './delivery.ts';
import { LeaseWatches } from './lease-watches.ts';
import { type NonceRequest, type StreamHost, WatchStream } from './stream.ts';
import { type SyncBatch, SyncQueue } from './sync-queue.ts';
import { Watcher, watchTarget } from './watcher.ts';
import { WatcherIndex } from './watcher-index.ts';

export type { WatchDelivery, WatchOptions, WatchSink } from './delivery.ts';
export type { WatchStream } from './stream.ts';

/** Bounds of the hub. At the first two a watch is refused; the last three bound one slice of catching up. */
export interface WatchLimits {
  readonly watchersMax: number;
  readonly watchersPerStreamMax: number;
  /** Requests for progress by nonce that wait for one watch, or for one stream as a whole; one more drops the oldest. */
  readonly noncesMax: number;
  /** Watchers that read history together. */
  readonly batchWatchersMax: number;
  /** Rows of history looked at in one slice. */
  readonly sliceRowsMax: number;
  /** Keys and values of the events in one slice, in bytes; a revision is never split. */
  readonly sliceBytesMax: number;
}
export const WATCH_LIMITS_DEFAULT: WatchLimits = {
  watchersMax: 1_000_000,
  watchersPerStreamMax: 100_000,
  noncesMax: 16,
  batchWatchersMax: 512,
  sliceRowsMax: 1_000,
  sliceBytesMax: 1024 * 1024,
};

export interface WatchHubOptions extends Partial<WatchLimits> {
  /** Called when `syncSlice` has got work it did not have: after a creation in the past, a resume, a cancel. */
  readonly onWork?: () => void;
}

export interface WatchStats {
  readonly streams: number;
  readonly watchers: number;
  readonly synced: number;
  readonly unsynced: number;
  readonly slow: number;
  /** Events delivered since the start, one for each watcher that got it. */
  readonly eventsDelivered: number;
  /** Requests for progress by nonce that were answered. */
  readonly noncesAnswered: number;
}

// Texts for clients, which compare them with etcd's.
const REASON_COMPACTED = 'etcdserver: mvcc: required revision has been compacted';
const REASON_DUPLICATE = 'mvcc: duplicate watch ID provided on the WatchStream';
const REASON_EMPTY_RANGE = 'mvcc: watcher range is empty';
const REASON_LEASE_OVER = 'etcdserver: requested lease not found';
const REASON_TOO_MANY = 'etcdserver: too many requests';

/**
 * Tells watchers of events: every watcher gets every matching event from its start on exactly once, in order, whole
 * revisions at a time (RELIABILITY W1 to W11).
 *
 * A synced watcher hears of an event in `notify`. Others are given history by `syncSlice`, in bounded slices. While
 * a sink is not writable its watchers keep nothing but their position; when it drains they are given history too,
 * so that nothing is ever skipped. If history below a position is compacted meanwhile, the watch is canceled.
 */
export class WatchHub {
  #store: Store;
  readonly limits: WatchLimits;
  readonly #onWork: () => void;
  readonly #streams = new Set<WatchStream>();
  readonly #streamOfSink = new Map<WatchSink, WatchStream>();
  readonly #synced = new WatcherIndex();
  readonly #queue: SyncQueue;
  readonly #progressNotify = new Set<Watcher>();
  readonly #progressRequests = new Set<WatchStream>();
  /** Watchers that have asked for progress by nonce, and wait for a revision, by the one before it. */
  readonly #deferred = new Map<number, Set<Watcher>>();
  readonly #leases = new LeaseWatches();
  /** The last revision notified: synced watchers have everything up to it. */
  #revision: number;
  #slowCount = 0;
  #eventsDelivered = 0;
  #noncesAnswered = 0;
  readonly #host: StreamHost = {
    create: (stream, options) => this.#create(stream, options),
    release: (watcher) => this.#release(watcher),
    progressRequested: (stream) => this.#progressRequested(stream),
    nonceRequested: (stream, request) => this.#nonceRequested(stream, request),
    closed: (stream) => this.#streamClosed(stream),
  };

  constructor(store: Store, { onWork, ...limits }: WatchHubOptions = {}) {
    this.#store = store;
    this.#revision = store.currentRevision;
    this.limits = { ...WATCH_LIMITS_DEFAULT, ...limits };
    this.#onWork = onWork ?? (() => {});
    this.#queue = new SyncQueue(this.limits.batchWatchersMax);
  }

  get stats(): WatchStats {
    const synced = this.#synced.size;
    const unsynced = this.#queue.size;
    return {
      streams: this.#streams.size,
      watchers: synced + unsynced + this.#slowCount,
      synced,
      unsynced,
      slow: this.#slowCount,
      eventsDelivered: this.#eventsDelivered,
      noncesAnswered: this.#noncesAnswered,
    };
  }

  /** Opens a stream of watches. A sink belongs to one stream. */
  open(sink: WatchSink): WatchStream {
    assert(!this.#streamOfSink.has(sink), 'a sink belongs to one stream');
    const stream = new WatchStream(this.#host, sink);
    this.#streams.add(stream);
    this.#streamOfSink.set(sink, stream);
    return stream;
  }

  /**
   * Delivers the events of one applied entry, in revision order; `revision` is the store's after it. To be called
   * for every entry that changed the store, in order, before the next is applied.
   */
  notify(revision: number, events: readonly KvEvent[]): void {
    assert(events.at(-1)?.row.main === revision, 'the last event is of the revision notified');
    for (let first = 0; first < events.length; ) {
      const { main } = events[first]!.row;
      let end = first + 1;
      while (end < events.length && events[end]!.row.main === main) end += 1;
      this.#notifyRevision(main, events.length === end - first ? events : events.slice(first, end));
      first = end;
    }
    this.#answerProgress();
  }

  /**
   * A lease was revoked or has expired: the watches bound to it are canceled, each after all that happened so far. To
   * be called after the `notify` of its end.
   */
  leaseEnded(lease: bigint): void {
    for (const watcher of this.#leases.take(lease)) this.#end(watcher);
  }

  /**
   * Gives one batch of watchers that are behind one slice of history. Not between an apply and its `notify`.
   *
   * @returns true when there is more to do
   */
  syncSlice(): boolean {
    const batch = this.#queue.next();
    if (batch !== undefined) this.#sync(batch);
    this.#answerProgress();
    return this.#queue.size > 0;
  }

  /** The sink takes deliveries again. Unknown sinks are ignored: their stream is closed. */
  resume(sink: WatchSink): void {
    const stream = this.#streamOfSink.get(sink);
    if (stream === undefined) return;
    for (const watcher of stream.slow) this.#place(watcher, 'unsynced');
    for (const watcher of stream.asking) this.#answerNonces(watcher);
    if (stream.watchers.size > 0 || this.#progressRequests.has(stream)) this.#onWork();
  }

  /** One interval is over: tells the watches that asked for it, and heard nothing in it, how far they are. */
  tickProgress(): void {
    for (const watcher of this.#progressNotify) {
      const idle = !watcher.sent;
      watcher.sent = false;
      if (!idle || watcher.place !== 'synced' || this.#ahead(watcher)) continue;
      const { sink } = watcher.stream;
      if (sink.writable) this.#deliverProgress(sink, watcher.id, 0n);
    }
  }

  /**
   * The member took another one's whole state. Every watch goes on from what it has: it waits if the new state is
   * not that far yet, reads the new history if it is further, is canceled if that is compacted (RELIABILITY P50).
   *
   * @param isKept whether a lease of the old state is in the new one, too: watches bound to others are canceled
   */
  storeReplaced(store: Store, isKept: (lease: bigint) => boolean = () => true): void {
    const seen = this.#revision;
    this.#store = store;
    this.#revision = store.currentRevision;
    for (const stream of this.#streams) {
      for (const watcher of stream.watchers.values()) {
        if (watcher.place !== 'synced') continue;
        watcher.next = Math.max(watcher.next, seen + 1);
        if (watcher.next <= this.#revision) this.#place(watcher, 'unsynced');
      }
    }
    this.#deferred.clear();
    for (const { asking } of this.#streams) for (const watcher of asking) this.#answerNonces(watcher);
    for (const lease of this.#leases.ids()) if (!isKept(lease)) this.leaseEnded(lease);
    this.#onWork();
  }

  // ---- streams ----------------------------------------------------------------------------------------------

  #create(stream: WatchStream, options: WatchOptions): string | null {
    // In etcd's order: of two mistakes the first is told.
    const target = watchTarget(options);
    if (target === null) return REASON_EMPTY_RANGE;
    if (stream.watchers.has(options.watchId)) return REASON_DUPLICATE;
    if (this.stats.watchers >= this.limits.watchersMax) return REASON_TOO_MANY;
    if (stream.watchers.size >= this.limits.watchersPerStreamMax) return REASON_TOO_MANY;
    // A negative start is before all history, whether or not any of it is compacted (RELIABILITY P50).
    if (options.startRevision < 0) return REASON_COMPACTED;
    const startRevision = options.startRevision === 0 ? this.#revision + 1 : options.startRevision;
    const watcher = new Watcher({ ...options, startRevision, stream, target });
    stream.watchers.set(watcher.id, watcher);
    if (watcher.progressNotify) this.#progressNotify.add(watcher);
    if (watcher.lease !== 0n) this.#leases.add(watcher);
    if (startRevision > this.#revision) {
      watcher.place = 'synced';
      this.#synced.add(watcher);
    } else {
      this.#queue.add(watcher);
      stream.behind += 1;
      this.#onWork();
    }
    return null;
  }

  #release(watcher: Watcher): void {
    const { stream } = watcher;
    this.#place(watcher, 'closed');
    stream.watchers.delete(watcher.id);
    this.#progressNotify.delete(watcher);
    if (watcher.lease !== 0n) this.#leases.remove(watcher);
    if (stream.asking.delete(watcher)) this.#undefer(watcher);
    // It may have been the last that progress waited for.
    if (this.#progressRequests.has(stream)) this.#onWork();
  }

  /** What it has yet to get comes first. */
  #end(watcher: Watcher): void {
    watcher.ending = true;
    if (watcher.place !== 'synced') return;
    if (watcher.stream.sink.writable) {
      this.#cancelEnded(watcher);
      return;
    }
    watcher.next = Math.max(watcher.next, this.#revision + 1);
    this.#place(watcher, 'slow');
  }

  #nonceRequested(stream: WatchStream, { watchId, nonce }: NonceRequest): void {
    const { noncesMax } = this.limits;
    if (watchId === STREAM_WATCH_ID) {
      stream.nonces = [...stream.nonces, nonce].slice(-noncesMax);
      this.#progressRequests.add(stream);
      this.#answerProgressOf(stream);
      return;
    }
    const watcher = stream.watchers.get(watchId);
    if (watcher === undefined) return;
    watcher.nonces = [...watcher.nonces, nonce].slice(-noncesMax);
    stream.asking.add(watcher);
    this.#answerNonces(watcher);
  }

  #progressRequested(stream: WatchStream): void {
    stream.progressAsked = true;
    this.#progressRequests.add(stream);
    this.#answerProgressOf(stream);
  }

  #streamClosed(stream: WatchStream): void {
    assert(stream.watchers.size === 0 && stream.behind === 0, 'a closed stream has no watches');
    this.#streams.delete(stream);
    this.#streamOfSink.delete(stream.sink);
    this.#progressRequests.delete(stream);
  }

  // ---- places -----------------------------------------------------------------------------------------------

  /** Moves a watcher; its position is the caller's matter. */
  #place(watcher: Watcher, place: Watcher['place']): void {
    const { stream } = watcher;
    if (watcher.place === 'synced') this.#synced.remove(watcher);
    if (watcher.place === 'unsynced') this.#queue.remove(watcher);
    if (watcher.place === 'slow') {
      stream.slow.delete(watcher);
      this.#slowCount -= 1;
    }
    stream.behind += Number(isBehind(place)) - Number(isBehind(watcher.place));
    watcher.place = place;
    if (place === 'synced') this.#synced.add(watcher);
    if (place === 'unsynced') this.#queue.add(watcher);
    if (place === 'slow') {
      stream.slow.add(watcher);
      this.#slowCount += 1;
    }
  }

  /** It waits for revisions beyond the next one: nothing can be promised to it yet (RELIABILITY W7). */
  #ahead(watcher: Watcher): boolean {
    return watcher.next > this.#revision + 1;
  }

  // ---- deliveries -------------------------------------------------------------------------------------------

  #notifyRevision(revision: number, events: readonly KvEvent[]): void {
    assert(revision > this.#revision, 'a revision is notified once, in order');
    this.#revision = revision;
    if (this.#synced.size === 0) return;
    for (const watcher of this.#gather(this.#synced, [events])) {
      if (watcher.place !== 'synced') continue;
      if (watcher.stream.sink.writable) {
        this.#deliver(watcher, revision);
      } else {
        watcher.next = revision;
        this.#place(watcher, 'slow');
      }
      watcher.gathered = null;
    }
    if (this.#deferred.size > 0) this.#answerDeferred(revision);
  }

  #sync(batch: SyncBatch): void {
    for (const watcher of batch.watchers) {
      if (!watcher.stream.sink.writable) this.#place(watcher, 'slow');
      else if (watcher.next < this.#store.compactRevision) this.#cancelCompacted(watcher);
    }
    if (batch.watchers.size === 0) return;
    const { from } = batch;
    if (from <= this.#revision) {
      const slice = this.#history(batch, from);
      assert(slice.next > from, 'a slice of history moves on');
      this.#deliverSlice(batch, slice);
    }
    for (const watcher of batch.watchers) {
      if (watcher.next <= this.#revision) continue;
      if (watcher.ending) {
        // An earlier delivery of this turn may have filled the sink.
        if (watcher.stream.sink.writable) this.#cancelEnded(watcher);
        else this.#place(watcher, 'slow');
        continue;
      }
      this.#place(watcher, 'synced');
      this.#answerNonces(watcher);
    }
  }

  #history(batch: SyncBatch, from: number): HistorySlice {
    const { sliceRowsMax: rowsMax, sliceBytesMax: bytesMax } = this.limits;
    const range = { from, to: this.#revision };
    return this.#store.events(range, { rowsMax, bytesMax }, (key) => batch.index.watched(key));
  }

  #deliverSlice(batch: SyncBatch, { groups, next }: HistorySlice): void {
    const hits = this.#gather(
      batch.index,
      groups.map(({ events }) => events),
    );
    for (const watcher of hits) {
      if (watcher.place === 'unsynced') {
        // An earlier delivery of this slice may have filled the sink.
        if (watcher.stream.sink.writable) this.#deliver(watcher, next - 1);
        else this.#place(watcher, 'slow');
      }
      watcher.gathered = null;
    }
    for (const watcher of batch.watchers) watcher.next = Math.max(watcher.next, next);
  }

  /** Sets `gathered` of every watcher that wants any of the events, and returns those watchers. */
  #gather(index: WatcherIndex, groups: readonly (readonly KvEvent[])[]): readonly Watcher[] {
    const hits: Watcher[] = [];
    for (const events of groups) {
      for (const event of events) {
        let plain: WatchEvent | null = null;
        let withPrev: WatchEvent | null = null;
        index.visit(event.row.key.toString('latin1'), (watcher) => {
          if (!watcher.wants(event)) return;
          if (watcher.gathered === null) {
            watcher.gathered = [];
            hits.push(watcher);
          }
          if (watcher.prevKv && event.previous !== null) {
            withPrev ??= { event, prevKv: this.#store.previousRow(event) };
            watcher.gathered.push(withPrev);
          } else {
            plain ??= { event, prevKv: null };
            watcher.gathered.push(plain);
          }
        });
      }
    }
    return hits;
  }

  /** Hands over what was gathered. `revision`: the watcher then has everything up to it. */
  #deliver(watcher: Watcher, revision: number): void {
    const events = watcher.gathered!;
    assert(events[0]!.event.row.main > watcher.last, 'a watcher gets every revision once, in order');
    watcher.last = events.at(-1)!.event.row.main;
    assert(watcher.last <= revision, 'a delivery is complete up to its revision');
    watcher.next = revision + 1;
    watcher.sent = true;
    this.#eventsDelivered += events.length;
    watcher.stream.sink.deliver({ type: 'events', watchId: watcher.id, revision, events });
  }

  #cancelCompacted(watcher: Watcher): void {
    const { compactRevision } = this.#store;
    const { id, stream } = watcher;
    this.#release(watcher);
    stream.sink.deliver({ type: 'canceled', watchId: id, reason: REASON_COMPACTED, compactRevision });
  }

  #cancelEnded(watcher: Watcher): void {
    const { id, stream } = watcher;
    this.#release(watcher);
    stream.sink.deliver({ type: 'canceled', watchId: id, reason: REASON_LEASE_OVER, compactRevision: 0 });
  }

  // ---- progress ---------------------------------------------------------------------------------------------

  /** Of one watch, as soon as it has everything; else whatever it waits for asks again. */
  #answerNonces(watcher: Watcher): void {
    const { nonces, stream } = watcher;
    if (nonces.length === 0 || watcher.place !== 'synced') return;
    if (this.#ahead(watcher)) {
      this.#defer(watcher);
      return;
    }
    const left = this.#deliverNonces(stream.sink, watcher.id, nonces);
    watcher.nonces = left;
    if (left.length === 0) stream.asking.delete(watcher);
  }

  /** @returns those for which there was no room */
  #deliverNonces(sink: WatchSink, watchId: bigint, nonces: readonly bigint[]): readonly bigint[] {
    let told = 0;
    while (told < nonces.length && sink.writable) {
      this.#deliverProgress(sink, watchId, nonces[told]!);
      told += 1;
    }
    this.#noncesAnswered += told;
    return nonces.slice(told);
  }

  #deliverProgress(sink: WatchSink, watchId: bigint, nonce: bigint): void {
    sink.deliver({ type: 'progress', watchId, revision: this.#revision, nonce });
  }

  #defer(watcher: Watcher): void {
    const before = watcher.next - 1;
    const deferred = this.#deferred.get(before);
    if (deferred === undefined) this.#deferred.set(before, new Set([watcher]));
    else deferred.add(watcher);
  }

  #undefer(watcher: Watcher): void {
    const deferred = this.#deferred.get(watcher.next - 1);
    if (deferred?.delete(watcher) === true && deferred.size === 0) this.#deferred.delete(watcher.next - 1);
  }

  #answerDeferred(revision: number): void {
    const due = this.#deferred.get(revision);
    if (due === undefined) return;
    this.#deferred.delete(revision);
    for (const watcher of due) this.#answerNonces(watcher);
  }

  #answerProgress(): void {
    if (this.#progressRequests.size === 0) return;
    for (const stream of this.#progressRequests) this.#answerProgressOf(stream);
  }

  #answerProgressOf(stream: WatchStream): void {
    if (stream.behind > 0 || !stream.sink.writable) return;
    for (const watcher of stream.watchers.values()) if (this.#ahead(watcher)) return;
    if (stream.progressAsked) this.#deliverProgress(stream.sink, STREAM_WATCH_ID, 0n);
    stream.progressAsked = false;
    stream.nonces = this.#deliverNonces(stream.sink, STREAM_WATCH_ID, stream.nonces);
    if (stream.nonces.length === 0) this.#progressRequests.delete(stream);
  }
}

function isBehind(place: Watcher['place']): boolean {
  return place === 'unsynced' || place === 'slow';
}
