import { assert } from '../../lib/assert.ts';
import { membersOf } from './conf-change.ts';
import type { LogPosition } from './log.ts';
import { RaftLog } from './log.ts';
import {
  type ConfState,
  type Entry,
  type EntryKind,
  type HardState,
  type MemberId,
  type Message,
  NO_MEMBER,
} from './messages.ts';
import { Progress } from './progress.ts';
import { isVoter } from './quorum.ts';
import { ForwardedReads, ReadRounds } from './read-rounds.ts';
import type { ReadState, Role } from './ready.ts';

export interface RaftOptions {
  readonly id: MemberId;
  /**
   * At least twice `heartbeatTicks`. Without a leader this member campaigns after a timeout that is drawn anew each
   * time from the `electionTicks` that begin at `electionPatience * electionTicks`.
   */
  readonly electionTicks: number;
  /**
   * Election timeouts that this member leaves to others before it campaigns; 1 (the default) to 10. What it grants
   * others does not depend on it: a member that waits longer votes as early as any.
   */
  readonly electionPatience?: number;
  readonly heartbeatTicks: number;
  /** Data in one append; a single larger entry still travels alone. Usual: 1 MiB. */
  readonly maxEntriesPerMessageBytes: number;
  /** Unanswered appends per follower. Usual: 256. */
  readonly maxInflightMessages: number;
  /** Unanswered bytes per follower; at least bandwidth times round trip. Usual: 8 MiB. */
  readonly maxInflightBytes: number;
  /** Proposed and not yet committed; beyond it proposals are refused as `busy`. Usual: 64 MiB. */
  readonly maxUncommittedBytes: number;
  /** Handed out to be applied and not yet applied; a single larger entry still goes alone. Usual: 4 MiB. */
  readonly maxApplyBytes: number;
  /**
   * Append batches handed out and not yet durable; what comes meanwhile gathers into the next one. Default 1: one
   * write at a time, group commit.
   */
  readonly maxAppendBatches?: number;
  /**
   * Rounds of ReadIndex that a leader has under way; reads that come meanwhile share the next. Default 1: the fewest
   * messages, and a read waits half a round on average. More suit a quorum that is far away.
   */
  readonly maxReadRounds?: number;
  /** An integer in [0, bound). */
  readonly random: (bound: number) => number;
}

/** What a member knows when it starts; all of it durable. */
export interface RaftInitialState {
  /** `commit` is already max(hard state's commit, applied). */
  readonly hardState: HardState;
  /** As of `applied`. */
  readonly confState: ConfState;
  readonly applied: number;
  /** The position just before `entries[0]`. */
  readonly compacted: LogPosition;
  /** Everything in the log after `compacted`. */
  readonly entries: readonly Entry[];
}

/**
 * One member's Raft state and its role transitions; the rules that drive it stand in the neighbouring files, one noun
 * each, and only those write its fields. Effects gather in the outboxes until the next `Ready`.
 */
export class Raft {
  readonly id: MemberId;
  readonly options: RaftOptions;
  readonly log: RaftLog;

  term: number;
  vote: MemberId;
  role: Role = 'follower';
  /** The leader known in `term`, or `NO_MEMBER`. */
  leader: MemberId = NO_MEMBER;
  /** False: grants no vote and never campaigns. */
  votingAllowed = true;

  conf: ConfState;
  /** The last conf-change entry (or snapshot) that `conf` reflects; can run ahead of `applied` within a batch. */
  confIndex: number;
  applied: number;
  /** A leader proposes no membership change until this index is applied. */
  pendingConfIndex = 0;

  electionElapsed = 0;
  heartbeatElapsed = 0;
  randomizedElectionTicks = 0;
  /** In a campaign: who has answered, and how. */
  readonly votes = new Map<MemberId, boolean>();
  /** The own vote of `term` is not durable yet and so not counted. */
  selfVotePending = false;

  /** In order of id. Kept on every member, meaningful on a leader. */
  progress = new Map<MemberId, Progress>();
  /** A leader owes somebody an append: entries, a commit index or a probe. */
  replicationDue = false;
  /** Data bytes in entries above `commit`; kept on a leader only. */
  uncommittedBytes = 0;
  /** Leadership is moving to this member; `NO_MEMBER` when it is not. */
  transferee: MemberId = NO_MEMBER;
  transferElapsed = 0;
  /** On a follower: the highest index known to equal the log of the leader of `term`. */
  verified = 0;

