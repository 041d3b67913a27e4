import type { MemberId, Message } from '../../core/raft/messages.ts';
import { assert } from '../../lib/assert.ts';
import type { CancelSignal } from '../../lib/cancellation.ts';
import { abortError, StoreError } from '../../lib/errors.ts';
import type { PeerAddress, PeerIdentity, RoundTrip, Transport, TransportHandlers } from '../ports.ts';
import { createDeferred, type Deferred } from './deferred.ts';
import { addresseeRefusal, refusalOf } from './handshake.ts';
import type { Direction, MemoryNetwork } from './memory-network.ts';
import { decodeMessages, EntriesEncoder, encodeMessages } from './message-codec.ts';

const REQUESTS_IN_FLIGHT_MAX = 1_024;

interface Self {
  readonly identity: PeerIdentity;
  readonly handlers: TransportHandlers;
}

/** Something that waits for the other side and fails when the connection breaks. */
interface Waiting {
  readonly to: MemberId;
  readonly kind: 'request' | 'snapshot' | 'probe';
  fail(error: StoreError): void;
}

/**
 * The twin of TcpTransport inside one process: the same contract over a MemoryNetwork. Messages pass through the
 * real codec, so no two members ever share memory. A connection is the permission that both handshakes gave; it
 * ends with a cut, with either side's close, or when a side unlists the other.
 */
export class MemoryTransport implements Transport {
  readonly #network: MemoryNetwork;
  readonly #urls: readonly string[];
  readonly #peers = new Map<MemberId, readonly string[]>();
  /** Members this one dialed successfully, with the very transport found. */
  readonly #dialed = new Map<MemberId, MemoryTransport>();
  readonly #waiting = new Set<Waiting>();
  readonly #reports = new Set<MemberId>();
  #self: Self | null = null;
  #closed = false;
  #forgetCuts: () => void = () => {};

  constructor(network: MemoryNetwork, urls: readonly string[]) {
    this.#network = network;
    this.#urls = urls;
  }

  get listenUrls(): readonly string[] {
    return this.#urls;
  }

