import { checkRange, checkWatch, DEFAULT_LIMITS } from './check.ts';
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
import { OpenCalls } from './open-calls.ts';

/** Events of one batch of a watch, unless one revision has more. */
const BATCH_EVENTS_MAX = 1000;

/** A store in the memory of this process: nothing is kept, nobody is asked who they are. For tests and trials. */
export class MemoryKv implements Kv {
  readonly limits: KvLimits;
  readonly #store: MemoryStore;
  readonly #calls = new OpenCalls((error) => error);

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

  range(request: KvRangeRequest, call: KvCall): Promise<KvRangeAnswer> {
    return this.#perform(call, ({ history }) => {
      checkRange(request);
      const { rows, more, count } = history.range(request);
      return { revision: history.revision, rows, more, count };
    });
  }

  txn(request: KvTxnRequest, call: KvCall): Promise<KvTxnAnswer> {
    return this.#perform(call, (store) => store.txn(request, this.limits));
  }

  async *watch(request: KvWatchRequest, call: KvCall): AsyncGenerator<KvWatchBatch, void, undefined> {
    if (call.signal.aborted) return;
    checkWatch(request);
    using open = this.#calls.begin(call);
    const { history } = this.#store;
    let next = request.startRevision;
    while (!open.signal.aborted) {
      if (next <= 0) {
        next = history.revision + 1;
        yield { revision: next - 1, events: [] };
        continue;
      }
      if (next < history.compactRevision) throw history.compacted();
      const told = history.changesFrom(request, { revision: next, eventsMax: BATCH_EVENTS_MAX });
      next = Math.max(next, told.revision + 1);
      if (told.events.length === 0) await this.#change(open.signal);
      else if (request.prevKv === true) yield told;
      else
        yield { revision: told.revision, events: told.events.map((event) => ({ ...event, previous: null })) };
    }
    if (!call.signal.aborted) throw this.#calls.failureOf(null, call);
  }

  leaseGrant({ ttlSeconds }: { readonly ttlSeconds: number }, call: KvCall): Promise<bigint> {
    return this.#perform(call, (store) => store.grant(ttlSeconds));
  }

  leaseKeepAlive(id: bigint, call: KvCall): Promise<number> {
    return this.#perform(call, (store) => store.renew(id));
  }

  leaseRevoke(id: bigint, call: KvCall): Promise<void> {
    return this.#perform(call, (store) => store.revoke(id));
  }

  authEnabled(call: KvCall): Promise<boolean> {
    return this.#perform(call, () => false);
  }

  signIn(_login: KvLogin, call: KvCall): Promise<string> {
    return this.#perform(call, () => {
      throw new KvError('invalid-argument', 'authentication is not enabled');
    });
  }

  permits(_request: unknown, call: KvCall): Promise<KvPermit> {
    return this.#perform(call, () => ({ user: null, permitted: true }));
  }

  async close(): Promise<void> {
    this.#calls.close();
  }

  /** Forgets the history before `revision`. @throws KvError `compacted`, `future-revision` */
  compact(revision: number): void {
    this.#store.compact(revision);
  }

  /** Ends the leases whose time is over, as every call does first: after a test has moved its clock. */
  expireLeases(): void {
    this.#store.expireLeases();
  }

  #perform<T>(call: KvCall, work: (store: MemoryStore) => T): Promise<T> {
    return this.#calls.read(call, () => {
      this.#store.expireLeases();
      return work(this.#store);
    });
  }

  /** Resolves at the next change, or when the signal is aborted. */
  async #change(signal: AbortSignal): Promise<void> {
    let wake = (): void => undefined;
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const stopListening = this.#store.listen(wake);
    signal.addEventListener('abort', wake);
    await woken;
    stopListening();
    signal.removeEventListener('abort', wake);
  }
}
