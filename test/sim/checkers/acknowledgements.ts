/** The writes that members have acknowledged, by the simulator's own clock: what nobody may be ignorant of for long. */
export class Acknowledgements {
  /** When each revision was acknowledged that is higher than all that were before: both only rise. */
  readonly #sent: { readonly atMs: number; readonly revision: number }[] = [];

  /** A member answers a write that made this revision. To be told in the order of time. */
  acknowledged(revision: number, atMs: number): void {
    if (revision > (this.#sent.at(-1)?.revision ?? 1)) this.#sent.push({ atMs, revision });
  }

  /** The highest revision that was acknowledged before an instant; 1, that of the empty store, when none was. */
  before(atMs: number): number {
    let low = 0;
    let high = this.#sent.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#sent[middle]!.atMs < atMs) low = middle + 1;
      else high = middle;
    }
    return this.#sent[low - 1]?.revision ?? 1;
  }

  /** When this revision, or a higher one, was first acknowledged; undefined when none was. */
  whenAcknowledged(revision: number): number | undefined {
    return this.#sent.find((each) => each.revision >= revision)?.atMs;
  }
}
