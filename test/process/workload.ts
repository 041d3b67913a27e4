import { errorMapping } from '../../src/api/errors.ts';
import { ClientError } from '../../src/client/client-error.ts';
import { KvClient } from '../../src/client/kv-client.ts';
import { prefixEnd } from '../../src/client/range-end.ts';
import type * as client from '../../src/client/types.ts';
import type { KeyValue, RangeRequest, RequestOp, ResponseOp } from '../../src/core/mvcc/operations.ts';
import type { StoreErrorCode } from '../../src/lib/errors.ts';
import { Prng } from '../core/raft/prng.ts';
import {
  type HistoryOp,
  type HistoryOutcome,
  type HistoryRequest,
  type HistoryResult,
  STATE_CODES,
} from '../linearizability/history.ts';

/** Everything the workload writes is below it. */
export const PREFIX = Buffer.from('f/');
export const ALL_KEYS = { key: PREFIX, rangeEnd: prefixEnd(PREFIX) };
/** Few keys, so that clients meet on them. */
export const KEYS: readonly Buffer[] = Array.from({ length: 8 }, (_, i) => Buffer.from(`f/${i}`));
/** A call without an answer by then has an unknown outcome. */
const CALL_TIMEOUT_MS = 2_000;
/** The load: how long a client rests between two calls. The machine is shared with the members themselves. */
const REST_MS = 4;
/** Longer than any run: expiry is the business of other tests. */
const LEASE_TTL_SECONDS = 36_000;
const EMPTY = Buffer.alloc(0);
const RANGE_DEFAULTS = {
  type: 'range',
  rangeEnd: EMPTY,
  limit: 0,
  revision: 0,
  sortOrder: 'none',
  sortTarget: 'key',
  keysOnly: false,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
} as const;
const PUT_DEFAULTS = {
  type: 'put',
  prevKv: false,
  ignoreValue: false,
  ignoreLease: false,
  lease: 0n,
} as const;

/** Clients that call one member each, one call after the other, and remember what they asked and heard. */
export class Workload {
  readonly history: HistoryOp[] = [];
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
        done: (op) => this.#done(op),
      });
    this.#clients = options.urls.map((url, id) => clientOf([url], id));
    this.#extra = clientOf([...new Set(options.urls)], this.#clients.length);
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

  #done(op: HistoryOp): void {
    this.history.push(op);
    if (!isMutation(op.request) || op.outcome.type !== 'answered') return;
    for (const waiter of this.#waiters) if (op.callTime >= waiter.sinceMs) waiter.left -= 1;
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
  readonly done: (op: HistoryOp) => void;
}

/** One client. What it asks follows its seed and what it has seen. */
class WorkloadClient {
  readonly #options: WorkloadClientOptions;
  readonly #seen = new Map<string, number>();
  #client: KvClient;
  #urls: readonly string[];
  #sequence = 0;
  #revision = 1;
  #lease = 0n;

  constructor(options: WorkloadClientOptions) {
    this.#options = options;
    this.#urls = options.urls;
    this.#client = new KvClient({ endpoints: options.urls, timeoutMs: CALL_TIMEOUT_MS });
  }

