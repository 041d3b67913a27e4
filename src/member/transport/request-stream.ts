import type { MemberId } from '../../core/raft/messages.ts';
import type { CancelSignal } from '../../lib/cancellation.ts';
import { abortError, StoreError } from '../../lib/errors.ts';
import { pack } from '../../lib/packed.ts';
import type { Connection } from './connection.ts';
import type { TransportContext } from './context.ts';
import { encodeFrame, type Frame, type FrameKind, frameKinds, ProtocolError } from './frame.ts';
import { decodeRefusal } from './handshake.ts';
import { REASON_LENGTH_MAX, REQUEST_BYTES_MAX } from './limits.ts';
import { OutgoingStream } from './outgoing-stream.ts';

/**
 * Requests and answers between two members. Requests of one connection are numbered from 1 without gaps, reach
 * the handler in that order and once each; answers carry the number and may overtake one another. A request is
 * never sent a second time: when its connection breaks, its outcome is unknown and is reported so.
 */

const SEQ_BYTES = 6;
const SEQ_MAX = 2 ** 48 - 1;

interface Pending {
  /** The caller stopped waiting; the number stays taken until the answer or the end of the connection. */
  abandoned: boolean;
  settle(outcome: Buffer | StoreError): void;
}

/** The asking end. */
export class RequestStream {
  readonly #stream: OutgoingStream;
  readonly #context: TransportContext;
  readonly #pending = new Map<number, Pending>();
  /** Of the present connection, or of the present attempt to get one. */
  #lastSeq = 0;

