import type { MemberId } from '../../src/core/raft/messages.ts';
import type { Raft } from '../../src/core/raft/raft.ts';
import type { LogRecord } from '../../src/member/ports.ts';
import type { SimProcess } from './process.ts';

/** What a member's disk is sure to hold after a loss of power: never more than it does hold. */
export class DurableLog {
  term = 0;
  vote: MemberId = 0;
  /** The state, not the log, stands for everything up to here. */
  compacted = 0;
  /** Terms of the entries after `compacted`. */
  #terms: number[] = [];
  /** Written, but not with a sync. */
  #pending: LogRecord[] = [];

  get last(): number {
    return this.compacted + this.#terms.length;
  }

  /** The term of the entry at an index, or undefined where there is none or where only the state stands for it. */
  termAt(index: number): number | undefined {
    return index <= this.compacted ? undefined : this.#terms[index - this.compacted - 1];
  }

  /** Whether what happened up to an entry is there, in the log or in the state. */
  covers(index: number, term: number): boolean {
    return index <= this.compacted || this.termAt(index) === term;
  }

  /** What a start found: it has made all of it durable anew. */
  recovered(raft: Raft): void {
    const { log } = raft;
    this.term = raft.term;
    this.vote = raft.vote;
    this.compacted = log.compacted.index;
    this.#terms = [];
    this.#pending = [];
    for (let index = log.firstIndex; index <= log.lastIndex; index++) this.#terms.push(log.term(index)!);
  }

  recorded(record: LogRecord): void {
    this.#pending.push(record);
    if (!record.sync) return;
    for (const each of this.#pending) this.#take(each);
    this.#pending = [];
  }

  #take({ hardState, entries, snapshot }: LogRecord): void {
    if (hardState !== null) {
      this.term = hardState.term;
      this.vote = hardState.vote;
    }
    if (snapshot !== null) {
      this.compacted = snapshot.index;
      this.#terms = [];
    }
    const first = entries[0]?.index;
    if (first === undefined) return;
    this.#terms.length = Math.max(0, first - this.compacted - 1);
    for (const { index, term } of entries) if (index > this.compacted) this.#terms.push(term);
  }
}

/** One process of a member: its Raft, and what its disk is known to hold. */
export interface RaftRun {
  /** The process's name, for messages. */
  readonly name: string;
  readonly process: SimProcess;
  readonly raft: Raft;
  readonly disk: DurableLog;
  /** Its disk was spoilt by a fault of ours: nothing it says is held against the store. */
  readonly isSpoilt: boolean;
}

/** All runs of all members: the newest of each, and whose disk holds what. */
export class RaftRuns {
  readonly #byProcess = new WeakMap<SimProcess, RaftRun>();
  readonly #newest = new Map<MemberId, RaftRun>();
  readonly #disks = new Map<MemberId, DurableLog>();
  readonly #isSpoilt: (process: SimProcess) => boolean;

  constructor(isSpoilt: (process: SimProcess) => boolean) {
    this.#isSpoilt = isSpoilt;
  }

  created(raft: Raft, process: SimProcess): RaftRun {
    const isSpoilt = this.#isSpoilt(process);
    const kept = this.#disks.get(raft.id);
    // What was promised counts as kept where we took it away; what it says from now on is looked up apart.
    const disk = isSpoilt ? new DurableLog() : (kept ?? new DurableLog());
    disk.recovered(raft);
    if (!isSpoilt) this.#disks.set(raft.id, disk);
    const run = { name: process.name, process, raft, disk, isSpoilt };
    this.#byProcess.set(process, run);
    this.#newest.set(raft.id, run);
    return run;
  }

  /** What the disk of a member that starts is sure to hold, as far as was seen before; null where we have spoilt it. */
  keptFor(raft: Raft, process: SimProcess): DurableLog | null {
    return this.#isSpoilt(process) ? null : (this.#disks.get(raft.id) ?? null);
  }

  of(process: SimProcess): RaftRun | undefined {
    return this.#byProcess.get(process);
  }

  /** The newest run of a member; it may have ended. */
  member(id: MemberId): RaftRun | undefined {
    return this.#newest.get(id);
  }

  /** Whether a member's disk holds what happened up to an entry, or did before we spoilt it. */
  holds(id: MemberId, position: { readonly index: number; readonly term: number }): boolean {
    return this.#disksOf(id).some((disk) => disk.covers(position.index, position.term));
  }

  /** The term on a member's disk. */
  durableTerm(id: MemberId): number {
    return Math.max(0, ...this.#disksOf(id).map((disk) => disk.term));
  }

  /** Two of a member that runs on a disk that we have spoilt: it may pass for one whose last record was torn. */
  #disksOf(id: MemberId): readonly DurableLog[] {
    const disks = [this.#disks.get(id), this.#newest.get(id)?.disk];
    return disks.filter((disk) => disk !== undefined);
  }

  /** The running leader of a term. */
  leaderOf(term: number): RaftRun | undefined {
    for (const run of this.#newest.values()) {
      if (run.raft.role === 'leader' && run.raft.term === term && run.process.alive) return run;
    }
    return undefined;
  }
}

export function hex(id: MemberId): string {
  return id.toString(16);
}
