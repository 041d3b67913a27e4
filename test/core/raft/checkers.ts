import type { Entry, MemberId, Message, SnapshotMeta } from '../../../src/core/raft/messages.ts';
import { hasQuorum } from '../../../src/core/raft/quorum.ts';
import type { AppendBatch } from '../../../src/core/raft/ready.ts';
import { assert } from '../../../src/lib/assert.ts';
import type { TestMember } from './test-member.ts';
import { formatConf } from './trace-format.ts';

/** What happened in a run: a run in which nothing happened proves nothing. */
export interface SimulationSummary {
  readonly commit: number;
  readonly elections: number;
  readonly reads: number;
  readonly confChanges: number;
  readonly restores: number;
}

/** What a member has in memory as far as it was handed out: its disk with every batch on its way laid over it. */
interface View {
  readonly compacted: { readonly index: number; readonly term: number };
  readonly entries: readonly Entry[];
}

/**
 * The invariants of Raft over a whole run, crashes included, kept as ghost state that no member sees. Each method is
 * called at the event it is named after and throws when history contradicts it.
 */
export class Checkers {
  readonly #leaders = new Map<number, MemberId>();
  /** Term at each committed index. */
  readonly #committed: number[] = [];
  /** The term whose leader committed each index. */
  readonly #committedBy: number[] = [];
  /** Digest of the entry at each applied index, and the configuration from it on. */
  readonly #applied: string[] = [];
  readonly #confs: string[] = [];
  readonly #entries = new Map<string, string>();
  readonly #votes = new Map<string, MemberId>();
  readonly #marks = new Map<MemberId, { term: number; commit: number }>();
  readonly #readFloors = new Map<number, number>();
  #commitMax = 1;
  #readCount = 0;
  #restoreCount = 0;

