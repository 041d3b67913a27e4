import {
  createServer as createHttpServer,
  type Server as HttpServer,
  type RequestListener,
  type ServerOptions,
} from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { StoreError } from '../lib/errors.ts';
import { type Logger, silentLogger } from '../lib/logger.ts';
import { commonNameOf, type TlsEndpoint } from '../tls/endpoint.ts';
import { type ClientConnection, rememberConnection } from './client-connection.ts';
import type { GrpcServer } from './grpc-server.ts';

export interface ClientPortOptions {
  readonly grpc: GrpcServer;
  /** Answers HTTP/1.1 requests on the same port. */
  readonly http: RequestListener;
  /** Needed for `https` addresses. */
  readonly tls?: TlsEndpoint | null;
  /** Whether a verified certificate's common name says who is calling. Default true. */
  readonly certificatesName?: boolean;
  readonly logger?: Logger;
  /** Over the defaults. */
  readonly limits?: Partial<PortLimits>;
}

/** Bounds of connections, whatever they are for. What happens at a bound stands beside it. */
export interface PortLimits {
  /** The one without a call for longest makes room; when there is none, new ones are refused, with the reason. */
  readonly connectionsMax: number;
  /** A connection without a call is safe from that for so long. */
  readonly idleMsMin: number;
  /** Connections that have not shown their protocol, TLS handshake included: the oldest makes room. */
  readonly undecidedMax: number;
  readonly tlsHandshakeTimeoutMs: number;
  /** A client that says nothing for this long is disconnected. */
  readonly firstBytesTimeoutMs: number;
  /** HTTP/1.1: from the first byte to the end of the headers, and to the end of the request. */
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** How often those two, and revoked certificates, are looked after. */
  readonly sweepIntervalMs: number;
}

export const DEFAULT_PORT_LIMITS: PortLimits = {
  connectionsMax: 10_000,
  idleMsMin: 10_000,
  undecidedMax: 1_000,
  tlsHandshakeTimeoutMs: 10_000,
  firstBytesTimeoutMs: 10_000,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  sweepIntervalMs: 2_000,
};

/** Beyond `connectionsMax`, so many are still told that they are too many; more are cut without a word. */
const REFUSED_MAX = 64;
const TOO_MANY_CONNECTIONS = 'conclave: too many connections';
/** Clients that vanish without a word are found out by the system. */
const TCP_KEEPALIVE_MS = 30_000;
/** Refused handshakes are told of this often; they are counted all the time. */
const REFUSAL_LOG_MS = 10_000;
/** HTTP/1.1: request line and headers. */
const HTTP_HEADER_BYTES_MAX = 16 * 1024;

export interface ListenAddress {
  /** With the port that was really taken. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
}

/** Every HTTP/2 client begins with this (RFC 9113, 3.4); no HTTP/1.1 request does. */
const HTTP2_PREFACE = Buffer.from('PRI * HTTP/2');

/**
 * The port that clients connect to: gRPC and HTTP/1.1 side by side, told apart by the first bytes of a connection.
 */
export class ClientPort {
  readonly #options: ClientPortOptions;
  readonly #limits: PortLimits;
  readonly #logger: Logger;
  readonly #http: HttpServer;
  readonly #listeners: Server[] = [];
  readonly #sockets = new Set<Socket>();
  /** Connections that have not shown their protocol yet, oldest first. */
  readonly #undecided = new Map<string, Socket>();
  /** Connections that came when there was no room, and are told so. */
  readonly #turnedAway = new Set<string>();
  readonly #timer: NodeJS.Timeout;
  #refused = 0;
  #handshakesFailed = 0;
  #toldMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(options: ClientPortOptions) {
    this.#options = options;
    this.#logger = options.logger ?? silentLogger;
    this.#limits = { ...DEFAULT_PORT_LIMITS, ...options.limits };
    this.#http = createHttpServer(httpOptions(this.#limits), options.http);
    // It never listens itself; this starts its watch over idle connections and over clients that send slowly.
    this.#http.emit('listening');
    this.#timer = setInterval(() => options.tls?.sweep(), this.#limits.sweepIntervalMs);
    this.#timer.unref();
  }

