import type { MemberId, Message } from '../../src/core/raft/messages.ts';
import { abortError, StoreError } from '../../src/lib/errors.ts';
import type {
  PeerAddress,
  PeerIdentity,
  RoundTrip,
  Transport,
  TransportHandlers,
} from '../../src/member/ports.ts';
import { addresseeRefusal, refusalOf } from '../../src/member/transport/handshake.ts';
import { decodeMessages, EntriesEncoder, encodeMessages } from '../../src/member/transport/message-codec.ts';
import { SimConnection } from './connection.ts';
import type { SimNetwork } from './network.ts';
import type { SimProcess } from './process.ts';
import { SnapshotChannel } from './snapshot-channel.ts';

/** Pause before a broken or refused connection is dialed again, in ms. */
const REDIAL_MS_MIN = 20;
const REDIAL_MS_MAX = 150;
/** How long a side may take to notice that its connection is dead, in ms. */
const NOTICE_MS_MAX = 1_500;
const FRAME_HEAD_BYTES = 5;

interface Link {
  readonly id: MemberId;
  urls: readonly string[];
  connection: SimConnection | null;
  /** Rises when the link is closed, so that a dial under way is forgotten. */
  closed: boolean;
}

/**
 * The transport of one simulated process: connections with the real handshake's checks, raft messages through the
 * real codec, requests, probes and snapshots, all subject to the network's rules. What the other side does, its own
 * process does, when it gets to it.
 */
export class SimTransport implements Transport {
  readonly process: SimProcess;
  /** The place's name, as links are cut by. */
  readonly place: string;
  readonly #network: SimNetwork;
  readonly #url: string;
  readonly #isUnreachable: boolean;
  readonly #links = new Map<MemberId, Link>();
  readonly #connections = new Set<SimConnection>();
  #identity: PeerIdentity | null = null;
  #handlers: TransportHandlers | null = null;
  #closed = false;

  constructor(options: {
    readonly network: SimNetwork;
    readonly process: SimProcess;
    readonly place: string;
    readonly url: string;
    /** Another machine has its address: nobody finds this one there. */
    readonly isUnreachable: boolean;
  }) {
    this.#isUnreachable = options.isUnreachable;
    this.#network = options.network;
    this.process = options.process;
    this.place = options.place;
    this.#url = options.url;
  }

  get memberId(): MemberId | undefined {
    return this.#identity?.memberId;
  }