  async step(): Promise<void> {
    await this.perform(this.#next());
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
  }

  async perform(request: HistoryRequest): Promise<HistoryOutcome> {
    const { id, done } = this.#options;
    const callTime = performance.now();
    const outcome = await this.#call(request);
    const returnTime = outcome.type === 'unknown' ? Number.POSITIVE_INFINITY : performance.now();
    if (outcome.type === 'answered') this.#learn(outcome.result);
    done({ client: id, callTime, returnTime, request, outcome });
    return outcome;
  }

  redirect({ from, to }: { readonly from: string; readonly to: string }): void {
    if (!this.#urls.includes(from)) return;
    this.#client.close();
    this.#urls = this.#urls.map((url) => (url === from ? to : url));
    this.#client = new KvClient({ endpoints: this.#urls, timeoutMs: CALL_TIMEOUT_MS });
  }

  close(): void {
    this.#client.close();
  }

  #next(): HistoryRequest {
    const { random } = this.#options;
    const key = random.pick(KEYS);
    const dice = random.below(100);
    if (dice < 32) return this.#put(key);
    if (dice < 50) return { ...RANGE_DEFAULTS, key };
    if (dice < 60) return { ...RANGE_DEFAULTS, ...ALL_KEYS };
    if (dice < 66) return { type: 'serializable-range', range: { ...RANGE_DEFAULTS, ...ALL_KEYS } };
    if (dice < 70)
      return { ...RANGE_DEFAULTS, ...ALL_KEYS, revision: Math.max(1, this.#revision - random.below(30)) };
    if (dice < 84) return this.#compareAndPut(key);
    if (dice < 89) return this.#many(key, random.pick(KEYS));
    if (dice < 94) return { type: 'delete-range', key, rangeEnd: EMPTY, prevKv: true };
    if (dice < 96) {
      return { type: 'delete-range', key: KEYS[2]!, rangeEnd: KEYS[5]!, prevKv: true };
    }
    return this.#leased(key);
  }

  #put(key: Buffer): HistoryRequest & { readonly type: 'put' } {
    return { ...PUT_DEFAULTS, key, value: this.#value(), prevKv: this.#options.random.chance(30) };
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
      failure: [{ ...RANGE_DEFAULTS, key }],
    };
  }

  /** Several changes at one revision, a deletion among them. */
  #many(first: Buffer, second: Buffer): HistoryRequest {
    const others = KEYS.filter((key) => key !== first && key !== second);
    const success: RequestOp[] = [this.#put(first)];
    if (second !== first) success.push(this.#put(second));
    success.push({ type: 'delete-range', key: others[0]!, rangeEnd: EMPTY, prevKv: true });
    success.push({ ...RANGE_DEFAULTS, ...ALL_KEYS });
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

  #learn(result: HistoryResult): void {
    this.#revision = Math.max(this.#revision, result.revision);
    if (result.type !== 'range') return;
    for (const kv of result.kvs) this.#seen.set(kv.key.toString(), kv.modRevision);
  }

  async #call(request: HistoryRequest): Promise<HistoryOutcome> {
    try {
      return { type: 'answered', result: await this.#ask(request) };
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      // What only reads has no effect, whatever became of it.
      if (error.uncertain) return { type: 'unknown' };
      return { type: 'refused', code: stateCode(error) };
    }
  }

  async #ask(request: HistoryRequest): Promise<HistoryResult> {
    const remote = this.#client;
    switch (request.type) {
      case 'range':
        return rangeResult(await remote.range(rangeOptions(request)));
      case 'serializable-range':
        return rangeResult(await remote.range({ ...rangeOptions(request.range), serializable: true }));
      case 'put':
        return putResult(await remote.put(request));
      case 'delete-range':
        return deleteResult(await remote.delete(deleteOptions(request)));
      case 'txn':
        return txnResult(await remote.txn(txnOptions(request)));
      case 'compact':
        return { type: 'compact', revision: (await remote.compact({ revision: request.revision })).revision };
      case 'lease-grant': {
        const answer = await remote.leaseGrant({ ttlSeconds: LEASE_TTL_SECONDS, id: request.id });
        this.#lease = request.id;
        return { type: 'lease-grant', revision: answer.header.revision };
      }
      case 'lease-revoke':
        return { type: 'lease-revoke', revision: (await remote.leaseRevoke(request.id)).revision };
    }
  }
}

const CODE_OF_TEXT: ReadonlyMap<string, StoreErrorCode> = new Map(
  [...STATE_CODES].map((code) => [errorMapping(code).text, code]),
);

function stateCode(error: ClientError): StoreErrorCode | null {
  return CODE_OF_TEXT.get(error.message) ?? null;
}

// ---- the client's types and the history's -------------------------------------------------------------------

function rangeOptions(request: RangeRequest): client.RangeOptions {
  const { type: _type, rangeEnd, ...rest } = request;
  return rangeEnd.length === 0 ? rest : { ...rest, rangeEnd };
}

function deleteOptions(request: HistoryRequest & { readonly type: 'delete-range' }): client.DeleteOptions {
  const { key, rangeEnd, prevKv } = request;
  return rangeEnd.length === 0 ? { key, prevKv } : { key, rangeEnd, prevKv };
}

function txnOptions(request: HistoryRequest & { readonly type: 'txn' }): client.TxnOptions {
  return {
    compare: request.compare.map(({ rangeEnd, ...rest }) =>
      rangeEnd.length === 0 ? rest : { ...rest, rangeEnd },
    ),
    success: request.success.map(txnOp),
    failure: request.failure.map(txnOp),
  };
}

function txnOp(op: RequestOp): client.TxnOp {
  switch (op.type) {
    case 'range':
      return { type: 'range', ...rangeOptions(op) };
    case 'put':
      return op;
    case 'delete-range':
      return { type: 'delete', ...deleteOptions(op) };
    case 'txn':
      throw new Error('the client sends no nested transactions');
  }
}

function rangeResult(answer: client.RangeAnswer): HistoryResult & { readonly type: 'range' } {
  const { kvs, more, count } = answer;
  return { type: 'range', revision: answer.header.revision, kvs: kvs as readonly KeyValue[], more, count };
}

function putResult(answer: client.PutAnswer): HistoryResult & { readonly type: 'put' } {
  return { type: 'put', revision: answer.header.revision, prevKv: answer.prevKv };
}

function deleteResult(answer: client.DeleteAnswer): HistoryResult & { readonly type: 'delete-range' } {
  const { deleted, prevKvs } = answer;
  return { type: 'delete-range', revision: answer.header.revision, deleted, prevKvs };
}

function txnResult(answer: client.TxnAnswer): HistoryResult & { readonly type: 'txn' } {
  const responses = answer.responses.map(responseOp);
  return { type: 'txn', revision: answer.header.revision, succeeded: answer.succeeded, responses };
}

function responseOp(response: client.TxnAnswer['responses'][number]): ResponseOp {
  switch (response.type) {
    case 'range':
      return rangeResult(response);
    case 'put':
      return putResult(response);
    case 'delete':
      return deleteResult(response);
    case 'txn':
      return txnResult(response);
  }
}
