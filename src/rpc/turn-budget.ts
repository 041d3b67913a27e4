/** Calls begun or ended in one turn of the event loop; heartbeats and other clients are served between turns. */
const CALLS_PER_TURN = 256;

/**
 * Spreads the work that clients cause over turns of the event loop: a burst of thousands of new calls, or of calls
 * that end with their connections, must not keep the member from its heartbeats. Work is done in order.
 */
export class TurnBudget {
  readonly #queue: (() => number)[] = [];
  #left = CALLS_PER_TURN;
  #armed = false;

  /** @param work answers how many calls it began or ended; done now if this turn has room, else in a later one */
  run(work: () => number): void {
    if (this.#left <= 0 || this.#queue.length > 0) this.#queue.push(work);
    else this.#left -= work();
    if (this.#armed || (this.#left === CALLS_PER_TURN && this.#queue.length === 0)) return;
    this.#armed = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#left = CALLS_PER_TURN;
    let done = 0;
    while (this.#left > 0 && done < this.#queue.length) {
      this.#left -= this.#queue[done]!();
      done += 1;
    }
    this.#queue.splice(0, done);
    this.#armed = this.#queue.length > 0;
    if (this.#armed) setImmediate(() => this.#turn());
    else this.#left = CALLS_PER_TURN;
  }
}
