/** What a flag says. */
const UNKNOWN = 0;
const DISABLED = 1;
const ENABLED = 2;

/**
 * Whether the store wants to know who is asking, in memory that threads share: whoever serves requests in another thread
 * than the store's need not ask it of every one of them. It is set in the store's thread before anybody hears of a
 * change, so that it is as fresh as the store's own answer.
 */
export class AuthFlag {
  /** To be given to the other thread, which makes its own flag of it. */
  readonly memory: SharedArrayBuffer;
  readonly #state: Int32Array;

  /** @param memory of the other thread's flag; default: a new one, which says nothing until it is set */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#state = new Int32Array(memory);
  }

  set(enabled: boolean): void {
    Atomics.store(this.#state, 0, enabled ? ENABLED : DISABLED);
  }

  /** Null = it was never set. */
  get enabled(): boolean | null {
    const state = Atomics.load(this.#state, 0);
    return state === UNKNOWN ? null : state === ENABLED;
  }
}
