import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Prng } from '../core/raft/prng.ts';
import { CrashControl } from './crash-control.ts';
import { CrashJournal } from './crash-journal.ts';
import { pointName, pointsOf } from './crash-steps.ts';
import { type ArenaMember, eventually, FaultArena, within } from './fault-arena.ts';
import { type Claims, inspectImage, judgeImage } from './image-judge.ts';
import { type Loss, losePower } from './power-loss.ts';
import { Workload } from './workload.ts';

/** One process, stopped again and again; each time it gives several images. */
export interface ImageRound {
  readonly seed: number;
  readonly images: number;
  /** Members of the cluster; 1 unless told otherwise. Each stop takes the leader or one of the others. */
  readonly members?: number;
}

/** What a round amounted to. */
export interface ImageRoundResult {
  readonly images: number;
  readonly violations: readonly string[];
  readonly ops: number;
  readonly entriesReplayed: number;
  readonly markersCompared: number;
  readonly logBytesLost: number;
  readonly stateBytesLost: number;
  readonly changesLost: number;
  /** Images that had lost nothing, because all was synced. */
  readonly whole: number;
  /** Images with a torn record at the end of their log. */
  readonly torn: number;
  /** Images of a member that led, or did not, when it was stopped. */
  readonly ofLeader: number;
  readonly ofFollower: number;
}

/** The first loses everything that was not synced, the others at random. */
const IMAGES_EACH_STOP = 10;
const CLIENTS = 6;
const SETTINGS = { logSegmentBytes: 16 * 1024, journal: true };
/** Barriers come often, or so seldom that much of the state may be lost. */
const TICKS_PER_BARRIER = { min: 2, max: 24 };
/** Steps that come with every write are passed so often before one is stopped at. */
const OCCURRENCES_MAX = 20;
const RANDOM_MOMENT_MS_MAX = 200;
/** A point that does not come about within this time is given up for the moment. */
const POINT_WAIT_MS = 3_000;
/** Steps under load that come by themselves. */
const POINTS = pointsOf('load').filter(({ step }) => step !== 'defragmented');
/** It comes with every write. */
const BEFORE_SYNC = { step: 'record-synced', when: 'before' } as const;
/** For the images of one stop, on a busy machine. */
const STOP_PATIENCE_MS = 240_000;
const COMPACTION_BEHIND = 50;

/** Nobody needs a snapshot because it was stopped for a while: that would be another state than the one looked at. */
const LOG_ENTRIES = 1_000_000;

/** Runs members under load and recovers images of what a power loss at many moments leaves of its data. */
export async function imageRound({ seed, images, members = 1 }: ImageRound): Promise<ImageRoundResult> {
  const directory = await mkdtemp(join(tmpdir(), 'conclave-images-'));
  const random = new Prng(seed);
  const ticksPerBarrier = TICKS_PER_BARRIER.min + random.below(TICKS_PER_BARRIER.max - TICKS_PER_BARRIER.min);
  const controls = new Map<string, CrashControl>();
  const arena = await FaultArena.prepare({
    size: members,
    random,
    ...(members > 1 && { logEntries: LOG_ENTRIES }),
    variables: ({ name }) => controls.get(name)!.variables,
  });
  const targets: Target[] = [];
  for (const member of arena.members) {
    const control = await CrashControl.make(join(directory, `control-${member.name}`), {
      ...SETTINGS,
      ticksPerBarrier,
    });
    controls.set(member.name, control);
    targets.push({ member, control, journal: new CrashJournal(control.journalPath) });
  }
  const urls = Array.from({ length: CLIENTS }, (_, i) => arena.members[i % members]!.clientUrl);
  const workload = new Workload({ urls, seed });
  try {
    for (const member of arena.members) arena.launch(member);
    await Promise.all(arena.members.map((member) => member.started));
    workload.start();
    await workload.acknowledgements(1);
    const round = new Round({ directory, arena, targets, workload, random });
    while (round.images < images) await within('a stop', round.stop(images - round.images), STOP_PATIENCE_MS);
    return round.result();
  } catch (error) {
    const logs = arena.members.map((member) => `--- ${member.name}\n${member.process?.log ?? ''}`);
    throw new Error(`images of seed ${seed}\n${logs.join('\n')}`, { cause: error });
  } finally {
    await workload.stop();
    workload.close();
    await arena.destroy();
    await rm(directory, { recursive: true, force: true });
  }
}

/** A member that can be stopped, and what it writes down of itself. */
interface Target {
  readonly member: ArenaMember;
  readonly control: CrashControl;
  readonly journal: CrashJournal;
}

interface RoundOptions {
  readonly directory: string;
  readonly arena: FaultArena;
  readonly targets: readonly Target[];
  readonly workload: Workload;
  readonly random: Prng;
}

