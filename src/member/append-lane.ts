import type { AppendBatch } from '../core/raft/ready.ts';
import { assert } from '../lib/assert.ts';
import type { Clock, LogStore } from './ports.ts';

export interface AppendLaneOptions {
  readonly log: LogStore;
  readonly clock: Clock;
  /** The batch is durable; its `messages` may leave now. */
  readonly durable: (batch: AppendBatch) => void;
  /** Names the staged state directory that a snapshot batch installs. */
  readonly stateNameOf: (batch: AppendBatch) => string;
  readonly written: (seconds: number, batch: AppendBatch) => void;
  readonly failed: (error: unknown) => void;
}

/**
 * The append lane: makes Raft's batches durable, one at a time. Raft holds everything that arrives during an fsync
 * for the next batch (group commit), so batches grow with the load and nobody waits at low load.
 */
export class AppendLane {
  readonly #options: AppendLaneOptions;
  #writingSinceMs: number | null = null;
  #settled: Promise<void> = Promise.resolve();

  constructor(options: AppendLaneOptions) {
    this.#options = options;
  }

  push(batch: AppendBatch): void {
    assert(this.#writingSinceMs === null, 'one log record is in flight at a time');
    this.#writingSinceMs = this.#options.clock.nowMs();
    this.#settled = this.#write(batch);
  }

  get writing(): boolean {
    return this.#writingSinceMs !== null;
  }

  /** How long the write in flight has been outstanding, in ms; 0 when there is none. */
  stalledMs(): number {
    return this.#writingSinceMs === null ? 0 : this.#options.clock.nowMs() - this.#writingSinceMs;
  }

  /** Resolves when nothing is being written. */
  async drained(): Promise<void> {
    await this.#settled;
  }

  async #write(batch: AppendBatch): Promise<void> {
    const { log } = this.#options;
    const { snapshot } = batch;
    try {
      await log.append({
        hardState: batch.hardState,
        entries: batch.entries,
        snapshot: snapshot === null ? null : { ...snapshot, stateName: this.#options.stateNameOf(batch) },
        sync: batch.mustSync,
      });
    } catch (error) {
      // The lane stays "writing": nothing may be appended after a failed write.
      this.#options.failed(error);
      return;
    }
    this.#options.written(this.stalledMs() / 1000, batch);
    this.#writingSinceMs = null;
    this.#options.durable(batch);
  }
}
