import type {
  ConfChange,
  ConfChangeStep,
  Entry,
  MemberId,
  Message,
} from '../../../src/core/raft/messages.ts';
import type { ProposeOutcome, RaftOptions } from '../../../src/core/raft/raw-node.ts';
import type { Ready } from '../../../src/core/raft/ready.ts';
import {
  bootstrapDisk,
  decodeConfChange,
  emptyDisk,
  encodeConfChange,
  TestMember,
  testOptions,
} from './test-member.ts';
import { formatConf, formatEntry, formatMessage } from './trace-format.ts';

/** Rounds after which `stabilize` gives up: the script does not settle. */
const STABILIZE_ROUNDS_MAX = 200;

/**
 * A cluster driven by scripts. Each line `> command arguments` acts; what it prints is part of the expected text, so
 * that a script shows, and pins, the whole conversation between members.
 */
export class Trace {
  readonly #members = new Map<MemberId, TestMember>();
  #pool: Message[] = [];
  #lines: string[] = [];
  #isQuiet = false;

  /** Runs one command and returns its output, a line each. */
  run(command: string): readonly string[] {
    const [name, ...args] = command.split(' ').filter((word) => word !== '');
    this.#lines = [];
    const handler = this.#commands[name ?? ''];
    if (handler === undefined) throw new Error(`no such command: ${command}`);
    handler(args);
    return this.#lines.length === 0 ? ['ok'] : this.#lines;
  }

  readonly #commands: Record<string, (args: readonly string[]) => void> = {
    'add-nodes': (args) => this.#addNodes(args),
    'add-joining-node': (args) => this.#addMember(this.#members.size + 1, 'joining', optionsOf(args)),
    'add-nodes-with-logs': (args) => this.#addNodesWithLogs(args),
    campaign: ([id]) => this.#member(id).node.campaign(),
    tick: ([id, count]) => this.#tick(id!, Number(count ?? 1)),
    propose: ([id, ...datas]) =>
      this.#printOutcome(this.#member(id).node.propose(datas.map((data) => Buffer.from(data)))),
    'propose-conf-change': ([id, ...steps]) => this.#proposeConfChange(id, steps),
    'transfer-leadership': ([id, to]) =>
      this.#lines.push(this.#member(id).node.transferLeadership(Number(to))),
    'read-index': ([id, context]) => this.#member(id).node.readIndex(Number(context)),
    'report-unreachable': ([id, to]) => this.#member(id).node.reportUnreachable(Number(to)),
    'abandon-leadership': ([id]) => this.#member(id).node.abandonLeadership(),
    'set-voting-allowed': ([id, allowed]) => this.#member(id).node.setVotingAllowed(allowed === 'true'),
    compact: ([id, index]) => this.#compact(id, Number(index)),
    crash: ([id]) => this.#member(id).crash(),
    restart: ([id]) => this.#member(id).restart(),
    'process-ready': ([id]) => this.#processReady(this.#member(id)),
    'process-append': ([id]) => this.#processAppend(this.#member(id)),
    'process-apply': ([id]) => this.#processApply(this.#member(id)),
    'deliver-msgs': (args) => this.#deliverMessages(args),
    messages: () => this.#pool.forEach((message) => this.#print(formatMessage(message))),
    stabilize: (ids) => this.#stabilize(ids.map(Number)),
    status: (ids) => ids.forEach((id) => this.#printStatus(this.#member(id))),
    log: ([id]) => this.#printLog(this.#member(id)),
    quiet: ([value]) => {
      this.#isQuiet = value === 'on';
    },
  };

