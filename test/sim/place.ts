import { AssertionError } from '../../src/lib/assert.ts';
import { StoreError } from '../../src/lib/errors.ts';
import type { Logger } from '../../src/lib/logger.ts';
import type { Member } from '../../src/member/member.ts';
import type { MemberOptions, MemberPorts } from '../../src/member/member-options.ts';
import { SILENT_OBSERVER } from '../../src/member/observer.ts';
import { openMember } from '../../src/member/open-member.ts';
import { MemoryDisk } from '../../src/member/storage/memory-disk.ts';
import { MemoryLevelOpener } from '../../src/member/storage/memory-level.ts';
import { ALL_ROWS } from '../../src/member/storage/schema.ts';
import { watchBatches } from './checkers/fail-stop.ts';
import type { Forgotten } from './checkers/old-data.ts';
import { WriteOnce } from './checkers/write-once.ts';
import type { SimNetwork } from './network.ts';
import type { Prng } from './prng.ts';
import { SimProcess } from './process.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';
import { SimTransport } from './transport.ts';
import type { Report } from './violation.ts';

/** Bytes in a simulated LevelDB log before it starts another: small, so that older logs lose their tails in a run. */
const LEVEL_WRITE_BUFFER_BYTES = 16 * 1024;
/** Each snapshot that is installed makes another state; a run has few. */
const STATE_NAMES = Array.from({ length: 9 }, (_, at) => `state-${at + 1}`);

/** How a place's disk behaves: latencies in ms, of one operation. */
export interface DiskPace {
  readonly latencyMsMin: number;
  readonly latencyMsMax: number;
}

export interface PlaceOptions {
  /** The host of its addresses: links are cut by it. */
  readonly name: string;
  /** Where it is; empty when the run is not spread over regions. */
  readonly region: string;
  /** Begins the names of its processes: differs from `name` where the machine took another one's address. */
  readonly processName?: string;
  readonly scheduler: Scheduler;
  readonly network: SimNetwork;
  readonly random: Prng;
  readonly trace: Trace;
  readonly listener: PlaceListener;
  /** Of the member process's clocks, against true time. */
  readonly rate: () => number;
  readonly timerLagMsMax: number;
  readonly pace: DiskPace;
  /** Decides which names of LevelDB's files a loss of power takes that were not synced; null = none. */
  readonly lostNames: Prng | null;
  readonly report: Report;
}

/** What a place tells the simulation. */
export interface PlaceListener {
  /** A process of this place logged something. */
  logged(place: Place, level: string, fields: object, message: string): void;
  /** A process ended by itself: `error` says why. */
  ended(place: Place, error: unknown): void;
  /** A write of a process's state has failed. */
  writeFailed(process: SimProcess): void;
  /** `openMember` has resolved. */
  started(place: Place): void;
}

/**
 * A machine of the simulation: a disk, a state database, an address, and at most one process running the real
 * member on them.
 */
export class Place {
  readonly name: string;
  readonly region: string;
  /** Where it was at first; another address of it differs in the port. */
  readonly firstUrl: string;
  /** Another machine has got its address; its own process can still reach others. */
  isReplaced = false;
  /** Where its process listens. */
  url: string;
  disk: MemoryDisk;
  levels: MemoryLevelOpener;
  process: SimProcess | null = null;
  /** An operator has stopped the process; it may take a while to end, and takes no requests any more. */
  stopping = false;
  member: Member | null = null;
  transport: SimTransport | null = null;
  /** Its data is gone or not to be trusted, by a fault of ours: it can never be part of the cluster again. */
  lost = false;
  /**
   * Its log may end in a torn record: then its member does not vote until peers have confirmed that nothing was lost,
   * for which it may need all of them.
   */
  tailUncertain = false;
  /** The running process has found its log's end torn. */
  tailCut = false;
  /** Its disk is a new one: it must not come back under its old name. */
  wiped = false;
  /** Its disk holds an old copy, which does not know of these processes of its own. */
  forgotten: Forgotten | null = null;
  /** A storage fault was injected and may not have shown yet: its process may end with a storage error. */
  storageFaulty = false;
  /** Nothing on the disk is answered before it is over. */
  stalledUntilMs = 0;
  slowFactor = 1;
  /** Called as soon as the process has begun so many disk operations more. */
  #armed: { left: number; readonly run: () => void } | null = null;
  #writeOnce: WriteOnce;
  starts = 0;
  /** Its member has run: before that it can be neither met nor missed. */
  everStarted = false;
  readonly #options: PlaceOptions;

