import { assert } from '../../lib/assert.ts';

/**
 * The append messages sent to one follower and not yet answered: a window bounded by count and by bytes, so that a
 * slow follower costs bounded memory. Bytes are a threshold: one message may exceed it, the next one waits.
 */
export class Inflights {
  readonly #messagesMax: number;
  readonly #bytesMax: number;
  /** Ring buffers, grown on demand: last index and bytes of each message, oldest at `#start`. */
  readonly #lastIndexes: number[] = [];
  readonly #sizes: number[] = [];
  #start = 0;
  #count = 0;
  #bytes = 0;

  constructor(limits: { readonly messagesMax: number; readonly bytesMax: number }) {
    assert(limits.messagesMax > 0, 'an append window holds at least one message');
    this.#messagesMax = limits.messagesMax;
    this.#bytesMax = limits.bytesMax;
  }

  get count(): number {
    return this.#count;
  }

  get full(): boolean {
    return this.#count === this.#messagesMax || (this.#count > 0 && this.#bytes >= this.#bytesMax);
  }

  /** Remembers a sent message by the index of its last entry. Indexes ascend. */
  add(message: { readonly lastIndex: number; readonly bytes: number }): void {
    assert(!this.full, 'append sent beyond a full window');
    const slot = (this.#start + this.#count) % this.#messagesMax;
    this.#lastIndexes[slot] = message.lastIndex;
    this.#sizes[slot] = message.bytes;
    this.#count += 1;
    this.#bytes += message.bytes;
  }

  /** Frees every message whose last entry is at or below `index`. */
  freeTo(index: number): void {
    while (this.#count > 0 && this.#lastIndexes[this.#start]! <= index) {
      this.#bytes -= this.#sizes[this.#start]!;
      this.#start = (this.#start + 1) % this.#messagesMax;
      this.#count -= 1;
    }
  }

  clear(): void {
    this.#start = 0;
    this.#count = 0;
    this.#bytes = 0;
  }
}
