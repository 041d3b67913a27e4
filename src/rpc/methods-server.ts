import type { MessagePort } from 'node:worker_threads';
import { AssertionError, assert } from '../lib/assert.ts';
import { Cancellation } from '../lib/cancellation.ts';
import { StoreError } from '../lib/errors.ts';
import { ThreadPort } from '../lib/thread-port.ts';
import type {
  BidiHandler,
  RpcCall,
  RpcServer,
  RpcWriter,
  ServerStreamHandler,
  UnaryHandler,
} from './server.ts';
import { RpcError, rpcStatus } from './status.ts';
import {
  AHEAD_BYTES_MAX,
  AHEAD_MESSAGES_MAX,
  type Fields,
  type FromMethods,
  type ToMethods,
} from './thread-calls.ts';

export interface MethodsServerOptions {
  /** What becomes of a handler's rejection. */
  readonly errorStatus: (error: unknown) => RpcError;
  /** Told of rejections that are neither RpcErrors nor StoreErrors: bugs. */
  readonly onBug: (error: unknown) => void;
}

type Port = ThreadPort<FromMethods, ToMethods>;
type CallMessage = Extract<ToMethods, { readonly type: 'call' }>;
/** Answers one call. */
type Runner = (request: Buffer, call: ThreadCall) => Promise<void>;

/** Serves methods to a `RemoteMethods` at the other end of a port. When that end is closed, every call is over. */
export class MethodsServer implements RpcServer {
  readonly #options: MethodsServerOptions;
  readonly #methods = new Map<string, Runner>();
  readonly #calls = new Map<number, ThreadCall>();
  readonly #port: Port;

  constructor(port: MessagePort, options: MethodsServerOptions) {
    this.#options = options;
    this.#port = new ThreadPort<FromMethods, ToMethods>(port, {
      message: (message) => this.#take(message),
      close: () => this.#abortAll(new StoreError('canceled')),
    });
  }

  unary(path: string, handler: UnaryHandler): void {
    this.#register(path, async (request, call) => {
      const answer = await handler(request, call);
      call.write(Buffer.isBuffer(answer) ? answer : Buffer.concat(answer));
    });
  }

  serverStream(path: string, handler: ServerStreamHandler): void {
    this.#register(path, (request, call) => handler(request, call, call));
  }

  /** Not across threads. */
  bidi(_path: string, _handler: BidiHandler): never {
    throw new AssertionError('no streams of requests cross threads');
  }

  paths(): readonly string[] {
    return [...this.#methods.keys()];
  }

  /** Ends every call; what they were answered before still goes. */
  close(): void {
    this.#abortAll(new StoreError('stopped'));
    this.#port.close();
  }

  #register(path: string, run: Runner): void {
    assert(!this.#methods.has(path), 'a method is registered once');
    this.#methods.set(path, run);
  }

  #take(message: ToMethods): void {
    switch (message.type) {
      case 'call':
        void this.#serve(message);
        return;
      case 'taken':
        this.#calls.get(message.id)?.taken(message);
        return;
      case 'cancel':
        this.#calls.get(message.id)?.abort(new StoreError('canceled'));
        return;
    }
  }

  async #serve(message: CallMessage): Promise<void> {
    const call = new ThreadCall(message, this.#port);
    const run = this.#methods.get(message.path);
    this.#calls.set(message.id, call);
    try {
      if (run === undefined) throw new RpcError(rpcStatus.unimplemented, `unknown method ${message.path}`);
      await run(message.request, call);
      call.end(null);
    } catch (error) {
      call.end(this.#statusOf(error));
    } finally {
      this.#calls.delete(message.id);
    }
  }

  #statusOf(error: unknown): RpcError {
    if (error instanceof RpcError) return error;
    if (!(error instanceof StoreError)) this.#options.onBug(error);
    return this.#options.errorStatus(error);
  }

  #abortAll(reason: StoreError): void {
    for (const call of this.#calls.values()) call.abort(reason);
  }
}

/** A call whose client is at the other thread. */
class ThreadCall implements RpcCall, RpcWriter {
  readonly path: string;
  readonly peer: string;
  readonly certificateName: string | undefined;
  readonly deadlineMs: number;
  readonly signal = new Cancellation();
  readonly #id: number;
  readonly #port: Port;
  readonly #metadata: ReadonlyMap<string, string>;
  readonly #trailers: (readonly [string, string])[] = [];
  #aheadMessages = 0;
  #aheadBytes = 0;
  #onDrain: () => void = () => undefined;
  #waiting: (() => void)[] = [];
  #onOver: (() => void)[] = [];
  #isOver = false;

  constructor({ id, path, head }: CallMessage, port: Port) {
    this.#id = id;
    this.#port = port;
    this.path = path;
    this.peer = head.peer;
    this.certificateName = head.certificateName;
    this.deadlineMs = performance.now() + head.remainingMs;
    this.#metadata = new Map(head.metadata);
  }

  metadata(name: string): string | undefined {
    return this.#metadata.get(name);
  }

  onOver(listener: () => void): void {
    if (this.#isOver) listener();
    else this.#onOver.push(listener);
  }

  sendHeaders(fields: Fields): void {
    this.#port.send({ type: 'headers', id: this.#id, fields });
  }

  setTrailer(name: string, value: string): void {
    this.#trailers.push([name, value]);
  }

  get writable(): boolean {
    return this.#aheadBytes <= AHEAD_BYTES_MAX && this.#aheadMessages <= AHEAD_MESSAGES_MAX;
  }

  write(message: Buffer): void {
    if (this.#isOver || this.signal.aborted) return;
    this.#aheadMessages += 1;
    this.#aheadBytes += message.length;
    this.#port.send({ type: 'message', id: this.#id, message });
  }

  onDrain(listener: () => void): void {
    this.#onDrain = listener;
  }

  drained(): Promise<void> {
    if (this.writable || this.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  taken({ messages, bytes }: { readonly messages: number; readonly bytes: number }): void {
    const wasWritable = this.writable;
    this.#aheadMessages -= messages;
    this.#aheadBytes -= bytes;
    if (wasWritable || !this.writable) return;
    this.#release();
    this.#onDrain();
  }

  abort(reason: StoreError): void {
    this.signal.abort(reason);
    this.#release();
  }

  end(error: RpcError | null): void {
    const failure = error === null ? null : { code: error.code, message: error.message };
    this.#port.send({ type: 'end', id: this.#id, failure, trailers: this.#trailers });
    this.#isOver = true;
    for (const listener of this.#onOver) listener();
  }

  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
