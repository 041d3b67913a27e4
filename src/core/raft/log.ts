import { assert, VERIFY } from '../../lib/assert.ts';
import type { Entry, SnapshotMeta } from './messages.ts';

/** What an entry is taken to cost besides its data, so that empty entries are bounded too. */
export const ENTRY_OVERHEAD_BYTES = 24;

/** The room an entry takes in a message, a window or an apply batch. */
export function entryBytes(entry: Entry): number {
  return entry.data.length + ENTRY_OVERHEAD_BYTES;
}

/** A position in the log. */
export interface LogPosition {
  readonly index: number;
  readonly term: number;
}

/** A part of the log on its way to disk; answered with `RaftLog.durable(part)`. */
export interface UnstablePart {
  readonly entries: readonly Entry[];
  readonly snapshot: SnapshotMeta | null;
  /** Up to here this part, once durable, still speaks for the log; a truncation in the meantime lowers it. */
  validTo: number;
}

/**
 * A member's log: every entry after `compacted`, in memory. Three marks ascend over it:
 *
 * - `stable`: the last index known to be on disk as it stands in memory,
 * - `taken`: the last index handed out to be made durable,
 * - `commit`: the last index known to be committed.
 *
 * A truncation lowers `stable` and `taken`, and what outstanding writes may still claim: a write of an entry that was
 * replaced in the meantime, even by an equal one, says nothing about the disk's final state (the ABA problem).
 */
export class RaftLog {
  /** Entries live at `#entries[#head...]`; the dead prefix is cut when it outgrows the rest. */
  #entries: Entry[];
  #head = 0;
  #compacted: LogPosition;
  #stable: number;
  #taken: number;
  #commit: number;
  #restore: SnapshotMeta | null = null;
  #restoreTaken = false;
  readonly #outstanding: UnstablePart[] = [];

  constructor(initial: {
    readonly compacted: LogPosition;
    readonly entries: readonly Entry[];
    readonly commit: number;
  }) {
    assert(areContiguous(initial.entries, initial.compacted), 'the durable log has a gap');
    this.#compacted = initial.compacted;
    this.#entries = [...initial.entries];
    this.#stable = this.lastIndex;
    this.#taken = this.lastIndex;
    this.#commit = initial.commit;
    assert(initial.commit <= this.lastIndex, 'commit lies beyond the durable log');
    assert(initial.commit >= initial.compacted.index, 'commit lies before the compacted position');
  }

  /** The position just before the first entry. Its term is known, its entry is not. */
  get compacted(): LogPosition {
    return this.#compacted;
  }
  get firstIndex(): number {
    return this.#compacted.index + 1;
  }
  get lastIndex(): number {
    return this.#compacted.index + this.#entries.length - this.#head;
  }
  get lastTerm(): number {
    return this.#entries.at(-1)?.term ?? this.#compacted.term;
  }
  get stable(): number {
    return this.#stable;
  }
  get commit(): number {
    return this.#commit;
  }
  /** A snapshot that has replaced the log and that the state machine has not switched to yet. */
  get restore(): SnapshotMeta | null {
    return this.#restore;
  }
  /** Whether anything waits to be handed out by `takeUnstable`. */
  get hasUnstable(): boolean {
    return this.#taken < this.lastIndex || (this.#restore !== null && !this.#restoreTaken);
  }

