import { once } from 'node:events';
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { StoreError } from '../../lib/errors.ts';
import type { TlsEndpoint } from '../../tls/endpoint.ts';
import { HTTP_LIMITS_DEFAULT, type HttpLimits } from './http-limits.ts';
import { UnreadAnswers } from './unread-answers.ts';

/** How long `close()` waits for clients to take the answers under way. */
const CLOSE_GRACE_MS = 2000;

/** What serves requests. */
export interface HttpHandler {
  readonly request: RequestListener;
  /** A connection that is to be something else from now on; default: it is refused. */
  readonly upgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
}

/** The HTTP servers of `--listen-http-urls`, opened and closed together. */
export class HttpListener {
  readonly #servers: readonly Server[];

  private constructor(servers: readonly Server[]) {
    this.#servers = servers;
  }

  /**
   * Listens on all addresses or on none.
   *
   * @param urls `http://host:port` or `https://host:port`; port 0 takes a free one
   * @param tls needed for https
   * @param changed in the place of the limits there are by default
   * @throws StoreError `bad-options` naming the address that is taken or not ours
   */
  static async open(
    urls: readonly string[],
    handler: RequestListener | HttpHandler,
    tls: TlsEndpoint | null = null,
    changed: Partial<HttpLimits> = {},
  ): Promise<HttpListener> {
    const limits = { ...HTTP_LIMITS_DEFAULT, ...changed };
    const unread = new UnreadAnswers(limits);
    const whole = typeof handler === 'function' ? { request: handler } : handler;
    const servers: Server[] = [];
    try {
      for (const url of urls) {
        const server = createFor(url, whole, { tls, options: serverOptions(limits) });
        server.maxConnections = limits.connectionsMax;
        server.prependListener('request', (_, response: ServerResponse) => unread.watch(response));
        servers.push(await listen(server, url));
      }
    } catch (error) {
      for (const server of servers) server.close();
      throw error;
    }
    return new HttpListener(servers);
  }

  /** Where it listens really, in the order of the URLs. */
  get addresses(): readonly AddressInfo[] {
    return this.#servers.map((server) => server.address() as AddressInfo);
  }

  /** Finishes the answers under way, for a bounded time, and ends all connections. */
  async close(): Promise<void> {
    await Promise.all(this.#servers.map(async (server) => closeGracefully(server)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function serverOptions({ headersMs, requestMs, checkMs, idleMs }: HttpLimits): ServerOptions {
  return {
    headersTimeout: headersMs,
    requestTimeout: requestMs,
    connectionsCheckingInterval: checkMs,
    keepAliveTimeout: idleMs,
  };
}

function createFor(
  url: string,
  handler: HttpHandler,
  { tls, options }: { readonly tls: TlsEndpoint | null; readonly options: ServerOptions },
): Server {
  if (!url.startsWith('https:')) {
    const server = createServer(options, handler.request);
    if (handler.upgrade !== undefined) server.on('upgrade', handler.upgrade);
    return server;
  }
  if (tls === null) {
    throw new StoreError('bad-options', `--listen-http-urls: ${url} needs a certificate and a key`);
  }
  const server = createTlsServer({ ...options, ...tls.serverOptions(['http/1.1']) });
  tls.attach(server);
  // A handshake that took too long is not closed by Node.
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  server.on('request', (request, response) => {
    void tls.refusalOf(request.socket as TLSSocket).then((refusal) => {
      if (refusal === null) handler.request(request, response);
      else request.socket.destroy();
    });
  });
  const { upgrade } = handler;
  if (upgrade === undefined) return server;
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    void tls.refusalOf(request.socket as TLSSocket).then((refusal) => {
      if (refusal === null) upgrade(request, socket, head);
      else socket.destroy();
    });
  });
  return server;
}

async function listen(server: Server, url: string): Promise<Server> {
  const { hostname, port, protocol } = new URL(url);
  const portNumber = port !== '' ? Number(port) : protocol === 'https:' ? 443 : 80;
  server.on('request', (_, response) => {
    // While closing, a connection kept alive would hold the server open.
    response.on('close', () => {
      if (!server.listening) server.closeIdleConnections();
    });
  });
  // A URL writes an IPv6 address in brackets; listen() wants it bare.
  server.listen({ host: hostname.replace(/^\[|\]$/g, ''), port: portNumber });
  try {
    await once(server, 'listening');
  } catch (cause) {
    throw new StoreError('bad-options', `--listen-http-urls: ${url}: ${listenFailure(cause)}`, { cause });
  }
  return server;
}

async function closeGracefully(server: Server): Promise<void> {
  const closed = once(server, 'close');
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
  server.close();
  await closed;
  clearTimeout(timer);
}

function listenFailure(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  if (code === 'EADDRINUSE') return 'the address is in use by another process';
  if (code === 'EADDRNOTAVAIL') return 'the address is not one of this machine';
  if (code === 'EACCES') return 'this port needs more rights';
  return cause instanceof Error ? cause.message : String(cause);
}
