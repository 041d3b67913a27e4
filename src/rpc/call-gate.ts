import {
  constants,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { assert } from '../lib/assert.ts';
import { rpcStatus } from './status.ts';

/** What all clients together may hold of this member's memory. What happens at a bound stands beside it. */
export interface CallLimits {
  /**
   * Requests received, or being received, on all connections: further calls are refused, unless another connection
   * holds much more; it then loses calls whose requests are not whole. Bytes.
   */
  readonly requestBytesMax: number;
  /** The same for one connection. */
  readonly connectionRequestBytesMax: number;
  /** A request that is not whole by then ends. Streams of requests are not bounded. */
  readonly requestTimeoutMs: number;
  /** How often that is looked after. */
  readonly sweepIntervalMs: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_CALL_LIMITS: CallLimits = {
  requestBytesMax: 256 * MIB,
  connectionRequestBytesMax: 128 * MIB,
  requestTimeoutMs: 60_000,
  sweepIntervalMs: 5_000,
};

/** Names and values of one request's headers. Checked here too: a client may ignore what it was told. */
export const HEADER_BYTES_MAX = 64 * 1024;
/** What an open call costs besides its headers, which are held twice, and its body. Measured: about 10 KiB. */
const CALL_BYTES = 12 * 1024;
const HEADER_COPIES = 2;
/** Carries a call's number from the gate to its handler; a client's own header of that name is replaced. */
export const CALL_HEADER = 'conclave-call';
/** etcd's words for it. */
const TOO_MANY_REQUESTS = 'etcdserver: too many requests';
/** Before every message stand a flag and its length. */
const GRPC_PREFIX_BYTES = 5;

/** What is known of a client's connection. */
export interface ClientConnection {
  /** `address:port` of the client. */
  readonly peer: string;
  /** The common name of the client's certificate, when it was verified. */
  readonly certificateName: string | undefined;
  /** Why every call on it is refused; null = they are served. */
  readonly refusal: string | null;
}

/** The client of a call that was over before its handler began. */
const NOBODY: ClientConnection = { peer: 'unknown', certificateName: undefined, refusal: null };

/** A connection and what its calls hold. */
class Session {
  readonly connection: ClientConnection;
  /** Oldest first. */
  readonly calls = new Set<OpenCall>();
  heldBytes = 0;
  /** When the last call ended, or the connection was made. */
  idleSinceMs: number;
  readonly handle: ServerHttp2Session;

  constructor(connection: ClientConnection, handle: ServerHttp2Session, nowMs: number) {
    this.connection = connection;
    this.handle = handle;
    this.idleSinceMs = nowMs;
  }
}

/** One open call. */
class OpenCall {
  readonly session: Session;
  readonly stream: ServerHttp2Stream;
  readonly sinceMs: number;
  readonly endless: boolean;
  heldBytes = 0;
  whole = false;

  constructor(options: {
    readonly session: Session;
    readonly stream: ServerHttp2Stream;
    readonly sinceMs: number;
    readonly endless: boolean;
  }) {
    this.session = options.session;
    this.stream = options.stream;
    this.sinceMs = options.sinceMs;
    this.endless = options.endless;
  }
}

type StreamListener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number) => void;

/**
 * Stands before an HTTP/2 server's own handling of calls: counts what they hold, refuses with RESOURCE_EXHAUSTED
 * what is beyond the bounds, and tells a handler whose connection its call came on.
 */
export class CallGate {
  readonly #limits: CallLimits;
  readonly #isEndless: (path: string) => boolean;
  readonly #sessions = new Map<ServerHttp2Session, Session>();
  readonly #byConnection = new WeakMap<ClientConnection, Session>();
  readonly #calls = new Map<number, OpenCall>();
  readonly #timer: NodeJS.Timeout;
  #incoming: ClientConnection | null = null;
  readonly #serve: StreamListener;
  #heldBytes = 0;
  #lastCall = 0;
  #refused = 0;

  /**
   * @param options.server has its listener for streams already; the gate takes its place
   * @param options.isEndless whether a method takes a stream of requests
   */
  constructor(options: {
    readonly server: Http2Server;
    readonly limits: CallLimits;
    readonly isEndless: (path: string) => boolean;
  }) {
    const { server } = options;
    this.#limits = options.limits;
    this.#isEndless = options.isEndless;
    const listeners = server.listeners('stream') as StreamListener[];
    assert(listeners.length === 1, 'the server has one listener for streams');
    this.#serve = listeners[0]!.bind(server);
    server.removeAllListeners('stream');
    server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number) => {
      this.#open(stream, headers, flags);
    });
    server.on('session', (session: ServerHttp2Session) => this.#admit(session));
    this.#timer = setInterval(() => this.#sweep(), this.#limits.sweepIntervalMs);
    this.#timer.unref();
  }

  /** Calls that are open, and those that were refused since the start. */
  get figures(): { readonly open: number; readonly refused: number; readonly heldBytes: number } {
    return { open: this.#calls.size, refused: this.#refused, heldBytes: this.#heldBytes };
  }

  /** @param inject makes the server take a connection, at once; it is this one */
  accept(connection: ClientConnection, inject: () => void): void {
    this.#incoming = connection;
    inject();
    assert(this.#incoming === null, 'the server began a session at once');
  }

  /** The connection of a call that just began, by its header's value. */
  connectionOf(callHeader: string | undefined): ClientConnection {
    return this.#calls.get(Number(callHeader))?.session.connection ?? NOBODY;
  }

  /** Calls open on a connection. */
  callsOf(connection: ClientConnection): number {
    return this.#byConnection.get(connection)?.calls.size ?? 0;
  }

  /** A handler took a message of a stream of requests: what it held is free. */
  taken(callHeader: string | undefined, bytes: number): void {
    const call = this.#calls.get(Number(callHeader));
    if (call === undefined) return;
    this.#hold(call, -Math.max(Math.min(bytes + GRPC_PREFIX_BYTES, call.heldBytes - CALL_BYTES), 0));
  }

  /** Ends the connection that has had no call for longest, at least `idleMs`. @returns false when there is none */
  endIdlest(idleMs: number): boolean {
    let idlest: Session | null = null;
    for (const session of this.#sessions.values()) {
      if (session.calls.size > 0 || session.handle.closed) continue;
      if (idlest === null || session.idleSinceMs < idlest.idleSinceMs) idlest = session;
    }
    if (idlest === null || performance.now() - idlest.idleSinceMs < idleMs) return false;
    idlest.handle.close();
    return true;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #admit(handle: ServerHttp2Session): void {
    assert(this.#incoming !== null, 'every session comes through the gate');
    const session = new Session(this.#incoming, handle, performance.now());
    this.#sessions.set(handle, session);
    this.#byConnection.set(this.#incoming, session);
    this.#incoming = null;
    handle.once('close', () => this.#sessions.delete(handle));
  }

  #open(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number): void {
    const session =
      stream.session === undefined ? undefined : this.#sessions.get(stream.session as ServerHttp2Session);
    if (session === undefined) {
      stream.on('error', ignore);
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
      return;
    }
    const call = new OpenCall({
      session,
      stream,
      sinceMs: performance.now(),
      endless: this.#isEndless(headers[':path'] ?? ''),
    });
    if (session.connection.refusal !== null) {
      this.#refuse(call, session.connection.refusal);
      return;
    }
    const bytes = headerBytes(headers);
    if (bytes > HEADER_BYTES_MAX) {
      this.#refuse(call, 'conclave: the headers are too large');
      return;
    }
    const cost = CALL_BYTES + HEADER_COPIES * bytes;
    if (!this.#fits(session, cost)) {
      this.#refuse(call, TOO_MANY_REQUESTS);
      return;
    }
    this.#lastCall += 1;
    const id = this.#lastCall;
    this.#calls.set(id, call);
    session.calls.add(call);
    this.#hold(call, cost);
    stream.once('close', () => this.#ended(id, call));
    this.#countBody(call);
    headers[CALL_HEADER] = String(id);
    this.#serve(stream, headers, flags);
  }

  /** Sees what the connection brings for the call before it is kept, but for what came along with its headers. */
  #countBody(call: OpenCall): void {
    const { stream } = call;
    this.#hold(call, stream.readableLength);
    const push = stream.push.bind(stream);
    stream.push = (chunk: Buffer | null, encoding?: BufferEncoding): boolean => {
      if (chunk !== null) {
        this.#hold(call, chunk.length);
        if (!this.#fits(call.session, 0)) {
          this.#refuse(call, TOO_MANY_REQUESTS);
          return false;
        }
      }
      return push(chunk, encoding);
    };
  }

  #fits(session: Session, bytes: number): boolean {
    if (session.heldBytes + bytes > this.#limits.connectionRequestBytesMax) return false;
    if (this.#heldBytes + bytes <= this.#limits.requestBytesMax) return true;
    return this.#makeRoom(session, bytes);
  }

  /** The connection that holds most, and at least twice as much, gives up calls whose requests are not whole. */
  #makeRoom(session: Session, bytes: number): boolean {
    let largest = session;
    for (const other of this.#sessions.values()) if (other.heldBytes > largest.heldBytes) largest = other;
    if (largest.heldBytes < 2 * (session.heldBytes + bytes)) return false;
    for (const call of largest.calls) {
      if (this.#heldBytes + bytes <= this.#limits.requestBytesMax) return true;
      if (call.heldBytes === 0 || isWhole(call)) continue;
      this.#refuse(call, TOO_MANY_REQUESTS);
      this.#hold(call, -call.heldBytes);
    }
    return this.#heldBytes + bytes <= this.#limits.requestBytesMax;
  }

  #hold(call: OpenCall, bytes: number): void {
    call.heldBytes += bytes;
    call.session.heldBytes += bytes;
    this.#heldBytes += bytes;
  }

  #ended(id: number, call: OpenCall): void {
    this.#calls.delete(id);
    this.#hold(call, -call.heldBytes);
    call.session.calls.delete(call);
    call.session.idleSinceMs = performance.now();
  }

  #refuse({ stream }: OpenCall, message: string): void {
    this.#refused += 1;
    endStream(stream, { code: rpcStatus.resourceExhausted, message });
  }

  #sweep(): void {
    const beforeMs = performance.now() - this.#limits.requestTimeoutMs;
    // In order of their opening: what follows a young one is younger.
    for (const call of this.#calls.values()) {
      if (call.sinceMs > beforeMs) return;
      if (call.endless || isWhole(call)) continue;
      const message = 'conclave: the request did not arrive in time';
      endStream(call.stream, { code: rpcStatus.deadlineExceeded, message });
    }
  }
}

/** The client has sent all of its request; asked of the protocol at most once after it is so. */
function isWhole(call: OpenCall): boolean {
  call.whole ||= call.stream.state.state === constants.NGHTTP2_STREAM_STATE_HALF_CLOSED_REMOTE;
  return call.whole;
}

/** Ends a call with a status, whatever has become of it. */
function endStream(
  stream: ServerHttp2Stream,
  status: { readonly code: number; readonly message: string },
): void {
  stream.on('error', ignore);
  if (stream.destroyed || stream.closed) return;
  if (stream.headersSent) {
    // gRPC's clients read this code as RESOURCE_EXHAUSTED.
    stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    return;
  }
  stream.respond(
    {
      ':status': 200,
      'content-type': 'application/grpc',
      'grpc-status': String(status.code),
      'grpc-message': status.message,
    },
    { endStream: true },
  );
  stream.resume();
  stream.close(constants.NGHTTP2_NO_ERROR);
}

function headerBytes(headers: IncomingHttpHeaders): number {
  let bytes = 0;
  for (const name in headers) {
    const value = headers[name];
    bytes += name.length + (typeof value === 'string' ? value.length : String(value).length);
  }
  return bytes;
}

function ignore(): void {}
