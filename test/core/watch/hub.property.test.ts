import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { KvEvent } from '../../../src/core/mvcc/event.ts';
import type { DeleteRangeRequest, PutRequest, TxnRequest } from '../../../src/core/mvcc/operations.ts';
import { Store } from '../../../src/core/mvcc/store.ts';
import {
  type WatchDelivery,
  WatchHub,
  type WatchOptions,
  type WatchSink,
  type WatchStream,
} from '../../../src/core/watch/hub.ts';
import { bytes, Harness, MemorySource, put, remove, txn } from '../mvcc/fixture.ts';
import { watch } from './fixture.ts';

type Request = PutRequest | DeleteRangeRequest | TxnRequest;
type LogEntry = Request | { readonly type: 'compact'; readonly revision: number };

/** The cluster's truth: every event that ever was, in order. */
class Truth {
  readonly harness = new Harness();
  readonly log: LogEntry[] = [];
  readonly events: KvEvent[] = [];

  write(request: Request): void {
    this.log.push(request);
    this.events.push(...this.harness.commit(request).events);
  }
  compact(revision: number): void {
    if (revision <= this.harness.store.compactRevision) return;
    this.log.push({ type: 'compact', revision });
    this.harness.compact(revision);
  }
}

/** One watch and what it must have seen. Checks every delivery when it comes. */
class Expectation {
  readonly options: WatchOptions;
  readonly start: number;
  readonly #truth: Truth;
  seen = 0;
  lastMain = 0;
  complete = 0;
  over = false;

  constructor(truth: Truth, options: WatchOptions, start: number) {
    this.#truth = truth;
    this.options = options;
    this.start = start;
  }
  /** What the watch is to be told of the events up to a revision. */
  expected(upTo: number): KvEvent[] {
    const { key, rangeEnd, noPut, noDelete } = this.options;
    return this.#truth.events.filter(({ type, row }) => {
      if (row.main < this.start || row.main > upTo || (type === 'put' ? noPut : noDelete)) return false;
      if (rangeEnd.length === 0) return row.key.equals(key);
      const toEnd = rangeEnd.equals(bytes('\0'));
      return row.key.compare(key) >= 0 && (toEnd || row.key.compare(rangeEnd) < 0);
    });
  }
  take(delivery: WatchDelivery, compactRevision: number): void {
    expect(this.over).toBe(false);
    switch (delivery.type) {
      case 'events':
        this.#events(delivery, compactRevision);
        return;
      case 'progress':
        this.promised(delivery.revision);
        return;
      case 'canceled':
        expect(delivery.compactRevision).toBe(compactRevision);
        expect(compactRevision).toBeGreaterThan(Math.max(this.start, this.complete + 1));
        this.over = true;
    }
  }
  /** Everything up to `revision` was said to be delivered: it is, and the promise is not about a start to come. */
  promised(revision: number): void {
    expect(revision).toBeGreaterThanOrEqual(Math.max(this.complete, this.start - 1));
    expect(this.seen).toBe(this.expected(revision).length);
    this.complete = revision;
  }
  #events({ events, revision }: WatchDelivery & { type: 'events' }, compactRevision: number): void {
    const expected = this.expected(revision);
    expect(events[0]!.event.row.main).toBeGreaterThan(this.lastMain);
    expect(events.map(({ event }) => nameOf(event))).toEqual(expected.slice(this.seen).map(nameOf));
    for (const { event, prevKv } of events) {
      if (!this.options.prevKv || event.previous === null) expect(prevKv).toBeNull();
      else if (prevKv === null) expect(event.row.main).toBeLessThanOrEqual(compactRevision);
      else expect(prevKv.modRevision).toBe(event.previous.main);
    }
    this.seen = expected.length;
    this.lastMain = events.at(-1)!.event.row.main;
    this.complete = revision;
  }
}

function nameOf({ type, row }: KvEvent): string {
  return `${type} ${row.key.toString('latin1')} ${row.main}/${row.sub}`;
}

/** A client with one stream: fills up after some deliveries. */
class Client implements WatchSink {
  readonly stream: WatchStream;
  readonly watches = new Map<bigint, Expectation>();
  room = 3;
  #member: Member;
  #nextId = 1n;

