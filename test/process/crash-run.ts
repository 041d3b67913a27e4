import { existsSync } from 'node:fs';
import { cp, mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { putRequest } from '../../src/core/mvcc/operations.ts';
import { Prng } from '../core/raft/prng.ts';
import { CrashControl, type CrashSettings } from './crash-control.ts';
import { tearLog } from './crash-image.ts';
import { type CrashPoint, pointName, pointsOf, type Situation } from './crash-steps.ts';
import { type ArenaMember, eventually, FaultArena, within } from './fault-arena.ts';
import { Observer, observeEverything } from './observers.ts';
import { judge, type Verdict } from './verdict.ts';
import { ALL_KEYS, KEYS, Workload } from './workload.ts';

const SETTINGS: CrashSettings = { logSegmentBytes: 16 * 1024, ticksPerBarrier: 4 };
/** Three are ended in turn, each in its own way; a quorum needs but one of them. */
const SIZE = 5;
/** For one point: many starts on a busy machine. */
const POINT_PATIENCE_MS = 240_000;
/** A member that has served for so long takes no snapshot any more. */
const SNAPSHOT_WAIT_MS = 3_000;
const COMPACTION_BEHIND = 5;
const LOG_ENTRIES = 20;
const CALM_WRITES = 20;
const CLIENTS_EACH = 1;
/** Steps that come with every write, or in long rows, end the process at one of so many. */
const OCCURRENCES: Readonly<Record<string, number>> = {
  'record-written': 60,
  'record-synced': 60,
  'batch-written': 60,
  'ballast-written': 64,
  'ballast-synced': 64,
  'garbage-removed': 3,
  'spare-written': 3,
  'segment-removed': 3,
};
/** Makes the state large enough that its transfer can be broken off. */
const BULK_BYTES = 256 * 1024;
const SLOW_BYTES_PER_SECOND = 100_000;

/** What came of it. `hits`: how often each point ended a process, by its name. */
export interface CrashRunResult extends Verdict {
  readonly hits: ReadonlyMap<string, number>;
  /** Steps that some process has taken. */
  readonly seen: ReadonlySet<string>;
}

/**
 * Ends a member of a cluster under load at every named point, one after the other, starts it again each time until it
 * serves, and judges what the clients saw.
 */
export async function hitEveryPoint(seed: number): Promise<CrashRunResult> {
  const directory = await mkdtemp(join(tmpdir(), 'conclave-crash-'));
  try {
    const run = await CrashRun.prepare(seed, directory);
    try {
      return await run.carryOut();
    } finally {
      await run.destroy();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

class CrashRun {
  readonly #random: Prng;
  readonly #arena: FaultArena;
  readonly #controls: ReadonlyMap<string, CrashControl>;
  readonly #workload: Workload;
  #observers: readonly Observer[] = [];

  private constructor(random: Prng, arena: FaultArena, controls: ReadonlyMap<string, CrashControl>) {
    this.#random = random;
    this.#arena = arena;
    this.#controls = controls;
    const urls = arena.members.map((member) => member.workloadUrl);
    this.#workload = new Workload({
      urls: Array.from({ length: CLIENTS_EACH }, () => urls).flat(),
      seed: random.below(2 ** 20),
    });
  }

  static async prepare(seed: number, directory: string): Promise<CrashRun> {
    const random = new Prng(seed);
    const controls = new Map<string, CrashControl>();
    const arena = await FaultArena.prepare({
      size: SIZE,
      random,
      logEntries: LOG_ENTRIES,
      variables: ({ name }) => controls.get(name)!.variables,
    });
    for (const name of arena.names) {
      controls.set(name, await CrashControl.make(join(directory, name), SETTINGS));
    }
    return new CrashRun(random, arena, controls);
  }

  async carryOut(): Promise<CrashRunResult> {
    try {
      await this.#firstStarts();
      const urls = this.#arena.members.map((member) => member.workloadUrl);
      const everything = observeEverything(urls);
      const observer = new Observer(urls.toReversed(), {
        ...ALL_KEYS,
        startRevision: 1,
        progressNotify: true,
      });
      this.#observers = [everything, observer];
      this.#workload.start();
      await this.#workload.acknowledgements(CALM_WRITES);
      const [first, second, third] = this.#arena.members;
      await Promise.all([
        this.#all(first!, 'load', (point) => this.#underLoad(first!, point)).then(() =>
          this.#all(first!, 'damage', (point) => this.#onDamage(first!, point)),
        ),
        this.#all(second!, 'start', (point) => this.#atStart(second!, point)).then(() =>
          this.#all(second!, 'torn start', (point) => this.#atTornStart(second!, point)),
        ),
        this.#all(third!, 'snapshot', (point) => this.#inSnapshot(third!, point)),
      ]);
      await this.#all(third!, 'broken snapshot', (point) => this.#inBrokenSnapshot(third!, point));
      await within('writes at the end', this.#workload.acknowledgements(CALM_WRITES));
      await this.#workload.stop();
      const verdict = await judge({
        arena: this.#arena,
        workload: this.#workload,
        everything,
        observers: [observer],
      });
      return { ...verdict, ...(await this.#counts()) };
    } catch (error) {
      const logs = this.#arena.members.map((member) => `--- ${member.name}\n${member.process?.log ?? ''}`);
      throw new Error(`a run through the crash points failed\n${logs.join('\n')}`, { cause: error });
    }
  }

  async destroy(): Promise<void> {
    await this.#workload.stop();
    this.#workload.close();
    await Promise.all(this.#observers.map((observer) => observer.stop()));
    await this.#arena.destroy();
  }

  async #counts(): Promise<Pick<CrashRunResult, 'hits' | 'seen'>> {
    const hits = new Map<string, number>();
    const seen = new Set<string>();
    for (const control of this.#controls.values()) {
      for (const hit of await control.hits()) hits.set(hit, (hits.get(hit) ?? 0) + 1);
      for (const step of await control.seen()) seen.add(step);
    }
    return { hits, seen };
  }

  async #all(
    member: ArenaMember,
    situation: Situation,
    reach: (point: CrashPoint) => Promise<void>,
  ): Promise<void> {
    const startedMs = performance.now();
    for (const point of pointsOf(situation)) {
      await within(`${member.name} ends ${pointName(point)}`, reach(point), POINT_PATIENCE_MS);
    }
    const points = pointsOf(situation).length;
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    process.stdout.write(`${situation}: ${points} points in ${seconds} s\n`);
  }

  // ---- situations -------------------------------------------------------------------------------------------

  async #firstStarts(): Promise<void> {
    const third = this.#arena.members[2];
    for (const member of this.#arena.members) if (member !== third) this.#arena.launch(member);
    await this.#all(third!, 'first start', async (point) => {
      // With an IDENTITY the first start is over. Nobody has met this member yet: it may begin anew.
      if (existsSync(join(third!.dataDir, 'IDENTITY'))) await rm(third!.dataDir, { recursive: true });
      await this.#arm(third!, point);
      this.#arena.launch(third!);
      await this.#ended(third!, point);
    });
    this.#arena.launch(third!);
    await Promise.all(this.#arena.members.map((member) => member.started));
  }

  async #underLoad(member: ArenaMember, point: CrashPoint): Promise<void> {
    await this.#arm(member, point);
    const ended = this.#ended(member, point);
    member.process?.signal('SIGUSR2');
    // What it asks for may need the member itself again, for a quorum.
    const provoked = this.#provoke(member, point, ended);
    await ended;
    await this.#heal(member);
    await provoked;
  }

  /** Asks for what no member does by itself, until the process has ended. */
  async #provoke(member: ArenaMember, { step }: CrashPoint, ended: Promise<void>): Promise<void> {
    let over = false;
    const end = (): void => {
      over = true;
    };
    ended.then(end, end);
    while (!over && (step === 'compacted-rows-removed' || step === 'defragmented')) {
      if (step === 'defragmented') await this.#arena.defragment(member).catch(() => {});
      else await this.#compact();
    }
  }

  async #compact(): Promise<void> {
    await this.#workload.acknowledgements(1);
    const { revision } = this.#observers[0]!;
    await this.#workload.perform({ type: 'compact', revision: Math.max(2, revision - COMPACTION_BEHIND) });
  }

  async #atStart(member: ArenaMember, point: CrashPoint): Promise<void> {
    await this.#arena.kill(member);
    await prepareStart(member.dataDir, point.step);
    const lacksRoom = point.step.startsWith('ballast-removed');
    if (lacksRoom) await this.#control(member).change({ ...SETTINGS, freeBytes: 0 });
    await this.#launchArmed(member, point);
    if (lacksRoom) await this.#control(member).change(SETTINGS);
    await this.#heal(member);
  }

  async #atTornStart(member: ArenaMember, point: CrashPoint): Promise<void> {
    await this.#arena.kill(member);
    await tearLog(member.dataDir, this.#random);
    await this.#launchArmed(member, point);
    await this.#heal(member);
  }

  /** Again, when a leader whose log was not cut yet could give it entries instead. */
  async #inSnapshot(member: ArenaMember, point: CrashPoint): Promise<void> {
    for (let over = false; !over; ) {
      await this.#fallBehind(member);
      await this.#arm(member, point);
      this.#arena.launch(member);
      const ended = this.#ended(member, point).then(() => true);
      const served = member.started.then(
        async () => delay(SNAPSHOT_WAIT_MS, false),
        async () => ended,
      );
      over = await Promise.race([ended, served]);
      // Ended on purpose now, and not at the point: nobody asks any more.
      if (!over) ended.catch(() => {});
    }
    await this.#heal(member);
  }

  async #inBrokenSnapshot(member: ArenaMember, point: CrashPoint): Promise<void> {
    const { network, names } = this.#arena;
    const value = Buffer.from(Array.from({ length: BULK_BYTES }, () => this.#random.below(256)));
    const bulk = putRequest({ key: KEYS[0]!, value });
    await this.#workload.perform(bulk);
    await this.#fallBehind(member);
    await this.#arm(member, point);
    const others = names.filter((name) => name !== member.name);
    for (const from of others) {
      network.shape({ from, to: member.name }, { bytesPerSecond: SLOW_BYTES_PER_SECOND });
    }
    this.#arena.launch(member);
    const ended = this.#ended(member, point);
    let over = false;
    const end = (): void => {
      over = true;
    };
    ended.then(end, end);
    await eventually('a snapshot is broken off', async () => {
      const active = (await readdir(member.dataDir)).filter((name) => name.startsWith('state-'));
      if (active.length > 1) for (const from of others) network.reset({ from, to: member.name });
      return over || null;
    });
    await ended;
    network.clear();
    await this.#heal(member);
  }

  /** On a copy that is then damaged, so that the member itself can go on. */
  async #onDamage(member: ArenaMember, point: CrashPoint): Promise<void> {
    await this.#arena.kill(member);
    const { dataDir } = member;
    member.dataDir = await this.#arena.copyData(member, `damaged-${this.#random.below(2 ** 30)}`);
    await damageLog(member.dataDir);
    await this.#launchArmed(member, point);
    const again = this.#arena.launch(member);
    const code = await again.exit();
    if (code !== 1 || !again.log.includes('data-dir-corrupt')) {
      throw new Error(`a damaged member ended with ${code}`);
    }
    await rm(member.dataDir, { recursive: true, force: true });
    member.dataDir = dataDir;
    await this.#heal(member);
  }

  // ---- parts ------------------------------------------------------------------------------------------------

  #control(member: ArenaMember): CrashControl {
    return this.#controls.get(member.name)!;
  }

  #arm(member: ArenaMember, point: CrashPoint): Promise<void> {
    const occurrence = 1 + this.#random.below(OCCURRENCES[point.step] ?? 1);
    return this.#control(member).arm(point, { occurrence, action: 'kill' });
  }

  async #launchArmed(member: ArenaMember, point: CrashPoint): Promise<void> {
    await this.#arm(member, point);
    this.#arena.launch(member);
    await this.#ended(member, point);
  }

  async #heal(member: ArenaMember): Promise<void> {
    await this.#control(member).disarm();
    this.#arena.launch(member);
    await member.started;
  }

  /** @throws Error when the process ended otherwise, or somewhere else */
  async #ended(member: ArenaMember, point: CrashPoint): Promise<void> {
    const running = member.process!;
    const status = await running.exit();
    const hit = (await this.#control(member).hits()).at(-1);
    if (status === 'SIGKILL' && hit === pointName(point)) return;
    throw new Error(`${member.name} should end ${pointName(point)}, and ended with ${status} (${hit})`);
  }

  /** Ends a member and waits until no other log holds what it would need. */
  async #fallBehind(member: ArenaMember): Promise<void> {
    const others = this.#arena.members.filter((other) => other !== member);
    await this.#arena.kill(member);
    await this.#workload.acknowledgements(1);
    const ask = async (look: (other: ArenaMember) => Promise<number>): Promise<readonly number[] | null> => {
      const found = await Promise.all(others.map((other) => look(other).catch(() => null)));
      const known = found.filter((index) => index !== null);
      return known.length >= SIZE - 3 ? known : null;
    };
    const reached = Math.max(
      ...(await eventually('commit indexes', async () => ask((other) => this.#arena.commitIndex(other)))),
    );
    // Those that nobody ends are enough: one of them mostly leads.
    await eventually('the logs of others are cut', async () => {
      const first = await ask((other) => this.#arena.logFirstIndex(other));
      return (first !== null && first.filter((index) => index > reached + 1).length >= SIZE - 3) || null;
    });
  }
}

/** Puts into a stopped member's data what the step is about. */
async function prepareStart(dataDir: string, step: string): Promise<void> {
  if (step === 'spare-removed') await writeFile(join(dataDir, 'wal/spare'), Buffer.alloc(4096));
  if (step === 'leftover-removed') await writeFile(join(dataDir, 'IDENTITY.tmp'), 'half');
  if (step === 'leftover-state-destroyed') {
    const [state] = (await readdir(dataDir)).filter((name) => name.startsWith('state-'));
    await cp(join(dataDir, state!), join(dataDir, 'state-999'), { recursive: true });
  }
  if (step.startsWith('ballast-removed')) await writeFile(join(dataDir, 'BALLAST'), 'room');
  else if (step.startsWith('ballast')) await rm(join(dataDir, 'BALLAST'), { force: true });
  if (step.startsWith('peers')) await rm(join(dataDir, 'PEERS'), { force: true });
}

/** Turns a byte of a record over that later ones know to be durable. */
async function damageLog(dataDir: string): Promise<void> {
  const directory = join(dataDir, 'wal');
  const [oldest] = (await readdir(directory)).filter((name) => name.endsWith('.wal')).toSorted();
  const file = await open(join(directory, oldest!), 'r+');
  try {
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, 100);
    byte[0]! ^= 0xff;
    await file.write(byte, 0, 1, 100);
    await file.datasync();
  } finally {
    await file.close();
  }
}