  /** Connections now open; those refused for being too many, and TLS handshakes failed, since the start. */
  get figures(): { readonly open: number; readonly refused: number; readonly handshakesFailed: number } {
    return { open: this.#sockets.size, refused: this.#refused, handshakesFailed: this.#handshakesFailed };
  }

  /**
   * Listens on every address or on none.
   *
   * @param urls such as `http://127.0.0.1:2379`; port 0 takes a free one
   * @throws StoreError `bad-options` naming the address that is malformed, taken or not of this machine
   */
  async listen(urls: readonly string[]): Promise<readonly ListenAddress[]> {
    const addresses: ListenAddress[] = [];
    try {
      for (const url of urls) addresses.push(await this.#listenOn(parseListenUrl(url)));
    } catch (error) {
      await this.close({ graceMs: 0 });
      throw error;
    }
    return addresses;
  }

  /**
   * Stops accepting, ends streams with `stopped`, lets requests in flight finish for `graceMs`, then cuts what is
   * left. Resolves when no connection is open.
   */
  async close({ graceMs }: { readonly graceMs: number }): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    const closed = this.#listeners.map((server) => new Promise((resolve) => server.close(resolve)));
    this.#options.grpc.drain();
    this.#http.close();
    this.#http.closeIdleConnections();
    for (const socket of this.#undecided.values()) socket.destroy();
    const cut = setTimeout(() => this.#cut(), graceMs);
    await Promise.all(closed);
    clearTimeout(cut);
    this.#options.grpc.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close({ graceMs: 0 });
  }

  #cut(): void {
    this.#options.grpc.destroy();
    this.#http.closeAllConnections();
    for (const socket of this.#sockets) socket.destroy();
  }

  async #listenOn({ scheme, host, port }: ParsedUrl): Promise<ListenAddress> {
    const server = this.#createListener(scheme);
    const shown = `${scheme}://${bracketed(host)}:${port}`;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(listenFailure(shown, error)));
      server.listen({ host, port }, resolve);
    });
    this.#listeners.push(server);
    const taken = (server.address() as AddressInfo).port;
    return { url: `${scheme}://${bracketed(host)}:${taken}`, host, port: taken };
  }

  #createListener(scheme: 'http' | 'https'): Server {
    if (scheme === 'http') {
      return createServer((socket) => {
        if (this.#track(socket)) this.#sniff(socket, undefined);
      });
    }
    const { tls } = this.#options;
    if (tls === undefined || tls === null)
      throw new StoreError('bad-options', 'an https address needs a certificate and a key');
    const server = createTlsServer(
      // Clients of gRPC offer h2 alone. Who offers both is a browser, curl or Prometheus: HTTP/2 serves nothing but gRPC.
      tls.serverOptions(['http/1.1', 'h2'], this.#limits.tlsHandshakeTimeoutMs),
      (socket) => void this.#verify(tls, socket),
    );
    // Before TLS begins: a connection that is cut here costs no handshake.
    server.prependListener('connection', (socket: Socket) => {
      this.#track(socket);
    });
    tls.attach(server);
    // A failed handshake concerns its client only. One that took too long is not closed by Node.
    server.on('tlsClientError', (error, socket) => {
      this.#handshakeFailed(socket, error.message);
      socket.destroy();
    });
    return server;
  }

  async #verify(tls: TlsEndpoint, socket: TLSSocket): Promise<void> {
    socket.on('error', () => socket.destroy());
    const refusal = await tls.refusalOf(socket);
    if (refusal !== null) {
      this.#handshakeFailed(socket, refusal);
      socket.destroy();
      return;
    }
    const certificate = tls.verifiesClients ? socket.getPeerX509Certificate() : undefined;
    this.#sniff(socket, certificate === undefined ? undefined : commonNameOf(certificate));
  }

  #handshakeFailed(socket: TLSSocket, reason: string): void {
    this.#handshakesFailed += 1;
    const nowMs = performance.now();
    const fields = { remote: socket.remoteAddress, reason, handshakesFailed: this.#handshakesFailed };
    if (nowMs - this.#toldMs < REFUSAL_LOG_MS) this.#logger.debug(fields, 'client connection refused');
    else {
      this.#toldMs = nowMs;
      this.#logger.warn(fields, 'client connection refused');
    }
  }

  /** Counts the connection in. @returns false when it was cut */
  #track(socket: Socket): boolean {
    const { connectionsMax, idleMsMin, undecidedMax } = this.#limits;
    const room = this.#sockets.size < connectionsMax || this.#options.grpc.endIdlest(idleMsMin);
    const key = keyOf(socket);
    if (!room) {
      this.#refused += 1;
      this.#turnedAway.add(key);
    }
    socket.on('error', () => socket.destroy());
    if (this.#sockets.size >= connectionsMax + REFUSED_MAX) {
      this.#turnedAway.delete(key);
      socket.destroy();
      return false;
    }
    this.#sockets.add(socket);
    this.#undecided.set(key, socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.#undecided.delete(key);
      this.#turnedAway.delete(key);
    });
    socket.setNoDelay(true);
    socket.setKeepAlive(true, TCP_KEEPALIVE_MS);
    if (this.#undecided.size > undecidedMax) this.#undecided.values().next().value?.destroy();
    return true;
  }

  /** Reads until the first bytes differ from HTTP/2's preface or complete it, then hands all of them on. */
  #sniff(socket: Socket, certificateName: string | undefined): void {
    const key = keyOf(socket);
    let seen: Buffer = Buffer.alloc(0);
    const onTimeout = (): void => {
      socket.destroy();
    };
    const timer = setTimeout(onTimeout, this.#limits.firstBytesTimeoutMs);
    const settle = (): void => {
      clearTimeout(timer);
      socket.off('readable', onReadable);
      socket.off('end', onTimeout);
      socket.off('close', settle);
    };
    const onReadable = (): void => {
      for (
        let chunk = socket.read() as Buffer | null;
        chunk !== null;
        chunk = socket.read() as Buffer | null
      ) {
        seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      }
      const compared = Math.min(seen.length, HTTP2_PREFACE.length);
      const same = seen.subarray(0, compared).equals(HTTP2_PREFACE.subarray(0, compared));
      if (compared === 0 || (same && compared < HTTP2_PREFACE.length)) return;
      settle();
      this.#undecided.delete(key);
      socket.unshift(seen);
      this.#hand(socket, { isHttp2: same, certificateName });
    };
    socket.on('end', onTimeout);
    socket.on('close', settle);
    socket.on('readable', onReadable);
  }

  #hand(
    socket: Socket,
    client: { readonly isHttp2: boolean; readonly certificateName: string | undefined },
  ): void {
    const refusal = this.#turnedAway.has(keyOf(socket)) ? TOO_MANY_CONNECTIONS : null;
    const connection: ClientConnection = {
      peer: `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`,
      certificateName: this.#options.certificatesName === false ? undefined : client.certificateName,
      refusal,
    };
    if (this.#closed) socket.destroy();
    else if (client.isHttp2) this.#options.grpc.accept(socket, connection);
    else if (refusal !== null) socket.end(refusalPage(refusal));
    else {
      rememberConnection(socket, connection);
      this.#http.emit('connection', socket);
    }
  }
}

