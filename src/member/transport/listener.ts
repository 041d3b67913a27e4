import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import type { MemberId } from '../../core/raft/messages.ts';
import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import type { TlsEndpoint } from '../../tls/endpoint.ts';
import type { Timer } from '../ports.ts';
import { AcceptedConnection } from './accepted-connection.ts';
import type { TransportContext } from './context.ts';
import { formatPeerUrl, type PeerEndpoint, parsePeerUrl } from './peer-url.ts';
import { checkSecurity } from './security.ts';

const BACKLOG = 128;

/** Where members dial in: one server per URL, and every accepted connection. */
export class Listener {
  readonly #context: TransportContext;
  readonly #onWelcomed: (member: MemberId) => void;
  readonly #servers: Server[] = [];
  readonly #accepted = new Set<AcceptedConnection>();
  /** In their TLS handshake, oldest first. */
  readonly #shaking = new Map<string, Socket>();
  readonly #snapshotsOf = new Set<MemberId>();
  #urls: readonly string[] = [];
  #timer: Timer | null = null;
  #closed = false;

  /** @param onWelcomed a member's handshake is through */
  constructor(context: TransportContext, onWelcomed: (member: MemberId) => void) {
    this.#context = context;
    this.#onWelcomed = onWelcomed;
  }

  /** The URLs really listened on: port 0 has become a port. */
  get urls(): readonly string[] {
    return this.#urls;
  }

  /** @throws StoreError `bad-options` naming the URL that is malformed, taken or not an address of this host */
  async listen(urls: readonly string[]): Promise<void> {
    assert(this.#servers.length === 0, 'a listener starts once');
    const endpoints = urls.map(parsePeerUrl);
    for (const endpoint of endpoints) checkSecurity(endpoint, this.#context.security);
    const bound: string[] = [];
    try {
      for (const endpoint of endpoints) bound.push(await this.#bind(endpoint));
    } catch (error) {
      await this.close();
      throw error;
    }
    this.#urls = bound;
    this.#timer = this.#armTimer();
  }

  /** Ends what `member` has dialed: it is no member any more. */
  drop(member: MemberId, reason: string): void {
    for (const accepted of this.#accepted) {
      if (accepted.sender?.memberId === member) accepted.close(reason);
    }
  }

  /** Accepts nothing more and ends what was accepted. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    const ended = this.#servers.map(
      (server) =>
        new Promise<void>((resolve) => {
          server.close(() => resolve());
        }),
    );
    for (const socket of this.#shaking.values()) socket.destroy();
    for (const accepted of this.#accepted) accepted.close('this member stops');
    await Promise.all(ended);
  }

  async #bind(endpoint: PeerEndpoint): Promise<string> {
    const server = this.#create(endpoint);
    server.maxConnections = this.#context.limits.connectionsMax;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(bindError(endpoint, error)));
      server.listen({ host: endpoint.host, port: endpoint.port, backlog: BACKLOG }, resolve);
    });
    server.removeAllListeners('error');
    server.on('error', (error) => this.#context.logger.warn({ reason: error.message }, 'accepting failed'));
    this.#servers.push(server);
    const address = server.address();
    assert(address !== null && typeof address === 'object', 'a TCP server has an address');
    return formatPeerUrl({ ...endpoint, port: address.port });
  }

  #create(endpoint: PeerEndpoint): Server {
    const { tls } = this.#context.security;
    if (!endpoint.secure || tls === null) {
      return createServer({ noDelay: true }, (socket) => this.#accept(socket));
    }
    const { handshakeTimeoutMs, pendingHandshakesMax } = this.#context.limits;
    const server = createTlsServer(
      { noDelay: true, ...tls.serverOptions([], handshakeTimeoutMs) },
      (socket) => void this.#verify(tls, socket),
    );
    server.prependListener('connection', (socket: Socket) => {
      const key = keyOf(socket);
      this.#shaking.set(key, socket);
      socket.on('error', () => socket.destroy());
      socket.once('close', () => this.#shaking.delete(key));
      if (this.#shaking.size > pendingHandshakesMax) this.#shaking.values().next().value?.destroy();
    });
    tls.attach(server);
    server.on('tlsClientError', (error, socket) => this.#refuse(socket, error.message));
    return server;
  }

  async #verify(tls: TlsEndpoint, socket: TLSSocket): Promise<void> {
    const fail = (): void => {
      socket.destroy();
    };
    socket.on('error', fail);
    const refusal = await tls.refusalOf(socket);
    this.#shaking.delete(keyOf(socket));
    if (socket.destroyed) return;
    if (refusal !== null) {
      this.#refuse(socket, refusal);
      return;
    }
    socket.off('error', fail);
    this.#accept(socket);
  }

  #refuse(socket: TLSSocket, reason: string): void {
    this.#context.refusals.log(`TLS with ${socket.remoteAddress ?? 'nobody'}: ${reason}`);
    socket.destroy();
  }

  #accept(socket: Socket): void {
    if (this.#closed) {
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
    this.#makeRoom();
    const accepted = new AcceptedConnection({
      context: this.#context,
      socket,
      siblings: () => this.#accepted,
      snapshotsOf: this.#snapshotsOf,
      onWelcomed: this.#onWelcomed,
      onClosed: () => this.#accepted.delete(accepted),
    });
    this.#accepted.add(accepted);
  }

  /** A flood of connections that say nothing must not keep members out: the oldest of them gives way. */
  #makeRoom(): void {
    const { logger, limits } = this.#context;
    const pending = [...this.#accepted].filter(({ sender }) => sender === null);
    if (pending.length < limits.pendingHandshakesMax) return;
    logger.warn({ pending: pending.length }, 'too many connections without a handshake: the oldest ends');
    pending[0]?.close('too many handshakes');
  }

  #armTimer(): Timer {
    const { clock, limits } = this.#context;
    return clock.setTimer(() => {
      // One look at the sockets before judging by time: see setDeadline.
      clock.setImmediate(() => {
        if (this.#closed) return;
        this.#context.security.tls?.sweep();
        for (const accepted of this.#accepted) accepted.sweep();
        this.#timer = this.#armTimer();
      });
    }, limits.sweepIntervalMs);
  }
}

/** One connection's, encrypted or not. */
function keyOf(socket: Socket): string {
  return `${socket.remoteAddress ?? ''} ${socket.remotePort ?? 0} ${socket.localPort ?? 0}`;
}

function bindError(endpoint: PeerEndpoint, cause: NodeJS.ErrnoException): StoreError {
  const url = formatPeerUrl(endpoint);
  const detail =
    cause.code === 'EADDRINUSE'
      ? `peer address ${url} is already in use`
      : `cannot listen on peer address ${url}: ${cause.message}`;
  return new StoreError('bad-options', detail, { cause });
}