  summary(): SimulationSummary {
    return {
      commit: this.#commitMax,
      elections: this.#leaders.size,
      reads: this.#readCount,
      confChanges: Object.keys(this.#confs).length,
      restores: this.#restoreCount,
    };
  }

  /** R1, R5, R6, R8, R9: after anything that can change a member's role, term or commit index. */
  onState(member: TestMember, members: ReadonlyMap<MemberId, TestMember>): void {
    const { role, term, commit } = member.node.status();
    const mark = this.#marks.get(member.id);
    assert(mark === undefined || (term >= mark.term && commit >= mark.commit), 'term or commit decreased');
    this.#marks.set(member.id, { term, commit });
    if (role === 'leader') this.#onLeader(member, term);
    if (commit > this.#commitMax) this.#onCommit(member, { commit, term }, members);
  }

  onRestart(member: TestMember): void {
    const { term, commit } = member.node.status();
    assert(term === member.disk.hardState.term, 'a restart comes back in its durable term');
    this.#marks.set(member.id, { term, commit });
  }

  /** R2, R4: a batch is durable. */
  onDurable(member: TestMember, batch: AppendBatch): void {
    const { hardState } = batch;
    if (hardState !== null && hardState.vote !== 0) this.#onVote(member.id, hardState);
    for (const entry of batch.entries) this.#onDurableEntry(member, entry);
    for (const message of batch.messages) {
      if (message.type !== 'vote-response' || message.preVote || !message.granted) continue;
      this.#onVote(member.id, { term: message.term, vote: message.to });
    }
    const conf = member.disk.entries.filter(
      (entry) => entry.kind === 'conf-change' && entry.index > member.disk.hardState.commit,
    );
    assert(conf.length <= 1, 'two membership changes above commit');
  }

  /** R2: no vote, asked for or given, leaves before it is durable. */
  onSend(member: TestMember, message: Message): void {
    const { term, vote } = member.disk.hardState;
    if (message.type === 'vote' && !message.preVote) {
      assert(
        term > message.term || (term === message.term && vote === member.id),
        'a vote was asked for too early',
      );
    }
    if (message.type === 'vote-response' && !message.preVote && message.granted) {
      assert(
        term > message.term || (term === message.term && vote === message.to),
        'a vote was sent too early',
      );
    }
  }

  /** R7: the same entry at each index on every member. */
  onApply(entry: Entry): void {
    const digest = `${entry.term}:${entry.kind}:${entry.data.toString()}`;
    const known = this.#applied[entry.index];
    assert(known === undefined || known === digest, 'two members applied different entries');
    assert(this.#committed[entry.index] === entry.term, 'applied what was not committed');
    this.#applied[entry.index] = digest;
  }

  /** R10: the same configuration at each index on every member. */
  onConf(member: TestMember, index: number): void {
    const conf = formatConf(member.confState);
    assert((this.#confs[index] ?? conf) === conf, 'two members differ in their configuration');
    this.#confs[index] = conf;
  }

  /** R12: a snapshot holds exactly what is committed. */
  onRestore(snapshot: SnapshotMeta): void {
    this.#restoreCount += 1;
    const term = snapshot.index === 1 ? 1 : this.#committed[snapshot.index];
    assert(term === snapshot.term, 'restored what was not committed');
  }

  /** R13: the floor a read must not fall below is all that was committed when it was asked. */
  onRead(context: number): void {
    this.#readFloors.set(context, this.#commitMax);
  }

  onReadAnswer(answer: { readonly context: number; readonly index: number }): void {
    const floor = this.#readFloors.get(answer.context);
    assert(floor !== undefined, 'a read was answered twice or never asked');
    this.#readFloors.delete(answer.context);
    if (answer.index < 0) return;
    this.#readCount += 1;
    assert(answer.index >= floor, 'a read missed a committed write');
  }

  #onLeader(member: TestMember, term: number): void {
    const known = this.#leaders.get(term);
    assert(known === undefined || known === member.id, 'two leaders in one term');
    this.#leaders.set(term, member.id);
  }

  /** R5, checked at a leader's own entries: whatever was committed before them precedes them. */
  onLeaderBatch(member: TestMember): void {
    const view = viewOf(member);
    const { term } = member.node.status();
    for (let index = view.compacted.index + 1; index <= this.#commitMax; index += 1) {
      const committedBefore = (this.#committedBy[index] ?? Infinity) <= term;
      const own = view.entries[index - view.compacted.index - 1]?.term;
      assert(!committedBefore || own === this.#committed[index], 'a leader lacks a committed entry');
    }
  }

  #onCommit(
    member: TestMember,
    at: { readonly commit: number; readonly term: number },
    members: ReadonlyMap<MemberId, TestMember>,
  ): void {
    const { role, confState } = member.node.status();
    assert(role === 'leader', 'only a leader is first to commit');
    const last = { index: at.commit, term: at.term };
    const isDurableAt = (id: MemberId) => hasDurably(members.get(id)!, last);
    // Fails as well when the last entry is of an earlier term: those are never committed by counting.
    assert(hasQuorum(confState, isDurableAt), 'committed without a durable quorum of this term');
    const { disk } = [...members.values()].find((other) => hasDurably(other, last))!;
    for (let index = this.#commitMax + 1; index <= at.commit; index += 1) {
      this.#committed[index] = disk.entries[index - disk.compacted.index - 1]!.term;
      this.#committedBy[index] = at.term;
    }
    this.#commitMax = at.commit;
  }

  #onVote(voter: MemberId, ballot: { readonly term: number; readonly vote: MemberId }): void {
    const key = `${voter}@${ballot.term}`;
    const known = this.#votes.get(key);
    assert(known === undefined || known === ballot.vote, 'two votes in one term');
    this.#votes.set(key, ballot.vote);
  }

  #onDurableEntry(member: TestMember, entry: Entry): void {
    const { compacted, entries } = member.disk;
    const at = entry.index - compacted.index - 1;
    const previous = at === 0 ? compacted.term : entries[at - 1]!.term;
    const digest = `${previous}:${entry.kind}:${entry.data.toString()}`;
    const key = `${entry.term}/${entry.index}`;
    assert((this.#entries.get(key) ?? digest) === digest, 'logs with an equal entry differ before it');
    this.#entries.set(key, digest);
  }
}

function viewOf(member: TestMember): View {
  let compacted = member.disk.compacted;
  let entries = [...member.disk.entries];
  for (const batch of member.appendLane) {
    if (batch.snapshot !== null) {
      compacted = batch.snapshot;
      entries = [];
    }
    const first = batch.entries[0];
    if (first !== undefined) entries.splice(first.index - compacted.index - 1, Infinity, ...batch.entries);
  }
  return { compacted, entries };
}

function hasDurably(member: TestMember, at: { readonly index: number; readonly term: number }): boolean {
  const { compacted, entries } = member.disk;
  return entries[at.index - compacted.index - 1]?.term === at.term;
}
