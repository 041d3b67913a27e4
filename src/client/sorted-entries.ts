/** Entries of one run; a run that grows beyond this is split in two. */
const RUN_MAX = 512;

/** What can be kept in order: `order` compares as the key's bytes do (one character for each byte). */
export interface Ordered {
  readonly order: string;
}

/**
 * Entries in the order of their keys, in runs of at most 512: an insertion moves half a run, a lookup is two binary
 * searches.
 */
export class SortedEntries<E extends Ordered> {
  /** None is empty. */
  #runs: E[][] = [];
  #size = 0;

  /** @param entries in order, each key once */
  constructor(entries: readonly E[] = []) {
    const length = RUN_MAX / 2;
    for (let at = 0; at < entries.length; at += length) this.#runs.push(entries.slice(at, at + length));
    this.#size = entries.length;
  }

  get size(): number {
    return this.#size;
  }

  find(order: string): E | undefined {
    const run = this.#runs[this.#runOf(order)];
    const found = run?.[lowerBound(run, order)];
    return found?.order === order ? found : undefined;
  }

  /** Takes the place of the entry with the same key, if there is one. */
  set(entry: E): void {
    const runAt = this.#runOf(entry.order);
    const run = this.#runs[runAt];
    if (run === undefined) {
      this.#runs.push([entry]);
      this.#size = 1;
      return;
    }
    const at = lowerBound(run, entry.order);
    const replaces = run[at]?.order === entry.order;
    run.splice(at, replaces ? 1 : 0, entry);
    if (!replaces) this.#size += 1;
    if (run.length > RUN_MAX) this.#runs.splice(runAt + 1, 0, run.splice(RUN_MAX / 2));
  }

  delete(order: string): void {
    const runAt = this.#runOf(order);
    const run = this.#runs[runAt];
    if (run === undefined) return;
    const at = lowerBound(run, order);
    if (run[at]?.order !== order) return;
    run.splice(at, 1);
    this.#size -= 1;
    if (run.length === 0) this.#runs.splice(runAt, 1);
  }

  /** Those from `from` on and before `end`, in order. @param end null = to the last */
  range(from: string, end: string | null): E[] {
    const found: E[] = [];
    for (let runAt = this.#runOf(from); runAt < this.#runs.length; runAt += 1) {
      const run = this.#runs[runAt]!;
      for (let at = lowerBound(run, from); at < run.length; at += 1) {
        if (end !== null && run[at]!.order >= end) return found;
        found.push(run[at]!);
      }
    }
    return found;
  }

  /** The last run that begins at or before the key, or the first. */
  #runOf(order: string): number {
    let low = 0;
    let high = this.#runs.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.#runs[middle]![0]!.order <= order) low = middle;
      else high = middle;
    }
    return low;
  }
}

function lowerBound<E extends Ordered>(run: readonly E[], order: string): number {
  let low = 0;
  let high = run.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (run[middle]!.order < order) low = middle + 1;
    else high = middle;
  }
  return low;
}
