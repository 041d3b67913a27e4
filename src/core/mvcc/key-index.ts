import { assert } from '../../lib/assert.ts';

/** Keys on one leaf before it splits. */
const LEAF_KEYS_MAX = 256;
/** Two neighbouring leaves with no more keys than this together are joined after a removal. */
const LEAF_KEYS_JOIN = 128;

/** A range of keys as latin1 text, whose order is byte order. `end` is exclusive; null = no end. */
export interface KeyRange {
  readonly key: string;
  readonly end: string | null;
}

/**
 * The ordered index: key -> slot of its newest row. Sorted leaves below one flat directory. A leaf counts its live
 * keys, so that counting a range costs two partial leaves and one addition per leaf between.
 *
 * Writing goes through a position: `seek`, then `head`, `replace` or `insert`. Any other call invalidates it.
 */
export class KeyIndex {
  readonly #isLive: (slot: number) => boolean;
  readonly #leaves: Leaf[] = [];
  /** The first key of every leaf, for the search. */
  readonly #firsts: string[] = [];
  #liveCount = 0;
  #size = 0;
  #leafAt = 0;
  #at = 0;
  #found = false;

  /** @param isLive tells whether a key whose newest row is in this slot counts */
  constructor(isLive: (slot: number) => boolean) {
    this.#isLive = isLive;
  }

  /** Keys whose newest row is live. */
  get liveCount(): number {
    return this.#liveCount;
  }
  /** All keys, with those whose tombstone is not compacted. */
  get size(): number {
    return this.#size;
  }

