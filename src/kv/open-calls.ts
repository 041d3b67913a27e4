import { type KvCall, KvError } from './kv.ts';

/** A call while it lasts. */
export interface OpenCall extends Disposable {
  /** Aborts with the signal of the call, and when the port is closed. */
  readonly signal: AbortSignal;
}

/** The calls under way that share one signal. */
interface Shared {
  readonly controls: Set<AbortController>;
  readonly onAbort: () => void;
}

/** The calls and watches of one port that are under way: each ends with its own signal, and all with `close`. */
export class OpenCalls {
  /** By the signal of their callers, so that one that many calls share has one listener. */
  readonly #open = new Map<AbortSignal, Shared>();
  /** What a failure of the store is to those who call. */
  readonly #failure: (error: unknown, isWrite: boolean) => unknown;
  #closed = false;

  constructor(failure: (error: unknown, isWrite: boolean) => unknown) {
    this.#failure = failure;
  }

  get closed(): boolean {
    return this.#closed;
  }

  read<T>(call: KvCall, work: (signal: AbortSignal) => T | Promise<T>): Promise<T> {
    return this.#run(call, { isWrite: false, work });
  }

  /** A call that may have been done when it is cut off by `close`: it is `ambiguous` then. */
  write<T>(call: KvCall, work: (signal: AbortSignal) => T | Promise<T>): Promise<T> {
    return this.#run(call, { isWrite: true, work });
  }

  /** Something that lasts, until it is disposed of. @throws KvError `canceled`, `closed` */
  begin({ signal }: KvCall): OpenCall {
    if (this.#closed) throw closed();
    if (signal.aborted) throw canceled(signal);
    const shared = this.#open.get(signal) ?? this.#share(signal);
    const control = new AbortController();
    shared.controls.add(control);
    return {
      signal: control.signal,
      [Symbol.dispose]: () => {
        shared.controls.delete(control);
        if (shared.controls.size > 0 || this.#open.get(signal) !== shared) return;
        this.#open.delete(signal);
        signal.removeEventListener('abort', shared.onAbort);
      },
    };
  }

  /** What a failed call or watch is to its caller: what ended it from outside comes first. */
  failureOf(error: unknown, { signal }: KvCall, isWrite = false): unknown {
    if (signal.aborted) return canceled(signal);
    if (!this.#closed) return this.#failure(error, isWrite);
    return isWrite ? new KvError('ambiguous', 'the port was closed before the answer came') : closed();
  }

  close(): void {
    this.#closed = true;
    for (const { onAbort } of this.#open.values()) onAbort();
  }

  #share(signal: AbortSignal): Shared {
    const controls = new Set<AbortController>();
    const onAbort = (): void => {
      for (const control of controls) control.abort();
    };
    const shared = { controls, onAbort };
    this.#open.set(signal, shared);
    signal.addEventListener('abort', onAbort, { once: true });
    return shared;
  }

  async #run<T>(
    call: KvCall,
    { isWrite, work }: { readonly isWrite: boolean; readonly work: (signal: AbortSignal) => T | Promise<T> },
  ): Promise<T> {
    using open = this.begin(call);
    try {
      return await work(open.signal);
    } catch (error) {
      throw this.failureOf(error, call, isWrite);
    }
  }
}

function closed(): KvError {
  return new KvError('closed', 'the port to the store was closed');
}

function canceled(signal: AbortSignal): KvError {
  return new KvError('canceled', 'the call was canceled', { cause: signal.reason });
}
