/** Bytes that are held for as long as somebody wants, up to a bound; within the bound of a whole, for a part of one. */
export class HeldBytes {
  readonly #bytesMax: number;
  readonly #whole: HeldBytes | null;
  #bytes = 0;

  constructor(bytesMax: number, whole: HeldBytes | null = null) {
    this.#bytesMax = bytesMax;
    this.#whole = whole;
  }

  /** False when there is no room for them: none are taken then. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.#bytesMax) return false;
    if (this.#whole?.take(bytes) === false) return false;
    this.#bytes += bytes;
    return true;
  }

  /** Gives back some that were taken. */
  give(bytes: number): void {
    this.#bytes -= bytes;
    this.#whole?.give(bytes);
  }

  /** Gives back all that were taken here. */
  giveAll(): void {
    this.give(this.#bytes);
  }
}
