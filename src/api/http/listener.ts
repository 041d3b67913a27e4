import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { StoreError } from '../../lib/errors.ts';

/** How long a client may take to send a request's headers. */
const HEADERS_TIMEOUT_MS = 10_000;
/** More connections than this are refused: probes and scrapers need few. */
const CONNECTIONS_MAX = 256;
/** How long `close()` waits for clients to take the answers under way. */
const CLOSE_GRACE_MS = 2000;

/** The HTTP servers of `--listen-http-urls`, opened and closed together. */
export class HttpListener {
  readonly #servers: readonly Server[];

  private constructor(servers: readonly Server[]) {
    this.#servers = servers;
  }

  /**
   * Listens on all addresses or on none.
   *
   * @param urls `http://host:port`; port 0 takes a free one
   * @throws StoreError `bad-options` naming the address that is taken or not ours
   */
  static async open(urls: readonly string[], handler: RequestListener): Promise<HttpListener> {
    const servers: Server[] = [];
    try {
      for (const url of urls) servers.push(await listen(url, handler));
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

async function listen(url: string, handler: RequestListener): Promise<Server> {
  const { hostname, port } = new URL(url);
  const server = createServer({ headersTimeout: HEADERS_TIMEOUT_MS, keepAliveTimeout: 5000 }, handler);
  server.maxConnections = CONNECTIONS_MAX;
  server.on('request', (_, response) => {
    // While closing, a connection kept alive would hold the server open.
    response.on('close', () => {
      if (!server.listening) server.closeIdleConnections();
    });
  });
  // A URL writes an IPv6 address in brackets; listen() wants it bare.
  server.listen({ host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? 80 : Number(port) });
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
