import { AuthOperator } from './auth-operator.ts';
import { Acknowledgements } from './checkers/acknowledgements.ts';
import { AppliedLog } from './checkers/applied-log.ts';
import { ClientHistory } from './checkers/client-history.ts';
import { Convergence } from './checkers/convergence.ts';
import { FailStop } from './checkers/fail-stop.ts';
import { LeadershipChecker } from './checkers/leadership.ts';
import { LeaseSafety } from './checkers/lease-safety.ts';
import { Linearizability } from './checkers/linearizability.ts';
import { OldData } from './checkers/old-data.ts';
import { Permissions } from './checkers/permissions.ts';
import { RottenLog } from './checkers/rotten-log.ts';
import { Votes } from './checkers/votes.ts';
import { ClientPort } from './client.ts';
import { Cluster } from './cluster.ts';
import { Learners } from './learners.ts';
import { LongLeases } from './long-leases.ts';
import { Nemesis } from './nemesis.ts';
import { SimNetwork } from './network.ts';
import type { Place } from './place.ts';
import { type FaultKind, type Plan, planOf } from './plan.ts';
import { Prng } from './prng.ts';
import { RaftChecks } from './raft-checks.ts';
import { watchRaft } from './raft-spy.ts';
import { RegionClients, type RegionFigures } from './region-clients.ts';
import { Scenes } from './scenes.ts';
import { Scheduler } from './scheduler.ts';
import { watchStateMachines } from './spy.ts';
import { Trace } from './trace.ts';
import type { SimTransport } from './transport.ts';
import { Violation } from './violation.ts';
import { WatchClient } from './watch-client.ts';
import { WorkloadClient } from './workload.ts';

/** How often members are asked for their status, in virtual ms. */
const SAMPLE_MS = 50;
/** Virtual time in which a healed cluster must serve again and agree. */
const HEAL_MS_MAX = 90_000;
/** Virtual time after which leases that nobody keeps alive are gone. */
const LEASES_MS_MAX = 30_000;
/** Virtual time in which the long leases are tried: it stands still for most of it. */
const LONG_LEASES_MS_MAX = 900_000;
/** Virtual time in which settled watches hear of everything, a restart of their member included. */
const WATCHES_MS = 60_000;
/** Links that lose nothing and keep no message longer than an election lasts. */
const HEALED_LINKS = {
  dropPercent: 0,
  replayPercent: 0,
  reorderPercent: 0,
  tailMs: 1,
  bulkBytesPerMs: 10_000,
} as const;

/** What a run came to. */
export interface SimResult {
  readonly seed: number;
  readonly violation: Violation | null;
  /** Equal for equal seeds, always. */
  readonly hash: string;
  readonly trace: readonly string[];
  readonly virtualMs: number;
  readonly events: number;
  readonly operations: number;
  readonly watchEvents: number;
  /** Operations of which the black-box search has decided; 0 when it came to nothing. */
  readonly opsSearched: number;
  readonly entries: number;
  readonly elections: number;
  readonly starts: number;
  readonly messages: number;
  readonly replays: number;
  readonly leasesExpired: number;
  /** Changes of users and roles, and what was refused to users: entries, reads and watches. */
  readonly authChanges: number;
  readonly denied: number;
  /** Joint configurations that were entered. */
  readonly joint: number;
  /** What came of ages, where the run was spread over regions. */
  readonly regions: RegionFigures | null;
  readonly faults: ReadonlyMap<FaultKind, number>;
}

/**
 * How many of so many runs may leave the black-box search without a verdict: one in a hundred. More of them and it no
 * longer checks what it is there for.
 */
export function undecidedMax(runs: number): number {
  return Math.ceil(runs / 100);
}

export interface SimOptions {
  /** Called with every line of the trace as it is made. */
  readonly print?: (line: string) => void;
}

/** Runs one seed: a time of faults, then a time in which everything must come right again. */
export async function simulate(seed: number, options: SimOptions = {}): Promise<SimResult> {
  return simulatePlan(planOf(seed), options);
}

/** Runs a plan that need not be any seed's. */
export async function simulatePlan(plan: Plan, options: SimOptions = {}): Promise<SimResult> {
  return new Simulation(plan, options).run();
}