  /** Goes to the key and tells whether it is there. */
  seek(key: string): boolean {
    this.#leafAt = this.#findLeaf(key);
    const leaf = this.#leaves[this.#leafAt];
    if (leaf === undefined) {
      this.#at = 0;
      return (this.#found = false);
    }
    this.#at = lowerBound(leaf.keys, key);
    return (this.#found = this.#at < leaf.keys.length && leaf.keys[this.#at] === key);
  }
  /** The slot at a position that was found. */
  head(): number {
    assert(this.#found, 'the head of a key that was not found');
    return this.#leaves[this.#leafAt]!.heads[this.#at]!;
  }
  /** The key at a position that was found: the one string that all its rows share. */
  key(): string {
    assert(this.#found, 'the text of a key that was not found');
    return this.#leaves[this.#leafAt]!.keys[this.#at]!;
  }
  /** Gives the found key a new newest row. Must run while the old one can still be told live or not. */
  replace(slot: number): void {
    assert(this.#found, 'a replacement of a key that was not found');
    const leaf = this.#leaves[this.#leafAt]!;
    const change = Number(this.#isLive(slot)) - Number(this.#isLive(leaf.heads[this.#at]!));
    leaf.heads[this.#at] = slot;
    leaf.live += change;
    this.#liveCount += change;
  }
  /** Adds the key that `seek` did not find. */
  insert(key: string, slot: number): void {
    assert(!this.#found, 'an insertion of a key that is there');
    if (this.#leaves.length === 0) this.#addLeaf(0, newLeaf());
    const leaf = this.#roomAt();
    const size = leaf.keys.length;
    if (this.#at === size) leaf.keys.push(key);
    else leaf.keys.splice(this.#at, 0, key);
    leaf.heads.copyWithin(this.#at + 1, this.#at, size);
    leaf.heads[this.#at] = slot;
    if (this.#at === 0) this.#firsts[this.#leafAt] = key;
    const live = Number(this.#isLive(slot));
    leaf.live += live;
    this.#liveCount += live;
    this.#size++;
    this.#found = true;
  }
  /** Takes the found key out. Must run while its newest row can still be told live or not. */
  remove(): void {
    assert(this.#found, 'a removal of a key that was not found');
    const leaf = this.#leaves[this.#leafAt]!;
    const live = Number(this.#isLive(leaf.heads[this.#at]!));
    leaf.keys.splice(this.#at, 1);
    leaf.heads.copyWithin(this.#at, this.#at + 1, leaf.keys.length + 1);
    leaf.live -= live;
    this.#liveCount -= live;
    this.#size--;
    this.#found = false;
    if (leaf.keys.length === 0) this.#dropLeaf(this.#leafAt);
    else {
      this.#firsts[this.#leafAt] = leaf.keys[0]!;
      this.#joinWithNext(this.#leafAt);
      if (this.#leafAt > 0) this.#joinWithNext(this.#leafAt - 1);
    }
  }

  /** The newest row of one key, or null. */
  get(key: string): number | null {
    return this.seek(key) ? this.head() : null;
  }

  /** Visits keys of the range in order until `visit` returns false. It must not change the index. */
  visit(range: KeyRange, visit: (slot: number) => boolean): void {
    const leaves = this.#leaves;
    const { key, end } = range;
    for (let i = this.#findLeaf(key), first = true; i < leaves.length; i++, first = false) {
      const { keys, heads } = leaves[i]!;
      const whole = end === null || (i + 1 < leaves.length && this.#firsts[i + 1]! <= end);
      const stop = whole ? keys.length : lowerBound(keys, end);
      for (let at = first ? lowerBound(keys, key) : 0; at < stop; at++) {
        if (!visit(heads[at]!)) return;
      }
      if (!whole) return;
    }
  }

  /** How many keys of the range have a live newest row. */
  countLive(range: KeyRange): number {
    const leaves = this.#leaves;
    const { key, end } = range;
    let count = 0;
    for (let i = this.#findLeaf(key), first = true; i < leaves.length; i++, first = false) {
      const leaf = leaves[i]!;
      const whole = end === null || (i + 1 < leaves.length && this.#firsts[i + 1]! <= end);
      const start = first ? lowerBound(leaf.keys, key) : 0;
      if (whole && start === 0) count += leaf.live;
      else count += this.#countLeaf(leaf, start, whole ? leaf.keys.length : lowerBound(leaf.keys, end));
      if (!whole) break;
    }
    return count;
  }

  #countLeaf(leaf: Leaf, start: number, stop: number): number {
    let count = 0;
    for (let at = start; at < stop; at++) {
      if (this.#isLive(leaf.heads[at]!)) count++;
    }
    return count;
  }

  /** The leaf where the key is or belongs: the last one that begins at or before it, or the first. */
  #findLeaf(key: string): number {
    const firsts = this.#firsts;
    let low = 0;
    let high = firsts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (firsts[middle]! <= key) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? 0 : low - 1;
  }

  /** The leaf at the position, split before when it is full; the position follows. */
  #roomAt(): Leaf {
    const leaf = this.#leaves[this.#leafAt]!;
    if (leaf.keys.length < LEAF_KEYS_MAX) return leaf;
    // Keys that arrive in ascending order leave full leaves behind instead of half-empty ones.
    const appending = this.#at === LEAF_KEYS_MAX && this.#leafAt === this.#leaves.length - 1;
    const half = appending ? LEAF_KEYS_MAX : LEAF_KEYS_MAX >>> 1;
    const right = newLeaf();
    right.keys = leaf.keys.slice(half);
    right.heads.set(leaf.heads.subarray(half));
    right.live = this.#countLeaf(right, 0, right.keys.length);
    leaf.keys = leaf.keys.slice(0, half);
    leaf.live -= right.live;
    this.#addLeaf(this.#leafAt + 1, right);
    if (this.#at < half || (this.#at === half && !appending)) return leaf;
    this.#leafAt++;
    this.#at -= half;
    return right;
  }

  #joinWithNext(at: number): void {
    const left = this.#leaves[at]!;
    const right = this.#leaves[at + 1];
    if (right === undefined || left.keys.length + right.keys.length > LEAF_KEYS_JOIN) return;
    left.heads.set(right.heads.subarray(0, right.keys.length), left.keys.length);
    left.keys = left.keys.concat(right.keys);
    left.live += right.live;
    this.#dropLeaf(at + 1);
  }

  #addLeaf(at: number, leaf: Leaf): void {
    this.#leaves.splice(at, 0, leaf);
    this.#firsts.splice(at, 0, leaf.keys[0] ?? '');
  }

  #dropLeaf(at: number): void {
    this.#leaves.splice(at, 1);
    this.#firsts.splice(at, 1);
  }
}

interface Leaf {
  keys: string[];
  readonly heads: Uint32Array;
  live: number;
}

function newLeaf(): Leaf {
  return { keys: [], heads: new Uint32Array(LEAF_KEYS_MAX), live: 0 };
}

/** The first position whose key is at or after `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
