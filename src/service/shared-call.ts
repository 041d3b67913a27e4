/**
 * One call for many who ask at the same time: whoever asks gets the answer of a call that began after they asked. At
 * most one is under way, and one waits behind it for everybody who has asked meanwhile.
 */
export class SharedCall<T> {
  readonly #call: () => Promise<T>;
  #running: Promise<T> | null = null;
  #next: Promise<T> | null = null;

  constructor(call: () => Promise<T>) {
    this.#call = call;
  }

  async ask(): Promise<T> {
    if (this.#running === null) return this.#start();
    this.#next ??= this.#after(this.#running);
    return this.#next;
  }

  async #after(running: Promise<T>): Promise<T> {
    await running.catch(() => undefined);
    this.#next = null;
    return this.#start();
  }

  async #start(): Promise<T> {
    const running = this.#call();
    this.#running = running;
    try {
      return await running;
    } finally {
      if (this.#running === running) this.#running = null;
    }
  }
}
