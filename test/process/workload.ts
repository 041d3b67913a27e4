import { KvClient } from '../../src/client/kv-client.ts';
import { deleteRequest, putRequest, type RequestOp, rangeRequest } from '../../src/core/mvcc/operations.ts';
import { prefixEnd } from '../../src/lib/range-end.ts';
import { Prng } from '../core/raft/prng.ts';
import type { HistoryOp, HistoryOutcome, HistoryRequest, HistoryResult } from '../linearizability/history.ts';
import { type RecordedClient, Recorder } from '../linearizability/recorder.ts';

/** Everything the workload writes is below it. */
export const PREFIX = Buffer.from('f/');
export const ALL_KEYS = { key: PREFIX, rangeEnd: prefixEnd(PREFIX) };
/** Few keys, so that clients meet on them. */
export const KEYS: readonly Buffer[] = Array.from({ length: 8 }, (_, i) => Buffer.from(`f/${i}`));
/** A call without an answer by then has an unknown outcome. */
const CALL_TIMEOUT_MS = 2_000;
/** The load: how long a client rests between two calls. The machine is shared with the members themselves. */
const REST_MS = 4;
const EMPTY = Buffer.alloc(0);
/** Clients that call one member each, one call after the other, and remember what they asked and heard. */
export class Workload {
  readonly #recorder = new Recorder();
  readonly #clients: readonly WorkloadClient[];
  readonly #extra: WorkloadClient;
  #running = true;
  #loops: Promise<void>[] = [];
  #waiters: { readonly sinceMs: number; left: number; readonly resolve: () => void }[] = [];

  /** @param options.urls one client for each; a client keeps to its member */
  constructor(options: { readonly urls: readonly string[]; readonly seed: number }) {
    const clientOf = (urls: readonly string[], id: number): WorkloadClient =>
      new WorkloadClient({
        id,
        urls,
        random: new Prng(options.seed * 1000 + id),
        recorder: this.#recorder,
        acknowledged: (callTime) => this.#acknowledged(callTime),
      });
    this.#clients = options.urls.map((url, id) => clientOf([url], id));
    this.#extra = clientOf([...new Set(options.urls)], this.#clients.length);
  }

  get history(): readonly HistoryOp[] {
    return this.#recorder.ops;
  }

