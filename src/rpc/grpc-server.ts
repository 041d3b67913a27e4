import { type EventEmitter, setMaxListeners } from 'node:events';
import type { Duplex } from 'node:stream';
import grpc from '@grpc/grpc-js';
import { assert } from '../lib/assert.ts';
import { StoreError } from '../lib/errors.ts';
import type {
  BidiHandler,
  RpcCall,
  RpcServer,
  RpcWriter,
  ServerStreamHandler,
  UnaryHandler,
} from './server.ts';
import { RpcError } from './status.ts';

export interface GrpcServerOptions {
  /** A larger request is refused with `resource-exhausted`. Default 2 MiB: etcd's 1.5 MiB and 512 KiB of framing. */
  readonly receiveBytesMax?: number;
  /** An idle connection is pinged after this; default two hours, as etcd. */
  readonly keepaliveIntervalMs?: number;
  /** A connection that does not answer a ping in this is closed; default 20 s, as etcd. */
  readonly keepaliveTimeoutMs?: number;
  /** Streams of one connection at a time; default 2^31 - 1, as etcd: practically unlimited. */
  readonly concurrentStreamsMax?: number;
  /** What becomes of a handler's rejection. */
  readonly errorStatus: (error: unknown) => RpcError;
  /** Told of rejections that are neither RpcErrors nor StoreErrors: bugs. */
  readonly onBug: (error: unknown) => void;
}

const RECEIVE_BYTES_MAX = 2 * 1024 * 1024;
const KEEPALIVE_INTERVAL_MS = 2 * 60 * 60 * 1000;
const KEEPALIVE_TIMEOUT_MS = 20_000;
const CONCURRENT_STREAMS_MAX = 2 ** 31 - 1;
/** Beyond either, a stream's writer is not writable; a message is never refused. */
const STREAM_PENDING_BYTES_MAX = 1024 * 1024;
const STREAM_PENDING_MESSAGES_MAX = 32 * 1024;

const identity = (bytes: Buffer): Buffer => bytes;

/**
 * The gRPC server on `@grpc/grpc-js`. It listens nowhere itself: connections are handed to it by `accept`.
 *
 * Clients may ping as often as they like (etcd refuses more than one in 5 s): grpc-js does not police pings.
 */
export class GrpcServer implements RpcServer {
  readonly #server: grpc.Server;
  readonly #injector: ReturnType<grpc.Server['createConnectionInjector']>;
  readonly #options: GrpcServerOptions;
  readonly #paths: string[] = [];
  readonly #streams = new Set<StreamCall>();

  constructor(options: GrpcServerOptions) {
    this.#options = options;
    this.#server = new grpc.Server({
      'grpc.max_receive_message_length': options.receiveBytesMax ?? RECEIVE_BYTES_MAX,
      'grpc.max_send_message_length': -1,
      'grpc.keepalive_time_ms': options.keepaliveIntervalMs ?? KEEPALIVE_INTERVAL_MS,
      'grpc.keepalive_timeout_ms': options.keepaliveTimeoutMs ?? KEEPALIVE_TIMEOUT_MS,
      'grpc.max_concurrent_streams': options.concurrentStreamsMax ?? CONCURRENT_STREAMS_MAX,
      // Its registry of sockets and calls costs time on every call and nobody reads it.
      'grpc.enable_channelz': 0,
    });
    this.#injector = this.#server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  }

  unary(path: string, handler: UnaryHandler): void {
    this.#register(path, 'unary', (surface: grpc.ServerUnaryCall<Buffer, Buffer>, callback: Callback) => {
      const call = new Call(surface);
      handler(surface.request, call).then(
        (answer) => callback(null, answer, call.trailers),
        (error: unknown) => callback(this.#failure(error, call)),
      );
    });
  }

  serverStream(path: string, handler: ServerStreamHandler): void {
    this.#register(path, 'serverStream', (surface: grpc.ServerWritableStream<Buffer, Buffer>) => {
      const call = new StreamCall(surface);
      this.#run(call, surface, handler(surface.request, call, call.writer));
    });
  }

  bidi(path: string, handler: BidiHandler): void {
    this.#register(path, 'bidi', (surface: grpc.ServerDuplexStream<Buffer, Buffer>) => {
      const call = new StreamCall(surface);
      this.#run(call, surface, handler(requestsOf(surface), call, call.writer));
    });
  }

  paths(): readonly string[] {
    return this.#paths;
  }

  /** Serves a connection whose first bytes are HTTP/2's preface. */
  accept(connection: Duplex): void {
    this.#injector.injectConnection(connection);
  }

  /**
   * Tells clients to go elsewhere, ends every stream with `stopped`, lets unary calls finish, and cuts what is
   * still there after `graceMs`.
   */
  drain(graceMs: number): void {
    for (const stream of this.#streams) stream.abort(new StoreError('stopped'));
    this.#injector.drain(graceMs);
  }

  /** Cuts everything at once. */
  destroy(): void {
    this.#server.forceShutdown();
  }

  #register(path: string, kind: string, handler: unknown): void {
    const fresh = this.#server.register(
      path,
      handler as grpc.handleUnaryCall<Buffer, Buffer>,
      identity,
      identity,
      kind,
    );
    assert(fresh, 'a method is registered once');
    this.#paths.push(path);
  }

  #run(call: StreamCall, surface: StreamSurface, work: Promise<void>): void {
    this.#streams.add(call);
    // The client's stop must end a handler that waits for something else, too: whichever comes first decides.
    Promise.race([work, call.stopped])
      .then(
        () => surface.end(call.trailers),
        // grpc-js turns an `error` event into the call's status, after the messages written before it.
        (error: unknown) => surface.emit('error', this.#failure(error, call)),
      )
      .finally(() => {
        this.#streams.delete(call);
        call.abort(new StoreError('canceled'));
      })
      .catch(this.#options.onBug);
    // Whatever the handler still does after the call is over concerns nobody but the finder of bugs.
    work.catch((error: unknown) => this.#noticeBug(error));
  }

  #failure(error: unknown, call: Call): grpc.ServerErrorResponse {
    this.#noticeBug(error);
    const status = error instanceof RpcError ? error : this.#options.errorStatus(error);
    return Object.assign(new Error(status.message), {
      code: status.code,
      details: status.message,
      ...(call.trailers === undefined ? {} : { metadata: call.trailers }),
    });
  }

  #noticeBug(error: unknown): void {
    if (!(error instanceof RpcError) && !(error instanceof StoreError)) this.#options.onBug(error);
  }
}

