import type { MemberId } from '../core/raft/messages.ts';
import type { RawNode } from '../core/raft/raw-node.ts';
import { StoreError } from '../lib/errors.ts';
import type { Clock, LogStore, StateStore } from './ports.ts';
import type { Replica } from './replica.ts';

/** A durable barrier of the state is made this often while something was applied. */
const BARRIER_INTERVAL_MS = 5_000;
/** Rows that one slice of a compaction looks at: a few milliseconds of work. */
const COMPACTION_ROWS_PER_SLICE = 2_000;
/**
 * Entries in memory, in bytes, that make the log worth a cut however few they are, and what is then left of them for
 * slow followers: as much as the entries kept by their number take when they are large.
 */
const LOG_MEMORY_BYTES_MAX = 32 * 1024 * 1024;
const CATCH_UP_BYTES_MAX = 16 * 1024 * 1024;
/**
 * Entries in memory, in bytes, that are kept at most for a member that is being caught up: by a snapshot on its way,
 * or by entries, as long as it comes forward within the time. Else what it is about to get would be cut away while it
 * gets the entries before, again and again.
 */
const FOLLOWER_BYTES_MAX = 128 * 1024 * 1024;
const FOLLOWER_STALL_MS_MAX = 30_000;
/** The log on disk above which it is cut down to the last barrier, slow followers or not. */
const LOG_BYTES_MAX = 512 * 1024 * 1024;

export interface HousekeepingOptions {
  readonly node: RawNode;
  readonly log: LogStore;
  readonly clock: Clock;
  readonly replica: () => Replica;
  /** Entries that gather before the log is cut. */
  readonly snapshotCount: number;
  /** Entries kept below the barrier so that a slow follower needs no snapshot. */
  readonly catchUpEntries: number;
  /** The lowest index a snapshot in flight still needs the log from, or Infinity. */
  readonly pinnedIndex: () => number;
  readonly barrierSeconds: (seconds: number) => void;
  readonly fatal: (error: unknown) => void;
}

/** The last index that a follower is known, or expected, to have. */
interface FollowerProgress {
  readonly index: number;
  readonly sinceMs: number;
}

/** What a member does on the side, in small pieces: barriers, cutting the log, compaction. */
export class Housekeeping {
  readonly #options: HousekeepingOptions;
  #lastBarrierMs: number;
  #barrier: Promise<void> | null = null;
  #compacting: Promise<void> | null = null;
  #stopped = false;
  /** As a leader: where each member's log was last seen, and since when. */
  #followers: ReadonlyMap<MemberId, FollowerProgress> = new Map();

  constructor(options: HousekeepingOptions) {
    this.#options = options;
    this.#lastBarrierMs = options.clock.nowMs();
  }

  tick(): void {
    const { clock, replica } = this.#options;
    if (this.#barrier === null && clock.nowMs() - this.#lastBarrierMs >= BARRIER_INTERVAL_MS) {
      this.#lastBarrierMs = clock.nowMs();
      const { store, machine } = replica();
      if (machine.appliedIndex > store.durable.appliedIndex) {
        this.barrier().catch((error: unknown) => this.#options.fatal(error));
      }
    }
    if (replica().machine.store.compactionPending) {
      this.compaction().catch((error: unknown) => this.#options.fatal(error));
    }
  }

  /**
   * Makes everything applied so far durable in the state store, then cuts the log below it.
   *
   * @throws StoreError `stopped`, `storage`
   */
  async barrier(): Promise<void> {
    if (this.#stopped) throw new StoreError('stopped');
    this.#barrier ??= this.#makeBarrier().finally(() => {
      this.#barrier = null;
    });
    await this.#barrier;
  }

  /** Runs the pending compaction to its end, in slices. */
  compaction(): Promise<void> {
    this.#compacting ??= this.#compact().finally(() => {
      this.#compacting = null;
    });
    return this.#compacting;
  }

  /** The last barrier is made here. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#compacting;
    await this.#barrier;
    await this.#makeBarrier();
  }

  async #makeBarrier(): Promise<void> {
    const { clock, replica } = this.#options;
    const startedMs = clock.nowMs();
    const { store } = replica();
    const marker = await store.barrier();
    this.#options.barrierSeconds((clock.nowMs() - startedMs) / 1000);
    // A snapshot may have replaced the state meanwhile: its barrier then speaks of a directory that is gone.
    if (replica().store === store) await this.#cutLog(store, marker.appliedIndex);
  }

  async #cutLog(store: StateStore, barrierIndex: number): Promise<void> {
    const { node, log } = this.#options;
    const { index, entriesMin } = this.#cut(barrierIndex);
    if (index - node.status().firstIndex < entriesMin) return;
    const term = node.termAt(index);
    if (term === undefined || store.durable.appliedIndex < index) return;
    node.compact(index);
    await log.release({ index, term });
  }

  /** Where the log is to be cut, and how many entries that must rid it of to be worth it. */
  #cut(barrierIndex: number): { readonly index: number; readonly entriesMin: number } {
    const { node, log, snapshotCount, catchUpEntries, pinnedIndex } = this.#options;
    const neededIndex = Math.min(pinnedIndex(), this.#neededByFollowers());
    if (log.sizeBytes > LOG_BYTES_MAX) return { index: barrierIndex, entriesMin: 1 };
    const isLarge = node.indexBefore(LOG_MEMORY_BYTES_MAX) >= node.status().firstIndex;
    const counted = barrierIndex - catchUpEntries;
    const kept = isLarge ? Math.max(counted, node.indexBefore(CATCH_UP_BYTES_MAX)) : counted;
    const index = Math.min(kept, barrierIndex);
    const entriesMin = isLarge ? 1 : snapshotCount;
    if (neededIndex >= index) return { index, entriesMin };
    return {
      index: Math.min(index, Math.max(neededIndex, node.indexBefore(FOLLOWER_BYTES_MAX))),
      entriesMin,
    };
  }

  /** The lowest index that a member has to which entries flow, as long as it comes forward; or Infinity. */
  #neededByFollowers(): number {
    const nowMs = this.#options.clock.nowMs();
    const seen = new Map<MemberId, FollowerProgress>();
    let lowest = Number.POSITIVE_INFINITY;
    for (const [id, { state, match, next }] of this.#options.node.status().progress) {
      // Whoever cannot be reached is probed where its match ends; after a snapshot, and after its answers, further on.
      const isFed = state === 'replicate' || (state === 'probe' && next - 1 > match);
      if (!isFed) continue;
      const index = state === 'replicate' ? match : next - 1;
      const before = this.#followers.get(id);
      const sinceMs = before?.index === index ? before.sinceMs : nowMs;
      seen.set(id, { index, sinceMs });
      if (nowMs - sinceMs < FOLLOWER_STALL_MS_MAX) lowest = Math.min(lowest, index);
    }
    this.#followers = seen;
    return lowest;
  }

  async #compact(): Promise<void> {
    const { clock, replica } = this.#options;
    while (!this.#stopped) {
      const { machine, store } = replica();
      if (!machine.store.compactionPending) return;
      store.discard(machine.store.compactionStep(COMPACTION_ROWS_PER_SLICE));
      // The end of a compaction moves the hash at an unchanged index: the disk must hear of it.
      const batch = machine.takeBatch();
      if (batch !== null) store.apply(batch);
      await new Promise<void>((resolve) => clock.setImmediate(resolve));
    }
  }
}
