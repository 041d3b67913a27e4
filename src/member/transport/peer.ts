import type { MemberId, Message } from '../../core/raft/messages.ts';
import type { PeerAddress, RoundTrip } from '../ports.ts';
import type { TransportContext } from './context.ts';
import { ProtocolError } from './frame.ts';
import { type EntriesEncoder, encodeMessages } from './message-codec.ts';
import { OutgoingStream, type StreamOutcome } from './outgoing-stream.ts';
import { RequestStream } from './request-stream.ts';

/**
 * One remote member: three outgoing streams, each a connection of its own, so that bulk data never delays what
 * elections depend on. What comes from that member arrives on connections it dialed.
 */
export class Peer {
  readonly id: MemberId;
  readonly #context: TransportContext;
  readonly #appends: OutgoingStream;
  readonly #heartbeats: OutgoingStream;
  readonly #requests: RequestStream;
  #urls: readonly string[];
  #stagedAppends: Message[] = [];
  #stagedHeartbeats: Message[] = [];
  #snapshots = 0;
  #reportDue = false;
  #closed = false;

  constructor(options: { readonly context: TransportContext; readonly address: PeerAddress }) {
    const { context, address } = options;
    const { limits } = context;
    this.id = address.id;
    this.#context = context;
    this.#urls = address.peerUrls;
    const common = { context, to: address.id, urls: address.peerUrls };
    this.#appends = new OutgoingStream({
      ...common,
      stream: 'append',
      queueBytesMax: limits.appendQueueBytesMax,
      pingTimeoutMs: limits.bulkPingTimeoutMs,
      onFrame: refuseFrame,
      onDown: () => this.#reportUnreachable(),
    });
    this.#heartbeats = new OutgoingStream({
      ...common,
      stream: 'heartbeat',
      queueBytesMax: limits.heartbeatQueueBytesMax,
      pingTimeoutMs: limits.pingTimeoutMs,
      onFrame: refuseFrame,
      onDown: (outcome) => this.#heartbeatsDown(outcome),
    });
    this.#requests = new RequestStream(common);
  }

  /** Where the next snapshot goes: addresses take turns, so that a dead one costs one attempt. */
  snapshotUrl(): string {
    return this.#urls[this.#snapshots++ % this.#urls.length]!;
  }

  /** Heartbeats reach the peer; the other streams follow or precede by moments. */
  get connected(): boolean {
    return this.#heartbeats.established;
  }

  get roundTrip(): RoundTrip | undefined {
    return this.#heartbeats.roundTrip;
  }

  get requests(): RequestStream {
    return this.#requests;
  }

  /** Sets a message aside for the next `flush`. */
  stage(message: Message): void {
    if (isBulk(message)) this.#stagedAppends.push(message);
    else this.#stagedHeartbeats.push(message);
  }

  /** Writes what was staged; drops and reports the peer unreachable where a stream is down or full. */
  flush(entries: EntriesEncoder): void {
    const [appends, heartbeats] = [this.#stagedAppends, this.#stagedHeartbeats];
    this.#stagedAppends = [];
    this.#stagedHeartbeats = [];
    const sent = [
      this.#write(this.#heartbeats, heartbeats, entries),
      this.#write(this.#appends, appends, entries),
    ];
    if (sent.includes(false)) {
      this.#context.logger.debug({ peer: this.id }, 'messages to peer dropped');
      this.#reportUnreachable();
    }
  }

  /** The peer has just dialed this member, so it is up again: no reason to wait before dialing it. */
  wake(): void {
    for (const stream of this.#streams()) stream.wake();
  }

  setUrls(urls: readonly string[]): void {
    this.#urls = urls;
    for (const stream of this.#streams()) stream.setUrls(urls);
  }

  close(reason: string, manner: 'abrupt' | 'after-flush'): void {
    this.#closed = true;
    for (const stream of this.#streams()) stream.close(reason, manner);
  }

  /** False when any message was dropped. Later ones are still tried: a small one may fit where a large did not. */
  #write(stream: OutgoingStream, messages: readonly Message[], entries: EntriesEncoder): boolean {
    if (messages.length === 0) return true;
    if (!stream.accepting) return false;
    const frames = encodeMessages(messages, entries);
    if (frames === null) {
      this.#context.logger.error({ peer: this.id }, 'an append longer than a frame can never be sent');
      return false;
    }
    let complete = true;
    for (const frame of frames) complete = stream.write(frame) && complete;
    return complete;
  }

  #streams(): readonly OutgoingStream[] {
    return [this.#appends, this.#heartbeats, this.#requests.stream];
  }

  #heartbeatsDown(outcome: StreamOutcome): void {
    if (outcome.silent) {
      for (const stream of this.#streams()) stream.reset('the peer is silent');
    }
    this.#reportUnreachable();
  }

  /** Once per turn, and never from within a call of the member's own. */
  #reportUnreachable(): void {
    if (this.#reportDue || this.#closed) return;
    this.#reportDue = true;
    this.#context.clock.setImmediate(() => {
      this.#reportDue = false;
      if (!this.#closed) this.#context.handlers.unreachable(this.id);
    });
  }
}

/** The append stream carries what can be large and what must not overtake it; the rest goes its own way. */
function isBulk(message: Message): boolean {
  return message.type === 'append' || message.type === 'append-response' || message.type === 'snapshot';
}

function refuseFrame(): void {
  throw new ProtocolError('a frame of this kind has no place on a message stream');
}
