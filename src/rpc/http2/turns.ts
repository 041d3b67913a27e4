/** Streams that begin or end, on all connections, before the event loop turns: some 15 ms of work. */
const STREAMS_PER_TURN = 256;
/** Of one connection, while others wait. */
export const STREAMS_PER_SLICE = 64;

/**
 * Shares the event loop among connections: thousands of streams that begin or end at once are taken in slices, one
 * connection after the other, and everything else that the member does has its turn in between.
 */
export class Turns {
  #left = STREAMS_PER_TURN;
  #scheduled = false;
  /** In the order of asking. */
  readonly #waiting: (() => void)[] = [];

  /** No more streams in this turn: who has some must `wait`. */
  get isOver(): boolean {
    return this.#left <= 0;
  }

  /** A stream begins, or ends with its connection. */
  count(): void {
    this.#left -= 1;
    this.#schedule();
  }

  /** @param goOn takes a slice, and waits again for the next one */
  wait(goOn: () => void): void {
    this.#waiting.push(goOn);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#scheduled = false;
    this.#left = STREAMS_PER_TURN;
    // Who waits again meanwhile does so until the next turn.
    for (let count = this.#waiting.length; count > 0 && !this.isOver; count--) this.#waiting.shift()!();
    if (this.#waiting.length > 0) this.#schedule();
  }
}
