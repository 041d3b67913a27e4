import type { Duplex } from 'node:stream';
import { assert } from '../lib/assert.ts';
import { StoreError } from '../lib/errors.ts';
import { UnreadBudget } from '../lib/unread-budget.ts';
import { CallBudget, type CallLimits, DEFAULT_CALL_LIMITS } from './call-budget.ts';
import type { ClientConnection } from './client-connection.ts';
import {
  CANCELED,
  GrpcCall,
  type GrpcCallHost,
  type RequestTaker,
  refuse,
  TOO_MANY_REQUESTS,
} from './grpc-call.ts';
import { ServerConnection } from './http2/connection.ts';
import { HeadCache } from './http2/head-cache.ts';
import { MESSAGE_HEAD_BYTES } from './http2/message-reader.ts';
import type { RequestHead } from './http2/request-head.ts';
import type { ServerStream, StreamReceiver } from './http2/stream.ts';
import { Turns } from './http2/turns.ts';
import { RequestQueue, WAITING_MESSAGE_BYTES } from './request-queue.ts';
import type { BidiHandler, RpcServer, ServerStreamHandler, UnaryAnswer, UnaryHandler } from './server.ts';
import { RpcError, rpcStatus } from './status.ts';
import { timeoutMsOf } from './timeout.ts';

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
  /** Where answers count that clients have not read; default: one of its own. */
  readonly unread?: UnreadBudget;
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

type Method =
  | { readonly kind: 'one-request'; readonly taker: RequestTaker }
  | { readonly kind: 'bidi'; readonly handler: BidiHandler };

interface Request {
  readonly head: RequestHead;
  readonly client: ClientConnection;
}

/**
 * gRPC over HTTP/2, of our own: the server's side of the protocol, without generated code. It listens nowhere
 * itself: connections are handed to it by `accept`.
 */
export class GrpcServer implements RpcServer {
  readonly #options: GrpcServerOptions;
  readonly #methods = new Map<string, Method>();
  readonly #connections = new Set<ServerConnection>();
  readonly #heads = new HeadCache();
  readonly #turns = new Turns();
  readonly #unread: UnreadBudget;
  /** Calls of streams that are not over, which a stop ends. */
  readonly #streaming = new Set<GrpcCall>();
  /** Calls that have a deadline, until the last of their answer has left. */
  readonly #withDeadline = new Set<GrpcCall>();
  readonly #budget: CallBudget;
  readonly #host: GrpcCallHost;
  #lookTimer: NodeJS.Timeout | null = null;
  #deadlineTimer: NodeJS.Timeout | null = null;

