import type { Socket } from 'node:net';
import type { MemberId, Message } from '../../core/raft/messages.ts';
import type { PeerIdentity, Timer } from '../ports.ts';
import { Connection } from './connection.ts';
import type { TransportContext } from './context.ts';
import { REPORT_BYTES, REPORT_BYTES_MIN, REPORT_INTERVAL_MS } from './flow-window.ts';
import { encodeFrame, type Frame, frameKinds, ProtocolError } from './frame.ts';
import {
  addresseeRefusal,
  decodeHello,
  encodeRefusal,
  encodeWelcome,
  type Hello,
  refusalOf,
} from './handshake.ts';
import { FRAME_BYTES_MAX, HANDSHAKE_FRAME_BYTES_MAX, UNREAD_REPLY_BYTES_MAX } from './limits.ts';
import { decodeMessages } from './message-codec.ts';
import { encodeReport } from './outbox.ts';
import { ProbeReceiver } from './probe.ts';
import { RequestReceiver } from './request-stream.ts';
import { SnapshotReceiver } from './snapshot-stream.ts';

type Service =
  | { readonly type: 'handshake' }
  | { readonly type: 'messages' }
  | { readonly type: 'requests'; readonly receiver: RequestReceiver }
  | { readonly type: 'snapshot'; readonly receiver: SnapshotReceiver }
  | { readonly type: 'probe'; readonly receiver: ProbeReceiver };

export interface AcceptedConnectionOptions {
  readonly context: TransportContext;
  readonly socket: Socket;
  /** All accepted connections of this transport. */
  siblings(): Iterable<AcceptedConnection>;
  /** Members whose snapshot is being taken: one each, also while a broken one is still being cleaned up. */
  readonly snapshotsOf: Set<MemberId>;
  /** The handshake is through. */
  onWelcomed(member: MemberId): void;
  onClosed(): void;
}

/**
 * One connection that a member dialed: takes its hello, refuses or welcomes it, then serves the stream it is for.
 * Of one member and kind of stream only the newest connection counts, so that what an older one still holds can
 * not arrive behind newer messages.
 */
export class AcceptedConnection {
  readonly #options: AcceptedConnectionOptions;
  readonly #connection: Connection;
  readonly #sinceMs: number;
  #hello: Hello | null = null;
  #service: Service = { type: 'handshake' };
  #received: Message[] = [];
  #heardMs: number;
  /** What the dialer was told has arrived, and when. */
  #reportedBytes = 0;
  #reportedMs = Number.NEGATIVE_INFINITY;
  #reportTimer: Timer | null = null;

