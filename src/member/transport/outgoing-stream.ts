import type { MemberId } from '../../core/raft/messages.ts';
import type { RoundTrip, Timer } from '../ports.ts';
import { Backoff } from './backoff.ts';
import type { Connection } from './connection.ts';
import type { TransportContext } from './context.ts';
import { dial } from './dial.ts';
import { encodeFrame, type Frame, frameKinds, ProtocolError } from './frame.ts';
import type { StreamKind } from './handshake.ts';
import { Outbox } from './outbox.ts';
import { RoundTripMeter } from './round-trip-meter.ts';

export interface OutgoingStreamOptions {
  readonly context: TransportContext;
  readonly to: MemberId;
  readonly stream: Exclude<StreamKind, 'snapshot' | 'probe'>;
  readonly urls: readonly string[];
  /** Unsent bytes; a frame over it is dropped, unless nothing else waits. */
  readonly queueBytesMax: number;
  /** The connection is given up when a ping stays unanswered and nothing is said to arrive for this long. */
  readonly pingTimeoutMs: number;
  /** A frame from the listener's side, other than pongs. The payload is borrowed. */
  onFrame(kind: number, payload: Buffer): void;
  /** What was written and has not been answered is lost. */
  onDown(outcome: StreamOutcome): void;
}

/** How a connection, or the attempt to get one, ended. */
export interface StreamOutcome {
  /** False: nothing of what was written was ever sent. */
  readonly established: boolean;
  /** The peer did not answer pings: its other connections are likely dead too. */
  readonly silent: boolean;
}

type State =
  | { readonly type: 'connecting'; readonly link: Link; readonly waiting: Frame[]; waitingBytes: number }
  | { readonly type: 'established'; readonly link: Link; readonly sinceMs: number; readonly outbox: Sink }
  | { readonly type: 'backing-off'; readonly timer: Timer }
  /** Given up in peace: what the outbox still holds goes out as the peer's reports let it. */
  | { readonly type: 'flushing'; readonly link: Link; readonly outbox: Outbox; readonly end: Ending }
  | { readonly type: 'closed' };
interface Link {
  readonly connection: Connection;
  readonly url: string;
}
/** How a connection given up in peace ends, and when at the latest. */
interface Ending {
  readonly reason: string;
  readonly untilMs: number;
  readonly timer: Timer;
}
/** Where frames go: through an outbox, or for what is small and must never wait straight into the connection. */
type Sink = Pick<Outbox, 'write' | 'pendingBytes'>;
interface Ping {
  readonly token: number;
  readonly sentMs: number;
}

const SILENT = 'no sign of life from the peer';

/**
 * One ordered stream to one member: dials, dials again after every end with growing delays, pings, and takes
 * frames up to a bound. A frame is sent at most once: what a broken connection held is gone.
 */
export class OutgoingStream {
  readonly #options: OutgoingStreamOptions;
  readonly #backoff: Backoff;
  #urls: readonly string[];
  #attempt = 0;
  #state: State;
  #pingTimer: Timer | null = null;
  #ping: Ping | null = null;
  #pingToken = 0;
  /** When the peer last showed life. */
  #aliveMs = 0;
  #meter = new RoundTripMeter();
  #lastReason = '';

  constructor(options: OutgoingStreamOptions) {
    const { random, limits } = options.context;
    this.#options = options;
    this.#urls = options.urls;
    this.#backoff = new Backoff(random, { msMin: limits.backoffMsMin, msMax: limits.backoffMsMax });
    this.#state = this.#connect();
  }

  /** The handshake is through and the connection lives. */
  get established(): boolean {
    return this.#state.type === 'established' && this.#state.link.connection.open;
  }

  /** False while a written frame would surely be dropped: nothing is connected, nor being connected. */
  get accepting(): boolean {
    return this.established || this.#state.type === 'connecting';
  }

  /** Of the answered pings on the present connection. */
  get roundTrip(): RoundTrip | undefined {
    return this.established ? this.#meter.roundTrip : undefined;
  }

  /** Takes the frame, or returns false: dropped for want of a connection or of room. */
  write(frame: Frame): boolean {
    const state = this.#state;
    const bytesMax = this.#options.queueBytesMax;
    if (state.type === 'connecting') {
      if (state.waitingBytes > 0 && state.waitingBytes + frame.sizeBytes > bytesMax) return false;
      state.waiting.push(frame);
      state.waitingBytes += frame.sizeBytes;
      return true;
    }
    if (state.type !== 'established' || !state.link.connection.open) return false;
    const { outbox } = state;
    if (outbox.pendingBytes > 0 && outbox.pendingBytes + frame.sizeBytes > bytesMax) return false;
    outbox.write(frame);
    return true;
  }