class Simulation {
  readonly #plan: Plan;
  readonly #scheduler: Scheduler;
  readonly #trace: Trace;
  readonly #network: SimNetwork;
  readonly #log: AppliedLog;
  readonly #leadership: LeadershipChecker;
  readonly #leases: LeaseSafety;
  readonly #linearizability: Linearizability;
  readonly #history: ClientHistory;
  readonly #cluster: Cluster;
  readonly #port: ClientPort;
  readonly #clients: readonly WorkloadClient[];
  readonly #watches: readonly WatchClient[];
  readonly #nemesis: Nemesis;
  readonly #longLeases: LongLeases;
  readonly #permissions: Permissions;
  readonly #auth: AuthOperator;
  readonly #raft: RaftChecks;
  readonly #scenes: Scenes;
  readonly #convergence: Convergence;
  readonly #learners: Learners;
  readonly #regions: RegionClients | null;
  #violation: Violation | null = null;
  #healed = false;
  /** The membership whose machines all run. */
  #broughtUp: AppliedLog['members'] = [];

  constructor(plan: Plan, { print }: SimOptions) {
    this.#plan = plan;
    const root = new Prng(plan.seed, 0x73696d);
    const scheduler = new Scheduler(root.fork());
    this.#scheduler = scheduler;
    const trace = new Trace({ now: () => scheduler.nowMs, ...(print === undefined ? {} : { print }) });
    this.#trace = trace;
    scheduler.trace = trace;
    const report = (violation: Violation): void => this.#report(violation);
    const votes = new Votes(report);
    const oldData = new OldData(report);
    const failStop = new FailStop(report);
    const raft = new RaftChecks({
      current: () => scheduler.current,
      isSpoilt: (process) => this.#cluster.isSpoilt(process),
      report,
    });
    this.#raft = raft;
    const network = new SimNetwork({
      scheduler,
      random: root.fork(),
      said: (message) => {
        votes.said(message);
        raft.said(message);
        failStop.said(scheduler.current, message, scheduler.nowMs);
      },
      introduced: (host, guest) => oldData.introduced(this.#at(host), this.#at(guest)),
      heard: (host, guest, messages) => oldData.heard(this.#at(host), this.#at(guest), messages),
    });
    network.rules = plan.links;
    this.#network = network;
    this.#leases = new LeaseSafety({ report, rateMax: 1 + plan.skew });
    const log = new AppliedLog(report, (entry) => this.#leases.entry(entry), plan.auth);
    this.#log = log;
    this.#leadership = new LeadershipChecker(report);
    this.#linearizability = new Linearizability(log, report);
    const leadership = this.#leadership;
    const common = { plan, scheduler, network, trace, report, log, leadership };
    const cluster = new Cluster({ ...common, runs: raft.runs, oldData, failStop, random: root.fork() });
    this.#cluster = cluster;
    const port = new ClientPort(scheduler, root.fork());
    this.#port = port;
    const places = (): readonly Cluster['places'][number][] => cluster.places;
    const { keys } = plan;
    const history = new ClientHistory(report);
    this.#history = history;
    const permissions = new Permissions(log, report);
    this.#permissions = permissions;
    const acknowledgements = new Acknowledgements();
    const linearizability = this.#linearizability;
    const checkers = { leases: this.#leases, linearizability, history, permissions, acknowledgements };
    const parts = { ...common, ...checkers, port, places };
    this.#clients = Array.from({ length: plan.clients }, (_, i) => {
      return new WorkloadClient(`c${i}`, { ...parts, random: root.fork() });
    });
    const client = new WorkloadClient('n', { ...parts, random: root.fork() }, 'root');
    this.#watches = Array.from(
      { length: plan.watchers },
      (_, i) =>
        new WatchClient({
          name: `w${i}`,
          scheduler,
          random: root.fork(),
          places,
          log,
          report,
          trace,
          keys,
          permissions,
          user: i === 0 ? 'root' : `c${(i - 1) % plan.clients}`,
        }),
    );
    const nemesis = { ...common, cluster, port, client, history, random: root.fork() };
    this.#nemesis = new Nemesis(nemesis);
    this.#longLeases = new LongLeases(nemesis);
    this.#learners = new Learners({ ...nemesis, random: new Prng(plan.seed, 0x6c65726e) });
    const isLimited = plan.quotaBytes < 2 ** 31;
    const writer = isLimited
      ? null
      : new WorkloadClient('b', { ...parts, random: new Prng(plan.seed, 0x77726974) }, 'root');
    this.#regions =
      plan.regions === null
        ? null
        : new RegionClients(
            { ...common, cluster, port, linearizability, acknowledgements, writer },
            plan.regions,
          );
    this.#auth = new AuthOperator(
      { ...nemesis, random: new Prng(plan.seed, 0x61757468) },
      this.#clients.map((_, i) => `c${i}`),
    );
    const random = new Prng(plan.seed, 0x7363656e);
    const rotten = new RottenLog({ random: random.fork(), report, segmentBytes: plan.logSegmentBytes });
    this.#scenes = new Scenes({ ...common, cluster, random, rotten, runs: raft.runs });
    raft.audience = this.#scenes;
    this.#convergence = new Convergence({ cluster, log, report });
  }

