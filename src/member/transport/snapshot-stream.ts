import type { MemberId } from '../../core/raft/messages.ts';
import { assert } from '../../lib/assert.ts';
import type { CancelSignal } from '../../lib/cancellation.ts';
import { abortError, StoreError } from '../../lib/errors.ts';
import type { Timer } from '../ports.ts';
import type { Connection } from './connection.ts';
import type { TransportContext } from './context.ts';
import { createDeferred } from './deferred.ts';
import { dial } from './dial.ts';
import { encodeFrame, frameKinds, ProtocolError } from './frame.ts';
import { decodeRefusal, encodeRefusal } from './handshake.ts';
import { SNAPSHOT_FRAME_BYTES_MAX } from './limits.ts';
import { Outbox } from './outbox.ts';

/**
 * One snapshot on a connection of its own: chunk frames, one end frame, and the receiver's verdict. The sender
 * reads its source only as fast as the receiver consumes. Both ends say periodically that they live, so that
 * neither a slow source nor a slow installation is taken for a dead peer.
 */

export interface SnapshotSenderOptions {
  readonly context: TransportContext;
  readonly to: MemberId;
  readonly url: string;
  /** Of the peer's heartbeat stream; undefined when it is not connected. */
  readonly roundTripMs: number | undefined;
}

/** The sending end. One object per snapshot. */
export class SnapshotSender {
  readonly #context: TransportContext;
  readonly #connection: Connection;
  readonly #peerRoundTripMs: number | undefined;
  #outbox: Outbox | null = null;
  readonly #established = createDeferred();
  readonly #verdict = createDeferred();
  #drained = createDeferred();
  #failure: StoreError | null = null;
  #endSent = false;
  #done = false;
  #heardMs: number;
  #timer: Timer;

  constructor(options: SnapshotSenderOptions) {
    const { context, to, url, roundTripMs } = options;
    this.#context = context;
    this.#peerRoundTripMs = roundTripMs;
    this.#heardMs = context.clock.nowMs();
    this.#connection = dial({
      context,
      url,
      stream: 'snapshot',
      self: context.identity,
      to,
      admit: (identity) => context.handlers.admit(identity),
      events: {
        established: () => this.#establish(),
        frame: (kind, payload) => this.#take(kind, payload),
        readEnd: () => {},
        drained: () => this.#progressed(),
        closed: (reason) => this.#fail(new StoreError('timeout-connection-lost', reason)),
      },
    });
    this.#timer = this.#armTimer();
  }

  /**
   * Sends every frame (at most SNAPSHOT_FRAME_BYTES_MAX each) and waits for the verdict. The source is always
   * closed.
   *
   * @throws StoreError `timeout-connection-lost` when the connection failed or fell silent, `unhealthy` with the
   *   receiver's reason when it refused, the signal's error when aborted, or whatever the source throws
   */
  async send(frames: AsyncIterable<Buffer>, signal: CancelSignal): Promise<void> {
    const abort = (): void => this.#fail(abortError(signal));
    signal.addEventListener('abort', abort, { once: true });
    try {
      if (signal.aborted) abort();
      await this.#established.promise;
      await this.#writeAll(frames[Symbol.asyncIterator]());
      this.#endSent = true;
      this.#outbox?.write(encodeFrame(frameKinds.snapshotEnd));
      await this.#verdict.promise;
    } finally {
      this.#done = true;
      signal.removeEventListener('abort', abort);
      this.#timer.cancel();
      this.#connection.close('the snapshot stream is over');
    }
  }

  /** A failure is heard while the source is still at work on its next frame, too. */
  async #writeAll(source: AsyncIterator<Buffer>): Promise<void> {
    let exhausted = false;
    try {
      for (;;) {
        const next = await Promise.race([source.next(), this.#verdict.promise]);
        if (next === undefined || next.done === true) {
          exhausted = true;
          return;
        }
        await this.#write(next.value);
      }
    } finally {
      // Not awaited: a source stuck in its next frame would hold the failure back.
      if (!exhausted) source.return?.().catch(() => {});
    }
  }

  async #write(frame: Buffer): Promise<void> {
    if (frame.length > SNAPSHOT_FRAME_BYTES_MAX) {
      throw new StoreError('request-too-large', 'a snapshot frame is over its bound');
    }
    if (this.#failure !== null) throw this.#failure;
    const outbox = this.#outbox;
    assert(outbox !== null, 'a snapshot is sent once its stream is established');
    this.#drained = createDeferred();
    outbox.write(encodeFrame(frameKinds.snapshotChunk, frame));
    if (outbox.pendingBytes > WRITE_AHEAD_BYTES) await this.#drained.promise;
    if (this.#failure !== null) throw this.#failure;
  }

  #establish(): void {
    const { clock, deflated } = this.#context;
    this.#outbox = new Outbox({
      connection: this.#connection,
      clock,
      roundTripMs: () => this.#peerRoundTripMs,
      deflated,
      progressed: () => this.#progressed(),
    });
    this.#established.resolve();
  }

  #progressed(): void {
    if (this.#outbox !== null && this.#outbox.pendingBytes <= WRITE_AHEAD_BYTES) this.#drained.resolve();
  }

  #take(kind: number, payload: Buffer): void {
    this.#heardMs = this.#context.clock.nowMs();
    if (kind === frameKinds.alive) return;
    if (kind === frameKinds.received) this.#outbox?.takeReport(payload);
    else if (kind === frameKinds.snapshotTaken && this.#endSent) this.#verdict.resolve();
    else if (kind === frameKinds.refusal) {
      this.#fail(new StoreError('unhealthy', `the peer refused the snapshot: ${decodeRefusal(payload)}`));
    } else throw new ProtocolError('a frame of this kind has no place on a snapshot stream');
  }

  #fail(failure: StoreError): void {
    if (this.#failure !== null) return;
    this.#failure = failure;
    this.#established.reject(failure);
    this.#verdict.reject(failure);
    this.#drained.resolve();
    this.#connection.close(failure.message);
  }

  #armTimer(): Timer {
    const { clock, limits } = this.#context;
    return clock.setTimer(() => {
      // The look at the sockets first: see setDeadline.
      clock.setImmediate(() => this.#checkAlive());
    }, limits.sweepIntervalMs);
  }

  #checkAlive(): void {
    if (this.#done || this.#failure !== null) return;
    const { clock, limits } = this.#context;
    if (clock.nowMs() - this.#heardMs >= limits.snapshotSilenceMs) {
      this.#fail(new StoreError('timeout-connection-lost', 'no sign of life from the receiver'));
      return;
    }
    if (this.#outbox?.pendingBytes === 0) this.#outbox.write(encodeFrame(frameKinds.alive));
    this.#timer = this.#armTimer();
  }
}

