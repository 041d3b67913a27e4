import type { Entry } from '../../src/core/raft/messages.ts';
import { transferLeadership } from '../../src/core/raft/transfer.ts';
import type { RottenLog } from './checkers/rotten-log.ts';
import { pause } from './client.ts';
import type { Cluster } from './cluster.ts';
import type { SimNetwork } from './network.ts';
import type { Place } from './place.ts';
import type { Plan } from './plan.ts';
import type { Prng } from './prng.ts';
import type { RaftAudience } from './raft-checks.ts';
import { type RaftLimits, raftLimitsOf, setRaftLimits } from './raft-limits.ts';
import type { RaftRun, RaftRuns } from './raft-runs.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';

/** How many copies of logs are let rot in a run. */
const ROTTEN_MAX = 3;

export interface ScenesParts {
  readonly plan: Plan;
  readonly scheduler: Scheduler;
  readonly random: Prng;
  readonly network: SimNetwork;
  readonly cluster: Cluster;
  readonly runs: RaftRuns;
  readonly trace: Trace;
  readonly rotten: RottenLog;
}

/**
 * Faults that come together because only together they show something: rare moments of Raft, brought about on
 * purpose. Each run takes some of the scenes.
 */
export class Scenes implements RaftAudience {
  stopped = false;
  readonly #parts: ScenesParts;
  readonly #limits: RaftLimits | null;
  readonly #isCalm: boolean;
  readonly #pauseMs: number;
  readonly #usurps: boolean;
  readonly #kills: boolean;
  readonly #snapshots: boolean;
  readonly #changes: boolean;
  #overtakenUntilMs = 0;
  #usurping = false;

  constructor(parts: ScenesParts) {
    this.#parts = parts;
    const { random, plan } = parts;
    this.#limits = raftLimitsOf(random);
    this.#isCalm = plan.faults.length === 0;
    this.#pauseMs = random.pick([500, 1_500, 4_000]);
    this.#usurps = !this.#isCalm && random.chance(40);
    this.#kills = !this.#isCalm && random.chance(50);
    this.#snapshots = !this.#isCalm && random.chance(50);
    this.#changes = !this.#isCalm && random.chance(50);
  }