  constructor(member: Member) {
    this.#member = member;
    this.stream = member.hub.open(this);
  }
  get writable(): boolean {
    return this.room > 0;
  }
  deliver(delivery: WatchDelivery): void {
    expect(this.writable).toBe(true);
    this.room -= 1;
    const { compactRevision } = this.#member.store;
    if (delivery.watchId !== -1n) {
      this.watches.get(delivery.watchId)!.take(delivery, compactRevision);
      return;
    }
    expect(delivery.type).toBe('progress');
    for (const each of this.watches.values()) {
      if (delivery.type === 'progress' && !each.over) each.promised(delivery.revision);
    }
  }
  create(template: Omit<WatchOptions, 'watchId'>, truth: Truth): void {
    const options = { ...template, watchId: this.#nextId++ };
    const start = options.startRevision || this.#member.revision + 1;
    this.watches.set(options.watchId, new Expectation(truth, options, start));
    expect(this.stream.create(options)).toBeNull();
  }
  cancelOldest(): void {
    const first = [...this.watches].find(([, each]) => !each.over);
    if (first === undefined) return;
    expect(this.stream.cancel(first[0])).toBe(true);
    first[1].over = true;
  }
}

/** Follows the truth's log, with its own store and hub. */
class Member {
  #source = new MemorySource();
  store = new Store({ source: this.#source });
  readonly hub = new WatchHub(this.store, { sliceRowsMax: 3, sliceBytesMax: 1_000, batchWatchersMax: 2 });
  readonly #truth: Truth;
  #applied = 0;

  constructor(truth: Truth) {
    this.#truth = truth;
  }
  get revision(): number {
    return this.store.currentRevision;
  }
  applyNext(): boolean {
    const entry = this.#truth.log[this.#applied];
    if (entry === undefined) return false;
    this.#applied += 1;
    if (entry.type === 'compact') {
      this.store.compact(entry.revision);
      return true;
    }
    const { commit } = this.store.applyTxn(entry, this.#truth.harness);
    this.#source.keep(commit.rows);
    if (commit.events.length > 0) this.hub.notify(commit.revision, commit.events);
    return true;
  }
  compactionStep(): void {
    this.#source.discard(this.store.compactionStep(2));
  }
  /** Takes the whole state of the truth, as after a snapshot. */
  replace(): void {
    const { source, store } = this.#truth.harness;
    this.#source = new MemorySource();
    this.store = new Store({ source: this.#source });
    this.#source.keep(source.all());
    for (const row of source.all()) this.store.restoreRow(row);
    this.#source.discard(this.store.finishRestore(store));
    this.#applied = this.#truth.log.length;
    this.hub.storeReplaced(this.store);
  }
}

type Step =
  | { readonly do: 'write'; readonly request: Request }
  | { readonly do: 'apply'; readonly count: number }
  | { readonly do: 'create'; readonly client: number; readonly start: number; readonly options: WatchOptions }
  | { readonly do: 'room'; readonly client: number; readonly room: number }
  | { readonly do: 'compact'; readonly back: number }
  | { readonly do: 'cancel' | 'request'; readonly client: number }
  | { readonly do: 'sync' | 'step' | 'tick' | 'replace' };

const CLIENTS = 3;
const key = fc.constantFrom('a', 'b', 'c', 'd');
const end = fc.constantFrom('', '', 'c', 'e', '\0');
const simple: fc.Arbitrary<PutRequest | DeleteRangeRequest> = fc.oneof(
  { weight: 3, arbitrary: key.map((each) => put(each)) },
  fc.tuple(key, end).map(([each, last]) => remove(each, last)),
);
const request: fc.Arbitrary<Request> = fc.oneof(
  { weight: 3, arbitrary: simple },
  fc.uniqueArray(key, { minLength: 2 }).map((keys) =>
    txn(
      [],
      keys.map((each) => put(each)),
    ),
  ),
);
const client = fc.nat({ max: CLIENTS - 1 });
const watchOptions = fc
  .record({
    key,
    end,
    noPut: fc.boolean(),
    noDelete: fc.boolean(),
    prevKv: fc.boolean(),
    progressNotify: fc.boolean(),
  })
  .filter((each) => each.end === '' || each.end === '\0' || each.key < each.end)
  .map(({ key: name, ...rest }) => watch(0n, name, { ...rest, noPut: rest.noPut && !rest.prevKv }));
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('write' as const), request }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('apply' as const), count: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('create' as const),
      client,
      start: fc.integer({ min: -6, max: 4 }),
      options: watchOptions,
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('room' as const), client, room: fc.nat({ max: 6 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('compact' as const), back: fc.nat({ max: 5 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('cancel', 'request', 'request'), client }) },
  {
    weight: 7,
    arbitrary: fc.record({ do: fc.constantFrom('sync', 'sync', 'sync', 'step', 'tick', 'tick', 'replace') }),
  },
);

test('every watch sees exactly its events, in order, once, whole revisions at a time, and true promises', () => {
  let delivered = 0;
  let canceled = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 120, size: 'max' }), (steps) => {
      const truth = new Truth();
      const member = new Member(truth);
      const clients = Array.from({ length: CLIENTS }, () => new Client(member));
      for (const each of steps) take(each, { truth, member, clients });
      finish(member, clients);
      for (const { watches } of clients) {
        for (const each of watches.values()) {
          delivered += each.seen;
          if (each.over) canceled += 1;
          else expect(each.seen).toBe(each.expected(member.revision).length);
        }
      }
    }),
    { numRuns: 250 },
  );
  // The runs did reach what they are about.
  expect(delivered).toBeGreaterThan(1_000);
  expect(canceled).toBeGreaterThan(50);
});

function take(
  each: Step,
  { truth, member, clients }: { truth: Truth; member: Member; clients: Client[] },
): void {
  switch (each.do) {
    case 'write':
      truth.write(each.request);
      return;
    case 'apply':
      for (let i = 0; i < each.count; i++) member.applyNext();
      return;
    case 'create': {
      // Relative to now; 4 stands for "from now on".
      const startRevision = each.start === 4 ? 0 : Math.max(1, member.revision + each.start);
      clients[each.client]!.create({ ...each.options, startRevision }, truth);
      return;
    }
    case 'room':
      clients[each.client]!.room = each.room;
      if (each.room > 0) member.hub.resume(clients[each.client]!);
      return;
    case 'compact':
      truth.compact(truth.harness.store.currentRevision - each.back);
      return;
    case 'cancel':
      clients[each.client]!.cancelOldest();
      return;
    case 'request':
      clients[each.client]!.stream.requestProgress();
      return;
    case 'sync':
      member.hub.syncSlice();
      return;
    case 'step':
      member.compactionStep();
      return;
    case 'tick':
      member.hub.tickProgress();
      return;
    case 'replace':
      member.replace();
  }
}

/** All obstacles gone, everybody gets everything. */
function finish(member: Member, clients: readonly Client[]): void {
  for (const each of clients) {
    each.room = Number.POSITIVE_INFINITY;
    member.hub.resume(each);
  }
  while (member.applyNext());
  while (member.hub.syncSlice());
  const { unsynced, slow } = member.hub.stats;
  expect({ unsynced, slow }).toEqual({ unsynced: 0, slow: 0 });
}
