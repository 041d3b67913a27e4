import type { MessagePort } from 'node:worker_threads';
import { assert } from '../lib/assert.ts';
import { abortError } from '../lib/errors.ts';
import { ThreadPort } from '../lib/thread-port.ts';
import { serviceMethods } from './codec.ts';
import type { RpcCall, RpcServer, RpcWriter } from './server.ts';
import { RpcError, rpcStatus } from './status.ts';
import { type Fields, type FromMethods, REMOTE_CALLS_MAX, type ToMethods } from './thread-calls.ts';

/** A call that another thread is to answer. */
interface Open {
  readonly call: RpcCall;
  /** Null of a call with one answer. */
  readonly out: RpcWriter | null;
  /** That answer, as soon as it is there. */
  message: Buffer | null;
  /** @param error null: all went well */
  readonly settle: (error: Error | null) => void;
}

export interface RemoteMethodsOptions {
  /** The request headers that go along. */
  readonly metadata: readonly string[];
  /** What calls are told while the other thread is away. */
  readonly absence: string;
}

/**
 * Methods that a `MethodsServer` in another thread serves. Bytes go there and come back as they are. While nothing is
 * attached, and when what is attached goes away, calls fail with `unavailable`.
 */
export class RemoteMethods {
  readonly #options: RemoteMethodsOptions;
  readonly #open = new Map<number, Open>();
  #port: ThreadPort<ToMethods, FromMethods> | null = null;
  #nextId = 1;

  constructor(options: RemoteMethodsOptions) {
    this.#options = options;
  }

  /** Every method of a service; streams of requests do not cross threads. */
  register(server: RpcServer, service: string): void {
    for (const { path, kind } of serviceMethods(service)) {
      assert(kind !== 'bidi', 'no streams of requests cross threads');
      if (kind === 'unary') server.unary(path, (request, call) => this.#unary(request, call));
      else server.serverStream(path, (request, call, out) => this.#stream(request, call, out));
    }
  }

  /** From now on calls go there; those under way at another one fail. */
  attach(port: MessagePort): void {
    this.detach();
    const attached: ThreadPort<ToMethods, FromMethods> = new ThreadPort<ToMethods, FromMethods>(port, {
      message: (message) => this.#take(message),
      close: () => {
        if (this.#port === attached) this.detach();
      },
    });
    this.#port = attached;
  }

  detach(): void {
    const port = this.#port;
    this.#port = null;
    port?.close();
    for (const { settle } of this.#open.values()) settle(this.#absent());
  }

  async #unary(request: Buffer, call: RpcCall): Promise<Buffer> {
    const open = await this.#run(request, call, null);
    if (open.message === null) throw new RpcError(rpcStatus.internal, 'the method gave no answer');
    return open.message;
  }

  async #stream(request: Buffer, call: RpcCall, out: RpcWriter): Promise<void> {
    await this.#run(request, call, out);
  }

  async #run(request: Buffer, call: RpcCall, out: RpcWriter | null): Promise<Open> {
    const port = this.#port;
    if (port === null) throw this.#absent();
    if (this.#open.size >= REMOTE_CALLS_MAX) {
      throw new RpcError(rpcStatus.resourceExhausted, 'too many calls are under way');
    }
    const id = this.#nextId++;
    let onAbort = (): void => undefined;
    try {
      return await new Promise<Open>((resolve, reject) => {
        const settle = (error: Error | null): void => (error === null ? resolve(open) : reject(error));
        const open: Open = { call, out, message: null, settle };
        this.#open.set(id, open);
        onAbort = () => {
          port.send({ type: 'cancel', id });
          settle(abortError(call.signal));
        };
        call.signal.addEventListener('abort', onAbort);
        port.send({ type: 'call', id, path: call.path, request, head: this.#headOf(call) });
      });
    } finally {
      this.#open.delete(id);
      call.signal.removeEventListener('abort', onAbort);
    }
  }

  #headOf(call: RpcCall): Extract<ToMethods, { readonly type: 'call' }>['head'] {
    const metadata: Fields = this.#options.metadata.flatMap((name) => {
      const value = call.metadata(name);
      return value === undefined ? [] : [[name, value] as const];
    });
    const { peer, certificateName, deadlineMs } = call;
    return { peer, certificateName, remainingMs: deadlineMs - performance.now(), metadata };
  }

  #take(message: FromMethods): void {
    const open = this.#open.get(message.id);
    if (open === undefined) return;
    switch (message.type) {
      case 'headers':
        open.call.sendHeaders(message.fields);
        return;
      case 'message':
        if (open.out === null) open.message = message.message;
        else void this.#pass(message, open.out);
        return;
      case 'end': {
        for (const [name, value] of message.trailers) open.call.setTrailer(name, value);
        const { failure } = message;
        open.settle(failure === null ? null : new RpcError(failure.code, failure.message));
        return;
      }
    }
  }

  /** The other thread hears that a message is gone as soon as the client's connection has room for more. */
  async #pass({ id, message }: FromMethods & { readonly type: 'message' }, out: RpcWriter): Promise<void> {
    out.write(message);
    if (!out.writable) await out.drained();
    this.#port?.send({ type: 'taken', id, messages: 1, bytes: message.length });
  }

  #absent(): RpcError {
    return new RpcError(rpcStatus.unavailable, this.#options.absence);
  }
}