  readonly reads: ReadRounds;
  readonly forwardedReads = new ForwardedReads();

  messages: Message[] = [];
  /** Held back until everything before them is durable. */
  messagesAfterAppend: Message[] = [];
  readStates: ReadState[] = [];
  /** Messages from outside that broke the protocol's shape and were ignored. */
  malformedCount = 0;

  constructor(options: RaftOptions, initial: RaftInitialState) {
    checkOptions(options);
    const { hardState, applied } = initial;
    this.id = options.id;
    this.options = options;
    this.reads = new ReadRounds(options.maxReadRounds ?? 1);
    this.log = new RaftLog({ ...initial, commit: hardState.commit });
    assert(initial.compacted.index <= applied, 'the log was compacted beyond what is applied');
    assert(applied <= hardState.commit, 'applied lies beyond commit');
    assert(hardState.term >= this.log.lastTerm, 'the log is newer than the term');
    this.term = hardState.term;
    this.vote = hardState.vote;
    this.conf = initial.confState;
    this.confIndex = applied;
    this.applied = applied;
    this.becomeFollower(hardState.term, NO_MEMBER);
  }

  get hardState(): HardState {
    return { term: this.term, vote: this.vote, commit: this.log.commit };
  }

  /** Whether this member may campaign: a voter whose state and log are in step. */
  get isPromotable(): boolean {
    return this.votingAllowed && this.log.restore === null && isVoter(this.conf, this.id);
  }

  /** A leader that has committed in its term knows that its commit index is the latest (thesis 6.4). */
  get hasCommittedInTerm(): boolean {
    return this.log.term(this.log.commit) === this.term;
  }

  /** Follows `leader` in `term`. The vote is cleared if and only if the term changes: one vote per term. */
  becomeFollower(term: number, leader: MemberId): void {
    this.#reset(term);
    this.role = 'follower';
    this.leader = leader;
  }

  becomePreCandidate(): void {
    assert(this.role !== 'leader', 'a leader does not campaign');
    // Neither term nor vote move: a pre-vote promises nothing.
    this.#reset(this.term);
    this.role = 'pre-candidate';
    this.votes.set(this.id, true);
  }

  becomeCandidate(): void {
    assert(this.role !== 'leader', 'a leader does not campaign');
    this.#reset(this.term + 1);
    this.role = 'candidate';
    this.vote = this.id;
    this.selfVotePending = true;
  }

  /** Takes office with a no-op, whose commit tells what earlier terms have committed (thesis 3.6.2, 6.4). */
  becomeLeader(): void {
    assert(this.role === 'candidate', 'only a candidate is elected');
    this.#reset(this.term);
    this.role = 'leader';
    this.leader = this.id;
    this.uncommittedBytes = this.#uncommittedTailBytes();
    this.appendOwn('normal', [Buffer.alloc(0)]);
    // Any entry inherited from an earlier term may be a membership change.
    this.pendingConfIndex = this.log.lastIndex;
  }

  /** Appends entries of this leader's term and returns the index of the first. */
  appendOwn(kind: EntryKind, datas: readonly Buffer[]): number {
    assert(this.role === 'leader', 'only a leader appends by itself');
    const first = this.log.lastIndex + 1;
    const entries: Entry[] = [];
    for (const data of datas) {
      entries.push({ index: first + entries.length, term: this.term, kind, data });
      this.uncommittedBytes += data.length;
    }
    this.log.append(entries);
    this.replicationDue = true;
    return first;
  }

  /** Activates a configuration as of `index`, keeping what is known of the members that stay. */
  activateConf(conf: ConfState, index: number): void {
    assert(index >= this.confIndex, 'configurations are activated in order of the log');
    this.conf = conf;
    this.confIndex = index;
    const before = this.progress;
    this.progress = new Map();
    for (const id of membersOf(conf)) {
      const kept = before.get(id) ?? this.#newProgress(id);
      kept.isLearner = conf.learners.includes(id);
      this.progress.set(id, kept);
    }
  }

