import type { Duplex } from 'node:stream';
import { type RawData, WebSocket } from 'ws';
import type { SharedBytes } from '../../../lib/shared-bytes.ts';
import type { Registration } from '../../../service/delivery/instances.ts';
import type { ConfigurationEvent } from '../../../service/events/event.ts';
import { ServiceError, type ServiceErrorCode } from '../../../service/service-error.ts';
import { reportOf } from './instance-report.ts';
import type { StreamLimits } from './limits.ts';
import type { Peer } from './live-stream.ts';
import { Outlet } from './outlet.ts';
import { bytesOf } from './sse-peer.ts';

/** Why a server ends a connection (RFC 6455, 7.4.1); from 4000 on its own: 4000 and the status of HTTP. */
export const CLOSE_CODES = {
  /** The server stops: another one goes on. */
  goingAway: 1001,
  /** The client does what it must not. */
  policyViolation: 1008,
  /** A bug of the server. */
  internal: 1011,
  /** Trying again may succeed, here or elsewhere. */
  tryAgainLater: 1013,
  unauthenticated: 4401,
  forbidden: 4403,
  /** What came after the cursor is not kept: everything is to be read anew. */
  gone: 4410,
} as const;

const BY_ERROR: Readonly<Partial<Record<ServiceErrorCode, number>>> = {
  unauthenticated: CLOSE_CODES.unauthenticated,
  forbidden: CLOSE_CODES.forbidden,
  gone: CLOSE_CODES.gone,
  unavailable: CLOSE_CODES.tryAgainLater,
  'too-many-requests': CLOSE_CODES.tryAgainLater,
};

/** Bytes of a reason (RFC 6455, 5.5). */
const REASON_BYTES_MAX = 123;

interface WebSocketPeerOptions {
  /** Below the WebSocket: whole messages are written past it, so that they are made once for all clients. */
  readonly raw: Duplex;
  readonly bytes: SharedBytes<ConfigurationEvent>;
  readonly limits: StreamLimits;
  /** Of the instance that takes the stream. */
  readonly registration: Registration | null;
}

/** A client with a WebSocket. */
export class WebSocketPeer implements Peer {
  readonly #socket: WebSocket;
  readonly #outlet: Outlet;
  readonly #options: WebSocketPeerOptions;
  #missed = 0;
  #messages = 0;

  constructor(socket: WebSocket, options: WebSocketPeerOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#outlet = new Outlet(options.raw, options.limits.stallMsMax);
    socket.on('pong', () => {
      this.#missed = 0;
    });
    socket.on('message', (data, isBinary) => this.#take(data, isBinary));
    // It is closed because of it.
    socket.on('error', () => undefined);
  }

  async send(events: readonly ConfigurationEvent[]): Promise<void> {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    await this.#outlet.write(this.#whileOpen(events));
  }

  beat(cursor: string | null): void {
    this.#messages = 0;
    // Whoever is still taking what was sent cannot see that it is asked; there is another bound for that.
    if (this.#outlet.isFull) return;
    if (this.#missed >= this.#options.limits.heartbeatsMissedMax) {
      this.#socket.terminate();
      return;
    }
    this.#missed += 1;
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.ping(cursor ?? '');
  }

  end(error: unknown): void {
    if (error === null) this.close(CLOSE_CODES.goingAway, 'the server stops');
    else if (error instanceof ServiceError) {
      this.close(BY_ERROR[error.code] ?? CLOSE_CODES.internal, error.message);
    } else this.close(CLOSE_CODES.internal, 'internal error');
  }

  close(code: number, reason: string): void {
    const bytes = Buffer.from(reason);
    // Cut where a character begins.
    let length = Math.min(bytes.length, REASON_BYTES_MAX);
    while (length < bytes.length && (bytes[length]! & 0xc0) === 0x80) length -= 1;
    this.#socket.close(code, bytes.subarray(0, length));
  }

  *#whileOpen(events: readonly ConfigurationEvent[]): Generator<Buffer> {
    for (const bytes of bytesOf(events, this.#options.bytes)) {
      // Nothing may follow the message that closes.
      if (this.#socket.readyState !== WebSocket.OPEN) return;
      yield bytes;
    }
  }

  #take(data: RawData, isBinary: boolean): void {
    const { registration, limits } = this.#options;
    this.#missed = 0;
    this.#messages += 1;
    if (this.#messages > limits.messagesMax) {
      this.close(CLOSE_CODES.policyViolation, 'too many messages');
      return;
    }
    if (registration === null) {
      this.close(CLOSE_CODES.policyViolation, 'no instance is registered with this stream');
      return;
    }
    try {
      const report = reportOf(isBinary || !Buffer.isBuffer(data) ? '' : data.toString());
      if (report.type === 'applied') registration.applied(report.revision);
      else registration.rejected(report.revision, report.reason);
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      this.close(CLOSE_CODES.policyViolation, error.message);
    }
  }
}