  constructor(options: GrpcServerOptions) {
    this.#options = options;
    this.#unread = options.unread ?? new UnreadBudget();
    this.#budget = new CallBudget({ ...DEFAULT_CALL_LIMITS, ...options.callLimits });
    this.#host = {
      budget: this.#budget,
      receiveBytesMax: options.receiveBytesMax ?? RECEIVE_BYTES_MAX,
      onSettled: (call) => {
        if (call.deadlineMs !== Number.POSITIVE_INFINITY) this.#withDeadline.delete(call);
      },
    };
  }

  unary(path: string, handler: UnaryHandler): void {
    const taker = new OneRequest((call, request) => this.#runUnary(handler, request, call));
    this.#register(path, { kind: 'one-request', taker });
  }

  serverStream(path: string, handler: ServerStreamHandler): void {
    const taker = new OneRequest((call, request) =>
      this.#runStream(call, handler(request, call, call.writer)),
    );
    this.#register(path, { kind: 'one-request', taker });
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
      heads: this.#heads,
      turns: this.#turns,
      unread: this.#unread,
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

  /** Calls now open, calls whose deadline is waited for, calls refused since the start, bytes that requests hold. */
  get callFigures(): {
    readonly open: number;
    readonly timed: number;
    readonly refused: number;
    readonly heldBytes: number;
  } {
    const { openCalls, refused, heldBytes } = this.#budget;
    return { open: openCalls, timed: this.#withDeadline.size, refused, heldBytes };
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

  #open(stream: ServerStream, request: Request): StreamReceiver {
    const { head } = request;
    const wrong = wrongRequest(head);
    if (wrong !== null) {
      refuse(stream, [[':status', wrong]]);
      return NOBODY;
    }
    const method = this.#methods.get(head.path);
    const refusal = method === undefined ? unknownMethod(head.path) : this.#refusal(stream, request);
    if (method === undefined || refusal !== null) {
      const call = this.#call(stream, request, { taker: IGNORED, endless: false });
      call.fail(refusal!);
      return call;
    }
    if (method.kind === 'bidi') return this.#openBidi(stream, request, method.handler);
    return this.#call(stream, request, { taker: method.taker, endless: false });
  }

  #refusal(stream: ServerStream, { head, client }: Request): RpcError | null {
    if (client.refusal !== null) {
      this.#budget.refused += 1;
      return new RpcError(rpcStatus.resourceExhausted, client.refusal);
    }
    const timeout = head.fields.get('grpc-timeout');
    if (timeoutMsOf(timeout) === null) {
      return new RpcError(rpcStatus.internal, `malformed grpc-timeout: "${timeout}"`);
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

  #openBidi(stream: ServerStream, request: Request, handler: BidiHandler): StreamReceiver {
    const queue: RequestQueue = new RequestQueue({
      onFull: () => call.hold(),
      onDrain: () => call.go(),
      onTaken: (bytes) => call.holding.give(bytes + MESSAGE_HEAD_BYTES),
    });
    const taker: RequestTaker = {
      onMessage: (_, message) => {
        if (call.holding.take(WAITING_MESSAGE_BYTES)) queue.push(message);
        else throw new RpcError(rpcStatus.resourceExhausted, TOO_MANY_REQUESTS);
      },
      onEnd: () => queue.end(),
    };
    const call = this.#call(stream, request, { taker, endless: true });
    if (call.isOver) return call;
    call.signal.addEventListener('abort', () => queue.end());
    this.#runStream(call, handler(queue, call, call.writer));
    return call;
  }

  #call(
    stream: ServerStream,
    { head, client }: Request,
    { taker, endless }: { readonly taker: RequestTaker; readonly endless: boolean },
  ): GrpcCall {
    const timeoutMs = timeoutMsOf(head.fields.get('grpc-timeout')) ?? Number.POSITIVE_INFINITY;
    const nowMs = performance.now();
    const deadlineMs = nowMs + Math.ceil(timeoutMs);
    const host = this.#host;
    const call = new GrpcCall({ host, taker, stream, head, client, endless, nowMs, deadlineMs });
    if (call.isOver || deadlineMs === Number.POSITIVE_INFINITY) return call;
    this.#withDeadline.add(call);
    this.#deadlineTimer ??= setInterval(() => this.#expire(), DEADLINE_INTERVAL_MS).unref();
    return call;
  }

  #expire(): void {
    const nowMs = performance.now();
    for (const call of this.#withDeadline) {
      if (nowMs < call.deadlineMs) continue;
      call.expire(this.#options.errorStatus(new StoreError('deadline-exceeded')));
    }
    if (this.#withDeadline.size > 0 || this.#deadlineTimer === null) return;
    clearInterval(this.#deadlineTimer);
    this.#deadlineTimer = null;
  }

  #runUnary(handler: UnaryHandler, request: Buffer, call: GrpcCall): void {
    let work: Promise<UnaryAnswer>;
    try {
      work = handler(request, call);
    } catch (error) {
      call.fail(this.#failure(error));
      return;
    }
    work.then(
      (answer) => this.#answer(call, answer),
      (error: unknown) => call.fail(this.#failure(error)),
    );
  }

  #answer(call: GrpcCall, answer: UnaryAnswer): void {
    try {
      if (Buffer.isBuffer(answer)) call.answer(answer);
      else {
        call
          .writePieces(answer, this.#options.answerStallMs ?? ANSWER_STALL_MS)
          .then(() => call.succeed())
          .catch(this.#options.onBug);
      }
    } catch (error) {
      this.#options.onBug(error);
    }
  }

  #runStream(call: GrpcCall, work: Promise<void>): void {
    this.#streaming.add(call);
    // The client's stop must end a handler that waits for something else, too: whichever comes first decides. What the
    // handler still does after the call is over concerns nobody but the finder of bugs.
    call.signal.addEventListener('abort', () => this.#endStream(call, call.signal.reason));
    work
      .then(
        () => this.#endStream(call, null),
        (error: unknown) => {
          this.#noticeBug(error);
          this.#endStream(call, error);
        },
      )
      .catch(this.#options.onBug);
  }

  /** @param error null: it did all that it had to do */
  #endStream(call: GrpcCall, error: unknown): void {
    if (!this.#streaming.delete(call)) return;
    if (error === null) call.succeed();
    // One that is over, as thousands are when their connection ends, needs no status.
    else if (!call.isOver) call.fail(this.#statusOf(error));
    call.abort(CANCELED);
  }

  #failure(error: unknown): RpcError {
    this.#noticeBug(error);
    return this.#statusOf(error);
  }

  #statusOf(error: unknown): RpcError {
    return error instanceof RpcError ? error : this.#options.errorStatus(error);
  }

  #noticeBug(error: unknown): void {
    if (!(error instanceof RpcError) && !(error instanceof StoreError)) this.#options.onBug(error);
  }
}

/** Of methods whose handlers take one request. */
class OneRequest implements RequestTaker {
  readonly #run: (call: GrpcCall, request: Buffer) => void;

  constructor(run: (call: GrpcCall, request: Buffer) => void) {
    this.#run = run;
  }

  onMessage(call: GrpcCall, message: Buffer): void {
    if (call.request === null) call.request = message;
    else throw new RpcError(rpcStatus.internal, 'grpc: a second request on a call that takes one');
  }

  onEnd(call: GrpcCall): void {
    if (call.request !== null) this.#run(call, call.request);
    else call.fail({ code: rpcStatus.internal, message: 'grpc: the call has no request' });
  }
}

/** Of calls that were refused. */
const IGNORED: RequestTaker = { onMessage: () => {}, onEnd: () => {} };

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
