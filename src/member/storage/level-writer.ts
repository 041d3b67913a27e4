import { assert } from '../../lib/assert.ts';
import { StoreError } from '../../lib/errors.ts';
import type { Level, LevelOp } from '../ports.ts';

/** Bytes of queued writes merged into one unsynced batch. */
const MERGE_BYTES_MAX = 4 * 1024 * 1024;
/** Callers pause far below this; reaching it means that one of them does not. */
const QUEUED_BYTES_MAX = 1024 * 1024 * 1024;

interface Write {
  readonly ops: readonly LevelOp[];
  readonly sync: boolean;
  readonly bytes: number;
  readonly written: (() => void) | undefined;
}
interface Fence {
  readonly after: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Puts writes on a level in the order they were queued, one batch in flight, because two batches in flight may
 * land in either order. The first failure ends it: LevelDB acknowledges and loses what is written after one.
 */
export class LevelWriter {
  readonly #level: Level;
  readonly #onFatal: (error: Error) => void;
  #queue: Write[] = [];
  #fences: Fence[] = [];
  #queued = 0;
  #written = 0;
  #pendingBytes = 0;
  #running = false;
  #failure: Error | null = null;

  /** @param onFatal called once, with a StoreError `storage` or a broken assertion */
  constructor(level: Level, onFatal: (error: Error) => void) {
    this.#level = level;
    this.#onFatal = onFatal;
  }

  /** Bytes of keys and values that are queued or in flight. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** It has ended: nothing is written any more. */
  get failed(): boolean {
    return this.#failure !== null;
  }

  /** @throws the failure that ended this writer */
  assertUsable(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  /**
   * Queues one atomic batch. Neighbours without `sync` may share a level batch.
   *
   * @param written called once the batch can be read from the level
   */
  enqueue(ops: readonly LevelOp[], options: { readonly sync: boolean; readonly written?: () => void }): void {
    if (this.#failure !== null) return;
    const bytes = ops.reduce((sum, op) => sum + op.key.length + (op.type === 'put' ? op.value.length : 0), 0);
    this.#pendingBytes += bytes;
    assert(this.#pendingBytes <= QUEUED_BYTES_MAX, 'writers pause when too much is queued');
    this.#queue.push({ ops, bytes, sync: options.sync, written: options.written });
    this.#queued += 1;
    if (!this.#running) void this.#run();
  }

  /**
   * Resolves once everything queued before is written.
   *
   * @throws StoreError `storage` when a write failed
   */
  async fence(): Promise<void> {
    this.assertUsable();
    if (this.#written === this.#queued) return;
    const after = this.#queued;
    await new Promise<void>((resolve, reject) => {
      this.#fences.push({ after, resolve, reject });
    });
  }

  /** Ends the writer after a failure of the same level elsewhere; returns the error to throw. */
  fail(cause: unknown): Error {
    if (this.#failure !== null) return this.#failure;
    const failure = asFatal(cause);
    this.#failure = failure;
    this.#queue = [];
    this.#pendingBytes = 0;
    const fences = this.#fences;
    this.#fences = [];
    for (const fence of fences) fence.reject(failure);
    this.#onFatal(failure);
    return failure;
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      while (this.#queue.length > 0) await this.#writeNext();
    } catch (error) {
      this.fail(error);
    }
    this.#running = false;
  }

  async #writeNext(): Promise<void> {
    const writes = this.#takeNext();
    const first = writes[0];
    assert(first !== undefined, 'a write is taken from a non-empty queue');
    const ops = writes.length === 1 ? first.ops : writes.flatMap((write) => write.ops);
    await this.#level.batch(ops, { sync: first.sync });
    if (this.#failure !== null) return;
    for (const write of writes) {
      this.#pendingBytes -= write.bytes;
      write.written?.();
    }
    this.#written += writes.length;
    while (this.#fences[0] !== undefined && this.#fences[0].after <= this.#written) {
      this.#fences.shift()?.resolve();
    }
  }

  /** The next write, with the unsynced ones behind it as far as they fit. */
  #takeNext(): readonly Write[] {
    let count = 0;
    let bytes = 0;
    for (const write of this.#queue) {
      bytes += write.bytes;
      if (count > 0 && (write.sync || bytes > MERGE_BYTES_MAX)) break;
      count += 1;
      if (write.sync) break;
    }
    return this.#queue.splice(0, count);
  }
}

/** Whatever code the lower layers gave, a state store that failed while running failed as storage. */
function asFatal(cause: unknown): Error {
  if (cause instanceof StoreError && cause.code !== 'storage') {
    return new StoreError('storage', cause.message, { cause });
  }
  return cause instanceof Error ? cause : new StoreError('storage', String(cause));
}
