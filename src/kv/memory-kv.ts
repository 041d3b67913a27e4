import { checkKeys, checkWatch, DEFAULT_LIMITS } from './check.ts';
import {
  type Kv,
  type KvCall,
  KvError,
  type KvLimits,
  type KvLogin,
  type KvPermit,
  type KvRangeAnswer,
  type KvRangeRequest,
  type KvTxnAnswer,
  type KvTxnRequest,
  type KvWatchBatch,
  type KvWatchRequest,
} from './kv.ts';
import { MemoryStore } from './memory-store.ts';

/** Events of one batch of a watch, unless one revision has more. */
const BATCH_EVENTS_MAX = 1000;

/** A store in the memory of this process: nothing is kept, nobody is asked who they are. For tests and trials. */
export class MemoryKv implements Kv {
  readonly limits: KvLimits;
  readonly #store: MemoryStore;
  readonly #closing = new AbortController();

  /**
   * @param options.nowMs a clock for leases; by default one that never goes back
   * @param store an existing one; by default it begins empty
   */
  constructor(
    options: { readonly nowMs?: () => number; readonly limits?: KvLimits } = {},
    store = new MemoryStore(options.nowMs ?? (() => performance.now())),
  ) {
    this.limits = options.limits ?? DEFAULT_LIMITS;
    this.#store = store;
  }

  /** Another port to the same store, to be closed by itself. */
  connect(): MemoryKv {
    return new MemoryKv({ limits: this.limits }, this.#store);
  }

  async range(request: KvRangeRequest, call: KvCall): Promise<KvRangeAnswer> {
    await this.#begin(call);
    checkKeys(request);
    const { rows, more, count } = this.#store.history.range(request);
    return { revision: this.#store.history.revision, rows, more, count };
  }

  async txn(request: KvTxnRequest, call: KvCall): Promise<KvTxnAnswer> {
    await this.#begin(call);
    return this.#store.txn(request, this.limits);
  }

  async *watch(request: KvWatchRequest, { signal }: KvCall): AsyncGenerator<KvWatchBatch, void, undefined> {
    const { history } = this.#store;
    checkWatch(request);
    let next = request.startRevision;
    while (!signal.aborted) {
      this.#ready();
      if (next <= 0) {
        next = history.revision + 1;
        yield { revision: next - 1, events: [] };
        continue;
      }
      if (next < history.compactRevision) throw history.compacted();
      const told = history.changesFrom(request, { revision: next, eventsMax: BATCH_EVENTS_MAX });
      next = Math.max(next, told.revision + 1);
      if (told.events.length === 0) await this.#change(signal);
      else if (request.prevKv === true) yield told;
      else
        yield { revision: told.revision, events: told.events.map((event) => ({ ...event, previous: null })) };
    }
  }

  async leaseGrant({ ttlSeconds }: { readonly ttlSeconds: number }, call: KvCall): Promise<bigint> {
    await this.#begin(call);
    return this.#store.grant(ttlSeconds);
  }

  async leaseKeepAlive(id: bigint, call: KvCall): Promise<number> {
    await this.#begin(call);
    return this.#store.renew(id);
  }

  async leaseRevoke(id: bigint, call: KvCall): Promise<void> {
    await this.#begin(call);
    this.#store.revoke(id);
  }

  async authEnabled(call: KvCall): Promise<boolean> {
    await this.#begin(call);
    return false;
  }

  async signIn(_login: KvLogin, call: KvCall): Promise<string> {
    await this.#begin(call);
    throw new KvError('invalid-argument', 'authentication is not enabled');
  }

  async permits(_request: unknown, call: KvCall): Promise<KvPermit> {
    await this.#begin(call);
    return { user: null, permitted: true };
  }

  async close(): Promise<void> {
    this.#closing.abort();
  }

  /** Forgets the history before `revision`. @throws KvError `compacted`, `future-revision` */
  compact(revision: number): void {
    this.#store.compact(revision);
  }

  /** Ends the leases whose time is over, as every call does first: after a test has moved its clock. */
  expireLeases(): void {
    this.#store.expireLeases();
  }

  /** As every call begins: later than it was made, and only while this is open. */
  async #begin({ signal }: KvCall): Promise<void> {
    await Promise.resolve();
    if (signal.aborted) throw new KvError('canceled', 'the call was canceled', { cause: signal.reason });
    this.#ready();
  }

  #ready(): void {
    if (this.#closing.signal.aborted) throw new KvError('closed', 'the store was closed');
    this.#store.expireLeases();
  }

  /** Resolves at the next change, when this is closed, or when the signal is aborted. */
  async #change(signal: AbortSignal): Promise<void> {
    const signals = [signal, this.#closing.signal];
    if (signals.some(({ aborted }) => aborted)) return;
    let wake = (): void => undefined;
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const stopListening = this.#store.listen(wake);
    for (const each of signals) each.addEventListener('abort', wake);
    await woken;
    stopListening();
    for (const each of signals) each.removeEventListener('abort', wake);
  }
}