  get #isOpen(): boolean {
    return !this.#closed && this.process.alive && this.#handlers !== null;
  }

  knows(id: MemberId): boolean {
    return this.#isOpen && this.#links.has(id);
  }

  async start(identity: PeerIdentity, handlers: TransportHandlers): Promise<void> {
    this.#identity = identity;
    this.#handlers = handlers;
    if (!this.#isUnreachable) this.#network.attach(this, this.#url);
  }

  setPeers(peers: readonly PeerAddress[]): void {
    const listed = new Map(peers.map((peer) => [peer.id, peer.peerUrls]));
    listed.delete(this.#identity!.memberId);
    for (const [id, link] of this.#links) {
      if (listed.has(id)) continue;
      this.#links.delete(id);
      link.closed = true;
      for (const connection of this.#connections)
        if (connection.other(this)?.memberId === id) connection.end();
    }
    for (const [id, urls] of listed) {
      const link = this.#links.get(id);
      if (link !== undefined) link.urls = urls;
      else this.#addLink(id, urls);
    }
  }

  send(messages: readonly Message[]): void {
    if (!this.#isOpen) return;
    const groups = new Map<
      string,
      { readonly to: MemberId; readonly stream: string; readonly list: Message[] }
    >();
    for (const message of messages) {
      const stream = isBulk(message) ? 'append' : 'heartbeat';
      const key = `${stream} ${message.to}`;
      const group = groups.get(key) ?? { to: message.to, stream, list: [] };
      groups.set(key, group);
      group.list.push(message);
    }
    const entries = new EntriesEncoder();
    for (const { to, stream, list } of groups.values()) this.#sendGroup({ to, stream, list, entries });
  }

  request(to: MemberId, body: Buffer, signal: AbortSignal): Promise<Buffer> {
    if (signal.aborted) return Promise.reject(abortError(signal));
    const connection = this.#links.get(to)?.connection ?? null;
    if (connection === null || !connection.open) {
      return Promise.reject(new StoreError('no-leader', 'the peer is not connected'));
    }
    const copy = Buffer.from(body);
    return this.#exchange({ connection, signal, stream: 'request' }, (handlers) =>
      handlers.request(this.#identity!.memberId, copy),
    );
  }

  async sendSnapshot(to: MemberId, frames: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw abortError(signal);
    const connection = this.#links.get(to)?.connection ?? null;
    const peer = connection?.other(this);
    if (connection === null || !connection.open || !peer)
      throw new StoreError('no-leader', 'the peer is not connected');
    const channel = new SnapshotChannel({
      network: this.#network,
      connection,
      from: this,
      to: peer,
      frames,
      signal,
    });
    await channel.send((arriving) => peer.#handlers!.snapshot(this.#identity!.memberId, arriving));
  }

  async probe(peerUrl: string, body: Buffer, signal: AbortSignal): Promise<Buffer> {
    if (signal.aborted) throw abortError(signal);
    const there = new URL(peerUrl).hostname;
    const copy = Buffer.from(body);
    const connection = await this.#dial(peerUrl, there, signal);
    try {
      return await this.#exchange({ connection, signal, stream: 'probe' }, (handlers) =>
        handlers.probe(copy),
      );
    } finally {
      connection.end();
    }
  }

  roundTrip(id: MemberId): RoundTrip | undefined {
    if (!this.connected(id)) return undefined;
    const there = this.#links.get(id)!.connection!.other(this)!.place;
    const { delayMsMin, delayMsMax } = this.#network.rules;
    const farMs = this.#network.distanceMs(this.place, there);
    if (farMs !== undefined) {
      const bothMs = farMs + this.#network.distanceMs(there, this.place)!;
      return { lastMs: bothMs, smoothedMs: bothMs, maxMs: bothMs };
    }
    return { lastMs: 2 * delayMsMin, smoothedMs: delayMsMin + delayMsMax, maxMs: 2 * delayMsMax };
  }

  connected(id: MemberId): boolean {
    return this.#links.get(id)?.connection?.open === true;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#network.detach(this, this.#url);
    for (const connection of this.#connections) connection.end();
  }

  // ---- for the simulation -----------------------------------------------------------------------------------

  /** The process is gone; the other sides notice a reset soon, a lost machine late. */
  die(): void {
    this.#closed = true;
    this.#network.detach(this, this.#url);
    for (const connection of this.#connections) connection.end();
  }

  /** A direction was cut: the connections over it are lost, which either side notices in its own time. */
  wireCut(from: string, to: string): void {
    for (const connection of this.#connections) {
      const other = connection.other(this)?.place;
      const over = (from === this.place && to === other) || (to === this.place && from === other);
      if (over) connection.breakWithin(this.#network.random.fraction() * NOTICE_MS_MAX);
    }
  }

  /** Raft messages are here. */
  arrived(from: MemberId, frames: readonly Buffer[]): void {
    if (!this.#isOpen) return;
    const ends = { from, to: this.#identity!.memberId };
    const messages = frames.flatMap((frame) =>
      decodeMessages({ kind: frame[FRAME_HEAD_BYTES - 1]!, payload: frame.subarray(FRAME_HEAD_BYTES) }, ends),
    );
    this.#handlers!.messages(from, messages);
  }

  adopt(connection: SimConnection): void {
    this.#connections.add(connection);
  }

  /** A connection of this side is over. */
  disconnected(connection: SimConnection): void {
    this.#connections.delete(connection);
    for (const link of this.#links.values()) {
      if (link.connection !== connection) continue;
      link.connection = null;
      if (!this.#isOpen) return;
      this.#handlers!.unreachable(link.id);
      this.#redial(link);
    }
  }

  // ---- connections ------------------------------------------------------------------------------------------

  #addLink(id: MemberId, urls: readonly string[]): void {
    const link: Link = { id, urls, connection: null, closed: false };
    this.#links.set(id, link);
    this.process.schedule(0, 'network', () => void this.#connect(link));
  }

  #redial(link: Link): void {
    const delayMs = REDIAL_MS_MIN + this.#network.random.fraction() * (REDIAL_MS_MAX - REDIAL_MS_MIN);
    this.process.schedule(delayMs, 'timer', () => void this.#connect(link));
  }

  async #connect(link: Link): Promise<void> {
    if (link.closed || link.connection !== null || !this.#isOpen) return;
    const url = link.urls[this.#network.random.integer(Math.max(1, link.urls.length))];
    try {
      if (url === undefined) throw new StoreError('no-leader');
      const connection = await this.#dial(url, new URL(url).hostname, new AbortController().signal);
      const peer = connection.other(this)!;
      const refusal = await this.#introduce(connection, peer, link.id);
      if (refusal === null && !link.closed && connection.open && this.#isOpen) {
        link.connection = connection;
        return;
      }
      connection.end();
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
    }
    if (!link.closed && this.#isOpen) this.#redial(link);
  }

  /** Both ends look at each other; the listener first. */
  async #introduce(connection: SimConnection, peer: SimTransport, id: MemberId): Promise<string | null> {
    const self = this.#identity!;
    let theirs: PeerIdentity | null = null;
    const answer = await this.#exchange(
      { connection, signal: new AbortController().signal, stream: 'hello' },
      async (handlers) => {
        theirs = peer.#identity!;
        const admit = (identity: PeerIdentity): string | null => handlers.admit(identity);
        const refusal = addresseeRefusal(id, theirs) ?? refusalOf({ self: theirs, peer: self, admit });
        if (refusal === null) this.#network.introduced(peer, this);
        return Buffer.from(refusal ?? '');
      },
    );
    if (answer.length > 0 || theirs === null) return answer.toString() || 'nobody there';
    const admit = (identity: PeerIdentity): string | null => this.#handlers!.admit(identity);
    const refusal = refusalOf({ self, peer: theirs, admit });
    if (refusal === null) this.#network.introduced(this, peer);
    return refusal;
  }

  /** There and back once. @throws StoreError `timeout-connection-lost` when nobody listens or a way is cut */
  #dial(url: string, there: string, signal: AbortSignal): Promise<SimConnection> {
    const network = this.#network;
    return new Promise((resolve, reject) => {
      const fail = (): void =>
        void this.process.schedule(network.delayMs(there, this.place), 'network', () =>
          reject(new StoreError('timeout-connection-lost', `${url}: nobody answers`)),
        );
      signal.addEventListener('abort', () => reject(abortError(signal)), { once: true });
      const knock = (): void => {
        const peer = network.host(url);
        if (peer === undefined || network.isCut(this.place, there) || network.isCut(there, this.place)) {
          fail();
          return;
        }
        const connection = new SimConnection({ network, dialer: this, listener: peer });
        this.process.schedule(network.delayMs(there, this.place), 'network', () => resolve(connection));
      };
      network.scheduler.schedule(network.delayMs(this.place, there), {
        owner: null,
        kind: 'network',
        run: knock,
      });
    });
  }

  // ---- messages and requests --------------------------------------------------------------------------------

  #sendGroup(group: {
    readonly to: MemberId;
    readonly stream: string;
    readonly list: readonly Message[];
    readonly entries: EntriesEncoder;
  }): void {
    const { rules, random } = this.#network;
    const { to, stream } = group;
    const connection = this.#links.get(to)?.connection ?? null;
    if (connection === null || !connection.open) return;
    for (const message of group.list) this.#network.said(message);
    if (this.#network.isMuted(this.place, connection.other(this)!.place)) return;
    const kept = group.list.filter(() => !random.chance(rules.dropPercent));
    const again = kept.filter(() => random.chance(rules.duplicatePercent));
    const peer = connection.other(this)!;
    for (const list of [kept, again]) {
      const encoded = list.length === 0 ? null : encodeMessages(list, group.entries);
      if (encoded === null) continue;
      const frames = encoded.map((frame) => Buffer.concat(frame.parts));
      const from = this.#identity!.memberId;
      this.#network.sent({ from, to, url: peer.#url, frames });
      connection.carry(this, { stream, inOrder: !random.chance(rules.reorderPercent) }, () => {
        this.#network.heard(peer, this, list);
        peer.arrived(from, frames);
      });
    }
    if (kept.length < group.list.length) {
      this.process.schedule(0.1, 'network', () => {
        if (this.#isOpen && this.#links.has(to)) this.#handlers!.unreachable(to);
      });
    }
  }

  /** There, the other process's work, and back; fails when the connection breaks first. */
  #exchange(
    call: { readonly connection: SimConnection; readonly signal: AbortSignal; readonly stream: string },
    work: (handlers: TransportHandlers) => Promise<Buffer>,
  ): Promise<Buffer> {
    const { connection, signal, stream } = call;
    const peer = connection.other(this)!;
    return new Promise<Buffer>((resolve, reject) => {
      const lost = connection.onBreak(this, () => {
        signal.removeEventListener('abort', abort);
        reject(new StoreError('timeout-connection-lost', 'the connection broke before the answer came'));
      });
      const end = (): void => {
        lost();
        signal.removeEventListener('abort', abort);
      };
      const abort = (): void => {
        end();
        reject(abortError(signal));
      };
      signal.addEventListener('abort', abort, { once: true });
      const answer = (settle: () => void): void =>
        connection.carry(peer, { stream, inOrder: true }, () => {
          end();
          settle();
        });
      connection.carry(this, { stream, inOrder: true }, () => {
        if (!peer.#isOpen) return;
        work(peer.#handlers!).then(
          (body) => {
            const copy = Buffer.from(body);
            answer(() => resolve(copy));
          },
          (error: unknown) => {
            if (!(error instanceof StoreError)) throw error;
            answer(() =>
              reject(new StoreError('timeout-connection-lost', `the peer failed: ${error.message}`)),
            );
          },
        );
      });
    });
  }
}

function isBulk(message: Message): boolean {
  return message.type === 'append' || message.type === 'append-response';
}
