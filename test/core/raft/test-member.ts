import { EMPTY_CONF } from '../../../src/core/raft/conf-change.ts';
import type { LogPosition } from '../../../src/core/raft/log.ts';
import {
  type ConfChange,
  type ConfState,
  type Entry,
  type HardState,
  type MemberId,
  type Message,
  NO_MEMBER,
  type SnapshotMeta,
} from '../../../src/core/raft/messages.ts';
import { type RaftOptions, RawNode } from '../../../src/core/raft/raw-node.ts';
import type { AppendBatch, ReadState, Ready } from '../../../src/core/raft/ready.ts';
import { assert } from '../../../src/lib/assert.ts';

/** What survives a crash: the log, and the state machine as of its last barrier. */
export interface Disk {
  hardState: HardState;
  compacted: LogPosition;
  entries: Entry[];
  /** Index and configuration of the durable state. */
  barrier: { readonly applied: number; readonly confState: ConfState };
}

type ApplyWork = { readonly restore: SnapshotMeta } | { readonly entries: readonly Entry[] };

/** One member on an in-memory disk whose two lanes advance only when told to. Shared by scripts and simulation. */
export class TestMember {
  readonly id: MemberId;
  readonly #options: RaftOptions;
  readonly disk: Disk;
  node: RawNode;
  alive = true;
  applied: number;
  confState: ConfState;
  readonly appendLane: AppendBatch[] = [];
  readonly applyLane: ApplyWork[] = [];
  readonly outbox: Message[] = [];
  readonly readStates: ReadState[] = [];
  onApply: (entry: Entry) => void = () => {};
  onRestore: (snapshot: SnapshotMeta) => void = () => {};
  onDurable: (batch: AppendBatch) => void = () => {};

  constructor(options: RaftOptions, disk: Disk) {
    this.id = options.id;
    this.#options = options;
    this.disk = disk;
    this.applied = disk.barrier.applied;
    this.confState = disk.barrier.confState;
    this.node = this.#start();
  }

  /** Drops everything that was not durable and starts anew from disk. */
  restart(): void {
    this.crash();
    this.applied = this.disk.barrier.applied;
    this.confState = this.disk.barrier.confState;
    this.node = this.#start();
    this.alive = true;
  }

  crash(): void {
    this.alive = false;
    this.appendLane.length = 0;
    this.applyLane.length = 0;
    this.outbox.length = 0;
    this.readStates.length = 0;
  }

  /** Takes a `Ready` and queues its work in the lanes. */
  processReady(): Ready {
    const ready = this.node.ready();
    this.outbox.push(...ready.messages);
    this.readStates.push(...ready.readStates);
    if (ready.append !== null) this.appendLane.push(ready.append);
    if (ready.restore !== null) this.applyLane.push({ restore: ready.restore });
    if (ready.entries.length > 0) this.applyLane.push({ entries: ready.entries });
    return ready;
  }

  /** Makes the oldest append batch durable. Returns it, or undefined when there is none. */
  processAppend(): AppendBatch | undefined {
    const batch = this.appendLane.shift();
    if (batch === undefined) return undefined;
    writeBatch(this.disk, batch);
    this.onDurable(batch);
    this.node.appended(batch.seq);
    this.outbox.push(...batch.messages);
    return batch;
  }

  /** Applies the oldest work of the apply lane. Returns the index reached, or undefined when there is none. */
  processApply(): number | undefined {
    const work = this.applyLane.shift();
    if (work === undefined) return undefined;
    if ('restore' in work) {
      this.onRestore(work.restore);
      this.applied = work.restore.index;
      this.confState = work.restore.confState;
    } else {
      for (const entry of work.entries) this.#apply(entry);
    }
    this.node.applied(this.applied);
    return this.applied;
  }

  /** Runs both lanes dry. */
  processAll(): void {
    while (this.node.hasReady() || this.appendLane.length > 0 || this.applyLane.length > 0) {
      if (this.node.hasReady()) this.processReady();
      this.processAppend();
      this.processApply();
    }
  }

  /** Makes the applied state durable; a snapshot that is already on disk and not yet restored stays. */
  writeBarrier(): void {
    if (this.applied > this.disk.barrier.applied)
      this.disk.barrier = { applied: this.applied, confState: this.confState };
  }

  /** Forgets the log up to `index`, as far as the barrier allows. */
  compact(index: number): void {
    const upTo = Math.min(index, this.disk.barrier.applied);
    const kept = this.disk.entries.findIndex((entry) => entry.index === upTo);
    if (kept < 0) return;
    this.disk.compacted = { index: upTo, term: this.disk.entries[kept]!.term };
    this.disk.entries.splice(0, kept + 1);
    this.node.compact(upTo);
  }

  #apply(entry: Entry): void {
    assert(entry.index === this.applied + 1, 'entries are applied in order, each once');
    if (entry.kind === 'conf-change') {
      this.confState = this.node.applyConfChange(decodeConfChange(entry.data));
    }
    this.onApply(entry);
    this.applied = entry.index;
  }

  #start(): RawNode {
    const { disk } = this;
    const commit = Math.max(disk.hardState.commit, disk.barrier.applied);
    return new RawNode(this.#options, {
      hardState: { ...disk.hardState, commit },
      confState: disk.barrier.confState,
      applied: disk.barrier.applied,
      compacted: disk.compacted,
      entries: disk.entries,
    });
  }
}

/** The disk of an initial member of a new cluster. */
export function bootstrapDisk(voters: readonly MemberId[], learners: readonly MemberId[] = []): Disk {
  const confState = { ...EMPTY_CONF, voters, learners };
  return {
    hardState: { term: 1, vote: NO_MEMBER, commit: 1 },
    compacted: { index: 1, term: 1 },
    entries: [],
    barrier: { applied: 1, confState },
  };
}

/** The disk of a member that is yet to be told of its cluster. */
export function emptyDisk(): Disk {
  return {
    hardState: { term: 0, vote: NO_MEMBER, commit: 0 },
    compacted: { index: 0, term: 0 },
    entries: [],
    barrier: { applied: 0, confState: EMPTY_CONF },
  };
}

export function encodeConfChange(change: ConfChange): Buffer {
  return Buffer.from(JSON.stringify(change));
}

export function decodeConfChange(data: Buffer): ConfChange {
  return data.length === 0 ? { steps: [] } : (JSON.parse(data.toString()) as ConfChange);
}

export function testOptions(id: MemberId, overrides: Partial<RaftOptions> = {}): RaftOptions {
  return {
    id,
    electionTicks: 10,
    heartbeatTicks: 1,
    maxEntriesPerMessageBytes: 1024,
    maxInflightMessages: 8,
    maxInflightBytes: 8192,
    maxUncommittedBytes: 65_536,
    maxApplyBytes: 4096,
    maxAppendBatches: 8,
    random: (bound) => (id - 1) % bound,
    ...overrides,
  };
}

function writeBatch(disk: Disk, batch: AppendBatch): void {
  if (batch.snapshot !== null) {
    const { index, term, confState } = batch.snapshot;
    disk.compacted = { index, term };
    disk.entries = [];
    disk.barrier = { applied: index, confState };
  }
  const first = batch.entries[0];
  if (first !== undefined) {
    const keep = first.index - disk.compacted.index - 1;
    assert(keep >= 0 && keep <= disk.entries.length, 'a batch leaves no gap on disk');
    disk.entries.length = keep;
    disk.entries.push(...batch.entries);
  }
  if (batch.hardState !== null) disk.hardState = batch.hardState;
}
