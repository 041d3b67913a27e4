import { inflatedBytes, inflateFrame } from './deflate.ts';
import { frameKinds } from './frame.ts';

/** Frames that wait behind one being inflated, in bytes as they will be then: above it nothing more is read. */
const WAITING_BYTES_MAX = 1024 * 1024;
/** What waiting takes beside the payload, so that empty frames are bounded, too. */
const WAITING_OVERHEAD_BYTES = 64;

export interface InboxOptions {
  /** Frames in the order of their arrival. The payload is borrowed. */
  frame(kind: number, payload: Buffer): void;
  /** What had waited was given; not called for frames given at once. */
  caughtUp(): void;
  /** Too much waits: stop reading, or go on. */
  holdBack(hold: boolean): void;
  /** Whatever inflating or `frame` threw. Nothing is given afterwards. */
  failed(error: unknown): void;
}

interface Waiting {
  readonly kind: number;
  readonly payload: Buffer;
}

/** Keeps frames in order while deflated ones among them are inflated off the main thread, one at a time. */
export class Inbox {
  readonly #options: InboxOptions;
  readonly #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #busy = false;
  #closed = false;

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  /** The payload is borrowed; it is copied where it has to wait. Throws what `frame` throws, and at a deflated one that is none. */
  take(kind: number, payload: Buffer): void {
    if (!this.#busy && kind !== frameKinds.deflated) {
      this.#options.frame(kind, payload);
      return;
    }
    this.#waiting.push({ kind, payload: Buffer.from(payload) });
    this.#waitingBytes += costOf(kind, payload);
    if (this.#waitingBytes > WAITING_BYTES_MAX) this.#options.holdBack(true);
    if (!this.#busy) void this.#work();
  }

  /** Nothing is given any more. */
  close(): void {
    this.#closed = true;
    this.#waiting.length = 0;
  }

  async #work(): Promise<void> {
    this.#busy = true;
    try {
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
        const { kind, payload } = next.kind === frameKinds.deflated ? await inflateFrame(next.payload) : next;
        if (this.#closed) return;
        this.#waitingBytes -= costOf(next.kind, next.payload);
        this.#options.frame(kind, payload);
        if (this.#waitingBytes <= WAITING_BYTES_MAX) this.#options.holdBack(false);
      }
      this.#busy = false;
      if (!this.#closed) this.#options.caughtUp();
    } catch (error) {
      this.close();
      this.#options.failed(error);
    }
  }
}

function costOf(kind: number, payload: Buffer): number {
  const bytes = kind === frameKinds.deflated ? inflatedBytes(payload) : payload.length;
  return bytes + WAITING_OVERHEAD_BYTES;
}