type Callback = grpc.sendUnaryData<Buffer>;
type Surface = grpc.ServerUnaryCall<Buffer, Buffer> | StreamSurface;
type StreamSurface = grpc.ServerWritableStream<Buffer, Buffer> | grpc.ServerDuplexStream<Buffer, Buffer>;

class Call implements RpcCall {
  /** Made on first use: few calls have any. */
  trailers: grpc.Metadata | undefined;
  readonly #surface: Surface;
  #controller: AbortController | null = null;

  constructor(surface: Surface) {
    this.#surface = surface;
  }

  get path(): string {
    return this.#surface.getPath();
  }

  get peer(): string {
    return this.#surface.getPeer();
  }

  get certificateName(): string | undefined {
    const names = this.#surface.getAuthContext().sslPeerCertificate?.subject?.CN as
      | string
      | readonly string[]
      | undefined;
    return typeof names === 'string' ? names : names?.at(-1);
  }

  get deadlineMs(): number {
    return Number(this.#surface.getDeadline());
  }

  /** Made on first use: most unary calls never need it. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      // A stream's requests, each with listeners of its own, share it.
      setMaxListeners(0, this.#controller.signal);
      if (this.#surface.cancelled) this.#cancel();
      else (this.#surface as EventEmitter).once('cancelled', () => this.#cancel());
    }
    return this.#controller.signal;
  }

  metadata(name: string): string | undefined {
    const value = this.#surface.metadata.get(name)[0];
    return typeof value === 'string' ? value : undefined;
  }

  setTrailer(name: string, value: string): void {
    this.trailers ??= new grpc.Metadata();
    this.trailers.set(name, value);
  }

  abort(reason: StoreError): void {
    void this.signal;
    if (!this.signal.aborted) this.#controller!.abort(reason);
  }

  #cancel(): void {
    this.abort(new StoreError(Date.now() >= this.deadlineMs ? 'deadline-exceeded' : 'canceled'));
  }
}

class StreamCall extends Call {
  readonly writer: StreamWriter;
  /** Rejects when the call is over before its handler is; the reason is the signal's. */
  readonly stopped: Promise<never>;

  constructor(surface: StreamSurface) {
    super(surface);
    this.writer = new StreamWriter(surface, this.signal);
    this.stopped = new Promise((_, reject) => {
      this.signal.addEventListener('abort', () => reject(this.signal.reason as StoreError), { once: true });
    });
    this.stopped.catch(() => undefined);
  }
}

class StreamWriter implements RpcWriter {
  readonly #surface: StreamSurface;
  readonly #signal: AbortSignal;
  #pendingBytes = 0;
  #pendingMessages = 0;
  #listener: (() => void) | null = null;
  #waiting: (() => void)[] = [];

  constructor(surface: StreamSurface, signal: AbortSignal) {
    this.#surface = surface;
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#release(), { once: true });
  }

  get writable(): boolean {
    return (
      this.#pendingBytes <= STREAM_PENDING_BYTES_MAX && this.#pendingMessages <= STREAM_PENDING_MESSAGES_MAX
    );
  }

  write(message: Buffer): void {
    if (this.#signal.aborted) return;
    this.#pendingBytes += message.length;
    this.#pendingMessages += 1;
    this.#surface.write(message, () => this.#written(message.length));
  }

  onDrain(listener: () => void): void {
    this.#listener = listener;
  }

  drained(): Promise<void> {
    if (this.writable || this.#signal.aborted) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The bytes left for the transport: HTTP/2's flow control let them pass. */
  #written(bytes: number): void {
    const blocked = !this.writable;
    this.#pendingBytes -= bytes;
    this.#pendingMessages -= 1;
    if (!blocked || !this.writable || this.#signal.aborted) return;
    this.#release();
    this.#listener?.();
  }

  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

async function* requestsOf(surface: grpc.ServerDuplexStream<Buffer, Buffer>): AsyncGenerator<Buffer> {
  try {
    // A handler that stops reading early still has a status to send: leaving the loop must not end the stream.
    for await (const message of surface.iterator({ destroyOnReturn: false })) yield message as Buffer;
  } catch {
    // The stream was destroyed because the call is over; the call's signal says why.
  }
}
