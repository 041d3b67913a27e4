import { assert } from './assert.ts';

const SLOTS_MIN = 64;

/**
 * Values by numbers that count up, in that order: what waits for an answer and leaves when it has it, now and then out
 * of turn. A Map would do but for the collector: whenever one grows or shrinks, its old table points to its new one, so
 * that once a table has become old, whatever later ones ever held counts as alive until the next full collection.
 *
 * Takes eight bytes, or up to sixteen, for every number from the oldest that is there to the newest.
 */
export class SequenceMap<T extends object> {
  /** By number modulo its length, a power of two. */
  #slots: (T | null)[] = emptySlots(SLOTS_MIN);
  /** Below it there is nothing; `#end` is the number that comes next. */
  #first: number;
  #end: number;
  #size = 0;

  /** @param first the first number */
  constructor(first: number) {
    this.#first = first;
    this.#end = first;
  }

  get size(): number {
    return this.#size;
  }

  /** The number that `push` gives to the next value. */
  get next(): number {
    return this.#end;
  }

  push(value: T): void {
    if (this.#end - this.#first === this.#slots.length) this.#grow();
    this.#slots[this.#end & (this.#slots.length - 1)] = value;
    this.#end += 1;
    this.#size += 1;
  }

  get(number: number): T | undefined {
    if (number < this.#first || number >= this.#end) return undefined;
    return this.#slots[number & (this.#slots.length - 1)] ?? undefined;
  }

  /** Does nothing when there is no such value. */
  delete(number: number): void {
    if (this.get(number) === undefined) return;
    this.#slots[number & (this.#slots.length - 1)] = null;
    this.#size -= 1;
    while (this.#first < this.#end && this.get(this.#first) === undefined) this.#first += 1;
    assert(this.#size > 0 || this.#first === this.#end, 'an empty map has no first number');
  }

  /** Oldest first. What is deleted meanwhile is not given, what is added is. */
  *values(): Generator<T> {
    for (let number = this.#first; number < this.#end; number++) {
      const value = this.get(number);
      if (value !== undefined) yield value;
    }
  }

  #grow(): void {
    const slots = emptySlots<T>(2 * this.#slots.length);
    for (let number = this.#first; number < this.#end; number++) {
      slots[number & (slots.length - 1)] = this.get(number) ?? null;
    }
    this.#slots = slots;
  }
}

function emptySlots<T>(length: number): (T | null)[] {
  return Array.from({ length }, () => null);
}
