import { rankOf } from '../../src/member/leader-preference.ts';
import { BoundedReader } from './bounded-reader.ts';
import type { Acknowledgements } from './checkers/acknowledgements.ts';
import type { AppliedLog } from './checkers/applied-log.ts';
import type { Linearizability } from './checkers/linearizability.ts';
import { ProgressAge } from './checkers/progress-age.ts';
import { ReadAge } from './checkers/read-age.ts';
import { type ClientPort, pause } from './client.ts';
import type { Cluster } from './cluster.ts';
import { FreshWatchClient } from './fresh-watch-client.ts';
import type { Place } from './place.ts';
import type { Plan } from './plan.ts';
import { Prng } from './prng.ts';
import type { RegionPlan } from './region-plan.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';
import type { Report } from './violation.ts';
import type { WorkloadClient } from './workload.ts';

const SALT = 0x72656769;
const AGAIN_MS = 50;

export interface RegionClientsParts {
  readonly plan: Plan;
  readonly scheduler: Scheduler;
  readonly cluster: Cluster;
  readonly port: ClientPort;
  readonly log: AppliedLog;
  readonly linearizability: Linearizability;
  readonly acknowledgements: Acknowledgements;
  readonly report: Report;
  readonly trace: Trace;
  /** Null where there is no room for large values. */
  readonly writer: WorkloadClient | null;
}

/** What came of the claims about ages in one run. */
export interface RegionFigures {
  /** Bounded reads whose age was judged, and those of them that lacked a write that had been acknowledged. */
  readonly agesJudged: number;
  readonly staleAnswers: number;
  /** Progress answers whose age was judged; of them linearizable. */
  readonly progressJudged: number;
  readonly progressLinearizable: number;
  /** Fresh leases: renewals, virtual seconds for which they held, spans judged, and how often one lapsed. */
  readonly renewals: number;
  readonly heldSeconds: number;
  readonly spansJudged: number;
  readonly lapses: number;
}

/** Who relies on ages, where a run is spread over regions: readers that bound them, and caches with a fresh lease. */
export class RegionClients {
  readonly #parts: RegionClientsParts;
  readonly #readers: readonly BoundedReader[];
  readonly #cachers: readonly FreshWatchClient[];
  readonly #ages: ReadAge;
  readonly #progress: ProgressAge;

  constructor(parts: RegionClientsParts, regions: RegionPlan) {
    this.#parts = parts;
    const { plan, cluster, acknowledgements, report } = parts;
    const random = new Prng(plan.seed, SALT);
    this.#ages = new ReadAge(acknowledgements, report);
    this.#progress = new ProgressAge(acknowledgements, report);
    const places = (): readonly Place[] => cluster.places;
    const common = { ...parts, places, regions, keys: plan.keys, ages: this.#ages, progress: this.#progress };
    this.#readers = Array.from({ length: regions.readers }, (_, i) => {
      const writer = i === 0 ? parts.writer : null;
      return new BoundedReader({ ...common, writer, name: `b${i}`, random: random.fork() });
    });
    this.#cachers = Array.from({ length: regions.cachers }, (_, i) => {
      return new FreshWatchClient({ ...common, name: `f${i}`, random: random.fork() });
    });
  }

  /** For the time of faults. */
  get loops(): readonly { stopped: boolean; run(): Promise<void> }[] {
    return [...this.#readers, ...this.#cachers];
  }

  /** A bounded read at every member, each tried until it succeeds. */
  async prove(): Promise<void> {
    const { cluster, scheduler } = this.#parts;
    const [reader] = this.#readers;
    for (const place of cluster.core()) {
      while (cluster.core().includes(place) && !(await reader!.read(place))) await pause(scheduler, AGAIN_MS);
    }
  }

  /** Caches go on at these members, which are at rest. */
  settleAt(places: readonly Place[]): void {
    for (const [i, cacher] of this.#cachers.entries()) cacher.settleAt(places[i % places.length]!);
  }

  /** Whether every lease holds since then. */
  get areFresh(): boolean {
    return this.#cachers.every(({ isFresh }) => isFresh);
  }

  finish(): void {
    for (const cacher of this.#cachers) cacher.finish();
  }

  /** Whether the leader is in the best region, of those where it is wanted, that has a voter. */
  isLedWhereWanted(): boolean {
    const { cluster, log, plan } = this.#parts;
    const { leaderRegions } = plan.regions!;
    const rank = (place: Place): number => rankOf(place.region, leaderRegions);
    const voters = log.members.filter(({ isLearner }) => !isLearner).map((each) => cluster.placeOf(each));
    const ranks = voters.filter((place) => place?.lost === false).map((place) => rank(place!));
    const leader = cluster.leader();
    return leader !== undefined && rank(leader) === Math.min(...ranks);
  }

  get figures(): RegionFigures {
    const ranges = this.#cachers.flatMap((cacher) => cacher.ranges);
    const sum = (of: (range: (typeof ranges)[number]) => number): number =>
      ranges.reduce((total, range) => total + of(range), 0);
    return {
      agesJudged: this.#ages.judgedCount,
      staleAnswers: this.#ages.staleCount,
      progressJudged: this.#progress.toldCount,
      progressLinearizable: this.#progress.linearizableCount,
      renewals: sum(({ renewalCount }) => renewalCount),
      heldSeconds: sum(({ age }) => age.heldMs) / 1000,
      spansJudged: sum(({ age }) => age.judgedCount),
      lapses: sum(({ age }) => age.lapseCount),
    };
  }
}
