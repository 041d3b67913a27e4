import type { MemberId, Message } from '../../../src/core/raft/messages.ts';
import type { RaftOptions } from '../../../src/core/raft/raw-node.ts';
import { bootstrapDisk, type Disk, emptyDisk, TestMember, testOptions } from './test-member.ts';

/** Rounds after which `settle` gives up. */
const ROUNDS_MAX = 500;

/** Members joined by a network that delivers at once, in order, unless told to drop. */
export class TestCluster {
  readonly members = new Map<MemberId, TestMember>();
  /** Messages for which this is false are lost. */
  passes: (message: Message) => boolean = () => true;

  constructor(disks: readonly Disk[], options: Partial<RaftOptions> = {}) {
    for (const [at, disk] of disks.entries()) this.#add(at + 1, disk, options);
  }

  /** Voters 1 to `count`, followed by learners. */
  static of(count: number, options: Partial<RaftOptions> = {}, learners = 0): TestCluster {
    const ids = Array.from({ length: count + learners }, (_, at) => at + 1);
    const disks = ids.map(() => bootstrapDisk(ids.slice(0, count), ids.slice(count)));
    return new TestCluster(disks, options);
  }

  /** A member that knows nobody yet. */
  join(options: Partial<RaftOptions> = {}): TestMember {
    return this.#add(this.members.size + 1, emptyDisk(), options);
  }

  member(id: MemberId): TestMember {
    return this.members.get(id)!;
  }

  /** Lets `id` campaign and everybody answer. */
  elect(id: MemberId): TestMember {
    this.member(id).node.campaign();
    this.settle();
    return this.member(id);
  }

  /** Delivers and works until nothing is left to do. */
  settle(): void {
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const messages = [...this.members.values()].flatMap((member) => this.#work(member));
      if (messages.length === 0) return;
      for (const message of messages) this.#deliver(message);
    }
    throw new Error('the cluster does not settle');
  }

  #work(member: TestMember): readonly Message[] {
    if (!member.alive) return [];
    member.processAll();
    return member.outbox.splice(0).filter(this.passes);
  }

  #deliver(message: Message): void {
    const receiver = this.members.get(message.to);
    if (receiver?.alive !== true) return;
    receiver.node.step(message);
    if (message.type === 'snapshot') this.member(message.from).node.reportSnapshot(message.to, true);
  }

  #add(id: MemberId, disk: Disk, options: Partial<RaftOptions>): TestMember {
    const member = new TestMember(testOptions(id, options), disk);
    this.members.set(id, member);
    return member;
  }
}
