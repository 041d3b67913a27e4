import type { MessagePort } from 'node:worker_threads';
import { ThreadPort } from '../lib/thread-port.ts';
import { AuthFlag } from './auth-flag.ts';
import { checkKeys, checkRange, checkTtl, checkTxn, checkWatch, isReadOnly } from './check.ts';
import {
  type Kv,
  type KvCall,
  KvError,
  type KvLimits,
  type KvLogin,
  type KvPermit,
  type KvPermitRequest,
  type KvRangeAnswer,
  type KvRangeRequest,
  type KvTxnAnswer,
  type KvTxnRequest,
  type KvWatchBatch,
  type KvWatchRequest,
} from './kv.ts';
import { OpenCalls } from './open-calls.ts';
import {
  CALLS_MAX,
  type FromStore,
  type ThreadCall,
  type ThreadFailure,
  type ThreadMethod,
  type ThreadMethods,
  type ToStore,
} from './thread-messages.ts';

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: KvError) => void;
}

/**
 * A store in another thread, where `serveKv` is at the other end of the port. When that end is closed, this is closed
 * with it.
 */
export class ThreadKv implements Kv {
  readonly limits: KvLimits;
  readonly #port: ThreadPort<ToStore, FromStore>;
  readonly #auth: AuthFlag;
  readonly #calls = new OpenCalls((error) => error);
  readonly #waiting = new Map<number, Waiting>();
  readonly #watches = new Map<number, RemoteWatch>();
  #nextId = 1;

  /**
   * @param limits those of the store
   * @param auth set in the store's thread; until then the store is asked whether it wants to know who is asking
   */
  constructor(port: MessagePort, limits: KvLimits, auth: AuthFlag = new AuthFlag()) {
    this.limits = limits;
    this.#auth = auth;
    this.#port = new ThreadPort(port, {
      message: (message) => this.#take(message),
      close: () => this.#calls.close(),
    });
  }

  range(request: KvRangeRequest, call: KvCall): Promise<KvRangeAnswer> {
    return this.#calls.read(call, (signal) => {
      checkRange(request);
      return this.#ask({ method: 'range', request }, call, signal);
    });
  }

  txn(request: KvTxnRequest, call: KvCall): Promise<KvTxnAnswer> {
    const work = (signal: AbortSignal): Promise<KvTxnAnswer> => {
      checkTxn(request, this.limits);
      return this.#ask({ method: 'txn', request }, call, signal);
    };
    return isReadOnly(request) ? this.#calls.read(call, work) : this.#calls.write(call, work);
  }

  async *watch(request: KvWatchRequest, call: KvCall): AsyncGenerator<KvWatchBatch, void, undefined> {
    if (call.signal.aborted) return;
    checkWatch(request);
    using open = this.#calls.begin(call);
    const id = this.#nextId++;
    const watch = new RemoteWatch(open.signal);
    this.#watches.set(id, watch);
    this.#port.send({ type: 'watch', id, principal: call.principal, request });
    try {
      for (let batch = await watch.next(); batch !== null; batch = await watch.next()) {
        this.#port.send({ type: 'taken', id });
        yield batch;
      }
    } catch (error) {
      if (call.signal.aborted) return;
      throw this.#calls.failureOf(error, call);
    } finally {
      this.#watches.delete(id);
      this.#port.send({ type: 'cancel', id });
    }
    if (!call.signal.aborted) throw this.#calls.failureOf(null, call);
  }

  leaseGrant(request: { readonly ttlSeconds: number }, call: KvCall): Promise<bigint> {
    return this.#calls.write(call, (signal) => {
      checkTtl(request.ttlSeconds);
      return this.#ask({ method: 'leaseGrant', request }, call, signal);
    });
  }

  leaseKeepAlive(id: bigint, call: KvCall): Promise<number> {
    return this.#calls.read(call, (signal) =>
      this.#ask({ method: 'leaseKeepAlive', request: id }, call, signal),
    );
  }

  leaseRevoke(id: bigint, call: KvCall): Promise<void> {
    return this.#calls.write(call, (signal) =>
      this.#ask({ method: 'leaseRevoke', request: id }, call, signal),
    );
  }

  authEnabled(call: KvCall): Promise<boolean> {
    const { enabled } = this.#auth;
    return this.#calls.read(
      call,
      (signal) => enabled ?? this.#ask({ method: 'authEnabled', request: null }, call, signal),
    );
  }

  signIn(login: KvLogin, call: KvCall): Promise<string> {
    return this.#calls.read(call, (signal) => this.#ask({ method: 'signIn', request: login }, call, signal));
  }

  permits(request: KvPermitRequest, call: KvCall): Promise<KvPermit> {
    return this.#calls.read(call, (signal) => {
      checkKeys(request);
      if (this.#auth.enabled === false) return { user: null, permitted: true };
      return this.#ask({ method: 'permits', request }, call, signal);
    });
  }

  async close(): Promise<void> {
    this.#calls.close();
    this.#port.close();
  }

  async #ask<Method extends ThreadMethod>(
    asked: ThreadCall & { readonly method: Method },
    { principal }: KvCall,
    signal: AbortSignal,
  ): Promise<ThreadMethods[Method]['answer']> {
    if (this.#waiting.size >= CALLS_MAX)
      throw new KvError('too-many-requests', 'too many calls are under way');
    const id = this.#nextId++;
    const cancel = (): void => {
      this.#waiting.get(id)?.reject(new KvError('canceled', 'the call was canceled'));
      this.#port.send({ type: 'cancel', id });
    };
    try {
      return await new Promise<ThreadMethods[Method]['answer']>((resolve, reject) => {
        this.#waiting.set(id, { resolve: resolve as (answer: unknown) => void, reject });
        signal.addEventListener('abort', cancel, { once: true });
        this.#port.send({ type: 'call', id, principal, ...asked });
      });
    } finally {
      this.#waiting.delete(id);
      signal.removeEventListener('abort', cancel);
    }
  }

  #take(message: FromStore): void {
    switch (message.type) {
      case 'answer':
        return this.#waiting.get(message.id)?.resolve(message.answer);
      case 'batch':
        return this.#watches.get(message.id)?.take(message.batch);
      case 'failure': {
        const error = errorOf(message.failure);
        this.#waiting.get(message.id)?.reject(error);
        return this.#watches.get(message.id)?.fail(error);
      }
    }
  }
}

/** What came of one watch and was not taken yet: as much as the other end may send ahead. */
class RemoteWatch {
  readonly #batches: KvWatchBatch[] = [];
  readonly #signal: AbortSignal;
  #error: KvError | null = null;
  #wake: (() => void) | null = null;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#wake?.(), { once: true });
  }

  take(batch: KvWatchBatch): void {
    this.#batches.push(batch);
    this.#wake?.();
  }

  fail(error: KvError): void {
    this.#error = error;
    this.#wake?.();
  }

  /** @returns null when the signal is aborted */
  async next(): Promise<KvWatchBatch | null> {
    while (!this.#signal.aborted) {
      const batch = this.#batches.shift();
      if (batch !== undefined) return batch;
      if (this.#error !== null) throw this.#error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return null;
  }
}

function errorOf({ code, message, compactRevision }: ThreadFailure): KvError {
  return new KvError(code, message, compactRevision === undefined ? {} : { compactRevision });
}