  #member(id: string | undefined): TestMember {
    const member = this.#members.get(Number(id));
    if (member === undefined) throw new Error(`no such member: ${id}`);
    return member;
  }

  #print(line: string): void {
    if (!this.#isQuiet) this.#lines.push(line);
  }

  #addNodes(args: readonly string[]): void {
    const learners = numberOption(args, 'learners') ?? 0;
    const first = this.#members.size + 1;
    const count = Number(args[0]);
    const ids = Array.from({ length: count }, (_, at) => first + at);
    const disk = () => bootstrapDisk(ids.slice(0, count - learners), ids.slice(count - learners));
    for (const id of ids) this.#addMember(id, disk(), optionsOf(args));
  }

  /** One voter per argument: its current term, a colon, and the terms of its entries from index 2 on. */
  #addNodesWithLogs(args: readonly string[]): void {
    const ids = args.map((_, at) => at + 1);
    for (const [at, arg] of args.entries()) {
      const [term, terms] = arg.split(':');
      const disk = bootstrapDisk(ids);
      disk.hardState = { term: Number(term), vote: 0, commit: 1 };
      for (const [offset, word] of (terms ?? '').split(',').entries()) {
        disk.entries.push({ index: offset + 2, term: Number(word), kind: 'normal', data: Buffer.from('x') });
      }
      this.#addMember(at + 1, disk, {});
    }
  }

  #addMember(
    id: MemberId,
    disk: ReturnType<typeof emptyDisk> | 'joining',
    options: Partial<RaftOptions>,
  ): void {
    const member = new TestMember(testOptions(id, options), disk === 'joining' ? emptyDisk() : disk);
    this.#members.set(id, member);
  }

  #tick(id: string, count: number): void {
    const targets = id === 'all' ? [...this.#members.values()] : [this.#member(id)];
    for (let at = 0; at < count; at += 1) {
      for (const member of targets) if (member.alive) member.node.tick();
    }
  }

  #proposeConfChange(id: string | undefined, words: readonly string[]): void {
    const steps = words.filter((word) => word !== 'leave').map(parseStep);
    const change: ConfChange = { steps };
    this.#printOutcome(this.#member(id).node.proposeConfChange(change, encodeConfChange(change)));
  }

  #printOutcome(outcome: ProposeOutcome): void {
    this.#lines.push(
      outcome.ok ? `proposed at ${outcome.term}/${outcome.index}` : `refused: ${outcome.reason}`,
    );
  }

  #compact(id: string | undefined, index: number): void {
    const member = this.#member(id);
    member.writeBarrier();
    member.compact(index);
    this.#lines.push(`first index ${member.node.status().firstIndex}`);
  }

  #processReady(member: TestMember): void {
    const before = member.readStates.length;
    const ready = member.processReady();
    this.#print(`${member.id} ready ${ready.role} term=${ready.term} leader=${ready.leader}`);
    this.#printReady(ready);
    for (const { context, index } of member.readStates.slice(before)) {
      this.#print(`  read state context=${context} index=${index}`);
    }
    this.#collect(member);
  }

  #printReady(ready: Ready): void {
    for (const message of ready.messages) this.#print(`  send ${formatMessage(message)}`);
    const { append } = ready;
    if (append !== null) {
      const { hardState, snapshot } = append;
      const parts = [`  append #${append.seq}${append.mustSync ? ' sync' : ''}`];
      if (hardState !== null) {
        parts.push(`term=${hardState.term} vote=${hardState.vote} commit=${hardState.commit}`);
      }
      if (snapshot !== null)
        parts.push(`snapshot=${snapshot.term}/${snapshot.index} ${formatConf(snapshot.confState)}`);
      if (append.entries.length > 0) parts.push(`entries=${formatEntries(append.entries)}`);
      this.#print(parts.join(' '));
      for (const message of append.messages) this.#print(`    then ${formatMessage(message)}`);
    }
    if (ready.restore !== null) this.#print(`  restore ${ready.restore.term}/${ready.restore.index}`);
    if (ready.entries.length > 0) this.#print(`  apply ${formatEntries(ready.entries)}`);
  }

  #processAppend(member: TestMember): void {
    const batch = member.processAppend();
    if (batch === undefined) return;
    this.#print(`${member.id} appended #${batch.seq}`);
    this.#collect(member);
  }

  #processApply(member: TestMember): void {
    const before = formatConf(member.confState);
    const index = member.processApply();
    if (index === undefined) return;
    const after = formatConf(member.confState);
    this.#print(`${member.id} applied ${index}${before === after ? '' : ` ${after}`}`);
  }

  /** Messages enter the network; a snapshot is streamed as the sender's state of this moment. */
  #collect(member: TestMember): void {
    for (const message of member.outbox.splice(0)) this.#pool.push(message);
  }

  #deliverMessages(args: readonly string[]): void {
    const drop = listOption(args, 'drop');
    const type = args.find((word) => word.startsWith('type='))?.slice('type='.length);
    const ids = args.filter((word) => !word.includes('=')).map(Number);
    const from = numberOption(args, 'from');
    const isMeant = (message: Message) =>
      (type === undefined || message.type === type) && (from === undefined || message.from === from);
    const pool = this.#pool;
    this.#pool = [];
    for (const message of pool) {
      if (drop.includes(message.to) && isMeant(message)) this.#drop(message);
      else if (ids.includes(message.to) && isMeant(message)) this.#deliver(message);
      else this.#pool.push(message);
    }
  }

  #drop(message: Message): void {
    this.#print(`drop ${formatMessage(message)}`);
    if (message.type === 'snapshot')
      this.#member(String(message.from)).node.reportSnapshot(message.to, false);
  }

  #deliver(message: Message): void {
    const receiver = this.#members.get(message.to);
    if (receiver === undefined || !receiver.alive) return this.#drop(message);
    this.#print(`deliver ${formatMessage(message)}`);
    receiver.node.step(message);
    if (message.type === 'snapshot') this.#member(String(message.from)).node.reportSnapshot(message.to, true);
  }

  #stabilize(ids: readonly number[]): void {
    const members = [...this.#members.values()].filter(
      (member) => member.alive && (ids.length === 0 || ids.includes(member.id)),
    );
    for (let round = 0; round < STABILIZE_ROUNDS_MAX; round += 1) {
      if (!this.#settle(members)) return;
    }
    throw new Error('the script does not settle');
  }

  #settle(members: readonly TestMember[]): boolean {
    let isBusy = false;
    for (const member of members) {
      while (member.node.hasReady() || member.appendLane.length > 0 || member.applyLane.length > 0) {
        isBusy = true;
        if (member.node.hasReady()) this.#processReady(member);
        this.#processAppend(member);
        this.#processApply(member);
      }
    }
    const ids = members.map((member) => member.id);
    if (!this.#pool.some((message) => ids.includes(message.to))) return isBusy;
    this.#deliverMessages(ids.map(String));
    return true;
  }

  #printStatus(member: TestMember): void {
    const status = member.node.status();
    this.#lines.push(
      `${status.id}: ${status.role} term=${status.term} vote=${status.vote} leader=${status.leader}` +
        ` commit=${status.commit} applied=${status.applied} log=${status.firstIndex}..${status.lastIndex}` +
        ` stable=${status.stable} ${formatConf(status.confState)}` +
        (status.leadTransferee === 0 ? '' : ` transferee=${status.leadTransferee}`),
    );
    for (const [id, progress] of status.progress) {
      this.#lines.push(
        `  ${id}: ${progress.state} match=${progress.match} next=${progress.next}` +
          (progress.pendingSnapshot === 0 ? '' : ` pending-snapshot=${progress.pendingSnapshot}`) +
          (progress.recentActive ? '' : ' inactive') +
          (progress.isLearner ? ' learner' : ''),
      );
    }
  }

  #printLog(member: TestMember): void {
    const { compacted, entries } = member.disk;
    this.#lines.push(`${compacted.term}/${compacted.index} | ${formatEntries(entries)}`);
  }
}

