import { assert } from '../../lib/assert.ts';
import { Inflights } from './inflights.ts';

/**
 * How a leader feeds one member:
 * - `probe`: the matching point is unknown; one append per answer.
 * - `replicate`: known; appends are pipelined within a window.
 * - `snapshot`: the log no longer reaches back far enough; nothing is sent until the state has been streamed.
 */
export type ProgressState = 'probe' | 'replicate' | 'snapshot';

export interface ProgressOptions {
  readonly next: number;
  readonly isLearner: boolean;
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
}

/** A leader's view of one member. Invariant: `match < next`; `match` never decreases within a term. */
export class Progress {
  #state: ProgressState = 'probe';
  #match = 0;
  #next: number;
  #pendingSnapshot = 0;
  #probeSent = false;
  readonly #inflights: Inflights;

  isLearner: boolean;
  /** Heard from since the last CheckQuorum; a new member gets one period to speak up. */
  recentActive = true;
  /** The largest read round acknowledged in this term. */
  readSeq = 0;
  /** The largest commit index that an append has carried there, capped by what that append verified. */
  sentCommit = 0;
  /** An append is owed even if it carries no entry: to find the matching point, or to revive a lost window. */
  appendOwed = true;

  constructor(options: ProgressOptions) {
    this.#next = options.next;
    this.isLearner = options.isLearner;
    this.#inflights = new Inflights({
      messagesMax: options.maxInflightMessages,
      bytesMax: options.maxInflightBytes,
    });
  }

  get state(): ProgressState {
    return this.#state;
  }
  /** The highest index known to be durable there and equal to the leader's log. */
  get match(): number {
    return this.#match;
  }
  /** The next index to send. */
  get next(): number {
    return this.#next;
  }
  /** In `snapshot`: the index of the state that is on its way. Else 0. */
  get pendingSnapshot(): number {
    return this.#pendingSnapshot;
  }
  get inflightCount(): number {
    return this.#inflights.count;
  }
  get windowFull(): boolean {
    return this.#state === 'replicate' && this.#inflights.full;
  }
  /** True while appends have to wait for an answer, be it to an append or to a heartbeat. */
  get paused(): boolean {
    switch (this.#state) {
      case 'probe':
        return this.#probeSent;
      case 'replicate':
        return this.#inflights.full && !this.appendOwed;
      case 'snapshot':
        return true;
    }
  }

  becomeProbe(): void {
    this.#next = Math.max(this.#match, this.#pendingSnapshot) + 1;
    this.#enter('probe');
    this.appendOwed = true;
  }

  becomeReplicate(): void {
    this.#enter('replicate');
    this.#next = this.#match + 1;
  }

  becomeSnapshot(index: number): void {
    assert(index > this.#match, 'a snapshot must bring its receiver forward');
    this.#enter('snapshot');
    this.#pendingSnapshot = index;
    this.#next = index + 1;
  }

  /**
   * The stream ended. Either way the member waits in `probe` for its next answer: after success that is the reply to
   * the snapshot, after failure the next heartbeat paces the retry.
   */
  endSnapshot(ok: boolean): void {
    assert(this.#state === 'snapshot', 'only a snapshot in progress can end');
    if (!ok) this.#pendingSnapshot = 0;
    this.becomeProbe();
    this.#probeSent = true;
  }

  /** Books a sent append of `count` entries. */
  sent(append: { readonly count: number; readonly bytes: number }): void {
    this.appendOwed = false;
    if (this.#state === 'probe') {
      this.#probeSent = true;
      return;
    }
    assert(this.#state === 'replicate', 'nothing is appended during a snapshot');
    if (append.count === 0) return;
    this.#next += append.count;
    this.#inflights.add({ lastIndex: this.#next - 1, bytes: append.bytes });
  }

  /** An accepted append. Returns false for an answer that is older than what is known already. */
  accept(index: number): boolean {
    if (index < this.#match) return false;
    const isNews = index > this.#match;
    this.#match = index;
    this.#next = Math.max(this.#next, index + 1);
    this.#probeSent = false;
    if (this.#state === 'replicate') this.#inflights.freeTo(index);
    return isNews || this.#state === 'probe';
  }

  /**
   * A rejected append. Returns false for a stale one: a match, once known, is never given up in the same term, and a
   * probe is refuted only by the answer to itself.
   *
   * @param reject `index` that was refused, `hint` the highest index that may still match
   */
  reject(reject: { readonly index: number; readonly hint: number }): boolean {
    if (reject.index <= this.#match) return false;
    switch (this.#state) {
      case 'replicate':
        if (reject.index >= this.#next) return false;
        this.becomeProbe();
        return true;
      case 'probe':
        if (reject.index !== this.#next - 1) return false;
        this.#next = Math.max(Math.min(reject.index, reject.hint + 1), this.#match + 1);
        this.#probeSent = false;
        this.appendOwed = true;
        return true;
      case 'snapshot':
        return false;
    }
  }

  /** A heartbeat came back: the member lives, so one append may try again even into a full window. */
  revive(): void {
    this.#probeSent = false;
    this.appendOwed = true;
  }

  #enter(state: ProgressState): void {
    this.#state = state;
    this.#pendingSnapshot = 0;
    this.#probeSent = false;
    this.#inflights.clear();
  }
}
