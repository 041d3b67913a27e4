/** A client whose requests wait for their handler may not send much beyond this many bytes. */
const WAITING_BYTES_MAX = 1024 * 1024;

/** The requests of a stream, as its handler takes them. It never throws; it ends when the client or the call does. */
export class RequestQueue implements AsyncIterable<Buffer> {
  readonly #options: { readonly onFull: () => void; readonly onDrain: () => void };
  #messages: Buffer[] = [];
  #waitingBytes = 0;
  #ended = false;
  #wake: (() => void) | null = null;

  /** @param options `onFull` when more than the bound waits, `onDrain` when that is over */
  constructor(options: { readonly onFull: () => void; readonly onDrain: () => void }) {
    this.#options = options;
  }

  push(message: Buffer): void {
    this.#messages.push(message);
    this.#waitingBytes += message.length;
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
        this.#took(message.length);
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
    if (wasFull && this.#waitingBytes <= WAITING_BYTES_MAX) this.#options.onDrain();
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = null;
  }
}
