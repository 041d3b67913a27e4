import type { Duplex } from 'node:stream';
import { assert } from '../lib/assert.ts';
import { StoreError } from '../lib/errors.ts';
import { CALL_BYTES, CallBudget, type CallLimits, DEFAULT_CALL_LIMITS, type Holding } from './call-budget.ts';
import type { ClientConnection } from './client-connection.ts';
import { CANCELED, GrpcCall, refuse } from './grpc-call.ts';
import { ServerConnection } from './http2/connection.ts';
import { MESSAGE_HEAD_BYTES } from './http2/message-reader.ts';
import type { RequestHead } from './http2/request-head.ts';
import type { ServerStream, StreamReceiver } from './http2/stream.ts';
import { RequestQueue } from './request-queue.ts';
import type { BidiHandler, RpcServer, ServerStreamHandler, UnaryAnswer, UnaryHandler } from './server.ts';
import { RpcError, rpcStatus } from './status.ts';

export interface GrpcServerOptions {
  /** A larger request is refused with `resource-exhausted`. Default 2 MiB: etcd's 1.5 MiB and 512 KiB of framing. */
  readonly receiveBytesMax?: number;
  /** An idle connection is pinged after this; default two hours, as etcd. */
  readonly keepaliveIntervalMs?: number;
  /** A connection that does not answer a ping in this is closed; default 20 s, as etcd. */
  readonly keepaliveTimeoutMs?: number;
  /** Calls of one connection at a time, which clients are told; default 2,000. */
  readonly concurrentStreamsMax?: number;
  /** A client that takes nothing of an answer in pieces for this long is cut off; default 60 s. */
  readonly answerStallMs?: number;
  /** Over the defaults. */
  readonly callLimits?: Partial<CallLimits>;
  /** What becomes of a handler's rejection. */
  readonly errorStatus: (error: unknown) => RpcError;
  /** Told of rejections that are neither RpcErrors nor StoreErrors: bugs. */
  readonly onBug: (error: unknown) => void;
}

const RECEIVE_BYTES_MAX = 2 * 1024 * 1024;
const KEEPALIVE_INTERVAL_MS = 2 * 60 * 60 * 1000;
const KEEPALIVE_TIMEOUT_MS = 20_000;
const ANSWER_STALL_MS = 60_000;
const CONCURRENT_STREAMS_MAX = 2_000;
/** A client that has said nothing of HTTP/2 by then is disconnected. */
const GREETING_MS = 10_000;
const HEADER_LIST_BYTES_MAX = 64 * 1024;
/** Answers that wait for a client to read them, of one connection; beyond it new calls are refused. */
const CONNECTION_QUEUED_BYTES_MAX = 64 * 1024 * 1024;
/** Connections are looked at this often. */
const LOOK_INTERVAL_MS = 1_000;
/** Deadlines are kept this exactly. */
const DEADLINE_INTERVAL_MS = 20;
/** Multiples of a millisecond, by the unit of a `grpc-timeout`. */
const TIMEOUT_UNITS_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

type Method =
  | { readonly kind: 'unary'; readonly handler: UnaryHandler }
  | { readonly kind: 'serverStream'; readonly handler: ServerStreamHandler }
  | { readonly kind: 'bidi'; readonly handler: BidiHandler };

/**
 * gRPC over HTTP/2, of our own: the server's side of the protocol, without generated code. It listens nowhere
 * itself: connections are handed to it by `accept`.
 */
export class GrpcServer implements RpcServer {
  readonly #options: GrpcServerOptions;
  readonly #methods = new Map<string, Method>();
  readonly #connections = new Set<ServerConnection>();
  /** Calls of streams that are not over, which a stop ends. */
  readonly #streaming = new Set<GrpcCall>();
  readonly #withDeadline = new Set<GrpcCall>();
  readonly #budget: CallBudget;
  /** Of calls whose handlers take messages one by one. */
  readonly #holdings = new WeakMap<GrpcCall, Holding>();
  #lookTimer: NodeJS.Timeout | null = null;
  #deadlineTimer: NodeJS.Timeout | null = null;

