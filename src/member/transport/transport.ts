import type { MemberId, Message } from '../../core/raft/messages.ts';
import { assert } from '../../lib/assert.ts';
import type { CancelSignal } from '../../lib/cancellation.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Logger } from '../../lib/logger.ts';
import type {
  Clock,
  PeerAddress,
  PeerIdentity,
  Random,
  RoundTrip,
  Transport,
  TransportHandlers,
} from '../ports.ts';
import type { Connection } from './connection.ts';
import type { TransportContext } from './context.ts';
import { defaultLimits, type TransportLimits } from './limits.ts';
import { Listener } from './listener.ts';
import { EntriesEncoder } from './message-codec.ts';
import type { DeflatedBytes } from './outbox.ts';
import { Peer } from './peer.ts';
import { parsePeerUrl } from './peer-url.ts';
import { sendProbe } from './probe.ts';
import { RefusalLog } from './refusal-log.ts';
import { checkSecurity, LOOPBACK_ONLY, type PeerSecurity } from './security.ts';
import { SnapshotSender } from './snapshot-stream.ts';

export interface TcpTransportOptions {
  /** `http://host:port` or `https://host:port`; port 0 takes a free one. */
  readonly listenUrls: readonly string[];
  /** Default: plain text on this machine only. */
  readonly security?: PeerSecurity;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Over `defaultLimits`. */
  readonly limits?: Partial<TransportLimits>;
  /** Told of every frame that was deflated, or was tried in vain; for metrics. Default: nobody is. */
  readonly deflated?: (bytes: DeflatedBytes) => void;
}

interface Started {
  readonly context: TransportContext;
  readonly listener: Listener;
}

/** The network between members over TCP, plain or with TLS: see the `Transport` port for its contract. */
export class TcpTransport implements Transport {
  readonly #options: TcpTransportOptions;
  readonly #limits: TransportLimits;
  readonly #security: PeerSecurity;
  readonly #connections = new Set<Connection>();
  readonly #peers = new Map<MemberId, Peer>();
  #started: Started | null = null;
  #closed = false;
  #closing: Promise<void> | null = null;

  constructor(options: TcpTransportOptions) {
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#security = options.security ?? LOOPBACK_ONLY;
  }

  /** The URLs listened on, with the ports really taken; empty before `start`. */
  get listenUrls(): readonly string[] {
    return this.#started?.listener.urls ?? [];
  }

  /** @throws StoreError `bad-options` naming the URL that is malformed, taken or not an address of this host */
  async start(identity: PeerIdentity, handlers: TransportHandlers): Promise<void> {
    assert(this.#started === null && !this.#closed, 'a transport starts once');
    const { clock, random, logger } = this.#options;
    const context: TransportContext = {
      clock,
      random,
      logger,
      limits: this.#limits,
      identity,
      handlers,
      connections: this.#connections,
      security: this.#security,
      refusals: new RefusalLog({ clock, logger }),
      deflated: this.#options.deflated ?? (() => {}),
    };
    const listener = new Listener(context, (member) => this.#peers.get(member)?.wake());
    this.#started = { context, listener };
    await listener.listen(this.#options.listenUrls);
    if (this.#closed) {
      await listener.close();
      throw new StoreError('stopped');
    }
    logger.info({ urls: listener.urls, memberId: identity.memberId }, 'listening for peers');
  }

  setPeers(peers: readonly PeerAddress[]): void {
    const { context, listener } = this.#use();
    const reachable = peers.filter((peer) => peer.id !== context.identity.memberId);
    const listed = new Set(reachable.map((peer) => peer.id));
    for (const peer of this.#peers.values()) {
      if (listed.has(peer.id)) continue;
      this.#peers.delete(peer.id);
      peer.close('no member any more', 'after-flush');
      listener.drop(peer.id, 'no member any more');
    }
    for (const address of reachable) this.#setPeer(context, address);
  }

  send(messages: readonly Message[]): void {
    const { context } = this.#use();
    const touched = new Set<Peer>();
    for (const message of messages) {
      assert(message.from === context.identity.memberId, 'a message is sent in the name of another member');
      const peer = this.#peers.get(message.to);
      if (peer === undefined) {
        context.logger.debug({ peer: message.to, type: message.type }, 'message to an unlisted peer dropped');
        continue;
      }
      peer.stage(message);
      touched.add(peer);
    }
    const entries = new EntriesEncoder();
    for (const peer of touched) peer.flush(entries);
  }

  async request(to: MemberId, body: Buffer, signal: CancelSignal): Promise<Buffer> {
    return this.#peer(to).requests.request(body, signal);
  }

  async sendSnapshot(to: MemberId, frames: AsyncIterable<Buffer>, signal: CancelSignal): Promise<void> {
    const peer = this.#peer(to);
    const roundTripMs = peer.roundTrip?.smoothedMs;
    const url = peer.snapshotUrl();
    const sender = new SnapshotSender({ context: this.#use().context, to, url, roundTripMs });
    await sender.send(frames, signal);
  }

  async probe(peerUrl: string, body: Buffer, signal: CancelSignal): Promise<Buffer> {
    if (this.#closed) throw new StoreError('stopped');
    const context = {
      clock: this.#options.clock,
      limits: this.#limits,
      connections: this.#connections,
      security: this.#security,
    };
    return sendProbe({ context, url: peerUrl, body, signal });
  }

  roundTrip(id: MemberId): RoundTrip | undefined {
    return this.#peers.get(id)?.roundTrip;
  }

  connected(id: MemberId): boolean {
    return this.#peers.get(id)?.connected ?? false;
  }

  /** Ends every connection at once; what waits for an answer fails. No handler is called afterwards. */
  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async #close(): Promise<void> {
    this.#closed = true;
    for (const peer of this.#peers.values()) peer.close('this member stops', 'abrupt');
    this.#peers.clear();
    const ended = [...this.#connections].map(async (connection) => {
      connection.close('this member stops');
      await connection.ended;
    });
    await this.#started?.listener.close();
    await Promise.all(ended);
  }

  #setPeer(context: TransportContext, address: PeerAddress): void {
    const peerUrls = address.peerUrls.filter((url) => usable(url, this.#security));
    const known = this.#peers.get(address.id);
    if (peerUrls.length === 0) {
      context.logger.error({ peer: address.id, peerUrls: address.peerUrls }, 'peer has no usable address');
    } else if (known !== undefined) known.setUrls(peerUrls);
    else this.#peers.set(address.id, new Peer({ context, address: { id: address.id, peerUrls } }));
  }

  #use(): Started {
    assert(this.#started !== null, 'a transport is used before it has started');
    return this.#started;
  }

  /** @throws StoreError `no-leader` for an unlisted peer: surely nothing was sent; `stopped` */
  #peer(id: MemberId): Peer {
    if (this.#closed) throw new StoreError('stopped');
    const peer = this.#peers.get(id);
    if (peer === undefined) throw new StoreError('no-leader', 'the peer is not known');
    return peer;
  }
}

function usable(url: string, security: PeerSecurity): boolean {
  try {
    checkSecurity(parsePeerUrl(url), security);
    return true;
  } catch {
    return false;
  }
}
