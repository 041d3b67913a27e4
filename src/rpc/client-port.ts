import { createServer as createHttpServer, type Server as HttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { StoreError } from '../lib/errors.ts';
import type { GrpcServer } from './grpc-server.ts';

export interface ClientPortOptions {
  readonly grpc: GrpcServer;
  /** Answers HTTP/1.1 requests on the same port. */
  readonly http: RequestListener;
  /** Needed for `https` addresses. */
  readonly tls?: ClientPortTls;
}
/** PEM texts. With `ca`, clients must present a certificate signed by it. */
export interface ClientPortTls {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}
export interface ListenAddress {
  /** With the port that was really taken. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
}

/** Every HTTP/2 client begins with this (RFC 9113, 3.4); no HTTP/1.1 request does. */
const HTTP2_PREFACE = Buffer.from('PRI * HTTP/2');
/** A client that says nothing for this long is disconnected. */
const FIRST_BYTES_TIMEOUT_MS = 30_000;

/**
 * The port that clients connect to: gRPC and HTTP/1.1 side by side, told apart by the first bytes of a connection.
 */
export class ClientPort {
  readonly #options: ClientPortOptions;
  readonly #http: HttpServer;
  readonly #listeners: Server[] = [];
  readonly #sockets = new Set<Socket>();
  /** Connections that have not shown their protocol yet. */
  readonly #undecided = new Set<Socket>();
  #closed = false;

  constructor(options: ClientPortOptions) {
    this.#options = options;
    this.#http = createHttpServer(options.http);
    // It never listens itself; this starts its watch over idle connections and over clients that send slowly.
    this.#http.emit('listening');
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
    const closed = this.#listeners.map((server) => new Promise((resolve) => server.close(resolve)));
    this.#options.grpc.drain();
    this.#http.close();
    this.#http.closeIdleConnections();
    for (const socket of this.#undecided) socket.destroy();
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
        this.#track(socket);
        this.#sniff(socket);
      });
    }
    const tls = this.#options.tls;
    if (tls === undefined)
      throw new StoreError('bad-options', 'an https address needs a certificate and a key');
    const server = createTlsServer({
      cert: tls.cert,
      key: tls.key,
      ...(tls.ca === undefined ? {} : { ca: tls.ca, requestCert: true, rejectUnauthorized: true }),
      ALPNProtocols: ['h2', 'http/1.1'],
      minVersion: 'TLSv1.2',
    });
    server.on('connection', (socket: Socket) => this.#track(socket));
    server.on('secureConnection', (socket) => this.#sniff(socket));
    // A failed handshake concerns its client only; Node closes the connection.
    server.on('tlsClientError', () => undefined);
    return server;
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
  }

  /** Reads until the first bytes differ from HTTP/2's preface or complete it, then hands all of them on. */
  #sniff(socket: Socket): void {
    socket.setNoDelay(true);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#undecided.delete(socket));
    this.#undecided.add(socket);
    let seen: Buffer = Buffer.alloc(0);
    const onTimeout = (): void => {
      socket.destroy();
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
      socket.off('readable', onReadable);
      socket.off('timeout', onTimeout);
      socket.off('end', onTimeout);
      socket.setTimeout(0);
      this.#undecided.delete(socket);
      socket.unshift(seen);
      this.#hand(socket, same);
    };
    socket.setTimeout(FIRST_BYTES_TIMEOUT_MS, onTimeout);
    socket.on('end', onTimeout);
    socket.on('readable', onReadable);
  }

  #hand(socket: Socket, isHttp2: boolean): void {
    if (this.#closed) socket.destroy();
    else if (isHttp2) this.#options.grpc.accept(socket);
    else this.#http.emit('connection', socket);
  }
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
