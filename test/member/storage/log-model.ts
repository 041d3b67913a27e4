import { expect } from 'vitest';
import type { Entry, HardState } from '../../../src/core/raft/messages.ts';
import type { LogRecord, RecoveredLog } from '../../../src/member/ports.ts';
import { MemoryDisk } from '../../../src/member/storage/memory-disk.ts';
import { openLog, type WriteAheadLog } from '../../../src/member/storage/wal.ts';
import type { InstalledSnapshot, LogPosition } from '../../../src/member/storage/wal-format.ts';
import { inspectLog } from '../../../src/member/storage/wal-inspect.ts';
import { seededRandom } from './seeded-random.ts';

const SEGMENT_BYTES = 4096;

/** One step of a random life; the numbers are scaled into what is legal at that point. */
export type LogAction =
  | {
      readonly type: 'append';
      readonly back: number;
      readonly sizes: readonly number[];
      readonly hardState: 'none' | 'commit' | 'term';
      readonly sync: boolean;
    }
  | { readonly type: 'snapshot'; readonly ahead: number; readonly follow: number }
  /** With another action that runs while released segments are deleted. */
  | { readonly type: 'release'; readonly share: number; readonly beside: LogAction | null }
  | { readonly type: 'confirm-tail' };

/** The log's content after the record with sequence number `seq`. */
interface LogState {
  readonly seq: number;
  readonly hardState: HardState;
  readonly compacted: LogPosition;
  readonly entries: readonly Entry[];
  readonly snapshot: InstalledSnapshot | null;
}

/**
 * A log on a memory disk, and what it must hold: the state after every record that was handed to it, and up to
 * which one it acknowledged. Each start checks what is on disk against that.
 */