  async run(): Promise<void> {
    const { scheduler, random } = this.#parts;
    while (!this.stopped && !this.#isCalm) {
      await pause(scheduler, -Math.log(1 - random.fraction()) * this.#pauseMs);
      if (this.stopped) return;
      this.#rot();
      if (this.#usurps && random.chance(40)) this.#usurp();
      if (this.#kills && random.chance(40)) this.#killUnheard();
      if (this.#snapshots) this.#needlessSnapshot();
    }
  }

  // ---- what the checkers' spy sees --------------------------------------------------------------------------

  created({ raft }: RaftRun): void {
    if (this.#limits !== null) setRaftLimits(raft, this.#limits);
  }

  committed({ raft, process }: RaftRun): void {
    if (raft.role === 'leader') this.#overtake(process.name, raft);
  }

  appended({ raft, process }: RaftRun, entries: readonly Entry[]): void {
    if (raft.role !== 'leader' || !this.#changes || this.stopped) return;
    if (entries.some((entry) => entry.kind === 'conf-change')) this.#stallFollower(process.name);
  }

  // ---- scenes -----------------------------------------------------------------------------------------------

  /** A copy of a stopped member's log rots: it must not open. */
  #rot(): void {
    const { cluster, rotten, random, scheduler } = this.#parts;
    const stopped = cluster.places.filter((place) => !place.running && place.everStarted && !place.lost);
    if (stopped.length === 0 || rotten.triedCount >= ROTTEN_MAX) return;
    const place = random.pick(stopped);
    rotten.try(place.name, place.disk).catch((error: unknown) => {
      // Its disk may fail in our hands.
      if (!place.storageFaulty) scheduler.fail(error);
    });
  }

  /**
   * A leader is cut off with entries that it alone has, perhaps still on their way to its disk, and two others lead
   * after it before it is back: the second does not know what it has. Perhaps that one is silent just then, and the
   * first leader has its chance to ask for votes.
   */
  #usurp(): void {
    const { cluster, plan, random, scheduler, trace } = this.#parts;
    const first = cluster.leader();
    if (first === undefined || first.process === null || cluster.someLost() || this.#usurping) return;
    this.#usurping = true;
    trace.line(first.name, 'leads and is cut off with entries of its own');
    const untilMs = scheduler.nowMs + plan.electionMs * 8;
    const run = this.#parts.runs.of(first.process);
    if (random.chance(50)) {
      first.stalledUntilMs = untilMs + random.between(0, 500);
      first.storageFaulty = true;
    }
    this.#isolate(first);
    first.process.schedule(0.1, 'client', () => {
      if (run?.raft.role !== 'leader') return;
      for (let i = random.between(2, 8); i > 0; i--) run.raft.appendOwn('normal', [Buffer.alloc(0)]);
    });
    this.#awaitUsurper({ first, second: null, untilMs });
  }

  /** Looks again and again until the second successor leads, or the time is up. */
  #awaitUsurper(state: {
    readonly first: Place;
    readonly second: Place | null;
    readonly untilMs: number;
  }): void {
    const { cluster, plan, network, random, scheduler } = this.#parts;
    const { first, second, untilMs } = state;
    const leader = cluster.places.find((place) => place !== first && place.member?.isLeader() === true);
    const isOver = this.stopped || scheduler.nowMs >= untilMs;
    if (isOver || (second !== null && leader !== undefined && leader !== second)) {
      network.heal();
      first.stalledUntilMs = Math.min(first.stalledUntilMs, scheduler.nowMs + 4 * plan.electionMs);
      this.#usurping = false;
      const { process } = leader ?? {};
      if (isOver || !process || process.paused || random.chance(40)) return;
      process.pause();
      this.#later(plan.electionMs * 4, () => process.resume('stopped'));
      return;
    }
    if (second === null && leader !== undefined) this.#handOver(leader, first);
    this.#later(plan.heartbeatMs, () => this.#awaitUsurper({ ...state, second: second ?? leader ?? null }));
  }

  /** A leader hands over to somebody else than `except`. */
  #handOver(leader: Place, except: Place): void {
    const { cluster, runs, random } = this.#parts;
    const { process } = leader;
    const others = cluster.places.filter((place) => place !== leader && place !== except);
    const ids = others.map((place) => place.transport?.memberId).filter((id) => id !== undefined);
    process?.schedule(0, 'client', () => {
      const run = runs.of(process);
      const targets = ids.filter((id) => run?.raft.conf.voters.includes(id));
      if (run !== undefined && targets.length > 0) transferLeadership(run.raft, random.pick(targets));
    });
  }

  /** A member is killed whose last acknowledgements never arrived: it returns with more than its leader knows. */
  #killUnheard(): void {
    const { cluster, network, random } = this.#parts;
    const leader = cluster.leader();
    const others = cluster.places.filter((place) => place !== leader && place.member !== null && !place.lost);
    if (leader === undefined || others.length === 0) return;
    const place = random.pick(others);
    network.mute(place.name, leader.name);
    this.#later(random.between(20, 150), () => {
      network.unmute(place.name, leader.name);
      if (this.stopped || !place.running) return;
      cluster.kill(place, false);
      this.#later(5, () => {
        if (!place.lost) cluster.start(place);
      });
    });
  }

  /** A leader sends its whole state to a member that needs nothing, as one may at any time. */
  #needlessSnapshot(): void {
    const { cluster, random } = this.#parts;
    const leader = cluster.leader();
    const others = cluster.places.filter((place) => place !== leader && place.transport !== null);
    if (leader === undefined || others.length === 0) return;
    this.#sendSnapshot(leader, random.pick(others));
  }

  /**
   * A state overtakes the messages of the other connections: a member gets it before it hears that what it already
   * has in its log is committed.
   */
  #overtake(name: string, raft: RaftRun['raft']): void {
    const { cluster, network, random, scheduler } = this.#parts;
    if (!this.#snapshots || this.stopped || scheduler.nowMs < this.#overtakenUntilMs) return;
    if (raft.log.lastIndex <= raft.log.commit || !random.chance(20)) return;
    const leader = cluster.places.find((place) => place.process?.name === name);
    const ahead = cluster.places.find((place) => {
      const id = place.transport?.memberId;
      return place !== leader && id !== undefined && (raft.progress.get(id)?.next ?? 0) > raft.log.commit + 1;
    });
    if (leader === undefined || ahead === undefined) return;
    const forMs = random.pick([30, 100, 300]);
    this.#overtakenUntilMs = scheduler.nowMs + 4 * forMs;
    network.mute(leader.name, ahead.name);
    this.#later(forMs, () => network.unmute(leader.name, ahead.name));
    this.#later(random.fraction(), () => this.#sendSnapshot(leader, ahead));
  }

  /**
   * A member whose disk stalls knows that a membership change is committed and cannot apply it; then its leader falls
   * silent.
   */
  #stallFollower(leaderName: string): void {
    const { cluster, plan, random, scheduler, trace } = this.#parts;
    if (cluster.someLost() || random.chance(30)) return;
    const leader = cluster.places.find((place) => place.process?.name === leaderName);
    const others = cluster.places.filter((place) => place !== leader && place.member !== null);
    if (leader === undefined || others.length === 0) return;
    const place = random.pick(others);
    const silentMs = plan.electionMs * (2 + 2 * random.fraction());
    trace.line(place.name, `stalls while a membership change is committed; ${leader.name} falls silent`);
    place.stalledUntilMs = scheduler.nowMs + 200 + silentMs;
    place.storageFaulty = true;
    this.#later(random.pick([20, 60, 150]), () => {
      this.#isolate(leader);
      this.#later(silentMs, () => this.#parts.network.heal());
    });
  }

  // ---- parts ------------------------------------------------------------------------------------------------

  #sendSnapshot(leader: Place, to: Place): void {
    const { process } = leader;
    const id = to.transport?.memberId;
    if (process === null || id === undefined || this.stopped) return;
    const { runs } = this.#parts;
    process.schedule(0, 'client', () => {
      const run = runs.of(process);
      if (run === undefined || run.raft.role !== 'leader' || !run.raft.progress.has(id)) return;
      const { raft } = run;
      const index = Math.max(raft.applied, raft.confIndex);
      const term = raft.log.term(index);
      if (term === undefined) return;
      const snapshot = { index, term, confState: raft.conf };
      raft.send({ type: 'snapshot', from: raft.id, to: id, term: raft.term, snapshot });
    });
  }

  #isolate(place: Place): void {
    const { cluster, network } = this.#parts;
    if (this.stopped) return;
    for (const other of cluster.places) {
      if (other === place) continue;
      network.cut(place.name, other.name);
      network.cut(other.name, place.name);
    }
  }

  #later(delayMs: number, run: () => void): void {
    this.#parts.scheduler.schedule(delayMs, { owner: null, kind: 'fault', run });
  }
}
