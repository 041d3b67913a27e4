import type { ConfChange, Entry, MemberId, Message } from '../../src/core/raft/messages.ts';
import { RawNode } from '../../src/core/raft/raw-node.ts';
import type { ReadState } from '../../src/core/raft/ready.ts';

/** A real Raft node of member 1 whose disk is instant, and what it wanted done. */
export class TestNode {
  readonly node: RawNode;
  readonly entries: Entry[] = [];
  readonly messages: Message[] = [];
  readonly readStates: ReadState[] = [];
  /** What every membership change is taken to mean. */
  confChange: ConfChange | null = null;

  constructor(voters: readonly MemberId[] = [1], learners: readonly MemberId[] = []) {
    this.node = new RawNode(
      {
        id: 1,
        electionTicks: 10,
        heartbeatTicks: 1,
        maxEntriesPerMessageBytes: 1024 * 1024,
        maxInflightMessages: 16,
        maxInflightBytes: 1024 * 1024,
        maxUncommittedBytes: 1024,
        maxApplyBytes: 1024 * 1024,
        random: () => 0,
      },
      {
        hardState: { term: 1, vote: 0, commit: 1 },
        confState: { voters, votersOutgoing: [], learners, learnersNext: [], autoLeave: false },
        applied: 1,
        compacted: { index: 1, term: 1 },
        entries: [],
      },
    );
  }

  /** The only member, leading, its no-op applied. */
  static leader(learners: readonly MemberId[] = []): TestNode {
    const test = new TestNode([1], learners);
    test.node.campaign();
    test.settle();
    return test;
  }

  /** Member 1 of three; member 2 leads in `term`. */
  static follower(term = 2): TestNode {
    const test = new TestNode([1, 2, 3]);
    test.hear({ leader: 2, term });
    return test;
  }

  /** A heartbeat of the leader. */
  hear({ leader, term }: { readonly leader: MemberId; readonly term: number }): void {
    this.node.step({ type: 'heartbeat', from: leader, to: 1, term, commit: 1, readSeq: 0 });
    this.settle();
  }

  /** Does everything there is to do. */
  settle(): void {
    while (this.node.hasReady()) {
      const ready = this.node.ready();
      this.messages.push(...ready.messages);
      this.readStates.push(...ready.readStates);
      if (ready.append !== null) {
        this.node.appended(ready.append.seq);
        this.messages.push(...ready.append.messages);
      }
      this.entries.push(...ready.entries);
      for (const { kind } of ready.entries) {
        if (kind === 'conf-change') this.node.applyConfChange(this.confChange);
      }
      const last = ready.entries.at(-1);
      if (last !== undefined) this.node.applied(last.index);
    }
  }
}
