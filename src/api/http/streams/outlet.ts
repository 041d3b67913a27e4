import type { Writable } from 'node:stream';

/** Bytes that are put together before they are written. */
const GATHERED_BYTES = 64 * 1024;

/** Writes to a client at its pace, and cuts off one that takes nothing. */
export class Outlet {
  readonly #to: Writable;
  readonly #stallMsMax: number;

  constructor(to: Writable, stallMsMax: number) {
    this.#to = to;
    this.#stallMsMax = stallMsMax;
  }

  /** Whether the client has not taken yet what was written. */
  get isFull(): boolean {
    return this.#to.writableNeedDrain;
  }

  /** Resolves when there is room for more, or the client is gone. Parts are asked for as there is room. */
  async write(parts: Iterable<Buffer>): Promise<void> {
    let gathered: Buffer[] = [];
    let bytes = 0;
    for (const part of parts) {
      gathered.push(part);
      bytes += part.length;
      if (bytes < GATHERED_BYTES) continue;
      await this.#write(gathered);
      if (this.#to.destroyed) return;
      gathered = [];
      bytes = 0;
    }
    if (gathered.length > 0) await this.#write(gathered);
  }

  /** Without waiting. */
  put(text: string): void {
    this.#to.write(text);
  }

  async #write(parts: readonly Buffer[]): Promise<void> {
    const [first] = parts;
    const to = this.#to;
    if (to.destroyed || to.writableEnded) return;
    if (to.write(parts.length === 1 ? first! : Buffer.concat(parts))) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => to.destroy(), this.#stallMsMax);
      const over = (): void => {
        clearTimeout(timer);
        to.off('drain', over);
        to.off('close', over);
        resolve();
      };
      to.on('drain', over);
      to.on('close', over);
    });
  }
}