export class LogModel {
  readonly disk: MemoryDisk;
  /** Torn tails seen by `start`, so that a test can tell that it had some. */
  tornTails = 0;
  #crashAt = Number.POSITIVE_INFINITY;
  #onCrashPoint: () => void = () => undefined;
  #log: WriteAheadLog | null = null;
  #incarnation = 0;
  #created = false;
  /** The state after each record; the newest may not have reached the disk. */
  #states: LogState[] = [
    {
      seq: 0,
      hardState: { term: 0, vote: 0, commit: 0 },
      compacted: { index: 0, term: 0 },
      entries: [],
      snapshot: null,
    },
  ];
  /** Up to here nothing may be lost in a crash. */
  #durableSeq = 0;
  /** Up to here nothing may be lost when only the process dies. */
  #writtenSeq = 0;
  /** Which of the two the next start must find. */
  #expectedSeq = 0;
  /** Whether the log must report a dropped tail: 'maybe' after a crash amid confirming. */
  #droppedTail: boolean | 'maybe' = false;

  constructor() {
    this.disk = new MemoryDisk({
      onOperation: () => {
        if (this.disk.operationCount === this.#crashAt) this.#onCrashPoint();
      },
    });
  }

  /** The machine crashes, or the process is killed, at the n-th disk operation from now. */
  crashAfter(operations: number, how: { readonly seed: number; readonly kill: boolean }): void {
    this.#crashAt = this.disk.operationCount + operations;
    this.#onCrashPoint = () => this.stop(how);
  }

  stop(how: { readonly seed: number; readonly kill: boolean }): void {
    this.#crashAt = Number.POSITIVE_INFINITY;
    this.#log = null;
    this.#expectedSeq = how.kill ? this.#writtenSeq : this.#durableSeq;
    if (how.kill) this.disk.killProcess();
    else this.disk.crash(seededRandom(how.seed));
  }

  get running(): boolean {
    return this.#log !== null;
  }

  /** Checks what is on disk, then opens the log; a planned crash may come in between. */
  async start(): Promise<void> {
    const planned = this.#crashAt - this.disk.operationCount;
    this.#crashAt = Number.POSITIVE_INFINITY;
    if (this.#created) await this.#check();
    this.#crashAt = this.disk.operationCount + planned;

    const boot = { ...this.#last, seq: this.#last.seq + 1 };
    this.#states.push(boot);
    this.#incarnation++;
    const create = !this.#created;
    try {
      const { log } = await openLog({
        disk: this.disk.session(),
        directory: 'wal',
        segmentBytes: SEGMENT_BYTES,
        create,
        incarnation: this.#incarnation,
        random: seededRandom(this.#incarnation),
      });
      if (this.#crashAt === Number.POSITIVE_INFINITY && Number.isFinite(planned)) return;
      this.#log = log;
      this.#created = true;
      this.#acknowledge(boot.seq, true);
    } catch (error) {
      expect(error).toMatchObject({ code: 'storage' });
      if (create) await this.#settleCreation();
    }
  }

  async run(action: LogAction): Promise<void> {
    const log = this.#log;
    if (log === null) return;
    try {
      switch (action.type) {
        case 'append':
          return await this.#append(log, this.#legalAppend(action));
        case 'snapshot':
          return await this.#append(log, this.#legalSnapshot(action));
        case 'release':
          return await this.#releaseBeside(log, action);
        case 'confirm-tail':
          return await this.#confirmTail(log);
      }
    } catch (error) {
      // Nothing but the planned crash makes this disk fail.
      expect(error).toMatchObject({ code: 'storage' });
      expect(this.#log).toBeNull();
    }
  }

  /** A proper stop; everything written is then durable. */
  async close(): Promise<void> {
    await this.#log?.close();
    if (this.#log === null) return;
    this.#durableSeq = this.#writtenSeq;
    this.#expectedSeq = this.#writtenSeq;
    this.#log = null;
  }

  get #last(): LogState {
    return this.#states.at(-1)!;
  }

  async #check(): Promise<void> {
    const report = await inspectLog({ disk: this.disk, directory: 'wal' });
    if (!report.ok) throw new Error(report.problem);
    const { recovered } = report;
    expect(recovered.lastSeq).toBeGreaterThanOrEqual(this.#expectedSeq);
    const at = this.#states.findIndex(({ seq }) => seq === recovered.lastSeq);
    expect(at).toBeGreaterThanOrEqual(0);
    expect(contentOf(recovered)).toEqual(contentOf(this.#states[at]!));
    // Found is not yet durable: a crash before the log is open may still take what was never synced.
    this.#states = this.#states.slice(0, at + 1);
    this.#writtenSeq = recovered.lastSeq;
    if (report.torn) {
      this.tornTails++;
      this.#droppedTail = true;
    }
    if (this.#droppedTail !== 'maybe') expect(recovered.droppedTail).toBe(this.#droppedTail);
    this.#droppedTail = recovered.droppedTail;
  }

  /** A creation that was interrupted is done again, unless its only record is there. */
  async #settleCreation(): Promise<void> {
    const report = await inspectLog({ disk: this.disk, directory: 'wal' });
    this.#created = report.ok && !report.torn;
    if (!this.#created) this.#states = [this.#states[0]!];
  }

  #acknowledge(seq: number, durable: boolean): void {
    this.#writtenSeq = Math.max(this.#writtenSeq, seq);
    if (durable) this.#durableSeq = Math.max(this.#durableSeq, seq);
  }

  async #append(log: WriteAheadLog, record: LogRecord): Promise<void> {
    const { hardState, snapshot, entries } = record;
    const before = this.#last;
    const first = entries[0]?.index ?? Number.POSITIVE_INFINITY;
    const isEmpty = hardState === null && snapshot === null && entries.length === 0;
    const kept = snapshot === null ? before.entries.filter(({ index }) => index < first) : [];
    const next: LogState = {
      seq: isEmpty ? before.seq : before.seq + 1,
      hardState: hardState ?? before.hardState,
      compacted: snapshot === null ? before.compacted : { index: snapshot.index, term: snapshot.term },
      entries: [...kept, ...entries],
      snapshot: snapshot ?? before.snapshot,
    };
    if (!isEmpty) this.#states.push(next);
    await log.append(record);
    expect(log.lastSeq).toBe(next.seq);
    this.#acknowledge(next.seq, record.sync);
  }

  #legalAppend(action: LogAction & { readonly type: 'append' }): LogRecord {
    const { hardState, compacted, entries } = this.#last;
    const lastIndex = compacted.index + entries.length;
    const first = Math.max(compacted.index + 1, lastIndex + 1 - action.back);
    const term = hardState.term + (action.hardState === 'term' ? 1 : 0);
    const added = action.sizes.map((size, i): Entry => {
      const kind = size % 2 === 0 ? 'normal' : 'conf-change';
      return { index: first + i, term, kind, data: Buffer.alloc(size, first + i) };
    });
    const changed = {
      term,
      vote: action.hardState === 'term' ? 1 + (term % 3) : hardState.vote,
      commit: first,
    };
    return {
      hardState: action.hardState === 'none' ? null : changed,
      entries: added,
      snapshot: null,
      sync: action.sync,
    };
  }

  #legalSnapshot(action: LogAction & { readonly type: 'snapshot' }): LogRecord {
    const { hardState, compacted, seq } = this.#last;
    const index = compacted.index + action.ahead;
    const term = hardState.term;
    const confState = {
      voters: [1, 2],
      votersOutgoing: [],
      learners: [3],
      learnersNext: [],
      autoLeave: false,
    };
    const entries = Array.from({ length: action.follow }, (_, i): Entry => {
      return { index: index + 1 + i, term, kind: 'normal', data: Buffer.from(`after ${seq}`) };
    });
    return {
      hardState: null,
      entries,
      snapshot: { index, term, confState, stateName: `state-${seq}` },
      sync: true,
    };
  }

  async #releaseBeside(log: WriteAheadLog, action: LogAction & { readonly type: 'release' }): Promise<void> {
    const releasing = this.#release(log, action.share);
    const [outcome] = await Promise.allSettled([
      releasing,
      action.beside === null ? null : this.run(action.beside),
    ]);
    if (outcome.status === 'rejected') throw outcome.reason;
  }

  async #release(log: WriteAheadLog, share: number): Promise<void> {
    const before = this.#last;
    const count = Math.floor(before.entries.length * share);
    const last = before.entries[count - 1];
    const compacted = last === undefined ? before.compacted : { index: last.index, term: last.term };
    const isDone = before.snapshot !== null && compacted.index > before.snapshot.index;
    const next: LogState = {
      ...before,
      seq: last === undefined ? before.seq : before.seq + 1,
      compacted,
      entries: before.entries.slice(count),
      snapshot: isDone ? null : before.snapshot,
    };
    if (last !== undefined) this.#states.push(next);
    await log.release(compacted);
    this.#acknowledge(next.seq, last !== undefined);
  }

  async #confirmTail(log: WriteAheadLog): Promise<void> {
    if (this.#droppedTail !== false) this.#droppedTail = 'maybe';
    await log.confirmTail();
    this.#droppedTail = false;
  }
}

function contentOf(state: RecoveredLog | LogState): unknown {
  const { hardState, compacted, entries, snapshot } = state;
  // As text: comparing buffers byte by byte takes most of the test's time.
  const readable = entries.map((entry) => ({ ...entry, data: entry.data.toString('latin1') }));
  return { hardState, compacted, entries: readable, snapshot };
}