/** What the sender may read ahead of what has left: enough to keep a fast link busy. */
const WRITE_AHEAD_BYTES = 1024 * 1024;

type Arrival = { readonly chunk: Buffer } | 'end';

/** The receiving end of one connection. */
export class SnapshotReceiver {
  readonly #context: TransportContext;
  readonly #connection: Connection;
  readonly #from: MemberId;
  readonly #queue: Arrival[] = [];
  #queuedBytes = 0;
  #ended = false;
  #consumed = false;
  #failure: StoreError | null = null;
  #arrived = createDeferred();

  constructor(options: {
    readonly context: TransportContext;
    readonly connection: Connection;
    readonly from: MemberId;
  }) {
    this.#context = options.context;
    this.#connection = options.connection;
    this.#from = options.from;
  }

  /** Hands the snapshot to the member and sends the verdict. Resolves when the member is through with it. */
  async run(): Promise<void> {
    const { clock, limits, handlers, logger } = this.#context;
    const linger = { clock, lingerMs: limits.lingerMs };
    try {
      await handlers.snapshot(this.#from, this.#frames());
      if (!this.#consumed) throw new StoreError('unhealthy', 'the snapshot was not read to its end');
      this.#connection.write(encodeFrame(frameKinds.snapshotTaken));
      this.#connection.closeAfterFlush('the snapshot was taken', linger);
      logger.info({ peer: this.#from }, 'snapshot taken');
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      logger.warn({ peer: this.#from, reason: error.message }, 'snapshot not taken');
      this.#connection.write(encodeRefusal(error.message));
      this.#connection.closeAfterFlush('the snapshot was refused', linger);
    }
  }

  /** @throws ProtocolError on a frame out of place */
  take(kind: number, payload: Buffer): void {
    if (kind === frameKinds.alive) return;
    if (this.#ended) throw new ProtocolError('a frame follows the end of a snapshot');
    if (kind === frameKinds.snapshotChunk) this.#takeChunk(payload);
    else if (kind === frameKinds.snapshotEnd && payload.length === 0) {
      this.#ended = true;
      this.#queue.push('end');
    } else throw new ProtocolError('a frame of this kind has no place on a snapshot stream');
    this.#arrived.resolve();
  }

  /** Tells the sender that a long installation is still running. */
  sayAlive(): void {
    if (this.#connection.pendingBytes === 0) this.#connection.write(encodeFrame(frameKinds.alive));
  }

  /** The connection is gone: the member's reading of the rest fails. */
  fail(reason: string): void {
    this.#failure = new StoreError('timeout-connection-lost', reason);
    this.#arrived.resolve();
  }

  #takeChunk(payload: Buffer): void {
    if (payload.length > SNAPSHOT_FRAME_BYTES_MAX) throw new ProtocolError('a snapshot frame is too long');
    this.#queue.push({ chunk: Buffer.from(payload) });
    this.#queuedBytes += payload.length;
    if (this.#queuedBytes > this.#context.limits.snapshotReceiveBytesMax) this.#connection.pause(this);
  }

  async *#frames(): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      const arrival = this.#queue.shift();
      if (arrival === 'end') {
        this.#consumed = true;
        return;
      }
      if (arrival !== undefined) {
        this.#queuedBytes -= arrival.chunk.length;
        if (this.#queuedBytes <= this.#context.limits.snapshotReceiveBytesMax) this.#connection.resume(this);
        yield arrival.chunk;
      } else if (this.#failure !== null) throw this.#failure;
      else {
        this.#arrived = createDeferred();
        await this.#arrived.promise;
      }
    }
  }
}