  async run(): Promise<SimResult> {
    const onRejection = (error: unknown): void => {
      const { current } = this.#scheduler;
      if (current !== null) {
        current.uncaught(error);
        return;
      }
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#report(new Violation('unhandled', text));
    };
    process.on('unhandledRejection', onRejection);
    watchStateMachines({
      tagged: this.#plan.auth,
      joint: this.#plan.joint,
      applied: (entry, applied) => this.#log.applied(this.#who(), { entry, applied }, this.#scheduler.nowMs),
      marked: (marker) => {
        if (this.#scheduler.current !== null) this.#log.marked(this.#who(), marker);
      },
      membersChanged: (machine) => this.#log.membersChanged(machine),
    });
    watchRaft(this.#raft);
    try {
      this.#trace.line('plan', JSON.stringify(this.#plan));
      await this.#faultPhase();
      await this.#livenessPhase();
      this.#history.judge(
        this.#log.model,
        this.#watches.flatMap((watch) => watch.histories()),
      );
    } catch (error) {
      if (error instanceof Violation) this.#violation ??= error;
      else
        this.#violation ??= new Violation('simulator', error instanceof Error ? error.stack! : String(error));
    } finally {
      watchStateMachines(null);
      watchRaft(null);
      process.off('unhandledRejection', onRejection);
    }
    if (this.#violation !== null) this.#trace.line('check', this.#violation.message);
    return this.#result();
  }

  // ---- phases -----------------------------------------------------------------------------------------------

  async #faultPhase(): Promise<void> {
    const { durationMs } = this.#plan;
    this.#cluster.startAll();
    this.#sample();
    const { loops: readers } = this.#regions ?? { loops: [] };
    const own = [this.#nemesis, this.#scenes, this.#auth, this.#learners, ...readers];
    const loops = [...this.#clients, ...this.#watches, ...own];
    for (const loop of loops) loop.run().catch((error: unknown) => this.#scheduler.fail(error));
    await this.#scheduler.run(durationMs);
    for (const loop of loops) loop.stopped = true;
  }

  /** RELIABILITY R15: everything is healed, what is lost stays lost; then the rest must serve, agree and finish. */
  async #livenessPhase(): Promise<void> {
    this.#nemesis.heal();
    this.#cluster.restarts = true;
    for (const place of this.#cluster.places) if (place.lost) place.kill(false);
    this.#healed = true;
    this.#cluster.bringUp();
    this.#network.rules = { ...this.#network.rules, ...HEALED_LINKS };
    await this.#within(HEAL_MS_MAX, 'has started every member and ended every request', () => {
      return this.#cluster.core().every((place) => place.member !== null) && this.#port.pendingCount === 0;
    });
    await this.#permitAll();
    await this.#prove();
    if (this.#plan.longLeases) await this.#tryLongLeases();
    await this.#within(LEASES_MS_MAX, 'has expired the leases that nobody keeps', () => {
      return this.#log.model.leases.size === 0;
    });
    await this.#settle();
    await this.#watchesAtRest();
    await this.#agesAtRest();
    await this.#powerLossOfAll();
  }

  async #permitAll(): Promise<void> {
    let done = false;
    this.#auth.finish().then(
      () => {
        done = true;
      },
      (error: unknown) => this.#scheduler.fail(error),
    );
    await this.#within(HEAL_MS_MAX, 'takes changes of users and roles', () => done);
  }

  /** All lose power at once, and everything must be there again. */
  async #powerLossOfAll(): Promise<void> {
    if (this.#cluster.someLost()) return;
    for (const place of this.#cluster.core()) this.#cluster.kill(place, true);
    await this.#within(HEAL_MS_MAX, 'has started every member after a power loss', () =>
      this.#cluster.core().every((place) => place.member !== null),
    );
    await this.#prove();
    await this.#settle();
  }

  async #tryLongLeases(): Promise<void> {
    let done = false;
    this.#longLeases.run().then(
      () => {
        done = true;
      },
      (error: unknown) => this.#scheduler.fail(error),
    );
    await this.#within(LONG_LEASES_MS_MAX, 'has kept leases of many minutes', () => done);
  }

  /** A write and a read through every member, as far as it still is one: a removal may take effect meanwhile. */
  async #prove(): Promise<void> {
    const [client] = this.#clients;
    const limited = this.#plan.quotaBytes < 2 ** 31;
    const proven = new Set<Place>();
    const next = (): Place | undefined => this.#cluster.core().find((place) => !proven.has(place));
    let done = false;
    const prove = async (): Promise<void> => {
      for (let place = next(); place !== undefined; place = next()) {
        const at = place;
        const help = async (): Promise<void> => {
          if (limited) await this.#nemesis.recoverSpace(at);
        };
        await client!.prove(at, { help, isWanted: () => this.#cluster.core().includes(at) });
        proven.add(at);
      }
      done = true;
    };
    prove().catch((error: unknown) => this.#scheduler.fail(error));
    await this.#within(HEAL_MS_MAX, 'takes writes and reads through every member', () => done);
  }

  async #settle(): Promise<void> {
    const { cluster, log } = { cluster: this.#cluster, log: this.#log };
    await this.#within(HEAL_MS_MAX, 'has left its joint configuration', () =>
      cluster.core().every((place) => !cluster.isInJoint(place)),
    );
    await this.#within(HEAL_MS_MAX, 'has the same entries applied everywhere', () =>
      cluster.core().every((place) => cluster.appliedIndex(place) === log.lastIndex),
    );
    let compared = false;
    this.#convergence.compare().then(
      () => {
        compared = true;
      },
      (error: unknown) => this.#scheduler.fail(error),
    );
    await this.#within(HEAL_MS_MAX, 'answers with its hashes', () => compared);
  }

  async #watchesAtRest(): Promise<void> {
    const core = this.#cluster.core();
    for (const [i, watch] of this.#watches.entries()) watch.settleAt(core[i % core.length]!);
    const { revision } = this.#log.model;
    const ok = await this.#scheduler.run(this.#scheduler.nowMs + WATCHES_MS, () =>
      this.#watches.every((watch) => watch.isComplete(revision)),
    );
    for (const watch of this.#watches) {
      if (ok) watch.delivered(revision);
      else watch.finish(revision);
    }
  }

  /** Where a run is spread over regions: the leader is where it is wanted, ages can be proven, leases hold. */
  async #agesAtRest(): Promise<void> {
    const regions = this.#regions;
    if (regions === null) return;
    await this.#within(HEAL_MS_MAX, 'is led from the best region that has a voter', () =>
      regions.isLedWhereWanted(),
    );
    let proven = false;
    regions.prove().then(
      () => {
        proven = true;
      },
      (error: unknown) => this.#scheduler.fail(error),
    );
    await this.#within(HEAL_MS_MAX, 'answers bounded reads at every member', () => proven);
    regions.settleAt(this.#cluster.core());
    await this.#within(WATCHES_MS, 'renews every fresh lease', () => regions.areFresh);
    regions.finish();
  }

  // ---- parts ------------------------------------------------------------------------------------------------

  async #within(forMs: number, what: string, done: () => boolean): Promise<void> {
    const members = (): boolean => {
      // A membership change may take effect late: its machine is still missing then.
      if (this.#healed && this.#log.members !== this.#broughtUp) {
        this.#broughtUp = this.#log.members;
        this.#cluster.bringUp();
      }
      return done();
    };
    const ok = await this.#scheduler.run(this.#scheduler.nowMs + forMs, members);
    if (!ok)
      throw new Violation(
        'liveness',
        `${forMs / 1000} s after everything was healed no cluster that ${what}`,
      );
    this.#trace.line('check', `the cluster ${what}`);
  }

  #sample(): void {
    this.#cluster.sampleStatuses();
    if (this.#healed) for (const watch of this.#watches) watch.lookAfter();
    this.#scheduler.schedule(SAMPLE_MS, { owner: null, kind: 'fault', run: () => this.#sample() });
  }

  #at(transport: SimTransport): Place {
    return this.#cluster.placeNamed(transport.place);
  }

  #who(): string {
    return this.#scheduler.current?.name ?? 'nobody';
  }

  #report(violation: Violation): void {
    this.#violation ??= violation;
    this.#scheduler.fail(violation);
  }

  #result(): SimResult {
    const { hash, lines } = this.#trace;
    return {
      seed: this.#plan.seed,
      violation: this.#violation,
      hash,
      trace: lines,
      virtualMs: this.#scheduler.nowMs,
      events: this.#scheduler.eventCount,
      operations: this.#history.opCount,
      opsSearched: this.#history.opsSearched,
      watchEvents: this.#watches.reduce((sum, watch) => sum + watch.eventCount, 0),
      entries: this.#log.entries.length,
      elections: this.#leadership.electionCount,
      starts: this.#cluster.startCount,
      messages: this.#network.messageCount,
      replays: this.#network.replayCount,
      leasesExpired: this.#leases.expiredCount,
      authChanges: this.#log.model.auth.states.length - 1,
      joint: this.#log.jointCount,
      regions: this.#regions?.figures ?? null,
      denied: this.#permissions.deniedCount + this.#log.deniedCount,
      faults: this.#nemesis.counts,
    };
  }
}