  /** The term at an index, or undefined where the log does not reach. */
  term(index: number): number | undefined {
    if (index === this.#compacted.index) return this.#compacted.term;
    return this.#at(index)?.term;
  }

  matches(position: LogPosition): boolean {
    return this.term(position.index) === position.term;
  }

  /** Whether a log ending at `position` is at least as up to date as this one (paper 5.4.1). */
  isUpToDate(position: LogPosition): boolean {
    if (position.term !== this.lastTerm) return position.term > this.lastTerm;
    return position.index >= this.lastIndex;
  }

  /**
   * Entries from `from` to at most `to`, by reference: at least one if there is any, then as many as fit `bytesMax`.
   * Empty when `from` is beyond `to`.
   */
  slice(range: { readonly from: number; readonly to: number; readonly bytesMax: number }): readonly Entry[] {
    const { from, bytesMax } = range;
    const to = Math.min(range.to, this.lastIndex);
    if (from > to) return [];
    assert(from >= this.firstIndex, 'entries before the compacted position are gone');
    const start = this.#head + from - this.firstIndex;
    const end = this.#head + to - this.firstIndex + 1;
    let bytes = entryBytes(this.#entries[start]!);
    let cut = start + 1;
    while (cut < end) {
      bytes += entryBytes(this.#entries[cut]!);
      if (bytes > bytesMax) break;
      cut += 1;
    }
    return this.#entries.slice(start, cut);
  }

  /** The lowest index with at most `bytesMax` of entries after it. Looks at those only. */
  indexBefore(bytesMax: number): number {
    let bytes = 0;
    for (let index = this.lastIndex; index >= this.firstIndex; index--) {
      bytes += entryBytes(this.#at(index)!);
      if (bytes > bytesMax) return index;
    }
    return this.#compacted.index;
  }

  /**
   * The highest position at or below `at.index` whose term is at most `at.term`: where two logs that disagree at
   * `at` can still agree. One step of it skips a whole term (paper 5.3). Just before the compacted position when even
   * that is too new.
   */
  agreementAt(at: LogPosition): LogPosition {
    let low = this.#compacted.index - 1;
    let high = Math.min(at.index, this.lastIndex);
    if (high <= low) return { index: Math.max(high, 0), term: 0 };
    while (low < high) {
      const middle = low + Math.ceil((high - low) / 2);
      if (this.term(middle)! <= at.term) low = middle;
      else high = middle - 1;
    }
    return { index: Math.max(low, 0), term: this.term(low) ?? 0 };
  }

  /** Appends a leader's own entries. */
  append(entries: readonly Entry[]): void {
    const last = { index: this.lastIndex, term: this.lastTerm };
    assert(entries.length > 0 && entries[0]!.index === last.index + 1, 'own entries must follow the log');
    if (VERIFY) assert(areContiguous(entries, last), 'own entries must be contiguous');
    for (const entry of entries) this.#entries.push(entry);
  }

  /**
   * Takes a leader's entries after a position that matches: what is there already stays, a conflict truncates
   * (paper 5.3). The caller has checked the match, that the entries are contiguous and
   * that they begin after `commit`.
   */
  merge(entries: readonly Entry[]): void {
    const fresh = entries.findIndex((entry) => this.term(entry.index) !== entry.term);
    if (fresh < 0) return;
    const from = entries[fresh]!.index;
    assert(from > this.#commit, 'a committed entry must never be replaced');
    if (from <= this.lastIndex) this.#truncateFrom(from);
    this.append(fresh === 0 ? entries : entries.slice(fresh));
  }

  /** Asserts that a leader's log agrees with what is committed here (leader completeness, paper 5.4.3). */
  checkCommitted(append: {
    readonly prevIndex: number;
    readonly prevTerm: number;
    readonly entries: readonly Entry[];
  }): void {
    assert(
      this.#isCommittedAs({ index: append.prevIndex, term: append.prevTerm }),
      'a leader lacks a committed entry',
    );
    for (const entry of append.entries) {
      if (entry.index > this.#commit) return;
      assert(this.#isCommittedAs(entry), 'a leader lacks a committed entry');
    }
  }

  /** Advances `commit`; never lowers it. */
  commitTo(index: number): void {
    if (index <= this.#commit) return;
    assert(index <= this.lastIndex, 'commit must stay within the log');
    this.#commit = index;
  }

  /** Replaces the whole log by a state that reaches beyond `commit`. */
  reset(snapshot: SnapshotMeta): void {
    assert(snapshot.index > this.#commit, 'a snapshot must never lower commit');
    assert(this.#restore === null, 'one restore at a time');
    this.#unclaimFrom(this.#commit + 1);
    this.#entries = [];
    this.#head = 0;
    this.#compacted = { index: snapshot.index, term: snapshot.term };
    this.#taken = snapshot.index;
    this.#commit = snapshot.index;
    this.#restore = snapshot;
    this.#restoreTaken = false;
  }

  /** The state machine has switched to the snapshot that replaced the log. */
  restored(): void {
    assert(this.isRestoreDurable, 'only a durable snapshot can be restored');
    this.#restore = null;
  }

  /** Whether the snapshot that replaced the log is on disk, so that the state machine may switch to it. */
  get isRestoreDurable(): boolean {
    return this.#restore !== null && this.#stable >= this.#restore.index;
  }

  /** Hands out what is not on its way to disk yet. Answered in order with `durable`. */
  takeUnstable(): UnstablePart {
    const snapshot = this.#restoreTaken ? null : this.#restore;
    const entries = this.slice({ from: this.#taken + 1, to: this.lastIndex, bytesMax: Infinity });
    const validTo = entries.at(-1)?.index ?? snapshot?.index ?? 0;
    const part: UnstablePart = { entries, snapshot, validTo };
    this.#taken = this.lastIndex;
    this.#restoreTaken = true;
    this.#outstanding.push(part);
    return part;
  }

  /** The oldest part handed out is on disk. */
  durable(part: UnstablePart): void {
    const oldest = this.#outstanding.shift();
    assert(oldest === part, 'parts become durable in the order they were handed out');
    if (part.validTo <= this.#stable) return;
    assert(part.validTo <= this.#taken, 'nothing can be durable that was never handed out');
    this.#stable = part.validTo;
  }

  /** Forgets entries up to and including `index`; a no-op where that has happened. */
  compact(index: number): void {
    if (index <= this.#compacted.index) return;
    assert(index <= this.#stable && index <= this.#commit, 'only durable, committed entries are compacted');
    const term = this.term(index)!;
    this.#head += index - this.#compacted.index;
    this.#compacted = { index, term };
    if (this.#head * 2 < this.#entries.length) return;
    this.#entries = this.#entries.slice(this.#head);
    this.#head = 0;
  }

  /** True as well where the log no longer reaches. */
  #isCommittedAs(position: LogPosition): boolean {
    return (this.term(position.index) ?? position.term) === position.term;
  }

  #at(index: number): Entry | undefined {
    if (index <= this.#compacted.index) return undefined;
    return this.#entries[this.#head + index - this.#compacted.index - 1];
  }

  #truncateFrom(index: number): void {
    assert(index > this.#commit, 'truncation must stay above commit');
    this.#entries.length = this.#head + index - this.firstIndex;
    this.#taken = Math.min(this.#taken, index - 1);
    this.#unclaimFrom(index);
  }

  #unclaimFrom(index: number): void {
    this.#stable = Math.min(this.#stable, index - 1);
    for (const part of this.#outstanding) part.validTo = Math.min(part.validTo, index - 1);
  }
}

/** Whether entries follow `previous` without a gap, their terms never falling. */
export function areContiguous(entries: readonly Entry[], previous: LogPosition): boolean {
  let { index, term } = previous;
  for (const entry of entries) {
    index += 1;
    if (entry.index !== index || entry.term < term) return false;
    term = entry.term;
  }
  return true;
}