  async start(identity: PeerIdentity, handlers: TransportHandlers): Promise<void> {
    assert(this.#self === null && !this.#closed, 'a transport starts once');
    this.#network.attach(this, this.#urls);
    this.#self = { identity, handlers };
    this.#forgetCuts = this.#network.onCut((direction) => this.#noticeCut(direction));
  }

  setPeers(peers: readonly PeerAddress[]): void {
    const { identity } = this.#use();
    const listed = new Map(peers.map((peer) => [peer.id, peer.peerUrls]));
    listed.delete(identity.memberId);
    for (const id of this.#peers.keys()) if (!listed.has(id)) this.#unlist(id);
    for (const [id, urls] of listed) this.#peers.set(id, urls);
  }

  send(messages: readonly Message[]): void {
    const { identity } = this.#use();
    const groups = new Map<string, { readonly to: MemberId; readonly messages: Message[] }>();
    for (const message of messages) {
      assert(message.from === identity.memberId, 'a message is sent in the name of another member');
      if (!this.#peers.has(message.to)) continue;
      const channel = `${streamOf(message)} ${message.from}>${message.to}`;
      const group = groups.get(channel) ?? { to: message.to, messages: [] };
      groups.set(channel, group);
      group.messages.push(message);
    }
    const entries = new EntriesEncoder();
    for (const [channel, group] of groups) this.#sendGroup({ channel, entries, ...group });
  }

  async request(to: MemberId, body: Buffer, signal: CancelSignal): Promise<Buffer> {
    if (signal.aborted) throw abortError(signal);
    const peer = this.#connectedPeer(to);
    let inFlight = 0;
    for (const waiting of this.#waiting) if (waiting.to === to && waiting.kind === 'request') inFlight++;
    if (inFlight >= REQUESTS_IN_FLIGHT_MAX) throw new StoreError('too-many-requests');
    const { identity } = this.#use();
    const copy = Buffer.from(body);
    return this.#exchange({ to, peer, kind: 'request', signal }, (self) =>
      self.handlers.request(identity.memberId, copy),
    );
  }

  async sendSnapshot(to: MemberId, frames: AsyncIterable<Buffer>, signal: CancelSignal): Promise<void> {
    if (signal.aborted) throw abortError(signal);
    const peer = this.#connectedPeer(to);
    const { identity } = this.#use();
    const stream = new SnapshotPipe(frames, async () => this.#hop({ to, peer, kind: 'snapshot', signal }));
    const take = async (self: Self): Promise<Buffer> => {
      await self.handlers.snapshot(identity.memberId, stream.frames());
      if (!stream.consumed) throw new StoreError('unhealthy', 'the snapshot was not read to its end');
      return Buffer.alloc(0);
    };
    try {
      await this.#exchange({ to, peer, kind: 'snapshot', signal }, take);
    } catch (error) {
      stream.stop(new StoreError('timeout-connection-lost', 'the connection broke'));
      throw stream.sourceFailure ?? error;
    }
  }

  async probe(peerUrl: string, body: Buffer, signal: CancelSignal): Promise<Buffer> {
    if (signal.aborted) throw abortError(signal);
    if (this.#closed) throw new StoreError('stopped');
    const peer = this.#network.host(peerUrl);
    const to = peer === undefined ? undefined : peer.#identity?.memberId;
    if (peer === undefined || to === undefined || !this.#canReach(to)) {
      throw new StoreError('timeout-connection-lost', `${peerUrl}: nobody answers`);
    }
    const copy = Buffer.from(body);
    return this.#exchange({ to, peer, kind: 'probe', signal }, (self) => self.handlers.probe(copy));
  }

  /** As the network's rules say it will be. */
  roundTrip(id: MemberId): RoundTrip | undefined {
    if (!this.connected(id)) return undefined;
    const { memberId } = this.#use().identity;
    const there = this.#network.rulesOf({ from: memberId, to: id });
    const back = this.#network.rulesOf({ from: id, to: memberId });
    const leastMs = there.delayMsMin + back.delayMsMin;
    const maxMs = there.delayMsMax + back.delayMsMax;
    return { lastMs: leastMs, smoothedMs: (leastMs + maxMs) / 2, maxMs };
  }

  connected(id: MemberId): boolean {
    return this.#self !== null && this.#canReach(id) && this.#dial(id) !== undefined;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#forgetCuts();
    this.#network.detach(this);
    const memberId = this.#self?.identity.memberId;
    if (memberId !== undefined) {
      this.#network.drop(({ direction }) => direction?.from === memberId || direction?.to === memberId);
    }
    this.#fail(() => true, new StoreError('timeout-connection-lost', 'this member stops'));
  }

  get #identity(): PeerIdentity | undefined {
    return this.#self?.identity;
  }

  #use(): Self {
    assert(this.#self !== null, 'a transport is used before it has started');
    return this.#self;
  }

  // ---- messages ----

  #sendGroup(group: {
    readonly channel: string;
    readonly to: MemberId;
    readonly messages: readonly Message[];
    readonly entries: EntriesEncoder;
  }): void {
    const direction = { from: this.#use().identity.memberId, to: group.to };
    const peer = this.#dial(group.to);
    if (peer === undefined || this.#network.isCut(direction)) {
      this.#reportUnreachable(group.to);
      return;
    }
    const rules = this.#network.rulesOf(direction);
    const kept = group.messages.filter(() => !this.#network.chance(rules.dropPermille));
    const again = kept.filter(() => this.#network.chance(rules.duplicatePermille));
    for (const messages of [kept, again]) {
      if (messages.length > 0) {
        this.#carry({ channel: group.channel, direction, peer, entries: group.entries, messages });
      }
    }
    if (kept.length < group.messages.length) this.#reportUnreachable(group.to);
  }

  #carry(batch: {
    readonly channel: string;
    readonly direction: Direction;
    readonly peer: MemoryTransport;
    readonly entries: EntriesEncoder;
    readonly messages: readonly Message[];
  }): void {
    const { channel, direction, peer } = batch;
    const frames = encodeMessages(batch.messages, batch.entries);
    if (frames === null) return;
    const bytes = frames.map((frame) => Buffer.concat(frame.parts));
    this.#network.carry({
      direction,
      channel,
      lost: () => {},
      arrive: () => {
        const handlers = peer.#self?.handlers;
        if (peer.#closed || handlers === undefined || !this.#permitted(direction.to, peer)) return;
        const messages = bytes.flatMap((frame) =>
          decodeMessages({ kind: frame[4]!, payload: frame.subarray(5) }, direction),
        );
        handlers.messages(direction.from, messages);
      },
    });
  }

  // ---- connections ----

  /** The peer's transport when both handshakes pass. Asked again only after a connection ended. */
  #dial(id: MemberId): MemoryTransport | undefined {
    if (this.#closed) return undefined;
    const known = this.#dialed.get(id);
    if (known !== undefined && !known.#closed) return known;
    this.#dialed.delete(id);
    const self = this.#use();
    for (const url of this.#peers.get(id) ?? []) {
      const peer = this.#network.host(url);
      const other = peer === undefined ? null : peer.#self;
      if (peer === undefined || other === null) continue;
      const refusal =
        addresseeRefusal(id, other.identity) ??
        refusalOf({
          self: other.identity,
          peer: self.identity,
          admit: (identity) => other.handlers.admit(identity),
        }) ??
        refusalOf({
          self: self.identity,
          peer: other.identity,
          admit: (identity) => self.handlers.admit(identity),
        });
      if (refusal !== null) continue;
      this.#dialed.set(id, peer);
      return peer;
    }
    return undefined;
  }

  #permitted(id: MemberId, peer: MemoryTransport): boolean {
    return this.#dialed.get(id) === peer;
  }

  #canReach(id: MemberId): boolean {
    const from = this.#self?.identity.memberId;
    if (from === undefined) return true;
    return !this.#network.isCut({ from, to: id }) && !this.#network.isCut({ from: id, to: from });
  }

  #connectedPeer(id: MemberId): MemoryTransport {
    if (this.#closed) throw new StoreError('stopped');
    const peer = this.#canReach(id) ? this.#dial(id) : undefined;
    if (peer === undefined) throw new StoreError('no-leader', 'the peer is not connected');
    return peer;
  }

  /** Both sides' connections between this member and `id` end. */
  #unlist(id: MemberId): void {
    const hosts = (this.#peers.get(id) ?? []).map((url) => this.#network.host(url));
    this.#peers.delete(id);
    this.#dialed.delete(id);
    const lost = new StoreError('timeout-connection-lost', 'no member any more');
    this.#fail((waiting) => waiting.to === id && waiting.kind !== 'probe', lost);
    const { memberId } = this.#use().identity;
    for (const host of new Set(hosts))
      if (host !== undefined && host.#identity?.memberId === id) host.#endDialed(memberId);
  }

  #endDialed(id: MemberId): void {
    if (!this.#dialed.delete(id)) return;
    const lost = new StoreError('timeout-connection-lost', 'the peer closed the connection');
    this.#fail((waiting) => waiting.to === id && waiting.kind !== 'probe', lost);
    this.#reportUnreachable(id);
  }

  #noticeCut(direction: Direction): void {
    const self = this.#use().identity.memberId;
    const other = direction.from === self ? direction.to : direction.from;
    if (direction.from !== self && direction.to !== self) return;
    const lost = new StoreError('timeout-connection-lost', 'the connection broke');
    this.#fail((waiting) => waiting.to === other, lost);
    if (this.#dialed.has(other)) this.#reportUnreachable(other);
  }

  #fail(condition: (waiting: Waiting) => boolean, error: StoreError): void {
    for (const waiting of this.#waiting) if (condition(waiting)) waiting.fail(error);
  }

  /** Never from within a call of the member's own: it travels like a message to oneself. */
  #reportUnreachable(id: MemberId): void {
    if (this.#reports.has(id) || this.#closed || !this.#peers.has(id)) return;
    this.#reports.add(id);
    const report = (): void => {
      this.#reports.delete(id);
      if (!this.#closed) this.#use().handlers.unreachable(id);
    };
    this.#network.carry({
      direction: null,
      channel: `report ${this.#use().identity.memberId}`,
      arrive: report,
      lost: () => {},
    });
  }

  // ---- requests, snapshots, probes ----

  /** There, the peer's work, and back. Fails when the connection breaks, whatever the peer does meanwhile. */
  async #exchange(call: Call, work: (peer: Self) => Promise<Buffer>): Promise<Buffer> {
    return this.#waitFor(call, async () => {
      await this.#travel(call, 'there');
      const peer = call.peer.#self;
      assert(peer !== null, 'a dialed peer has started');
      let answer: Buffer | StoreError;
      try {
        answer = Buffer.from(await work(peer));
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        answer = failureOf(call.kind, error);
      }
      await this.#travel(call, 'back');
      if (answer instanceof StoreError) throw answer;
      return answer;
    });
  }

  async #hop(call: Call): Promise<void> {
    await this.#waitFor(call, async () => this.#travel(call, 'there'));
  }

  async #waitFor<T>(call: Call, run: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const end = (): void => {
        this.#waiting.delete(waiting);
        call.peer.#waiting.delete(mirror);
        call.signal.removeEventListener('abort', abort);
      };
      const fail = (error: Error): void => {
        end();
        reject(error);
      };
      const abort = (): void => fail(abortError(call.signal));
      const waiting: Waiting = { to: call.to, kind: call.kind, fail };
      // The peer's close breaks it, too.
      const mirror: Waiting = { to: this.#self?.identity.memberId ?? 0, kind: 'probe', fail };
      this.#waiting.add(waiting);
      call.peer.#waiting.add(mirror);
      call.signal.addEventListener('abort', abort, { once: true });
      run().then((value) => {
        end();
        resolve(value);
      }, fail);
    });
  }

  async #travel(call: Call, way: 'there' | 'back'): Promise<void> {
    const here = this.#self?.identity.memberId ?? 0;
    const direction = way === 'there' ? { from: here, to: call.to } : { from: call.to, to: here };
    await new Promise<void>((resolve, reject) => {
      this.#network.carry({
        direction,
        channel: `${call.kind} ${way} ${here}>${call.to}`,
        arrive: () => (call.peer.#closed ? lost() : resolve()),
        lost: () => lost(),
      });
      const lost = (): void =>
        reject(new StoreError('timeout-connection-lost', 'the connection broke before the answer came'));
    });
  }
}

