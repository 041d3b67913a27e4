import type { KeyRange } from './key-index.ts';

/**
 * A set of keys as sorted ranges that neither overlap nor touch: two that stand side by side are one range here, and a
 * range that spans both is within it.
 */
export class KeyIntervals {
  readonly #ranges: readonly KeyRange[];

  /** @param ranges in any order; empty ones are ignored */
  constructor(ranges: Iterable<KeyRange>) {
    this.#ranges = merged([...ranges].filter(({ key, end }) => end === null || key < end));
  }

  /** The merged ranges in key order. */
  get ranges(): readonly KeyRange[] {
    return this.#ranges;
  }

  /**
   * Whether every key of `range` is in the set. A range that holds no key counts by its first one: nobody learns more
   * from it than from that key.
   */
  covers({ key, end }: KeyRange): boolean {
    const found = this.#at(key);
    if (found === undefined) return false;
    return found.end === null || (end !== null && end <= found.end);
  }

  has(key: string): boolean {
    return this.#at(key) !== undefined;
  }

  #at(key: string): KeyRange | undefined {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ranges[middle]!.key <= key) low = middle + 1;
      else high = middle;
    }
    const range = this.#ranges[low - 1];
    return range === undefined || (range.end !== null && range.end <= key) ? undefined : range;
  }
}

function merged(ranges: KeyRange[]): readonly KeyRange[] {
  ranges.sort((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key)));
  const result: KeyRange[] = [];
  for (const range of ranges) {
    const last = result.at(-1);
    if (last === undefined || (last.end !== null && last.end < range.key)) result.push(range);
    else result[result.length - 1] = { key: last.key, end: laterEnd(last.end, range.end) };
  }
  return result;
}

function laterEnd(a: string | null, b: string | null): string | null {
  if (a === null || b === null) return null;
  return a < b ? b : a;
}