  constructor(options: GrpcServerOptions) {
    this.#options = options;
    this.#budget = new CallBudget({ ...DEFAULT_CALL_LIMITS, ...options.callLimits });
  }

  unary(path: string, handler: UnaryHandler): void {
    this.#register(path, { kind: 'unary', handler });
  }

  serverStream(path: string, handler: ServerStreamHandler): void {
    this.#register(path, { kind: 'serverStream', handler });
  }

  bidi(path: string, handler: BidiHandler): void {
    this.#register(path, { kind: 'bidi', handler });
  }

  paths(): readonly string[] {
    return [...this.#methods.keys()];
  }

  /** Serves a connection whose first bytes are HTTP/2's preface. */
  accept(socket: Duplex, client: ClientConnection): void {
    const connection: ServerConnection = new ServerConnection(socket, {
      limits: {
        streamsMax: this.#options.concurrentStreamsMax ?? CONCURRENT_STREAMS_MAX,
        headerListBytesMax: HEADER_LIST_BYTES_MAX,
      },
      open: (stream, head) => this.#open(stream, { head, client }),
      closed: () => {
        this.#connections.delete(connection);
        this.#budget.close(client);
        if (this.#connections.size === 0) this.#stopLooking();
      },
      onBug: this.#options.onBug,
    });
    this.#connections.add(connection);
    this.#lookTimer ??= setInterval(() => this.#look(), LOOK_INTERVAL_MS).unref();
  }

  /** Calls now open, calls refused since the start, and the bytes that requests hold. */
  get callFigures(): { readonly open: number; readonly refused: number; readonly heldBytes: number } {
    const { holdings, refused, heldBytes } = this.#budget;
    return { open: holdings.size, refused, heldBytes };
  }

  /** Makes room for another connection: ends the one that has had no call for longest, if it is `idleMs`. */
  endIdlest(idleMs: number): boolean {
    let idlest: ServerConnection | null = null;
    for (const connection of this.#connections) {
      if (idlest === null || connection.idleSinceMs < idlest.idleSinceMs) idlest = connection;
    }
    if (idlest === null || performance.now() - idlest.idleSinceMs < idleMs) return false;
    idlest.drain();
    return true;
  }

  /** Tells clients to go elsewhere, ends every stream with `stopped`, and lets unary calls finish. */
  drain(): void {
    for (const call of this.#streaming) call.abort(new StoreError('stopped'));
    for (const connection of this.#connections) connection.drain();
  }

  /** Cuts everything at once. */
  destroy(): void {
    for (const connection of this.#connections) connection.destroy();
    if (this.#deadlineTimer !== null) clearInterval(this.#deadlineTimer);
    this.#deadlineTimer = null;
  }

  #register(path: string, method: Method): void {
    assert(!this.#methods.has(path), 'a method is registered once');
    this.#methods.set(path, method);
  }

  #look(): void {
    const times = {
      greetingMs: GREETING_MS,
      idleMs: this.#options.keepaliveIntervalMs ?? KEEPALIVE_INTERVAL_MS,
      answerMs: this.#options.keepaliveTimeoutMs ?? KEEPALIVE_TIMEOUT_MS,
    };
    for (const connection of this.#connections) connection.look(times);
    for (const call of this.#budget.late(performance.now())) {
      (call as GrpcCall).refuse({
        code: rpcStatus.deadlineExceeded,
        message: 'conclave: the request did not arrive in time',
      });
    }
  }

  #stopLooking(): void {
    if (this.#lookTimer !== null) clearInterval(this.#lookTimer);
    this.#lookTimer = null;
  }

  // ---- calls --------------------------------------------------------------------------------------------------

  #open(
    stream: ServerStream,
    request: { readonly head: RequestHead; readonly client: ClientConnection },
  ): StreamReceiver {
    const { head } = request;
    const wrong = wrongRequest(head);
    if (wrong !== null) {
      refuse(stream, [[':status', wrong]]);
      return NOBODY;
    }
    const method = this.#methods.get(head.path);
    const refusal = method === undefined ? unknownMethod(head.path) : this.#refusal(stream, request);
    if (method === undefined || refusal !== null) {
      const call = this.#call(stream, { ...request, endless: false, onMessage: () => {}, onEnd: () => {} });
      call.fail(refusal!);
      return call;
    }
    if (method.kind === 'bidi') return this.#openBidi(stream, { ...request, handler: method.handler });
    return this.#openOneRequest(stream, { ...request, method });
  }

  #refusal(
    stream: ServerStream,
    { head, client }: { readonly head: RequestHead; readonly client: ClientConnection },
  ): RpcError | null {
    if (client.refusal !== null) {
      this.#budget.refused += 1;
      return new RpcError(rpcStatus.resourceExhausted, client.refusal);
    }
    const encoding = head.fields.get('grpc-encoding') ?? 'identity';
    if (encoding !== 'identity' && encoding !== 'gzip') {
      const text = `grpc: Decompressor is not installed for grpc-encoding "${encoding}"`;
      return new RpcError(rpcStatus.unimplemented, text);
    }
    if (stream.connectionQueuedBytes <= CONNECTION_QUEUED_BYTES_MAX) return null;
    return new RpcError(
      rpcStatus.resourceExhausted,
      `etcdserver: the client does not read its answers; ${CONNECTION_QUEUED_BYTES_MAX} bytes wait for it`,
    );
  }

  #openOneRequest(
    stream: ServerStream,
    request: {
      readonly head: RequestHead;
      readonly client: ClientConnection;
      readonly method: Exclude<Method, { readonly kind: 'bidi' }>;
    },
  ): StreamReceiver {
    let message: Buffer | null = null;
    const { method } = request;
    const call = this.#call(stream, {
      ...request,
      endless: false,
      onMessage: (bytes) => {
        if (message === null) message = bytes;
        else throw new RpcError(rpcStatus.internal, 'grpc: a second request on a call that takes one');
      },
      onEnd: () => {
        if (message === null) {
          call.fail({ code: rpcStatus.internal, message: 'grpc: the call has no request' });
        } else if (method.kind === 'unary') this.#runUnary(call, method.handler(message, call));
        else this.#runStream(call, method.handler(message, call, call.writer));
      },
    });
    return call;
  }

  #openBidi(
    stream: ServerStream,
    request: { readonly head: RequestHead; readonly client: ClientConnection; readonly handler: BidiHandler },
  ): StreamReceiver {
    const queue = new RequestQueue({
      onFull: () => call.hold(),
      onDrain: () => call.go(),
      onTaken: (bytes) => this.#holdings.get(call)?.give(bytes + MESSAGE_HEAD_BYTES),
    });
    const call = this.#call(stream, {
      ...request,
      endless: true,
      onMessage: (message) => queue.push(message),
      onEnd: () => queue.end(),
    });
    if (call.isOver) return call;
    call.signal.addEventListener('abort', () => queue.end());
    this.#runStream(call, request.handler(queue, call, call.writer));
    return call;
  }

  #call(
    stream: ServerStream,
    options: {
      readonly head: RequestHead;
      readonly client: ClientConnection;
      /** The request is a stream, which may last. */
      readonly endless: boolean;
      readonly onMessage: (message: Buffer) => void;
      readonly onEnd: () => void;
    },
  ): GrpcCall {
    const { head, client, endless, onMessage, onEnd } = options;
    const deadlineMs = deadlineOf(head.fields.get('grpc-timeout'));
    let holding: Holding | null = null;
    const call: GrpcCall = new GrpcCall({
      head,
      client,
      onMessage,
      onEnd,
      stream,
      deadlineMs,
      receiveBytesMax: this.#options.receiveBytesMax ?? RECEIVE_BYTES_MAX,
      admit: (bytes) => this.#count(holding!.take(bytes)),
      onOver: () => {
        this.#withDeadline.delete(call);
        holding?.release();
      },
    });
    holding = this.#budget.open(client, { call, endless, nowMs: performance.now() });
    if (endless) this.#holdings.set(call, holding);
    if (!this.#count(holding.take(CALL_BYTES + head.bytes))) call.exhaust();
    if (deadlineMs === Number.POSITIVE_INFINITY) return call;
    this.#withDeadline.add(call);
    this.#deadlineTimer ??= setInterval(() => this.#expire(), DEADLINE_INTERVAL_MS).unref();
    return call;
  }

  #count(admitted: boolean): boolean {
    if (!admitted) this.#budget.refused += 1;
    return admitted;
  }

  #expire(): void {
    const nowMs = Date.now();
    for (const call of this.#withDeadline) {
      if (nowMs < call.deadlineMs) continue;
      call.expire(this.#options.errorStatus(new StoreError('deadline-exceeded')));
    }
    if (this.#withDeadline.size > 0 || this.#deadlineTimer === null) return;
    clearInterval(this.#deadlineTimer);
    this.#deadlineTimer = null;
  }

  #runUnary(call: GrpcCall, work: Promise<UnaryAnswer>): void {
    work
      .then(
        async (answer) => {
          if (Buffer.isBuffer(answer)) call.write(answer);
          else await call.writePieces(answer, this.#options.answerStallMs ?? ANSWER_STALL_MS);
          call.succeed();
        },
        (error: unknown) => call.fail(this.#failure(error)),
      )
      .catch(this.#options.onBug);
  }

  #runStream(call: GrpcCall, work: Promise<void>): void {
    this.#streaming.add(call);
    // The client's stop must end a handler that waits for something else, too: whichever comes first decides.
    const stopped = new Promise<never>((_, reject) => {
      call.signal.addEventListener('abort', () => reject(call.signal.reason as StoreError));
    });
    Promise.race([work, stopped])
      .then(
        () => call.succeed(),
        (error: unknown) => call.fail(this.#failure(error)),
      )
      .finally(() => {
        this.#streaming.delete(call);
        call.abort(CANCELED);
      })
      .catch(this.#options.onBug);
    // Whatever the handler still does after the call is over concerns nobody but the finder of bugs.
    work.catch((error: unknown) => this.#noticeBug(error));
  }

  #failure(error: unknown): RpcError {
    this.#noticeBug(error);
    return error instanceof RpcError ? error : this.#options.errorStatus(error);
  }

  #noticeBug(error: unknown): void {
    if (!(error instanceof RpcError) && !(error instanceof StoreError)) this.#options.onBug(error);
  }
}

/** The receiver of what comes after an answer was given without it. */
const NOBODY: StreamReceiver = { data: () => {}, end: () => {}, cancel: () => {}, sent: () => {} };

/** The HTTP status of a request that is not gRPC at all, or null. */
function wrongRequest(head: RequestHead): string | null {
  if (head.method !== 'POST') return '405';
  return /^application\/grpc($|[+;])/.test(head.fields.get('content-type') ?? '') ? null : '415';
}

/** In the words of grpc-go, which clients of etcd know. */
function unknownMethod(path: string): RpcError {
  const [, service, method] = path.split('/');
  return new RpcError(rpcStatus.unimplemented, `unknown method ${method ?? ''} for service ${service ?? ''}`);
}

/** Milliseconds since the epoch; Infinity without a timeout, or with one that is malformed. */
function deadlineOf(timeout: string | undefined): number {
  const match = timeout === undefined ? null : /^(\d{1,8})([HMSmun])$/.exec(timeout);
  if (match === null) return Number.POSITIVE_INFINITY;
  return Date.now() + Math.ceil(Number(match[1]) * TIMEOUT_UNITS_MS[match[2]!]!);
}