  constructor(options: {
    readonly context: TransportContext;
    readonly to: MemberId;
    readonly urls: readonly string[];
  }) {
    const { limits } = options.context;
    this.#context = options.context;
    this.#stream = new OutgoingStream({
      ...options,
      stream: 'request',
      queueBytesMax: limits.requestQueueBytesMax,
      pingTimeoutMs: limits.bulkPingTimeoutMs,
      onFrame: (kind, payload) => this.#take(kind, payload),
      onDown: ({ established }) => this.#fail(established),
    });
  }

  get stream(): OutgoingStream {
    return this.#stream;
  }

  /**
   * Sends and waits. The body must not change afterwards.
   *
   * @throws StoreError `no-leader` when it was surely not sent, `timeout-connection-lost` when it may have been,
   *   `too-many-requests` over the bound of unanswered ones, `request-too-large`, `canceled` (or the signal's own
   *   StoreError) once `signal` is aborted: it may have been sent by then
   */
  async request(body: Buffer, signal: CancelSignal): Promise<Buffer> {
    if (signal.aborted) throw abortError(signal);
    if (body.length > REQUEST_BYTES_MAX) throw new StoreError('request-too-large');
    if (!this.#stream.accepting) throw new StoreError('no-leader', 'the peer is not connected');
    if (this.#pending.size >= this.#context.limits.requestsInFlightMax) {
      throw new StoreError('too-many-requests', 'the peer owes too many answers');
    }
    const seq = this.#lastSeq + 1;
    if (!this.#stream.write(encodeNumbered(frameKinds.request, seq, body))) {
      throw new StoreError('too-many-requests', 'the peer does not take requests as fast as they come');
    }
    this.#lastSeq = seq;
    return new Promise<Buffer>((resolve, reject) => {
      const abort = (): void => {
        pending.abandoned = true;
        reject(abortError(signal));
      };
      const pending: Pending = {
        abandoned: false,
        settle(outcome) {
          signal.removeEventListener('abort', abort);
          if (pending.abandoned) return;
          if (outcome instanceof StoreError) reject(outcome);
          else resolve(outcome);
        },
      };
      this.#pending.set(seq, pending);
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  #take(kind: number, payload: Buffer): void {
    if (kind !== frameKinds.answer && kind !== frameKinds.failure) {
      throw new ProtocolError('a frame of this kind has no place on a request stream');
    }
    const { seq, body } = decodeNumbered(payload);
    const pending = this.#pending.get(seq);
    if (pending === undefined) throw new ProtocolError('an answer to a request never sent');
    const outcome =
      kind === frameKinds.answer
        ? Buffer.from(body)
        : new StoreError('timeout-connection-lost', `the peer failed: ${decodeRefusal(body)}`);
    this.#pending.delete(seq);
    pending.settle(outcome);
  }

  #fail(established: boolean): void {
    const failed = [...this.#pending.values()];
    this.#pending.clear();
    this.#lastSeq = 0;
    for (const pending of failed) {
      pending.settle(
        established
          ? new StoreError('timeout-connection-lost', 'the connection broke before the answer came')
          : new StoreError('no-leader', 'the peer could not be connected'),
      );
    }
  }
}

/** The serving end of one connection. */
export class RequestReceiver {
  readonly #context: TransportContext;
  readonly #connection: Connection;
  readonly #from: MemberId;
  #lastSeq = 0;
  #inFlight = 0;
  #inFlightBytes = 0;

  constructor(options: {
    readonly context: TransportContext;
    readonly connection: Connection;
    readonly from: MemberId;
  }) {
    this.#context = options.context;
    this.#connection = options.connection;
    this.#from = options.from;
  }

  /** @throws ProtocolError on a frame out of place or out of order */
  take(kind: number, payload: Buffer): void {
    if (kind !== frameKinds.request) {
      throw new ProtocolError('a frame of this kind has no place on a request stream');
    }
    const { seq, body } = decodeNumbered(payload);
    if (seq !== this.#lastSeq + 1) throw new ProtocolError('a request is out of order');
    if (body.length > REQUEST_BYTES_MAX) throw new ProtocolError('a request is too long');
    const { limits } = this.#context;
    if (this.#inFlight >= limits.requestsInFlightMax) throw new ProtocolError('too many requests in flight');
    this.#lastSeq = seq;
    this.#inFlight++;
    this.#inFlightBytes += body.length;
    if (this.#inFlightBytes > limits.requestQueueBytesMax) this.#connection.pause(this);
    void this.#serve(seq, Buffer.from(body));
  }

  /** A rejection that is not a StoreError is a bug of this program: it is not caught, and stops the process. */
  async #serve(seq: number, body: Buffer): Promise<void> {
    let reply: Frame;
    try {
      const answer = await this.#context.handlers.request(this.#from, body);
      reply =
        answer.length <= REQUEST_BYTES_MAX
          ? encodeNumbered(frameKinds.answer, seq, answer)
          : encodeFailure(seq, 'the answer is too long');
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      reply = encodeFailure(seq, error.message);
    }
    this.#inFlight--;
    this.#inFlightBytes -= body.length;
    if (this.#inFlightBytes <= this.#context.limits.requestQueueBytesMax) this.#connection.resume(this);
    this.#connection.write(reply);
    if (this.#connection.pendingBytes > this.#context.limits.requestQueueBytesMax + REQUEST_BYTES_MAX) {
      this.#connection.close('the peer does not read its answers');
    }
  }
}

function encodeFailure(seq: number, reason: string): Frame {
  return encodeNumbered(frameKinds.failure, seq, pack([reason.slice(0, REASON_LENGTH_MAX)]));
}

function encodeNumbered(kind: FrameKind, seq: number, body: Buffer): Frame {
  const head = Buffer.allocUnsafe(SEQ_BYTES);
  head.writeUIntBE(Math.min(seq, SEQ_MAX), 0, SEQ_BYTES);
  return encodeFrame(kind, head, body);
}

function decodeNumbered(payload: Buffer): { readonly seq: number; readonly body: Buffer } {
  if (payload.length < SEQ_BYTES) throw new ProtocolError('a numbered frame is cut short');
  return { seq: payload.readUIntBE(0, SEQ_BYTES), body: payload.subarray(SEQ_BYTES) };
}