interface Call {
  readonly to: MemberId;
  readonly peer: MemoryTransport;
  readonly kind: Waiting['kind'];
  readonly signal: CancelSignal;
}

/** As over TCP: a failed request's outcome is unknown, a refusal of the rest carries its reason. */
function failureOf(kind: Waiting['kind'], error: StoreError): StoreError {
  if (kind === 'request')
    return new StoreError('timeout-connection-lost', `the peer failed: ${error.message}`);
  return new StoreError('unhealthy', `the peer refused: ${error.message}`);
}

function streamOf(message: Message): 'append' | 'heartbeat' {
  const bulk = message.type === 'append' || message.type === 'append-response' || message.type === 'snapshot';
  return bulk ? 'append' : 'heartbeat';
}

/** A snapshot's frames, pulled from the source as the receiver reads them, each on its way for a moment. */
class SnapshotPipe {
  readonly #source: AsyncIterator<Buffer>;
  readonly #hop: () => Promise<void>;
  readonly #stopped: Deferred = createDeferred();
  consumed = false;
  sourceFailure: unknown = undefined;

  constructor(source: AsyncIterable<Buffer>, hop: () => Promise<void>) {
    this.#source = source[Symbol.asyncIterator]();
    this.#hop = hop;
  }

  /** The receiver's reading fails, also while the source is still at work on its next frame. */
  stop(reason: StoreError): void {
    this.#stopped.reject(reason);
  }

  async *frames(): AsyncGenerator<Buffer, void, undefined> {
    try {
      for (;;) {
        const frame = await Promise.race([this.#next(), this.#stopped.promise]);
        if (!Buffer.isBuffer(frame)) break;
        await Promise.race([this.#hop(), this.#stopped.promise]);
        yield Buffer.from(frame);
      }
      this.consumed = true;
    } finally {
      // Not awaited: a source stuck in its next frame would hold the failure back.
      if (!this.consumed) this.#source.return?.().catch(() => {});
    }
  }

  async #next(): Promise<Buffer | null> {
    try {
      const next = await this.#source.next();
      return next.done === true ? null : next.value;
    } catch (error) {
      this.sourceFailure = error;
      throw new StoreError('timeout-connection-lost', 'the sender gave up');
    }
  }
}
