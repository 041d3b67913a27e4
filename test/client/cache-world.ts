import type { CacheSource } from '../../src/client/cache-feed.ts';
import { ClientError } from '../../src/client/client-error.ts';
import type { ClientClock } from '../../src/client/clock.ts';
import type {
  KeyValue,
  RangeAnswer,
  RangeOptions,
  ResponseHeader,
  WatchEvent,
} from '../../src/client/types.ts';
import type {
  WatchStreamHandle,
  WatchStreamItem,
  WatchStreamOptions,
} from '../../src/client/watch-stream.ts';

/**
 * A cluster and a network in virtual time, behind the port of a cache: members that lag and are cut off, streams that
 * are lost, messages that take their time, a client whose clock runs wrong and whose process stalls. It knows when each
 * write was acknowledged, so it knows how old every claim may be.
 */

/** One revision: what it put, and what it deleted (null). */
export type Write = Readonly<Record<string, string | null>>;

interface Revision {
  readonly write: Write;
  /** True time at which its answer left; Infinity until then. */
  ackedMs: number;
}

interface WorldMember {
  applied: number;
  isCutOff: boolean;
  streams: Set<WorldStream>;
}

const CLUSTER_ID = 7n;
/** Answers of ranges are cut into such pages. */
const PAGE_KEYS = 3;

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly isClients: boolean;
  readonly action: () => void;
}

/** How a world differs from others. */
export interface WorldOptions {
  /** Seconds of the client's clock in a true second. */
  readonly clockRate: number;
  /** Members tell no ages, as a real etcd's. */
  readonly isPlain: boolean;
  readonly members: number;
}

