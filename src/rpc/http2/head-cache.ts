import type { RequestHead } from './request-head.ts';

/** Blocks kept, of all connections; beyond it all are forgotten. */
const HEADS_MAX = 4_096;
/** Longer blocks are not kept. */
const BLOCK_BYTES_MAX = 512;

/**
 * Request heads by the bytes of their header blocks, for all connections together: clients send the same few over and
 * over. Only blocks that depend on none before them mean the same everywhere and may be put here.
 */
export class HeadCache {
  #heads = new Map<string, RequestHead | null>();

  get size(): number {
    return this.#heads.size;
  }

  /** What stands for a block; null when it is too long to be kept. */
  keyOf(block: Buffer): string | null {
    return block.length > BLOCK_BYTES_MAX ? null : block.toString('latin1');
  }

  /** The head, or null of a malformed one; undefined when it is not known. */
  get(key: string): RequestHead | null | undefined {
    return this.#heads.get(key);
  }

  put(key: string, head: RequestHead | null): void {
    if (this.#heads.size >= HEADS_MAX) this.#heads = new Map<string, RequestHead | null>();
    this.#heads.set(key, head);
  }
}