  /** The member's addresses changed: a connection to one that is gone ends and is dialed anew. */
  setUrls(urls: readonly string[]): void {
    this.#urls = urls;
    const state = this.#state;
    if ((state.type === 'connecting' || state.type === 'established') && !urls.includes(state.link.url)) {
      state.link.connection.close('the peer has another address now');
    }
  }

  /** The peer was just heard of: a new attempt is made now instead of after the delay. */
  wake(): void {
    if (this.#state.type !== 'backing-off') return;
    this.#state.timer.cancel();
    this.#state = this.#connect();
  }

  /** Breaks the present connection, as when another stream found the peer gone. */
  reset(reason: string): void {
    if (this.#state.type === 'established') this.#state.link.connection.close(reason);
  }

  /** No more attempts; what was written is still handed over, within `lingerMs`, unless `abrupt`. */
  close(reason: string, manner: 'abrupt' | 'after-flush'): void {
    const state = this.#state;
    if (state.type === 'closed' || state.type === 'flushing') return;
    this.#state = { type: 'closed' };
    this.#pingTimer?.cancel();
    if (state.type === 'backing-off') {
      state.timer.cancel();
      return;
    }
    const { link } = state;
    if (manner === 'abrupt' || state.type === 'connecting') link.connection.close(reason);
    else this.#flush(link, state.outbox, reason);
    this.#options.onDown({ established: state.type === 'established', silent: false });
  }

  #flush(link: Link, outbox: Sink, reason: string): void {
    const { clock, limits } = this.#options.context;
    const { lingerMs } = limits;
    if (!(outbox instanceof Outbox) || outbox.queuedBytes === 0) {
      link.connection.closeAfterFlush(reason, { clock, lingerMs });
      return;
    }
    const timer = clock.setTimer(() => link.connection.close(reason), lingerMs);
    this.#state = {
      type: 'flushing',
      link,
      outbox,
      end: { reason, untilMs: clock.nowMs() + lingerMs, timer },
    };
  }

