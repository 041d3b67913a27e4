/** Lets so many jobs run at a time; the others wait in the order they came. Who asks bounds how many wait. */
export class Limiter {
  readonly #runningMax: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(runningMax: number) {
    this.#runningMax = runningMax;
  }

  async run<T>(job: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#runningMax) {
      // Whoever ends hands its place on, so that nobody can slip in between.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running++;
    try {
      return await job();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
