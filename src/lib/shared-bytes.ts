/** In bytes: what is larger is made anew for each who takes it, and is not kept. */
export const ITEM_BYTES_MAX = 64 * 1024;

/**
 * Bytes that are made of things once, for all who take them in the same while. The oldest are forgotten when they are
 * more than `bytesMax` together.
 */
export class SharedBytes<T extends object> {
  readonly #make: (item: T) => Buffer;
  readonly #bytesMax: number;
  /** In the order in which they were made. */
  readonly #made = new Map<T, Buffer>();
  #bytes = 0;

  constructor(make: (item: T) => Buffer, bytesMax: number) {
    this.#make = make;
    this.#bytesMax = bytesMax;
  }

  of(item: T): Buffer {
    const known = this.#made.get(item);
    if (known !== undefined) return known;
    const made = this.#make(item);
    if (made.length > ITEM_BYTES_MAX) return made;
    this.#made.set(item, made);
    this.#bytes += made.length;
    while (this.#bytes > this.#bytesMax) {
      const [oldest, bytes] = this.#made.entries().next().value!;
      this.#made.delete(oldest);
      this.#bytes -= bytes.length;
    }
    return made;
  }
}
