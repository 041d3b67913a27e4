import { StoreError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import type { Clock } from './ports.ts';

/** What history is kept for. */
export type AutoCompactionPolicy =
  /** Everything that was current at some time in this period stays readable. */
  | { readonly mode: 'periodic'; readonly periodMs: number }
  /** This many revisions below the current one stay readable. */
  | { readonly mode: 'revision'; readonly revisions: number };

/** With a longer period than this it compacts once an hour. */
const PERIODIC_INTERVAL_MS_MAX = 3_600_000;
/** The revision is noted, and a failed compaction tried again, this many times in an interval. */
const NOTES_PER_INTERVAL = 10;
/** How often history is cut to a number of revisions. */
const REVISION_INTERVAL_MS = 300_000;

export interface AutoCompactionOptions {
  /** Null: never. */
  readonly policy: AutoCompactionPolicy | null;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly isLeader: () => boolean;
  readonly currentRevision: () => number;
  /** @throws StoreError `compacted` when somebody did it already, and what a proposal fails with */
  readonly compact: (revision: number) => Promise<unknown>;
}

/**
 * Compacts history by itself, as etcd's two modes do. Every member notes revisions, so that a new leader knows the
 * past; only the leader compacts.
 */
export class AutoCompaction {
  readonly #options: AutoCompactionOptions;
  /** How often something is done. */
  readonly #intervalMs: number;
  /** Revisions of the last period, one for each interval, the oldest first. */
  readonly #notes: number[] = [];
  #dueMs: number;
  #compactedMs: number;
  /** Where the last compaction was made. */
  #compactedRevision = 0;
  /** The first compaction waits for a whole period, later ones for the usual time between two. */
  #hasCompacted = false;
  #compacting = false;

  constructor(options: AutoCompactionOptions) {
    const { policy, clock } = options;
    this.#options = options;
    this.#intervalMs =
      policy?.mode === 'periodic' ? betweenMs(policy.periodMs) / NOTES_PER_INTERVAL : REVISION_INTERVAL_MS;
    this.#compactedMs = clock.nowMs();
    this.#dueMs = clock.nowMs();
    if (policy?.mode === 'revision') this.#dueMs += this.#intervalMs;
  }

  tick(): void {
    const { policy, clock, isLeader } = this.#options;
    const nowMs = clock.nowMs();
    if (policy === null || nowMs < this.#dueMs) return;
    // A member that slept does not make up for the times it missed.
    this.#dueMs += this.#intervalMs;
    if (this.#dueMs <= nowMs) this.#dueMs = nowMs + this.#intervalMs;
    const revision =
      policy.mode === 'periodic'
        ? this.#periodicRevision(policy.periodMs, nowMs)
        : this.#options.currentRevision() - policy.revisions;
    if (revision <= 0 || revision === this.#compactedRevision || this.#compacting || !isLeader()) return;
    void this.#compact(revision);
  }

  /** The revision that was current a period ago, or 0 when it is not time yet. */
  #periodicRevision(periodMs: number, nowMs: number): number {
    const oldest = this.#notes[0] ?? 0;
    const waitMs = this.#hasCompacted ? betweenMs(periodMs) : periodMs;
    const isTime = nowMs - this.#compactedMs >= waitMs;
    this.#notes.push(this.#options.currentRevision());
    const notesMax = Math.floor(periodMs / this.#intervalMs) + 1;
    if (this.#notes.length > notesMax) this.#notes.shift();
    return isTime ? oldest : 0;
  }

  async #compact(revision: number): Promise<void> {
    const { logger, clock } = this.#options;
    this.#compacting = true;
    try {
      await this.#options.compact(revision).catch((error: unknown) => {
        if (!(error instanceof StoreError) || error.code !== 'compacted') throw error;
      });
      this.#compactedRevision = revision;
      this.#compactedMs = clock.nowMs();
      this.#hasCompacted = true;
      logger.info({ revision }, 'compacted automatically');
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      logger.warn({ err: error, revision }, 'automatic compaction failed; it will be tried again');
    } finally {
      this.#compacting = false;
    }
  }
}

/** The time between two compactions that keep `periodMs` of history. */
function betweenMs(periodMs: number): number {
  return Math.min(periodMs, PERIODIC_INTERVAL_MS_MAX);
}