  constructor(options: PlaceOptions) {
    this.name = options.name;
    this.region = options.region;
    this.firstUrl = `http://${options.name}:2380`;
    this.url = this.firstUrl;
    this.#options = options;
    this.disk = this.#newDisk();
    this.levels = this.#newLevels();
    this.#writeOnce = new WriteOnce(options.report);
  }

  /** Whether an address is one of this machine's. */
  isAt(url: string): boolean {
    return !this.isReplaced && new URL(url).hostname === this.name;
  }

  get running(): boolean {
    return this.process !== null;
  }

  /** Starts a process. What becomes of it the listener hears. */
  start(options: MemberOptions, processNumber: number): void {
    const { name, scheduler, network, random, trace, listener, rate, timerLagMsMax } = this.#options;
    this.starts += 1;
    this.tailCut = false;
    const process = new SimProcess({
      name: `${this.#options.processName ?? name}.${this.starts}`,
      number: processNumber,
      scheduler,
      random: random.fork(),
      rate: rate(),
      timerLagMsMax,
      uncaught: (ended, error) => this.#end(ended, error),
    });
    const transport = new SimTransport({
      network,
      process,
      place: name,
      url: this.url,
      isUnreachable: this.isReplaced,
    });
    this.process = process;
    this.transport = transport;
    trace.line(name, `starts (${this.starts}, ${options.initialClusterState})`);
    const ports: MemberPorts = {
      disk: this.disk.session(),
      levels: watchBatches(this.#writeOnce.watch(this.levels), () => listener.writeFailed(process)),
      transport,
      clock: process.clock,
      random: random.fork(),
      logger: this.#logger(process),
      observe: () => SILENT_OBSERVER,
      fatal: (error) => this.#end(process, error),
    };
    process.schedule(1, 'immediate', () => {
      openMember(options, ports, new AbortController().signal).then(
        (member) => {
          if (!process.alive) return;
          this.member = member;
          this.everStarted = true;
          listener.started(this);
        },
        (error: unknown) => this.#end(process, error),
      );
    });
  }

  /** The process is killed. With `powerLoss` the machine goes down too and forgets what was not synced. */
  kill(powerLoss: boolean): void {
    const { random, trace } = this.#options;
    if (this.process !== null) trace.line(this.name, powerLoss ? 'loses power' : 'is killed');
    this.#stopProcess();
    if (powerLoss) {
      this.tailUncertain = true;
      this.disk.crash(random);
      this.levels.crash(random, this.#options.lostNames);
    }
  }

  /** Stops as an operator would; the process ends when it is through. */
  stopGracefully(transferLeadership: boolean): void {
    const { process, member } = this;
    if (process === null || member === null) return;
    process.schedule(0, 'client', () => {
      const left = transferLeadership ? member.handOver() : Promise.resolve();
      left
        .then(() => {
          this.stopping = this.process === process;
          return member.stop();
        })
        .then(
          () => this.#end(process, null),
          (error: unknown) => this.#end(process, error),
        );
    });
  }

  /** Calls back, once, when the process begins the `countdown`th disk operation from now; 1 is the next. */
  atDiskOperation(countdown: number, run: () => void): void {
    this.#armed = { left: countdown, run };
  }

  /** A new, empty disk. */
  wipe(): void {
    this.#stopProcess();
    this.disk = this.#newDisk();
    this.levels = this.#newLevels();
    this.#writeOnce = new WriteOnce(this.#options.report);
  }

  /** The newest state on the disks: the one in use, or one on its way. */
  newestState(): string | undefined {
    return STATE_NAMES.findLast((name) => this.levels.exists(name));
  }

  /** A copy of what is on the disks now, to be put back later. Only while no process runs. */
  async copyData(): Promise<() => Promise<void>> {
    const files = await readTree(this.disk, '');
    const states = new Map<string, readonly (readonly [Buffer, Buffer])[]>();
    const names = await this.disk.list('');
    for (const name of names.filter((each) => each.startsWith('state-'))) {
      // What the process had begun to remove when it was killed.
      if (!this.levels.exists(name)) continue;
      const level = await this.levels.open(name, { create: false });
      states.set(name, await level.scan({ ...ALL_ROWS, limit: 1e6 }));
      await level.close();
    }
    return async () => {
      this.wipe();
      for (const [path, content] of files) await writeFile(this.disk, path, content);
      for (const [name, rows] of states) {
        const level = await this.levels.open(name, { create: true });
        const ops = rows.map(([key, value]) => ({ type: 'put' as const, key, value }));
        if (ops.length > 0) await level.batch(ops, { sync: true });
        await level.close();
      }
    };
  }

  #stopProcess(): void {
    const { process, transport } = this;
    this.process = null;
    this.stopping = false;
    this.member = null;
    this.transport = null;
    if (process === null) return;
    process.alive = false;
    transport?.die();
    this.disk.killProcess();
    this.levels.kill();
  }

  #end(process: SimProcess, error: unknown): void {
    if (!process.alive) return;
    const reason =
      error instanceof StoreError || error instanceof AssertionError ? error.message : String(error);
    this.#options.trace.line(this.name, error === null ? 'has stopped' : `ends: ${reason}`);
    this.#stopProcess();
    this.#options.listener.ended(this, error);
  }

