import { assert, VERIFY } from '../../lib/assert.ts';
import { countSelfVote, timeOut } from './election.ts';
import { entryBytes, type UnstablePart } from './log.ts';
import { appendConfChange, applyConfChange, confChangeRefusal, leaveJointWhenDue } from './membership.ts';
import {
  type ConfChange,
  type ConfState,
  type Entry,
  type HardState,
  type MemberId,
  type Message,
  NO_MEMBER,
  type SnapshotMeta,
} from './messages.ts';
import type { ProgressState } from './progress.ts';
import { Raft, type RaftInitialState, type RaftOptions } from './raft.ts';
import { beginReads, requestRead } from './read-index.ts';
import type { AppendBatch, Ready, Role } from './ready.ts';
import { acceptOwn, flushAppends, reportSnapshot, reportUnreachable } from './replication.ts';
import { step } from './step.ts';
import { tick } from './ticks.ts';
import { type TransferOutcome, transferLeadership } from './transfer.ts';

export type { RaftInitialState, RaftOptions } from './raft.ts';
export type { TransferOutcome } from './transfer.ts';

/**
 * What became of a proposal. `ok`: appended by this leader at `index` (the first of the batch) in `term`; it is
 * committed if that index is applied with that term, and lost if with another.
 *
 * Refusals, nothing appended: `not-leader`; `busy`: too many bytes uncommitted; `transferring`: leadership is on its
 * way to another member; `conf-change-pending`: an earlier membership change (or, for a new leader, its own no-op) is
 * not applied yet, or a joint configuration has not been left; `conf-change-invalid`: it would change nothing, or
 * leave no voter.
 */
export type ProposeOutcome =
  | { readonly ok: true; readonly index: number; readonly term: number }
  | { readonly ok: false; readonly reason: ProposeRefusal };
export type ProposeRefusal =
  | 'not-leader'
  | 'busy'
  | 'transferring'
  | 'conf-change-pending'
  | 'conf-change-invalid';

/** A leader's view of one member. */
export interface ProgressStatus {
  readonly match: number;
  readonly next: number;
  readonly state: ProgressState;
  /** In `snapshot`: the index on its way there. The log is to be kept from here on. Else 0. */
  readonly pendingSnapshot: number;
  readonly recentActive: boolean;
  readonly isLearner: boolean;
}

export interface RaftStatus {
  readonly id: MemberId;
  readonly term: number;
  readonly vote: MemberId;
  readonly role: Role;
  readonly leader: MemberId;
  readonly commit: number;
  readonly applied: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly stable: number;
  readonly confState: ConfState;
  /** The target of a leadership transfer under way, or `NO_MEMBER`. */
  readonly leadTransferee: MemberId;
  /** Messages ignored because they broke the protocol's shape. */
  readonly malformedCount: number;
  /** In order of id, this member included. Empty on a member that does not lead. */
  readonly progress: ReadonlyMap<MemberId, ProgressStatus>;
}

/** A batch on its way to disk, and the own vote it carries (its term, else 0). */
interface PendingAppend {
  readonly seq: number;
  readonly part: UnstablePart;
  readonly selfVoteTerm: number;
}

/** Entries on their way through the state machine. */
interface PendingApply {
  readonly lastIndex: number;
  readonly bytes: number;
}

/**
 * One member's Raft (Ongaro's thesis): feed it ticks, messages and requests; take a `Ready` whenever there is one, and
 * report when its append is durable and its entries are applied. Pure and synchronous; every method returns at once
 * and throws only `AssertionError`, which means that memory or disk no longer hold what was promised.
 *
 * PreVote and CheckQuorum are always on. The caller reports `appended` and `applied` in the order of the lanes.
 *
 * A new cluster starts at index 1, term 1: `compacted` {1, 1}, `applied` 1, hard state {1, NO_MEMBER, 1}, and the same
 * `confState` on each initial member. A member that joins later starts empty at index 0 without members, and so gets
 * the configuration that no entry carries by snapshot.
 */
