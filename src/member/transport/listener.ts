import { createServer, type Server, type Socket } from 'node:net';
import type { MemberId } from '../../core/raft/messages.ts';
import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Timer } from '../ports.ts';
import { AcceptedConnection } from './accepted-connection.ts';
import type { TransportContext } from './context.ts';
import { formatPeerUrl, type PeerEndpoint, parsePeerUrl } from './peer-url.ts';

const BACKLOG = 128;

/** Where members dial in: one server per URL, and every accepted connection. */
export class Listener {
  readonly #context: TransportContext;
  readonly #onWelcomed: (member: MemberId) => void;
  readonly #servers: Server[] = [];
  readonly #accepted = new Set<AcceptedConnection>();
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
    for (const accepted of this.#accepted) accepted.close('this member stops');
    await Promise.all(ended);
  }

  async #bind(endpoint: PeerEndpoint): Promise<string> {
    const server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    server.maxConnections = this.#context.limits.connectionsMax;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => reject(bindError(endpoint, error)));
      server.listen({ ...endpoint, backlog: BACKLOG }, resolve);
    });
    server.removeAllListeners('error');
    server.on('error', (error) => this.#context.logger.warn({ reason: error.message }, 'accepting failed'));
    this.#servers.push(server);
    const address = server.address();
    assert(address !== null && typeof address === 'object', 'a TCP server has an address');
    return formatPeerUrl({ host: endpoint.host, port: address.port });
  }

  #accept(socket: Socket): void {
    const { logger, limits } = this.#context;
    let pending = 0;
    for (const { sender } of this.#accepted) if (sender === null) pending++;
    if (this.#closed || pending >= limits.pendingHandshakesMax) {
      logger.warn({ remote: socket.remoteAddress, pending }, 'connection not taken: too many handshakes');
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
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

  #armTimer(): Timer {
    const { clock, limits } = this.#context;
    return clock.setTimer(() => {
      // One look at the sockets before judging by time: see setDeadline.
      clock.setImmediate(() => {
        if (this.#closed) return;
        for (const accepted of this.#accepted) accepted.sweep();
        this.#timer = this.#armTimer();
      });
    }, limits.sweepIntervalMs);
  }
}

function bindError(endpoint: PeerEndpoint, cause: NodeJS.ErrnoException): StoreError {
  const url = formatPeerUrl(endpoint);
  const detail =
    cause.code === 'EADDRINUSE'
      ? `peer address ${url} is already in use`
      : `cannot listen on peer address ${url}: ${cause.message}`;
  return new StoreError('bad-options', detail, { cause });
}
