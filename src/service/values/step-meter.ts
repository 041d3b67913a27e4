/** More steps were taken than are allowed. */
export class StepLimitError extends Error {
  override readonly name = 'StepLimitError';
}

/**
 * Bounds what somebody else's schema, rule or pattern may take, by counted steps: the same on every machine, unlike
 * time. A step is some 50 ns. One thing is measured at a time.
 */
export class StepMeter {
  #left = 0;
  #allowed = 0;

  /** Steps that may still be taken; never below 0. */
  get left(): number {
    return Math.max(0, this.#left);
  }

  /** Steps that the work before took. */
  get taken(): number {
    return this.#allowed - this.#left;
  }

  /** @throws StepLimitError out of `work` when it charges more than `steps` */
  run<Result>(steps: number, work: () => Result): Result {
    this.#allowed = steps;
    this.#left = steps;
    return work();
  }

  /** @throws StepLimitError */
  charge(steps: number): void {
    this.#left -= steps;
    if (this.#left < 0) throw new StepLimitError('too many steps');
  }
}