export class RawNode {
  readonly #raft: Raft;
  readonly #appendBatchesMax: number;
  #hardState: HardState;
  #appendSeq = 0;
  readonly #appends: PendingAppend[] = [];
  /** The last index handed out to be applied. */
  #applying: number;
  #applyingBytes = 0;
  readonly #applies: PendingApply[] = [];
  /** Conf-change entries handed out whose `applyConfChange` is due, in order. */
  readonly #confChangesDue: number[] = [];
  #restoring = false;

  constructor(options: RaftOptions, initial: RaftInitialState) {
    this.#raft = new Raft(options, initial);
    this.#appendBatchesMax = options.maxAppendBatches ?? 1;
    this.#hardState = initial.hardState;
    this.#applying = initial.applied;
  }

  /** Advances the logical clock. */
  tick(): void {
    tick(this.#raft);
  }

  /**
   * Takes a message from another member. One that breaks the protocol's shape, or is not for this member, is ignored.
   * A `snapshot` is stepped only once its state lies here whole and verified; whether it was taken shows in the next
   * `AppendBatch.snapshot`.
   */
  step(message: Message): void {
    step(this.#raft, message);
  }

  /** Acts as if the election timeout had passed: begins a pre-vote where this member may campaign. */
  campaign(): void {
    timeOut(this.#raft);
  }

  /** Appends a batch of entries, on the leader, as one unit of back-pressure: all or none. Never empty. */
  propose(datas: readonly Buffer[]): ProposeOutcome {
    assert(datas.length > 0, 'a proposal has entries');
    const refusal = this.#proposeRefusal(datas);
    if (refusal !== null) return { ok: false, reason: refusal };
    const index = this.#raft.appendOwn('normal', datas);
    return { ok: true, index, term: this.#raft.term };
  }

  /**
   * Appends a membership change. It takes effect when it is applied, and is validated again there.
   *
   * A leader that removes or demotes itself steps down where it applies that. Where the remaining voters are no majority
   * of the old ones (two voters, or a joint change), they can be left not knowing that the change is committed and
   * unable to elect: hand leadership over first.
   *
   * @param data what the appliers decode `change` from; never empty, since empty data leaves a joint configuration
   */
  proposeConfChange(change: ConfChange, data: Buffer): ProposeOutcome {
    assert(data.length > 0, 'a membership change carries data');
    const refusal = this.#proposeRefusal([data]) ?? confChangeRefusal(this.#raft, change);
    if (refusal !== null) return { ok: false, reason: refusal };
    return { ok: true, index: appendConfChange(this.#raft, data), term: this.#raft.term };
  }

  /**
   * Activates the change of the next conf-change entry handed out; called by the applier at each such entry, in order,
   * before `applied` covers it.
   *
   * @param change null when it is invalid for the applier: a no-op. Empty entry data is passed as no steps.
   * @returns the configuration from that entry on
   */
  applyConfChange(change: ConfChange | null): ConfState {
    const index = this.#confChangesDue.shift();
    assert(index !== undefined, 'a membership change was applied that was never handed out');
    return applyConfChange(this.#raft, { change, index });
  }

  /**
   * Asks for an index such that a state machine that has applied it reflects every write acknowledged before this call.
   * The answer is exactly one `ReadState`, within an election timeout or a change of leader.
   *
   * @param context unique over all incarnations of this member; a retry takes a new one
   */
  readIndex(context: number): void {
    requestRead(this.#raft, context);
  }

  /** Hands leadership to a voter; given up after one election timeout. Progress shows in `status().leadTransferee`. */
  transferLeadership(to: MemberId): TransferOutcome {
    return transferLeadership(this.#raft, to);
  }

  /** Steps down at once, without a successor: this member's disk has stalled. */
  abandonLeadership(): void {
    if (this.#raft.role === 'leader') this.#raft.becomeFollower(this.#raft.term, NO_MEMBER);
  }

  /** The connection to `id` broke: appends in flight are presumed lost. */
  reportUnreachable(id: MemberId): void {
    reportUnreachable(this.#raft, id);
  }

  /** The outcome of streaming a state to `id`. Every `snapshot` message taken from a `Ready` needs one. */
  reportSnapshot(id: MemberId, ok: boolean): void {
    reportSnapshot(this.#raft, { id, ok });
  }

  /** Forgets entries up to and including `index`, which must be applied. */
  compact(index: number): void {
    assert(index <= this.#raft.applied, 'only applied entries are compacted');
    this.#raft.log.compact(index);
  }

  /** False makes this member refuse every vote and never campaign, until it is allowed again. */
  setVotingAllowed(allowed: boolean): void {
    const raft = this.#raft;
    raft.votingAllowed = allowed;
    if (!allowed && raft.role !== 'follower') raft.becomeFollower(raft.term, NO_MEMBER);
  }

  /** Whether `ready()` would return anything to do. */
  hasReady(): boolean {
    const raft = this.#raft;
    this.#flush();
    return (
      raft.messages.length > 0 ||
      raft.readStates.length > 0 ||
      this.#hasAppend() ||
      this.#hasRestore() ||
      this.#hasEntries()
    );
  }

  /** Takes everything there is to do. No later call returns it again. */
  ready(): Ready {
    const raft = this.#raft;
    this.#flush();
    const { messages, readStates } = raft;
    raft.messages = [];
    raft.readStates = [];
    return {
      term: raft.term,
      role: raft.role,
      leader: raft.leader,
      messages,
      append: this.#hasAppend() ? this.#takeAppend() : null,
      restore: this.#hasRestore() ? this.#takeRestore() : null,
      entries: this.#hasEntries() ? this.#takeEntries() : [],
      readStates,
    };
  }

  /** The append batch `seq` is durable. Batches are reported in order, each once. */
  appended(seq: number): void {
    const raft = this.#raft;
    const pending = this.#appends.shift();
    assert(pending?.seq === seq, 'append batches become durable in order');
    raft.log.durable(pending.part);
    countSelfVote(raft, pending.selfVoteTerm);
    if (raft.role === 'leader') acceptOwn(raft);
  }

  /** Everything handed out up to `index`, a restore included, is applied. */
  applied(index: number): void {
    const raft = this.#raft;
    assert(index >= raft.applied, 'applied never decreases');
    assert(index <= this.#applying, 'nothing is applied that was not handed out');
    this.#freeApplies(index);
    if (this.#restoring) {
      this.#finishRestore(index);
    } else {
      const due = this.#confChangesDue[0];
      assert(due === undefined || due > index, 'a membership change was skipped');
    }
    raft.applied = index;
    leaveJointWhenDue(raft);
  }

  /** Who leads as far as this member knows, and its own part. Cheap, unlike `status()`. */
  get leadership(): Pick<Ready, 'term' | 'role' | 'leader'> {
    const { term, role, leader } = this.#raft;
    return { term, role, leader };
  }

  /** Committed entries that are not yet applied. */
  get applyLagEntries(): number {
    return this.#raft.log.commit - this.#raft.applied;
  }

  /** The lowest index with at most `bytesMax` of entries after it, each counted with a little more than its data. */
  indexBefore(bytesMax: number): number {
    return this.#raft.log.indexBefore(bytesMax);
  }

  /** The term of the entry at `index`, or undefined when the log does not reach there. */
  termAt(index: number): number | undefined {
    return this.#raft.log.term(index);
  }

  status(): RaftStatus {
    const raft = this.#raft;
    return {
      id: raft.id,
      term: raft.term,
      vote: raft.vote,
      role: raft.role,
      leader: raft.leader,
      commit: raft.log.commit,
      applied: raft.applied,
      firstIndex: raft.log.firstIndex,
      lastIndex: raft.log.lastIndex,
      stable: raft.log.stable,
      confState: raft.conf,
      leadTransferee: raft.transferee,
      malformedCount: raft.malformedCount,
      progress: raft.role === 'leader' ? progressStatus(raft) : new Map(),
    };
  }

  #proposeRefusal(datas: readonly Buffer[]): ProposeRefusal | null {
    const raft = this.#raft;
    if (raft.role !== 'leader') return 'not-leader';
    if (raft.transferee !== NO_MEMBER) return 'transferring';
    let bytes = 0;
    for (const data of datas) bytes += data.length;
    // One batch is always let in, however large, and so is what costs nothing.
    const isFree = bytes === 0 || raft.uncommittedBytes === 0;
    return isFree || raft.uncommittedBytes + bytes <= raft.options.maxUncommittedBytes ? null : 'busy';
  }

  /** Turns what piled up since the last `Ready` into messages. */
  #flush(): void {
    beginReads(this.#raft);
    flushAppends(this.#raft);
  }

  #hasAppend(): boolean {
    if (this.#appends.length >= this.#appendBatchesMax) return false;
    const { log, messagesAfterAppend } = this.#raft;
    return (
      log.hasUnstable || messagesAfterAppend.length > 0 || !isSame(this.#hardState, this.#raft.hardState)
    );
  }

  #takeAppend(): AppendBatch {
    const raft = this.#raft;
    const before = this.#hardState;
    const hardState = raft.hardState;
    checkHardState(before, hardState);
    const part = raft.log.takeUnstable();
    const isVoteNew = hardState.term !== before.term || hardState.vote !== before.vote;
    const messages = raft.messagesAfterAppend;
    const selfVoteTerm = raft.selfVotePending ? raft.term : 0;
    this.#appendSeq += 1;
    this.#appends.push({ seq: this.#appendSeq, part, selfVoteTerm });
    this.#hardState = hardState;
    raft.messagesAfterAppend = [];
    raft.selfVotePending = false;
    return {
      seq: this.#appendSeq,
      hardState: isSame(before, hardState) ? null : hardState,
      entries: part.entries,
      snapshot: part.snapshot,
      mustSync: isVoteNew || part.entries.length > 0 || part.snapshot !== null,
      messages,
    };
  }

  #hasRestore(): boolean {
    return this.#raft.log.isRestoreDurable && !this.#restoring;
  }

  #takeRestore(): SnapshotMeta {
    const snapshot = this.#raft.log.restore;
    assert(snapshot !== null && snapshot.index > this.#applying, 'a restore moves the state machine forward');
    this.#restoring = true;
    this.#applying = snapshot.index;
    return snapshot;
  }

  #finishRestore(index: number): void {
    const raft = this.#raft;
    const snapshot = raft.log.restore;
    assert(snapshot !== null, 'a restore is under way');
    // Entries handed out before the restore may still be reported first.
    if (index < snapshot.index) return;
    assert(this.#confChangesDue.length === 0, 'a membership change was skipped');
    raft.log.restored();
    raft.activateConf(snapshot.confState, snapshot.index);
    this.#restoring = false;
  }

  #hasEntries(): boolean {
    const { log, options } = this.#raft;
    // After a restart `commit` may be known further than it was applied, never further than the log is durable.
    const end = Math.min(log.commit, log.stable);
    return log.restore === null && this.#applying < end && this.#applyingBytes < options.maxApplyBytes;
  }

  #takeEntries(): readonly Entry[] {
    const { log, options } = this.#raft;
    const entries = log.slice({
      from: this.#applying + 1,
      to: Math.min(log.commit, log.stable),
      bytesMax: options.maxApplyBytes - this.#applyingBytes,
    });
    let bytes = 0;
    for (const entry of entries) {
      bytes += entryBytes(entry);
      if (entry.kind === 'conf-change') this.#confChangesDue.push(entry.index);
    }
    this.#applying = entries.at(-1)!.index;
    this.#applyingBytes += bytes;
    this.#applies.push({ lastIndex: this.#applying, bytes });
    return entries;
  }

  #freeApplies(index: number): void {
    while (this.#applies.length > 0 && this.#applies[0]!.lastIndex <= index) {
      this.#applyingBytes -= this.#applies.shift()!.bytes;
    }
  }
}

function progressStatus(raft: Raft): ReadonlyMap<MemberId, ProgressStatus> {
  const statuses = new Map<MemberId, ProgressStatus>();
  for (const [id, progress] of raft.progress) {
    const { match, next, state, pendingSnapshot, recentActive, isLearner } = progress;
    statuses.set(id, { match, next, state, pendingSnapshot, recentActive, isLearner });
  }
  return statuses;
}

function isSame(a: HardState, b: HardState): boolean {
  return a.term === b.term && a.vote === b.vote && a.commit === b.commit;
}

function checkHardState(before: HardState, after: HardState): void {
  assert(after.term >= before.term, 'a term never decreases');
  assert(after.commit >= before.commit, 'commit never decreases');
  if (!VERIFY || after.term > before.term) return;
  assert(before.vote === NO_MEMBER || after.vote === before.vote, 'a vote is given once in a term');
}
