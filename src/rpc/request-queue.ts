/** A client whose requests wait for their handler may not send much beyond this many bytes. */
const WAITING_BYTES_MAX = 1024 * 1024;
/** What a message takes besides its bytes while it waits. */
export const WAITING_MESSAGE_BYTES = 128;

export interface RequestQueueOptions {
  /** More than the bound waits. */
  readonly onFull: () => void;
  /** That is over. */
  readonly onDrain: () => void;
  /** The handler took a message that held so many bytes, those of `WAITING_MESSAGE_BYTES` included. */
  readonly onTaken: (bytes: number) => void;
}

/** The requests of a stream, as its handler takes them. It never throws; it ends when the client or the call does. */
export class RequestQueue implements AsyncIterable<Buffer> {
  readonly #options: RequestQueueOptions;
  #messages: Buffer[] = [];
  #waitingBytes = 0;
  #ended = false;
  #wake: (() => void) | null = null;

  constructor(options: RequestQueueOptions) {
    this.#options = options;
  }

  push(message: Buffer): void {
    this.#messages.push(message);
    this.#waitingBytes += message.length + WAITING_MESSAGE_BYTES;
    if (this.#waitingBytes > WAITING_BYTES_MAX) this.#options.onFull();
    this.#notify();
  }

  /** What came before is still taken. */
  end(): void {
    this.#ended = true;
    this.#notify();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    for (;;) {
      const messages = this.#messages;
      this.#messages = [];
      for (const message of messages) {
        this.#took(message.length + WAITING_MESSAGE_BYTES);
        yield message;
      }
      if (this.#messages.length > 0) continue;
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #took(bytes: number): void {
    const wasFull = this.#waitingBytes > WAITING_BYTES_MAX;
    this.#waitingBytes -= bytes;
    this.#options.onTaken(bytes);
    if (wasFull && this.#waitingBytes <= WAITING_BYTES_MAX) this.#options.onDrain();
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = null;
  }
}
