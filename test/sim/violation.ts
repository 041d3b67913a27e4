/** Something the store must never do: what a checker found. */
export class Violation extends Error {
  override readonly name = 'Violation';
  /** The checker that found it. */
  readonly checker: string;

  constructor(checker: string, message: string) {
    super(`${checker}: ${message}`);
    this.checker = checker;
  }
}

/** Reports what a checker found; the run ends at the next event. */
export type Report = (violation: Violation) => void;