export class CacheWorld implements CacheSource, ClientClock {
  readonly options: WorldOptions;
  readonly members: readonly WorldMember[];
  /** By revision; the first two places stand for the empty store. */
  readonly #revisions: Revision[] = [
    { write: {}, ackedMs: 0 },
    { write: {}, ackedMs: 0 },
  ];
  /** Messages take so long, each way. */
  latencyMs = 5;
  /** What members say of their age beyond what is true. */
  caution = 0;
  trueMs = 1_000;
  #events: Event[] = [];
  #scheduled = 0;
  #compacted = 0;
  #nearest = 0;
  #stalledUntilMs = 0;

  constructor(options: WorldOptions) {
    this.options = options;
    this.members = Array.from({ length: options.members }, () => ({
      applied: 1,
      isCutOff: false,
      streams: new Set<WorldStream>(),
    }));
  }

  get committed(): number {
    return this.#revisions.length - 1;
  }

  // ---- what happens to the cluster ------------------------------------------------------------------------------

  /** Commits one revision, acknowledged after `ackAfterMs`. */
  write(write: Write, ackAfterMs: number): void {
    const revision: Revision = { write, ackedMs: Infinity };
    this.#revisions.push(revision);
    this.#schedule(ackAfterMs, false, () => {
      revision.ackedMs = this.trueMs;
    });
  }

  /** The member takes up to so many further revisions. */
  replicate(at: number, count: number): void {
    const member = this.members[at % this.members.length]!;
    if (!member.isCutOff) this.#apply(member, Math.min(this.committed, member.applied + count));
  }

  cut(at: number, isCutOff: boolean): void {
    const member = this.members[at % this.members.length]!;
    member.isCutOff = isCutOff;
    for (const stream of member.streams) stream.think();
  }

  compact(back: number): void {
    this.#compacted = Math.max(this.#compacted, this.committed - back);
  }

  loseStreams(): void {
    for (const { streams } of this.members) for (const stream of streams) stream.lose();
  }

  /** Everything is well from now on: members follow at once. */
  heal(): void {
    for (const [at, member] of this.members.entries()) {
      this.cut(at, false);
      this.#apply(member, this.committed);
    }
  }

  #apply(member: WorldMember, revision: number): void {
    member.applied = revision;
    for (const stream of member.streams) stream.think();
  }

  // ---- what is true ---------------------------------------------------------------------------------------------

  /** The contents after a revision. */
  stateAt(revision: number): ReadonlyMap<string, string> {
    const state = new Map<string, string>();
    for (const { write } of this.#revisions.slice(0, revision + 1)) {
      for (const [key, value] of Object.entries(write)) {
        if (value === null) state.delete(key);
        else state.set(key, value);
      }
    }
    return new Map([...state].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** The newest revision that was acknowledged before a true instant. */
  ackedBefore(ms: number): number {
    return this.#revisions.findLastIndex(({ ackedMs }) => ackedMs < ms);
  }

  /** How old a state at `revision` is now. */
  ageOf(revision: number): number {
    const missing = this.#revisions.slice(revision + 1).map(({ ackedMs }) => ackedMs);
    return Math.max(0, this.trueMs - Math.min(Infinity, ...missing));
  }

  // ---- time -------------------------------------------------------------------------------------------------------

  nowMs(): number {
    return this.trueMs * this.options.clockRate;
  }

  after(delayMs: number, action: () => void): () => void {
    return this.#schedule(delayMs / this.options.clockRate, true, action);
  }

  /** Lets time pass, one event after another. @param looked called after each, and at the end */
  async run(durationMs: number, looked: () => void): Promise<void> {
    const untilMs = this.trueMs + durationMs;
    for (;;) {
      const next = this.#takeNext(untilMs);
      if (next === null) break;
      this.trueMs = Math.max(this.trueMs, next.atMs);
      next.action();
      await settled();
      looked();
    }
    this.trueMs = untilMs;
    looked();
  }

  /** The client's process stands still meanwhile; whatever it was to do waits. */
  async stall(durationMs: number, looked: () => void): Promise<void> {
    this.#stalledUntilMs = this.trueMs + durationMs;
    await this.run(durationMs, () => {});
    // The first thing it does is read.
    looked();
    this.#stalledUntilMs = 0;
  }

  #takeNext(untilMs: number): Event | null {
    const isStalled = this.trueMs < this.#stalledUntilMs;
    const due = this.#events.filter(({ atMs, isClients }) => atMs <= untilMs && !(isStalled && isClients));
    const next = due.toSorted((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
    if (next === undefined) return null;
    this.#events = this.#events.filter((event) => event !== next);
    return next;
  }

  #schedule(delayMs: number, isClients: boolean, action: () => void): () => void {
    this.#scheduled += 1;
    const event = { atMs: this.trueMs + delayMs, order: this.#scheduled, isClients, action };
    this.#events.push(event);
    return () => {
      this.#events = this.#events.filter((candidate) => candidate !== event);
    };
  }

  /** At a member, after the way there. */
  toMember(action: () => void): void {
    this.#schedule(this.latencyMs, false, action);
  }

  /** At the client, after the way back, and never before what was sent earlier. @returns when */
  toClient(notBeforeMs: number, action: () => void): number {
    const atMs = Math.max(notBeforeMs, this.trueMs + this.latencyMs);
    this.#schedule(atMs - this.trueMs, true, action);
    return atMs;
  }

  // ---- the cache's port -------------------------------------------------------------------------------------------

  header(revision: number): ResponseHeader {
    return { clusterId: CLUSTER_ID, memberId: 1n, revision, raftTerm: 1 };
  }

  nextMember(): WorldMember {
    this.#nearest += 1;
    return this.members[this.#nearest % this.members.length]!;
  }

  get compacted(): number {
    return this.#compacted;
  }

  range(options: RangeOptions): Promise<RangeAnswer> {
    return new Promise((resolve, reject) => {
      this.toMember(() => {
        const answer = this.#answer(options);
        this.toClient(0, () => (answer instanceof ClientError ? reject(answer) : resolve(answer)));
      });
    });
  }

  #answer(options: RangeOptions): RangeAnswer | ClientError {
    const member = this.nextMember();
    const present = options.serializable === true ? member.applied : this.committed;
    const revision = options.revision === undefined || options.revision === 0 ? present : options.revision;
    if (revision > present) return new ClientError('out-of-range', 'required revision is a future revision');
    // A member that is behind has not compacted yet, either.
    if (options.revision && revision < Math.min(this.#compacted, present))
      return new ClientError('out-of-range', 'required revision has been compacted');
    const from = options.key.toString();
    const kvs = this.#keyValuesAt(revision).filter(({ key }) => key.toString() >= from);
    const page = options.countOnly === true ? [] : kvs.slice(0, PAGE_KEYS);
    return {
      type: 'range',
      header: this.header(present),
      kvs: page,
      more: page.length < kvs.length,
      count: kvs.length,
    };
  }

  #keyValuesAt(revision: number): KeyValue[] {
    return [...this.stateAt(revision)].map(([key, value]) => {
      const modRevision = this.#revisions.findLastIndex(({ write }, at) => at <= revision && key in write);
      return keyValue(key, value, modRevision);
    });
  }

  eventsOf(revision: number): readonly WatchEvent[] {
    return Object.entries(this.#revisions[revision]!.write).map(([key, value]) => ({
      type: value === null ? 'delete' : 'put',
      kv: keyValue(key, value ?? '', revision),
      prevKv: null,
    }));
  }

  watchStream(options: WatchStreamOptions): WatchStreamHandle {
    return new WorldWatch(this, options);
  }
}

function keyValue(key: string, value: string, modRevision: number): KeyValue {
  const rest = { createRevision: modRevision, modRevision, version: 1, lease: 0n };
  return { key: Buffer.from(key), value: Buffer.from(value), ...rest };
}

/** Until everybody who waits for a promise has had it. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A watch over one stream after another. */
class WorldWatch implements WatchStreamHandle {
  readonly #world: CacheWorld;
  readonly #items: (WatchStreamItem | ClientError | null)[] = [];
  #wake = (): void => {};
  #stream: WorldStream | null = null;
  #next: number;
  #isClosed = false;
  readonly #signal: AbortSignal;
  readonly #onAbort = (): void => this.close();

  constructor(world: CacheWorld, options: WatchStreamOptions) {
    this.#world = world;
    this.#next = options.startRevision!;
    this.#signal = options.signal!;
    this.#signal.addEventListener('abort', this.#onAbort, { once: true });
    this.#connect();
  }

  #connect(): void {
    if (this.#isClosed) return;
    this.#stream = new WorldStream(this.#world, this.#world.nextMember(), this.#next, (item) =>
      this.#push(item),
    );
  }

  #push(item: WatchStreamItem | ClientError): void {
    if (this.#isClosed) return;
    if (!(item instanceof ClientError)) {
      if (item.type === 'events') this.#next = item.events.at(-1)!.kv.modRevision + 1;
      if (item.type === 'progress') this.#next = Math.max(this.#next, item.header.revision + 1);
      if (item.type === 'lost') {
        this.#stream = null;
        this.#world.after(20, () => this.#connect());
      }
    }
    this.#items.push(item);
    this.#wake();
  }

  requestProgress(request: { readonly nonce: number; readonly linearizable?: boolean }): boolean {
    if (this.#stream === null) return false;
    this.#stream.askProgress(request.nonce, request.linearizable ?? false);
    return true;
  }

  move(): void {
    this.#stream?.lose();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#stream?.end();
    this.#items.push(null);
    this.#wake();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WatchStreamItem, void, undefined> {
    for (;;) {
      while (this.#items.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      const item = this.#items.shift()!;
      if (item === null) return;
      if (item instanceof ClientError) throw item;
      yield item;
    }
  }
}

/** One stream on one member: what it tells comes in order. */
class WorldStream {
  readonly #world: CacheWorld;
  readonly #member: WorldMember;
  readonly #tell: (item: WatchStreamItem | ClientError) => void;
  /** Questions that wait for a proof; `at` = what must be applied for it, and since when. */
  readonly #questions: { nonce: number; floor: number; askedMs: number; isLinearizable: boolean }[] = [];
  #next: number;
  #isThere = false;
  #isOver = false;
  #lastMs = 0;

  constructor(
    world: CacheWorld,
    member: WorldMember,
    next: number,
    tell: (item: WatchStreamItem | ClientError) => void,
  ) {
    this.#world = world;
    this.#member = member;
    this.#next = next;
    this.#tell = tell;
    world.toMember(() => this.#create());
  }

  #create(): void {
    if (this.#isOver) return;
    const compacted = Math.min(this.#world.compacted, this.#member.applied);
    if (this.#next < compacted) {
      const gone = new ClientError('out-of-range', 'compacted', { compactRevision: compacted });
      this.#send(gone);
      return this.end();
    }
    this.#isThere = true;
    this.#member.streams.add(this);
    const header = this.#world.header(this.#member.applied);
    this.#send({ type: 'created', header, address: 'member', next: this.#next });
    this.think();
  }

  /** Tells what can be told now. */
  think(): void {
    if (!this.#isThere || this.#isOver) return;
    const { applied } = this.#member;
    const events: WatchEvent[] = [];
    for (; this.#next <= applied; this.#next += 1) events.push(...this.#world.eventsOf(this.#next));
    if (events.length > 0) this.#send({ type: 'events', header: this.#world.header(applied), events });
    for (const question of this.#questions.splice(0)) {
      if (!this.#answer(question)) this.#questions.push(question);
    }
  }

  askProgress(nonce: number, isLinearizable: boolean): void {
    const world = this.#world;
    world.toMember(() => {
      const floor = isLinearizable ? world.committed : 0;
      this.#questions.push({ nonce, floor, askedMs: world.trueMs, isLinearizable });
      this.think();
    });
  }

  #answer(question: { nonce: number; floor: number; askedMs: number; isLinearizable: boolean }): boolean {
    const { applied, isCutOff } = this.#member;
    const world = this.#world;
    const header = world.header(applied);
    if (world.options.isPlain) {
      this.#send({ type: 'progress', header, nonce: 0, ageMs: undefined });
      return true;
    }
    if (isCutOff || applied < question.floor) return false;
    // A round asked when the question came in proves as much as that; otherwise what the member knows by itself.
    const provenMs = question.isLinearizable ? world.trueMs - question.askedMs : world.ageOf(applied);
    const ageMs = Math.ceil(provenMs + world.caution);
    this.#send({ type: 'progress', header, nonce: question.nonce, ageMs });
    return true;
  }

  lose(): void {
    if (this.#isOver) return;
    this.end();
    const error = new ClientError('unavailable', 'lost');
    this.#world.toClient(0, () => this.#tell({ type: 'lost', error, address: 'member' }));
  }

  /** What is on its way does not arrive any more. */
  end(): void {
    this.#isOver = true;
    this.#member.streams.delete(this);
  }

  #send(item: WatchStreamItem | ClientError): void {
    this.#lastMs = this.#world.toClient(this.#lastMs, () => {
      if (!this.#isOver || item instanceof ClientError) this.#tell(item);
    });
  }
}
