import type { Socket } from 'node:net';
import { MalformedError } from '../../lib/packed.ts';
import type { Clock, Timer } from '../ports.ts';
import { type Frame, FrameDecoder } from './frame.ts';
import { Inbox } from './inbox.ts';

const KEEPALIVE_DELAY_MS = 10_000;

/** What the user of a connection hears from it. Nothing but `closed` comes after `close` was called. */
export interface ConnectionEvents {
  /** The payload is borrowed: valid until this returns. A MalformedError thrown here closes the connection. */
  frame(kind: number, payload: Buffer): void;
  /** All frames of one socket read were given, but for those that wait for one being inflated. */
  readEnd(): void;
  /** Everything written has left this process. */
  drained(): void;
  /** Once, at the end; `reason` is for people. */
  closed(reason: string): void;
}

/** Frames over one TCP connection. What is written in one turn of the event loop leaves in one system call. */
export class Connection {
  readonly #socket: Socket;
  readonly #decoder: FrameDecoder;
  readonly #events: ConnectionEvents;
  readonly #ended: Promise<void>;
  #reason: string | null = null;
  #corked = false;
  #inbox: Inbox | null = null;
  #writtenBytes = 0;
  #readBytes = 0;
  /** Who wants nothing to be read now. */
  readonly #holders = new Set<object>();
  #lingerTimer: Timer | null = null;

  constructor(
    socket: Socket,
    options: { readonly events: ConnectionEvents; readonly payloadBytesMax: number },
  ) {
    this.#socket = socket;
    this.#events = options.events;
    this.#decoder = new FrameDecoder(options.payloadBytesMax);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEPALIVE_DELAY_MS);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('drain', () => {
      if (this.open) this.#events.drained();
    });
    let failure = 'the peer closed the connection';
    socket.on('error', (error) => {
      failure = error.message;
    });
    this.#ended = new Promise((resolve) => {
      socket.on('close', () => {
        this.#lingerTimer?.cancel();
        this.#inbox?.close();
        this.#reason ??= failure;
        resolve();
        this.#events.closed(this.#reason);
      });
    });
  }

  /** False once it was closed by either side. */
  get open(): boolean {
    return this.#reason === null && !this.#socket.destroyed;
  }

  /** Bytes written that have not left this process. */
  get pendingBytes(): number {
    return this.#socket.writableLength;
  }

  /** Bytes written since the start. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** Bytes read since the start. */
  get readBytes(): number {
    return this.#readBytes;
  }

  /** Resolves after `closed`, when the operating system's handle is gone. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /**
   * The handshake is through: longer frames may come, and deflated ones, which `frame` sees inflated. `readEnd` is
   * called once more when all that had waited for them was given.
   */
  trust(payloadBytesMax: number): void {
    this.#decoder.setPayloadBytesMax(payloadBytesMax);
    const inbox = new Inbox({
      frame: (kind, payload) => this.#events.frame(kind, payload),
      caughtUp: () => {
        if (this.open) this.#events.readEnd();
      },
      holdBack: (hold) => {
        if (hold) this.pause(inbox);
        else this.resume(inbox);
      },
      failed: (error) => this.#failed(error),
    });
    this.#inbox = inbox;
  }

  /** Never waits; the caller bounds `pendingBytes`. Nothing is written to a closed connection. */
  write(frame: Frame): void {
    if (!this.open) return;
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.#socket.uncork();
      });
    }
    this.#writtenBytes += frame.sizeBytes;
    for (const part of frame.parts) this.#socket.write(part);
  }

  /** Stops reading until `holder`, and whoever else did so, has called `resume`; frames already read still come. */
  pause(holder: object): void {
    this.#holders.add(holder);
    this.#socket.pause();
  }

  resume(holder: object): void {
    if (this.#holders.delete(holder) && this.#holders.size === 0 && this.open) this.#socket.resume();
  }

  get paused(): boolean {
    return this.#socket.isPaused();
  }

  /** Ends at once; unsent bytes are lost. */
  close(reason: string): void {
    this.#reason ??= reason;
    this.#inbox?.close();
    this.#socket.destroy();
  }

  /** Reads no more, sends what is written, then ends; at the latest after `lingerMs`. */
  closeAfterFlush(reason: string, linger: { readonly clock: Clock; readonly lingerMs: number }): void {
    if (!this.open) return;
    this.#reason = reason;
    this.#inbox?.close();
    this.#socket.destroySoon();
    this.#lingerTimer = linger.clock.setTimer(() => this.#socket.destroy(), linger.lingerMs);
  }

  #read(chunk: Buffer): void {
    if (!this.open) return;
    this.#readBytes += chunk.length;
    try {
      this.#decoder.push(chunk, (kind, payload) => {
        if (!this.open) return;
        if (this.#inbox === null) this.#events.frame(kind, payload);
        else this.#inbox.take(kind, payload);
      });
    } catch (error) {
      this.#failed(error);
    }
    if (this.open) this.#events.readEnd();
  }

  /** A handler's own failure is a bug and goes on up; what the peer did wrong ends only this connection. */
  #failed(error: unknown): void {
    if (!(error instanceof MalformedError)) throw error;
    this.close(`broken protocol: ${error.message}`);
  }
}