  constructor(options: AcceptedConnectionOptions) {
    const { context, socket } = options;
    this.#options = options;
    this.#sinceMs = context.clock.nowMs();
    this.#heardMs = this.#sinceMs;
    this.#connection = new Connection(socket, {
      payloadBytesMax: HANDSHAKE_FRAME_BYTES_MAX,
      events: {
        frame: (kind, payload) => this.#take(kind, payload),
        readEnd: () => this.#readEnd(),
        drained: () => {},
        closed: (reason) => this.#closed(reason),
      },
    });
    context.connections.add(this.#connection);
  }

  /** The peer as it introduced itself; null before the handshake is through. */
  get sender(): PeerIdentity | null {
    return this.#hello?.sender ?? null;
  }

  close(reason: string): void {
    this.#connection.close(reason);
  }

  /** Periodically: ends what is late or silent, and keeps a snapshot's sender patient. */
  sweep(): void {
    const { clock, limits } = this.#options.context;
    const nowMs = clock.nowMs();
    const service = this.#service;
    if (service.type === 'snapshot') service.receiver.sayAlive();
    if (service.type === 'handshake') {
      if (nowMs - this.#sinceMs >= limits.handshakeTimeoutMs) this.close('no handshake in time');
    } else if (this.#connection.paused) {
      // Silence of our own making.
      this.#heardMs = nowMs;
    } else if (nowMs - this.#heardMs >= limits.idleTimeoutMs) this.close('the peer is silent');
  }

  #take(kind: number, payload: Buffer): void {
    if (kind === frameKinds.ping && this.#service.type !== 'handshake') {
      this.#answerPing(payload);
      return;
    }
    switch (this.#service.type) {
      case 'handshake':
        if (kind !== frameKinds.hello) throw new ProtocolError('the first frame is not a hello');
        this.#takeHello(payload);
        break;
      case 'messages':
        this.#takeMessages(kind, payload);
        break;
      case 'requests':
      case 'snapshot':
      case 'probe':
        this.#service.receiver.take(kind, payload);
        break;
    }
  }

  #takeHello(payload: Buffer): void {
    const decoded = decodeHello(payload);
    const refusal = 'refusal' in decoded ? decoded.refusal : this.#refusalOf(decoded.hello);
    if (refusal !== null || 'refusal' in decoded) {
      this.#refuse(refusal ?? '');
      return;
    }
    this.#replaceOlder(decoded.hello);
    this.#hello = decoded.hello;
    this.#serve(decoded.hello);
  }

  #refusalOf(hello: Hello): string | null {
    if (hello.stream === 'probe') return null;
    const { identity, handlers } = this.#options.context;
    const { snapshotsOf } = this.#options;
    const refusal =
      refusalOf({ self: identity, peer: hello.sender, admit: (peer) => handlers.admit(peer) }) ??
      addresseeRefusal(hello.to, identity);
    if (refusal !== null) return refusal;
    for (const { sender } of this.#options.siblings()) {
      if (sender?.memberId !== hello.sender.memberId) continue;
      if (sender.incarnation > hello.sender.incarnation) return 'a later start of this member is connected';
    }
    if (hello.stream !== 'snapshot' || !snapshotsOf.has(hello.sender.memberId)) return null;
    this.#replaceOlder(hello);
    return 'an earlier snapshot of this member is still being taken';
  }

  /** The newer connection wins. An older start's connections end altogether. */
  #replaceOlder(hello: Hello): void {
    if (hello.stream === 'probe') return;
    for (const older of this.#options.siblings()) {
      const known = older.#hello;
      if (known === null || known.sender.memberId !== hello.sender.memberId) continue;
      if (known.stream === hello.stream || known.sender.incarnation < hello.sender.incarnation) {
        older.close('a newer connection of the peer took over');
      }
    }
  }

  #refuse(reason: string): void {
    const { clock, limits, refusals } = this.#options.context;
    refusals.log(reason);
    this.#connection.write(encodeRefusal(reason));
    this.#connection.closeAfterFlush(`refused: ${reason}`, { clock, lingerMs: limits.lingerMs });
  }

  #serve(hello: Hello): void {
    const { context } = this.#options;
    const connection = this.#connection;
    const common = { context, connection, from: hello.sender.memberId };
    switch (hello.stream) {
      case 'append':
      case 'heartbeat':
        this.#service = { type: 'messages' };
        break;
      case 'request':
        this.#service = { type: 'requests', receiver: new RequestReceiver(common) };
        break;
      case 'snapshot': {
        const receiver = new SnapshotReceiver(common);
        this.#service = { type: 'snapshot', receiver };
        void this.#takeSnapshot(receiver, common.from);
        break;
      }
      case 'probe':
        this.#service = { type: 'probe', receiver: new ProbeReceiver(common) };
        return;
    }
    connection.trust(FRAME_BYTES_MAX);
    connection.write(encodeWelcome(context.identity));
    context.logger.debug({ peer: common.from, stream: hello.stream }, 'peer welcomed');
    this.#options.onWelcomed(common.from);
  }

  async #takeSnapshot(receiver: SnapshotReceiver, from: MemberId): Promise<void> {
    const { snapshotsOf } = this.#options;
    snapshotsOf.add(from);
    try {
      await receiver.run();
    } finally {
      snapshotsOf.delete(from);
    }
  }

  #takeMessages(kind: number, payload: Buffer): void {
    const ends = { from: this.#hello!.sender.memberId, to: this.#options.context.identity.memberId };
    for (const message of decodeMessages({ kind, payload }, ends)) this.#received.push(message);
  }

  #answerPing(payload: Buffer): void {
    if (payload.length > PING_BYTES_MAX) throw new ProtocolError('a ping is too long');
    this.#reply(encodeFrame(frameKinds.pong, Buffer.from(payload)));
  }

  #reply(frame: Frame): void {
    if (this.#connection.pendingBytes > UNREAD_REPLY_BYTES_MAX)
      this.close('the peer does not read its answers');
    else this.#connection.write(frame);
  }

  #readEnd(): void {
    this.#heardMs = this.#options.context.clock.nowMs();
    this.#report();
    this.#deliver();
  }

  /** Of bulk data: how much has arrived, so that the dialer sends more and knows that the link moves. */
  #report(): void {
    const stream = this.#hello?.stream;
    if (stream === undefined || stream === 'heartbeat' || stream === 'probe') return;
    const { clock } = this.#options.context;
    const { readBytes } = this.#connection;
    const unreported = readBytes - this.#reportedBytes;
    if (unreported < REPORT_BYTES_MIN) return;
    const nowMs = clock.nowMs();
    const waitMs = unreported >= REPORT_BYTES ? 0 : this.#reportedMs + REPORT_INTERVAL_MS - nowMs;
    if (waitMs > 0) {
      this.#reportTimer ??= clock.setTimer(() => {
        this.#reportTimer = null;
        this.#report();
      }, waitMs);
      return;
    }
    this.#reportedBytes = readBytes;
    this.#reportedMs = nowMs;
    this.#reply(encodeReport(readBytes));
  }

  /** What one read brought goes to the member in one call. */
  #deliver(): void {
    const messages = this.#received;
    if (messages.length === 0) return;
    this.#received = [];
    this.#options.context.handlers.messages(this.#hello!.sender.memberId, messages);
  }

  #closed(reason: string): void {
    const { context } = this.#options;
    context.connections.delete(this.#connection);
    this.#reportTimer?.cancel();
    if (this.#service.type === 'snapshot') this.#service.receiver.fail(reason);
    const peer = this.sender?.memberId;
    context.logger.debug({ peer, stream: this.#hello?.stream, reason }, 'connection of peer ended');
    this.#options.onClosed();
  }
}

const PING_BYTES_MAX = 64;