  start(): void {
    this.#loops = this.#clients.map(async (item) => {
      while (this.#running) await item.step();
    });
  }

  /** Resolves once `count` writes that began after this call have been acknowledged. */
  acknowledgements(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push({ sinceMs: performance.now(), left: count, resolve });
    });
  }

  /** One call more, through any member, as a client of its own. Not to be made twice at once. */
  perform(request: HistoryRequest): Promise<HistoryOutcome> {
    return this.#extra.perform(request);
  }

  /** Changes what a client calls: a member that has gone away stays away. */
  redirect(change: { readonly from: string; readonly to: string }): void {
    for (const item of [...this.#clients, this.#extra]) item.redirect(change);
  }

  get acknowledgedWrites(): number {
    return this.history.filter((op) => isMutation(op.request) && op.outcome.type === 'answered').length;
  }

  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#loops);
    for (const item of this.#clients) item.close();
  }

  close(): void {
    this.#extra.close();
  }

  #acknowledged(callTime: number): void {
    for (const waiter of this.#waiters) if (callTime >= waiter.sinceMs) waiter.left -= 1;
    for (const { left, resolve } of this.#waiters) if (left <= 0) resolve();
    this.#waiters = this.#waiters.filter(({ left }) => left > 0);
  }
}

function isMutation(request: HistoryRequest): boolean {
  return request.type === 'put' || request.type === 'delete-range' || request.type === 'txn';
}

interface WorkloadClientOptions {
  readonly id: number;
  /** Turned to one after the other. */
  readonly urls: readonly string[];
  readonly random: Prng;
  readonly recorder: Recorder;
  /** A write called at that time was acknowledged. */
  readonly acknowledged: (callTime: number) => void;
}

/** One client. What it asks follows its seed and what it has seen. */
class WorkloadClient {
  readonly #options: WorkloadClientOptions;
  readonly #seen = new Map<string, number>();
  #client: KvClient;
  #recorded: RecordedClient;
  #urls: readonly string[];
  #sequence = 0;
  #revision = 1;
  #lease = 0n;

  constructor(options: WorkloadClientOptions) {
    this.#options = options;
    this.#urls = options.urls;
    this.#client = new KvClient({ endpoints: options.urls, timeoutMs: CALL_TIMEOUT_MS });
    this.#recorded = options.recorder.client(this.#client);
  }

  async step(): Promise<void> {
    await this.perform(this.#next());
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
  }

  async perform(request: HistoryRequest): Promise<HistoryOutcome> {
    const callTime = performance.now();
    const outcome = await this.#recorded.perform(request);
    if (outcome.type !== 'answered') return outcome;
    this.#learn(request, outcome.result);
    if (isMutation(request)) this.#options.acknowledged(callTime);
    return outcome;
  }

  redirect({ from, to }: { readonly from: string; readonly to: string }): void {
    if (!this.#urls.includes(from)) return;
    this.#client.close();
    this.#urls = this.#urls.map((url) => (url === from ? to : url));
    this.#client = new KvClient({ endpoints: this.#urls, timeoutMs: CALL_TIMEOUT_MS });
    this.#recorded = this.#options.recorder.client(this.#client);
  }

  close(): void {
    this.#client.close();
  }

  #next(): HistoryRequest {
    const { random } = this.#options;
    const key = random.pick(KEYS);
    const dice = random.below(100);
    if (dice < 32) return this.#put(key);
    if (dice < 50) return rangeRequest({ key });
    if (dice < 60) return rangeRequest(ALL_KEYS);
    if (dice < 66) return { type: 'serializable-range', range: rangeRequest(ALL_KEYS) };
    if (dice < 70)
      return rangeRequest({ ...ALL_KEYS, revision: Math.max(1, this.#revision - random.below(30)) });
    if (dice < 84) return this.#compareAndPut(key);
    if (dice < 89) return this.#many(key, random.pick(KEYS));
    if (dice < 94) return deleteRequest({ key, prevKv: true });
    if (dice < 96) {
      return deleteRequest({ key: KEYS[2]!, rangeEnd: KEYS[5]!, prevKv: true });
    }
    return this.#leased(key);
  }

  #put(key: Buffer): HistoryRequest & { readonly type: 'put' } {
    return putRequest({ key, value: this.#value(), prevKv: this.#options.random.chance(30) });
  }

  /** A value that nobody else writes, ever. */
  #value(): Buffer {
    this.#sequence += 1;
    return Buffer.from(`${this.#options.id}/${this.#sequence}`);
  }

  #compareAndPut(key: Buffer): HistoryRequest {
    const number = this.#seen.get(key.toString()) ?? 0;
    return {
      type: 'txn',
      compare: [{ target: 'mod', number, result: 'equal', key, rangeEnd: EMPTY }],
      success: [this.#put(key)],
      failure: [rangeRequest({ key })],
    };
  }

  /** Several changes at one revision, a deletion among them. */
  #many(first: Buffer, second: Buffer): HistoryRequest {
    const others = KEYS.filter((key) => key !== first && key !== second);
    const success: RequestOp[] = [this.#put(first)];
    if (second !== first) success.push(this.#put(second));
    success.push(deleteRequest({ key: others[0]!, prevKv: true }));
    success.push(rangeRequest(ALL_KEYS));
    return { type: 'txn', compare: [], success, failure: [] };
  }

  /** By turns: a lease, a key on it, its end. */
  #leased(key: Buffer): HistoryRequest {
    if (this.#lease === 0n) {
      this.#sequence += 1;
      return { type: 'lease-grant', id: BigInt(this.#options.id * 1_000_000 + this.#sequence) };
    }
    if (this.#options.random.chance(60)) return { ...this.#put(key), lease: this.#lease };
    const id = this.#lease;
    this.#lease = 0n;
    return { type: 'lease-revoke', id };
  }

  #learn(request: HistoryRequest, result: HistoryResult): void {
    if (request.type === 'lease-grant') this.#lease = request.id;
    this.#revision = Math.max(this.#revision, result.revision);
    if (result.type !== 'range') return;
    for (const kv of result.kvs) this.#seen.set(kv.key.toString(), kv.modRevision);
  }
}
