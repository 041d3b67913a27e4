import type { ConfChange, MemberId, Message } from '../../../src/core/raft/messages.ts';
import type { RaftStatus } from '../../../src/core/raft/raw-node.ts';
import { assert } from '../../../src/lib/assert.ts';
import { Checkers, type SimulationSummary } from './checkers.ts';
import { Prng } from './prng.ts';
import {
  bootstrapDisk,
  type Disk,
  emptyDisk,
  encodeConfChange,
  TestMember,
  testOptions,
} from './test-member.ts';

export interface SimulationOptions {
  readonly seed: number;
  readonly members: number;
  readonly steps: number;
  /** Share of steps in which a member simply does all it has to do, and the oldest messages arrive. */
  readonly calmPercent: number;
  readonly dropPercent: number;
  readonly duplicatePercent: number;
  readonly crashes: boolean;
  readonly partitions: boolean;
  readonly confChanges: boolean;
  readonly compactions: boolean;
  readonly transfers: boolean;
  /** Append batches a member may have on their way to disk. */
  readonly maxAppendBatches: number;
  /** Rounds of reads that a leader may have under way. */
  readonly maxReadRounds: number;
}

/** Messages kept for replay long after they were delivered: old acknowledgements are what breaks read rounds. */
const REPLAY_MESSAGES_MAX = 200;
const LIVENESS_ROUNDS_MAX = 600;
const MEMBERS_MAX = 7;

/**
 * A whole cluster in one thread from one seed: a network that drops, duplicates, reorders and replays, disks that lose
 * what was not durable, members that crash, stall, join and leave. Every event is checked; in the end everything is
 * healed and the cluster must converge.
 */