function formatEntries(entries: readonly Entry[]): string {
  return entries
    .map((entry) =>
      entry.kind === 'conf-change'
        ? `${entry.term}/${entry.index}:${formatSteps(decodeConfChange(entry.data).steps)}`
        : formatEntry(entry),
    )
    .join(' ');
}

const STEP_LETTERS = { 'add-voter': 'v', 'add-learner': 'l', remove: 'r' } as const;

function formatSteps(steps: readonly ConfChangeStep[]): string {
  return steps.length === 0 ? 'leave' : steps.map(({ type, id }) => `${STEP_LETTERS[type]}${id}`).join(',');
}

function parseStep(word: string): ConfChangeStep {
  const types = { v: 'add-voter', l: 'add-learner', r: 'remove' } as const;
  const type = types[word[0] as 'v' | 'l' | 'r'];
  if (type === undefined) throw new Error(`no such step: ${word}`);
  return { type, id: Number(word.slice(1)) };
}

function optionsOf(args: readonly string[]): Partial<RaftOptions> {
  const inflight = numberOption(args, 'max-inflight');
  const messageBytes = numberOption(args, 'max-message-bytes');
  return {
    ...(inflight === undefined ? {} : { maxInflightMessages: inflight }),
    ...(messageBytes === undefined ? {} : { maxEntriesPerMessageBytes: messageBytes }),
  };
}

function numberOption(args: readonly string[], name: string): number | undefined {
  const word = args.find((arg) => arg.startsWith(`${name}=`));
  return word === undefined ? undefined : Number(word.slice(name.length + 1));
}

function listOption(args: readonly string[], name: string): readonly number[] {
  const word = args.find((arg) => arg.startsWith(`${name}=`));
  return word === undefined
    ? []
    : word
        .slice(name.length + 1)
        .replace(/[()]/g, '')
        .split(',')
        .map(Number);
}