  /** The last of the outbox may just have been handed over to the connection, which has yet to send it. */
  #progressed(): void {
    const state = this.#state;
    if (state.type !== 'flushing' || state.outbox.queuedBytes > 0) return;
    const { clock } = this.#options.context;
    const { reason, untilMs, timer } = state.end;
    timer.cancel();
    this.#state = { type: 'closed' };
    const lingerMs = Math.max(0, untilMs - clock.nowMs());
    state.link.connection.closeAfterFlush(reason, { clock, lingerMs });
  }

  #connect(): State {
    const { context, to, stream } = this.#options;
    const url = this.#urls[this.#attempt % this.#urls.length]!;
    this.#attempt++;
    const connection = dial({
      context,
      url,
      stream,
      self: context.identity,
      to,
      admit: (identity) => context.handlers.admit(identity),
      events: {
        established: () => this.#establish(),
        frame: (kind, payload) => this.#take(kind, payload),
        readEnd: () => {},
        drained: () => {},
        closed: (reason) => this.#lose(connection, reason),
      },
    });
    return { type: 'connecting', link: { connection, url }, waiting: [], waitingBytes: 0 };
  }

  #take(kind: number, payload: Buffer): void {
    if (kind === frameKinds.received) this.#takeReport(payload);
    else if (kind === frameKinds.pong) this.#takePong(payload);
    // Answers that come while it is flushed are nobody's any more.
    else if (this.#state.type !== 'flushing') this.#options.onFrame(kind, payload);
  }

  #establish(): void {
    const state = this.#state;
    if (state.type !== 'connecting') return;
    const { clock, logger } = this.#options.context;
    const outbox = this.#sinkOf(state.link.connection);
    this.#state = { type: 'established', link: state.link, sinceMs: clock.nowMs(), outbox };
    for (const frame of state.waiting) outbox.write(frame);
    this.#lastReason = '';
    this.#ping = null;
    this.#meter = new RoundTripMeter();
    this.#aliveMs = clock.nowMs();
    this.#sendPing(state.link.connection, outbox);
    logger.info({ ...this.#label(), url: state.link.url }, 'stream to peer established');
  }

  #sinkOf(connection: Connection): Sink {
    const { context, stream } = this.#options;
    if (stream === 'heartbeat') return connection;
    const { clock, deflated } = context;
    return new Outbox({
      connection,
      clock,
      roundTripMs: () => this.#meter.roundTrip?.smoothedMs,
      deflated,
      progressed: () => this.#progressed(),
    });
  }

  #lose(connection: Connection, reason: string): void {
    const state = this.#state;
    if (state.type === 'flushing') {
      state.end.timer.cancel();
      this.#state = { type: 'closed' };
    }
    if (state.type !== 'connecting' && state.type !== 'established') return;
    if (state.link.connection !== connection) return;
    const { clock } = this.#options.context;
    const established = state.type === 'established';
    this.#pingTimer?.cancel();
    // A connection that held longer than the longest delay was a good one; anything shorter keeps backing off.
    const { backoffMsMax } = this.#options.context.limits;
    if (established && clock.nowMs() - state.sinceMs >= backoffMsMax) this.#backoff.reset();
    const timer = clock.setTimer(() => {
      this.#state = this.#connect();
    }, this.#backoff.nextMs());
    this.#state = { type: 'backing-off', timer };
    this.#logLoss(established, reason);
    this.#options.onDown({ established, silent: reason === SILENT });
  }

  /** Repeated failures for the same reason are news only once. */
  #logLoss(established: boolean, reason: string): void {
    const { logger } = this.#options.context;
    const fields = { ...this.#label(), reason };
    if (established) logger.warn(fields, 'stream to peer lost');
    else if (reason !== this.#lastReason) logger.warn(fields, 'cannot reach peer');
    else logger.debug(fields, 'still cannot reach peer');
    this.#lastReason = reason;
  }

  #sendPing(connection: Connection, outbox: Sink): void {
    const { clock, limits } = this.#options.context;
    if (this.#ping === null) {
      this.#pingToken++;
      this.#ping = { token: this.#pingToken, sentMs: clock.nowMs() };
      outbox.write(encodePing(this.#pingToken));
    }
    this.#pingTimer = clock.setTimer(() => this.#checkAlive(connection, outbox), limits.pingIntervalMs);
  }

  #checkAlive(connection: Connection, outbox: Sink): void {
    if (!connection.open) return;
    const { clock } = this.#options.context;
    const silent = (): boolean =>
      this.#ping !== null &&
      clock.nowMs() - Math.max(this.#aliveMs, this.#ping.sentMs) >= this.#options.pingTimeoutMs;
    if (silent()) {
      // After a stall of this process timers run before sockets: the answer may already be here.
      clock.setImmediate(() => {
        if (connection.open && silent()) connection.close(SILENT);
      });
    }
    this.#sendPing(connection, outbox);
  }

  /** A ping may wait long behind bulk data: as long as that arrives, the peer lives and the link moves. */
  #takeReport(payload: Buffer): void {
    if (this.#state.type !== 'established' && this.#state.type !== 'flushing') return;
    const { outbox } = this.#state;
    if (!(outbox instanceof Outbox)) throw new ProtocolError('a report on a stream without a window');
    outbox.takeReport(payload);
    this.#aliveMs = this.#options.context.clock.nowMs();
  }

  /** A pong for anything but the last ping is late news of an abandoned one, and ignored. */
  #takePong(payload: Buffer): void {
    const ping = this.#ping;
    if (ping === null || this.#state.type !== 'established') return;
    if (payload.length !== PING_BYTES || payload.readUInt32BE(0) !== ping.token % TOKEN_BOUND) return;
    this.#ping = null;
    this.#aliveMs = this.#options.context.clock.nowMs();
    this.#meter.note(this.#aliveMs - ping.sentMs);
  }

  #label(): { readonly peer: MemberId; readonly stream: StreamKind } {
    return { peer: this.#options.to, stream: this.#options.stream };
  }
}

/** A ping's payload is a u32 token, which the pong repeats. */
export const PING_BYTES = 4;
const TOKEN_BOUND = 2 ** 32;

function encodePing(token: number): Frame {
  const payload = Buffer.allocUnsafe(PING_BYTES);
  payload.writeUInt32BE(token % TOKEN_BOUND);
  return encodeFrame(frameKinds.ping, payload);
}