/** One connection's, encrypted or not. */
function keyOf(socket: Socket): string {
  return `${socket.remoteAddress ?? ''} ${socket.remotePort ?? 0} ${socket.localPort ?? 0}`;
}

function refusalPage(reason: string): string {
  const head = ['HTTP/1.1 503 Service Unavailable', 'connection: close', `content-length: ${reason.length}`];
  return `${head.join('\r\n')}\r\n\r\n${reason}`;
}

function httpOptions(limits: PortLimits): ServerOptions {
  return {
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    connectionsCheckingInterval: limits.sweepIntervalMs,
    maxHeaderSize: HTTP_HEADER_BYTES_MAX,
  };
}

interface ParsedUrl {
  readonly scheme: 'http' | 'https';
  readonly host: string;
  readonly port: number;
}

function parseListenUrl(url: string): ParsedUrl {
  const match = /^(https?):\/\/(?:\[([0-9a-fA-F:.%]+)\]|([^/:[\]]+)):(\d{1,5})\/?$/.exec(url);
  const port = Number(match?.[4]);
  if (match === null || port > 65_535) {
    throw new StoreError(
      'bad-options',
      `${url} is not an address to listen on, such as http://127.0.0.1:2379`,
    );
  }
  return { scheme: match[1] as 'http' | 'https', host: match[2] ?? match[3]!, port };
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

function listenFailure(address: string, error: NodeJS.ErrnoException): StoreError {
  const causes: Record<string, string> = {
    EADDRINUSE: 'the address is already in use',
    EACCES: 'this user may not listen there',
    EADDRNOTAVAIL: 'the address does not belong to this machine',
    ENOTFOUND: 'the host name is unknown',
  };
  const cause = causes[error.code ?? ''] ?? error.message;
  return new StoreError('bad-options', `cannot listen on ${address}: ${cause}`, { cause: error });
}
