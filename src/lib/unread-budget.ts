/** Answers of all kinds that clients have not read, on all connections; what happens beyond stands at `UnreadBudget`. */
const UNREAD_BYTES_MAX = 512 * 1024 * 1024;

/** One client's part of them. It must be closed. */
export class Unread {
  readonly #budget: UnreadBudget;
  readonly #end: () => void;
  #bytes = 0;

  constructor(budget: UnreadBudget, end: () => void) {
    this.#budget = budget;
    this.#end = end;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** @param bytes fewer than none: they were read, or are not wanted any more */
  add(bytes: number): void {
    this.#bytes += bytes;
    this.#budget.add(bytes);
  }

  close(): void {
    this.add(-this.#bytes);
    this.#budget.forget(this);
  }

  /** Ends the client. */
  end(): void {
    this.#end();
    this.close();
  }
}

/**
 * Counts what waits for clients to read it, on all connections together. Beyond the bound the connection for which
 * most waits is ended, then the next, until there is room. Refusing new calls instead would free nothing: who does not
 * read would keep his share, and who does would be turned away. What was ended can be asked for again; a watch goes
 * on from the revision that its client has seen.
 *
 * It is looked at when the event loop has turned, so that what a client takes at once never counts.
 */
export class UnreadBudget {
  readonly #bytesMax: number;
  readonly #onEnd: (bytes: number) => void;
  readonly #clients = new Set<Unread>();
  #bytes = 0;
  #ended = 0;
  #scheduled = false;

  /** @param options.onEnd told of the bytes that a client had not read when it was ended for it */
  constructor(options: { readonly bytesMax?: number; readonly onEnd?: (bytes: number) => void } = {}) {
    this.#bytesMax = options.bytesMax ?? UNREAD_BYTES_MAX;
    this.#onEnd = options.onEnd ?? (() => undefined);
  }

  /** Bytes that wait now, and clients ended for it since the start. */
  get figures(): { readonly bytes: number; readonly ended: number } {
    return { bytes: this.#bytes, ended: this.#ended };
  }

  /** @param end closes the client's connection at once */
  open(end: () => void): Unread {
    const client = new Unread(this, end);
    this.#clients.add(client);
    return client;
  }

  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes <= this.#bytesMax || this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#check());
  }

  forget(client: Unread): void {
    this.#clients.delete(client);
  }

  #check(): void {
    this.#scheduled = false;
    while (this.#bytes > this.#bytesMax) {
      let most: Unread | null = null;
      for (const client of this.#clients) if (most === null || client.bytes > most.bytes) most = client;
      if (most === null || most.bytes === 0) return;
      this.#ended += 1;
      this.#onEnd(most.bytes);
      most.end();
    }
  }
}