  #newDisk(): MemoryDisk {
    return new MemoryDisk({
      root: `${this.name}:`,
      onOperation: () => this.#pause(),
      databases: () => this.levels.paths,
      onDirectorySynced: (path) => this.levels.directorySynced(path),
    });
  }

  #newLevels(): MemoryLevelOpener {
    const pause = (): Promise<void> => this.#pause() ?? Promise.resolve();
    return new MemoryLevelOpener({ writeBufferBytes: LEVEL_WRITE_BUFFER_BYTES, pause });
  }

  /** The time a disk operation takes: the process hears of it when it is over. */
  #pause(): Promise<void> | undefined {
    const { process } = this;
    if (process === null) return undefined;
    if (this.#armed !== null && --this.#armed.left <= 0) {
      const { run } = this.#armed;
      this.#armed = null;
      run();
    }
    const { random, scheduler, pace } = this.#options;
    const spread = pace.latencyMsMax - pace.latencyMsMin;
    const latencyMs = (pace.latencyMsMin + random.fraction() * spread) * this.slowFactor;
    return new Promise((resolve) => {
      const answer = (): void => {
        if (this.stalledUntilMs > scheduler.nowMs)
          process.schedule(this.stalledUntilMs - scheduler.nowMs, 'disk', answer);
        else resolve();
      };
      process.schedule(latencyMs, 'disk', answer);
    });
  }

  #logger(process: SimProcess): Logger {
    const log = (level: string) => (fields: object, message: string) => {
      if (process.alive) this.#options.listener.logged(this, level, fields, message);
    };
    return { debug: () => {}, info: log('info'), warn: log('warn'), error: log('error') };
  }
}

async function readTree(disk: MemoryDisk, directory: string): Promise<[string, Buffer][]> {
  const files: [string, Buffer][] = [];
  for (const name of await disk.list(directory)) {
    const path = directory === '' ? name : `${directory}/${name}`;
    const below = await disk.list(path);
    if (below.length > 0) files.push(...(await readTree(disk, path)));
    else {
      const content = await disk.readFile(path).catch(() => null);
      if (content !== null) files.push([path, content]);
    }
  }
  return files;
}

async function writeFile(disk: MemoryDisk, path: string, content: Buffer): Promise<void> {
  const slash = path.lastIndexOf('/');
  if (slash > 0) await disk.makeDirectory(path.slice(0, slash));
  const file = await disk.open(path, 'create');
  await file.write(content, 0);
  await file.datasync();
  await file.close();
  await disk.syncDirectory(slash > 0 ? path.slice(0, slash) : '');
}