  send(message: Message): void {
    this.messages.push(message);
  }

  /**
   * Queues a reply until what it vouches for is durable. Acceptances to one leader supersede each other, so that a slow
   * disk costs one reply per write and not one per append.
   */
  sendAfterAppend(message: Message): void {
    const last = this.messagesAfterAppend.at(-1);
    if (last !== undefined && supersedes(message, last)) this.messagesAfterAppend.pop();
    this.messagesAfterAppend.push(message);
  }

  /** Answers a read request that cannot be served here and now, so that nobody waits in vain. */
  refuseRead(request: { readonly from: MemberId; readonly context: number }): void {
    this.answerRead({ ...request, index: -1 });
  }

  answerRead(answer: { readonly from: MemberId; readonly context: number; readonly index: number }): void {
    const { from, context, index } = answer;
    if (from === this.id) this.readStates.push({ context, index });
    else this.send({ type: 'read-index-response', from: this.id, to: from, term: this.term, context, index });
  }

  abortTransfer(): void {
    this.transferee = NO_MEMBER;
    this.transferElapsed = 0;
  }

  #reset(term: number): void {
    assert(term >= this.term, 'a term never decreases');
    if (term !== this.term) {
      this.term = term;
      this.vote = NO_MEMBER;
      this.verified = 0;
    }
    this.leader = NO_MEMBER;
    this.electionElapsed = 0;
    this.heartbeatElapsed = 0;
    const { electionTicks, electionPatience = 1, random } = this.options;
    this.randomizedElectionTicks = Math.round(electionPatience * electionTicks) + random(electionTicks);
    this.votes.clear();
    this.selfVotePending = false;
    this.pendingConfIndex = 0;
    this.uncommittedBytes = 0;
    this.replicationDue = false;
    this.abortTransfer();
    this.#refuseReads();
    this.progress = new Map(membersOf(this.conf).map((id) => [id, this.#newProgress(id)]));
  }

  #refuseReads(): void {
    for (const request of this.reads.clear()) this.refuseRead(request);
    for (const context of this.forwardedReads.clear()) this.refuseRead({ from: this.id, context });
  }

  #newProgress(id: MemberId): Progress {
    const progress = new Progress({
      next: this.log.lastIndex + 1,
      isLearner: this.conf.learners.includes(id),
      maxInflightMessages: this.options.maxInflightMessages,
      maxInflightBytes: this.options.maxInflightBytes,
    });
    if (id === this.id) {
      // A leader's own match is its durable index, never what it merely has in memory (thesis 10.2.1).
      progress.accept(this.log.stable);
      progress.becomeReplicate();
    }
    return progress;
  }

  #uncommittedTailBytes(): number {
    const { commit, lastIndex } = this.log;
    const tail = this.log.slice({ from: commit + 1, to: lastIndex, bytesMax: Infinity });
    return tail.reduce((bytes, entry) => bytes + entry.data.length, 0);
  }
}

function supersedes(message: Message, earlier: Message): boolean {
  if (message.type !== 'append-response' || earlier.type !== 'append-response') return false;
  if (message.to !== earlier.to || message.term !== earlier.term) return false;
  return !message.reject && !earlier.reject && message.index >= earlier.index;
}

function checkOptions(options: RaftOptions): void {
  assert(Number.isSafeInteger(options.id) && options.id > 0, 'a member id is a positive integer');
  assert(options.heartbeatTicks > 0, 'heartbeats need at least one tick');
  assert(options.electionTicks >= 2 * options.heartbeatTicks, 'elections need two heartbeats');
  const { electionPatience = 1 } = options;
  assert(electionPatience >= 1 && electionPatience <= 10, 'patience is a few election timeouts');
  assert(options.maxEntriesPerMessageBytes > 0, 'a message carries entries');
  assert(options.maxApplyBytes > 0, 'an apply batch carries entries');
  assert((options.maxAppendBatches ?? 1) > 0, 'at least one append batch is written at a time');
  assert((options.maxReadRounds ?? 1) > 0, 'at least one round of reads is under way');
}