class Round {
  images = 0;
  /** The first stop is where bytes of the log may be lost: without one such stop a round would prove little. */
  #isFirst = true;
  /** Stops take turns between the leader and a follower, so that no round leaves one of them out. */
  #isLeadersTurn: boolean;
  readonly #options: RoundOptions;
  readonly #violations: string[] = [];
  #counts = {
    entriesReplayed: 0,
    markersCompared: 0,
    logBytesLost: 0,
    stateBytesLost: 0,
    changesLost: 0,
    whole: 0,
    torn: 0,
    ofLeader: 0,
    ofFollower: 0,
  };

  constructor(options: RoundOptions) {
    this.#options = options;
    this.#isLeadersTurn = options.random.chance(50);
  }

  result(): ImageRoundResult {
    const ops = this.#options.workload.history.length;
    return { images: this.images, violations: this.#violations, ops, ...this.#counts };
  }

  /** Stops the process somewhere, copies what is there, lets it go on, and judges images of the copy. */
  async stop(imagesMax: number): Promise<void> {
    const { directory, workload, random, targets } = this.#options;
    await workload.acknowledgements(1 + random.below(20));
    const revision = this.#revision() - random.below(COMPACTION_BEHIND);
    if (revision > 1 && random.chance(40)) await workload.perform({ type: 'compact', revision });
    const { target, leads } = await this.#choose();
    const { member, journal } = target;
    const where = await this.#standStill(target);
    const isAlone = targets.length === 1;
    // A majority has what was acknowledged; this member may be the one that has not, and knows what is committed.
    const acknowledgedRevision = isAlone ? this.#revision() : 1;
    await journal.readOn();
    const copy = join(directory, 'copy');
    await copyData(member.dataDir, copy);
    const images = Math.min(imagesMax, IMAGES_EACH_STOP);
    this.#counts[leads ? 'ofLeader' : 'ofFollower'] += images;
    const least = await this.#image(copy, journal, 'all');
    const claims = {
      full: await inspectImage(copy),
      least: await inspectImage(least),
      journal,
      acknowledgedRevision,
      isAlone,
    };
    await this.#judge(least, { claims, where });
    for (let i = 1; i < images; i++) {
      await this.#judge(await this.#image(copy, journal, 'some'), { claims, where });
    }
    await rm(copy, { recursive: true });
    process.kill(member.process!.pid, 'SIGCONT');
  }

  async #choose(): Promise<{ readonly target: Target; readonly leads: boolean }> {
    const { arena, targets, random } = this.#options;
    if (targets.length === 1) return { target: targets[0]!, leads: true };
    const leader = await arena.leader();
    const leads = this.#isLeadersTurn;
    this.#isLeadersTurn = !leads;
    return { target: random.pick(targets.filter(({ member }) => (member === leader) === leads)), leads };
  }

  /** @returns where the process stands now: at a named point, or at any moment */
  async #standStill({ member, control }: Target): Promise<string> {
    const { random } = this.#options;
    const { pid } = member.process!;
    const isFirst = this.#isFirst;
    this.#isFirst = false;
    const point = isFirst ? BEFORE_SYNC : random.pick(POINTS);
    if (isFirst || random.chance(75)) {
      await control.arm(point, { occurrence: 1 + random.below(OCCURRENCES_MAX), action: 'stop' });
      process.kill(pid, 'SIGUSR2');
      const endMs = performance.now() + (isFirst ? STOP_PATIENCE_MS : POINT_WAIT_MS);
      while (performance.now() < endMs) {
        if (await standsStill(pid)) return pointName(point);
        await delay(1);
      }
      await control.disarm();
    } else {
      await delay(random.below(RANDOM_MOMENT_MS_MAX));
    }
    process.kill(pid, 'SIGSTOP');
    await eventually('every thread stands still', async () => (await standsStill(pid)) || null);
    return 'any moment';
  }

  #revision(): number {
    const revisions = this.#options.workload.history.map(({ outcome }) =>
      outcome.type === 'answered' ? outcome.result.revision : 0,
    );
    return Math.max(1, ...revisions);
  }

  async #image(copy: string, journal: CrashJournal, loss: Loss): Promise<string> {
    const image = join(this.#options.directory, `image-${this.images}`);
    await cp(copy, image, { recursive: true });
    const lost = await losePower(image, journal, { random: this.#options.random, loss });
    this.#counts.logBytesLost += lost.logBytes;
    this.#counts.stateBytesLost += lost.stateBytes;
    this.#counts.changesLost += lost.changes;
    if (lost.logBytes + lost.stateBytes + lost.changes === 0) this.#counts.whole += 1;
    return image;
  }

  async #judge(
    image: string,
    { claims, where }: { readonly claims: Claims; readonly where: string },
  ): Promise<void> {
    this.images += 1;
    try {
      const { problems, torn, ...counts } = await judgeImage(image, claims);
      if (torn) this.#counts.torn += 1;
      this.#violations.push(...problems.map((problem) => `image ${this.images}, ${where}: ${problem}`));
      this.#counts.entriesReplayed += counts.entriesReplayed;
      this.#counts.markersCompared += counts.markersCompared;
    } catch (error) {
      this.#violations.push(
        `image ${this.images}, ${where}: ${error instanceof Error ? error.stack : String(error)}`,
      );
    }
    await rm(image, { recursive: true, force: true });
  }
}

/** The ballast is but room. */
async function copyData(dataDir: string, target: string): Promise<void> {
  await cp(dataDir, target, { recursive: true, filter: (source) => !source.includes('/BALLAST') });
}

/** True when no thread of the process runs any more, those that write for it included. */
async function standsStill(pid: number): Promise<boolean> {
  const threads = await readdir(`/proc/${pid}/task`);
  const states = await Promise.all(
    threads.map(async (thread) => {
      const stat = await readFile(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      return stat.slice(stat.lastIndexOf(')') + 2)[0];
    }),
  );
  return states.every((state) => state === 'T');
}