export class Simulation {
  readonly #options: SimulationOptions;
  readonly #prng: Prng;
  readonly #members = new Map<MemberId, TestMember>();
  readonly #checkers = new Checkers();
  #pool: Message[] = [];
  readonly #old: Message[] = [];
  #cut = new Set<string>();
  #proposals = 0;
  #contexts = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#prng = new Prng(options.seed);
    const ids = Array.from({ length: options.members }, (_, at) => at + 1);
    for (const id of ids) this.#addMember(id, bootstrapDisk(ids));
  }

  run(): SimulationSummary {
    for (let at = 0; at < this.#options.steps; at += 1) this.#act();
    this.#converge();
    return this.#checkers.summary();
  }

  #addMember(id: MemberId, disk: Disk): void {
    const options = testOptions(id, {
      electionTicks: 5,
      maxInflightMessages: 4,
      maxEntriesPerMessageBytes: 120,
      maxApplyBytes: 200,
      maxAppendBatches: this.#options.maxAppendBatches,
      maxReadRounds: this.#options.maxReadRounds,
      random: (bound) => this.#prng.below(bound),
    });
    const member = new TestMember(options, disk);
    member.onApply = (entry) => {
      this.#checkers.onApply(entry);
      if (entry.kind === 'conf-change') this.#checkers.onConf(member, entry.index);
    };
    member.onRestore = (snapshot) => this.#checkers.onRestore(snapshot);
    member.onDurable = (batch) => this.#checkers.onDurable(member, batch);
    this.#members.set(id, member);
  }

  #act(): void {
    const member = this.#anyone();
    const dice = this.#prng.below(1000);
    if (!member.alive) {
      if (dice < 300) this.#restart(member);
      return;
    }
    if (this.#prng.chance(this.#options.calmPercent)) {
      this.#work(member);
      return;
    }
    if (dice < 450) this.#deliverAny();
    else if (dice < 530) member.node.tick();
    else if (dice < 700) this.#takeReady(member);
    else if (dice < 790) this.#processAppend(member);
    else if (dice < 860) member.processApply();
    else if (dice < 910) this.#propose(member);
    else if (dice < 950) this.#read(member);
    else this.#disturb(member);
    this.#checkers.onState(member, this.#members);
  }

  /** Any member, a leader more often: most of what can go wrong begins there. */
  #anyone(): TestMember {
    const leader = this.#prng.chance(30) ? this.#leader() : undefined;
    return leader ?? this.#prng.pick([...this.#members.values()]);
  }

  #work(member: TestMember): void {
    for (let at = 0; at < this.#members.size && this.#pool.length > 0; at += 1) {
      this.#deliver(this.#pool.shift()!);
    }
    this.#runLanes(member);
    this.#collect(member);
  }

  #runLanes(member: TestMember): void {
    while (member.node.hasReady() || member.appendLane.length > 0 || member.applyLane.length > 0) {
      if (member.node.hasReady()) this.#processReady(member);
      member.processAppend();
      this.#checkers.onState(member, this.#members);
      member.processApply();
      this.#checkers.onState(member, this.#members);
    }
  }

  #processReady(member: TestMember): void {
    const { role, append } = member.processReady();
    if (role === 'leader' && append !== null && append.entries.length > 0) {
      this.#checkers.onLeaderBatch(member);
    }
  }

  #disturb(member: TestMember): void {
    const { crashes, partitions, confChanges, compactions, transfers } = this.#options;
    const dice = this.#prng.below(100);
    if (dice < 12 && crashes) this.#crash(member);
    else if (dice < 25 && partitions) this.#partition();
    else if (dice < 45) member.writeBarrier();
    else if (dice < 55 && compactions) this.#compact(member);
    else if (dice < 70 && confChanges) this.#changeMembers(member);
    else if (dice < 75 && transfers)
      member.node.transferLeadership(this.#prng.pick([...this.#members.keys()]));
    else if (dice < 80) member.node.reportUnreachable(this.#prng.pick([...this.#members.keys()]));
    else if (dice < 85 && this.#old.length > 0) this.#pool.push(this.#prng.pick(this.#old));
    else if (dice < 87) member.node.campaign();
    else if (dice < 88) member.node.abandonLeadership();
  }

  #takeReady(member: TestMember): void {
    this.#processReady(member);
    this.#collect(member);
  }

  #processAppend(member: TestMember): void {
    member.processAppend();
    this.#collect(member);
  }

  #collect(member: TestMember): void {
    for (const answer of member.readStates.splice(0)) this.#checkers.onReadAnswer(answer);
    for (const message of member.outbox.splice(0)) {
      this.#checkers.onSend(member, message);
      const isLost = this.#prng.chance(this.#options.dropPercent) || this.#isCut(message);
      if (isLost) this.#lose(message);
      else this.#pool.push(message);
    }
  }

  #isCut({ from, to }: Message): boolean {
    return this.#cut.has(`${from}>${to}`);
  }

  #lose(message: Message): void {
    if (message.type === 'snapshot') this.#members.get(message.from)?.node.reportSnapshot(message.to, false);
  }

  #deliverAny(): void {
    if (this.#pool.length === 0) return;
    const at = this.#prng.below(Math.min(this.#pool.length, 20));
    const message = this.#pool[at]!;
    if (!this.#prng.chance(this.#options.duplicatePercent)) this.#pool.splice(at, 1);
    this.#deliver(message);
  }

  #deliver(message: Message): void {
    const receiver = this.#members.get(message.to);
    if (receiver === undefined || !receiver.alive || this.#isCut(message)) {
      this.#lose(message);
      return;
    }
    receiver.node.step(this.#streamed(message));
    if (message.type === 'snapshot') {
      this.#members.get(message.from)?.node.reportSnapshot(message.to, this.#prng.chance(90));
    }
    if (this.#old.length < REPLAY_MESSAGES_MAX) this.#old.push(message);
    else this.#old[this.#prng.below(REPLAY_MESSAGES_MAX)] = message;
    this.#checkers.onState(receiver, this.#members);
  }

  /** A state travels as of the moment it is read, which may be later than announced. */
  #streamed(message: Message): Message {
    if (message.type !== 'snapshot') return message;
    const sender = this.#members.get(message.from)!;
    const { disk, applied, confState } = sender;
    const index = sender.alive && applied > message.snapshot.index ? applied : message.snapshot.index;
    if (index === message.snapshot.index) return message;
    const entry = disk.entries[index - disk.compacted.index - 1];
    if (entry === undefined) return message;
    return { ...message, snapshot: { index, term: entry.term, confState } };
  }

  #propose(member: TestMember): void {
    const count = 1 + this.#prng.below(3);
    member.node.propose(Array.from({ length: count }, () => Buffer.from(`p${(this.#proposals += 1)}`)));
  }

  #read(member: TestMember): void {
    this.#contexts += 1;
    this.#checkers.onRead(this.#contexts);
    member.node.readIndex(this.#contexts);
  }

  #crash(member: TestMember): void {
    const down = [...this.#members.values()].filter(({ alive }) => !alive).length;
    if (down * 2 >= this.#members.size) return;
    member.crash();
  }

  #restart(member: TestMember): void {
    member.restart();
    this.#checkers.onRestart(member);
  }

  /** Cuts some directed links: symmetric, one-way and partial partitions alike. */
  #partition(): void {
    this.#cut = new Set();
    if (this.#prng.chance(60)) return;
    const lonely = this.#prng.pick([...this.#members.keys()]);
    const isOneWay = this.#prng.chance(30);
    for (const other of this.#members.keys()) {
      if (this.#prng.chance(20)) continue;
      this.#cut.add(`${lonely}>${other}`);
      if (!isOneWay) this.#cut.add(`${other}>${lonely}`);
    }
  }

  #compact(member: TestMember): void {
    const { applied } = member.disk.barrier;
    member.compact(applied - this.#prng.below(3));
  }

  #changeMembers(member: TestMember): void {
    const steps: ConfChange['steps'][number][] = [];
    for (let at = 0; at <= this.#prng.below(3); at += 1) {
      const type = this.#prng.pick(['add-voter', 'add-learner', 'remove'] as const);
      steps.push({ type, id: 1 + this.#prng.below(MEMBERS_MAX) });
    }
    if (isHazardous(member, steps)) return;
    const change = { steps };
    const outcome = member.node.proposeConfChange(change, encodeConfChange(change));
    if (!outcome.ok) return;
    for (const { id } of steps) if (!this.#members.has(id)) this.#addMember(id, emptyDisk());
  }

  /** Heals everything and requires that all members of the final configuration apply the same, something new included. */
  #converge(): void {
    this.#cut = new Set();
    for (const member of this.#members.values()) if (!member.alive) this.#restart(member);
    let target = 0;
    for (let round = 0; round < LIVENESS_ROUNDS_MAX; round += 1) {
      this.#round();
      const leader = this.#leader();
      if (leader === undefined) continue;
      if (target === 0) {
        const outcome = leader.node.propose([Buffer.from('last')]);
        if (outcome.ok) target = outcome.index;
      } else if (this.#hasConverged(leader, target)) return;
      else if (leader.node.status().lastIndex < target) target = 0;
    }
    const statuses = [...this.#members.values()].map(({ node }) => describe(node.status()));
    throw new Error(`a healed cluster did not converge\n${statuses.join('\n')}`);
  }

  /** Delivers everything, runs every lane dry, and lets one tick pass. */
  #round(): void {
    const pool = this.#pool;
    this.#pool = [];
    for (const message of pool) this.#deliver(message);
    for (const member of this.#members.values()) {
      member.node.tick();
      this.#runLanes(member);
      for (const message of member.outbox.splice(0)) this.#pool.push(message);
      for (const answer of member.readStates.splice(0)) this.#checkers.onReadAnswer(answer);
    }
  }

  #leader(): TestMember | undefined {
    const leaders = [...this.#members.values()].filter(
      ({ alive, node }) => alive && node.status().role === 'leader',
    );
    return leaders.sort((a, b) => b.node.status().term - a.node.status().term)[0];
  }

  #hasConverged(leader: TestMember, target: number): boolean {
    const { confState, progress, applied } = leader.node.status();
    if (applied < target || confState.votersOutgoing.length > 0) return false;
    const members = [...progress.keys()].map((id) => this.#members.get(id));
    assert(
      members.every((member) => member !== undefined),
      'every member exists',
    );
    return members.every((member) => member?.applied === applied);
  }
}

/**
 * A leader that removes itself while the others cannot form a majority of the old configuration may leave them stuck,
 * not knowing that the change is committed: it has to hand over first.
 */
function isHazardous(leader: TestMember, steps: ConfChange['steps']): boolean {
  const { voters } = leader.node.status().confState;
  const isOwn = steps.some(({ type, id }) => id === leader.id && type !== 'add-voter');
  return isOwn && (voters.length <= 2 || steps.length > 1);
}

function describe({ progress, ...status }: RaftStatus): string {
  return JSON.stringify({ ...status, progress: [...progress] });
}
