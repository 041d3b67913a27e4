import type { MemberView } from '../../src/core/members.ts';
import { isJoint } from '../../src/core/raft/conf-change.ts';
import type { Raft } from '../../src/core/raft/raft.ts';
import { AssertionError } from '../../src/lib/assert.ts';
import { StoreError } from '../../src/lib/errors.ts';
import { type InitialMember, initialCluster } from '../../src/member/identity.ts';
import type { MemberOptions } from '../../src/member/member-options.ts';
import type { AppliedLog } from './checkers/applied-log.ts';
import type { FailStop } from './checkers/fail-stop.ts';
import type { LeadershipChecker } from './checkers/leadership.ts';
import type { Forgotten, OldData } from './checkers/old-data.ts';
import { TornTail } from './checkers/torn-tail.ts';
import { Transfers } from './checkers/transfers.ts';
import type { SimNetwork } from './network.ts';
import { Place, type PlaceListener } from './place.ts';
import { flagsOf, longestElectionMs, type Plan } from './plan.ts';
import { Prng } from './prng.ts';
import type { SimProcess } from './process.ts';
import type { RaftRuns } from './raft-runs.ts';
import { regionOf } from './region-plan.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';
import { type Report, Violation } from './violation.ts';

const TOKEN = 'sim';
const RESTART_MS_MIN = 5;
const RESTART_MS_MAX = 2_500;
const LOST_NAMES_SALT = 0x6e616d65;

export interface ClusterParts {
  readonly plan: Plan;
  readonly scheduler: Scheduler;
  readonly network: SimNetwork;
  readonly random: Prng;
  readonly trace: Trace;
  readonly report: Report;
  readonly log: AppliedLog;
  readonly leadership: LeadershipChecker;
  readonly runs: RaftRuns;
  readonly oldData: OldData;
  readonly failStop: FailStop;
}

/** All machines of a run, and the operator who restarts what has ended. */
export class Cluster implements PlaceListener {
  readonly places: Place[] = [];
  /** Machines of learners that are to join, and to stay learners. */
  readonly learners: readonly Place[];
  /** Starts of processes so far. */
  startCount = 0;
  /** While false nothing is restarted by itself. */
  restarts = true;
  readonly #parts: ClusterParts;
  readonly #tornTail: TornTail;
  readonly #transfers: Transfers;
  readonly #initial: readonly Place[];
  /** Places that joined later, and what they were told. */
  readonly #joined = new Map<Place, readonly InitialMember[]>();

  constructor(parts: ClusterParts) {
    this.#parts = parts;
    this.#tornTail = new TornTail(parts.report);
    this.#transfers = new Transfers(parts.report, longestElectionMs(parts.plan));
    for (let i = 1; i <= parts.plan.members; i++) this.#addPlace(`n${i}`);
    this.#initial = [...this.places];
    this.learners = (parts.plan.regions?.learners ?? []).map(() => this.addPlace());
    const members = initialCluster(TOKEN, this.#initialMembers()).members;
    parts.network.distanceMs = (from, to) => this.distanceMs(from, to);
    parts.network.jitter = parts.plan.regions?.jitter ?? 0;
    parts.log.members = members.map(({ id, peerUrls }) => ({
      id,
      name: '',
      peerUrls,
      clientUrls: [],
      isLearner: false,
    }));
  }

  /** The machine of a transport. */
  placeNamed(name: string): Place {
    return this.places.find((place) => place.name === name)!;
  }

  startAll(): void {
    for (const place of this.#initial) this.start(place);
  }

  start(place: Place): void {
    if (place.running) return;
    this.startCount += 1;
    place.url = this.#recordedUrl(place);
    if (!place.everStarted && this.#joined.has(place)) this.#joined.set(place, this.#membersBeside(place));
    place.start(this.#optionsOf(place, this.startCount), this.startCount);
  }

  /** Kills and, unless nobody may, starts again some time later. */
  kill(place: Place, powerLoss: boolean): void {
    // A torn log and a lost member together may take the last quorum: a limit of the design, see the track record.
    place.kill(powerLoss && !this.someLost());
    this.#restartLater(place);
  }

  /** A new machine for a member that is to join; it does not run yet. */
  addPlace(): Place {
    return this.#addPlace(`n${this.places.length + 1}`);
  }

  /** A new machine with an empty disk at the address of another, which goes on if it runs, and may come back. */
  replaceMachine(place: Place): Place {
    place.isReplaced = true;
    return this.#addPlace(place.name, `${place.name}r${this.places.length + 1}`);
  }

  /** Starts a machine whose address was added to the membership. */
  join(place: Place): void {
    this.#joined.set(place, this.#membersBeside(place));
    this.start(place);
  }

  /** How far apart two machines are, by name: one way in ms; undefined within a region, or without regions. */
  distanceMs(from: string, to: string): number | undefined {
    const { regions } = this.#parts.plan;
    if (regions === null) return undefined;
    return regions.waysMs[`${this.placeNamed(from).region}>${this.placeNamed(to).region}`];
  }

  placeOf(member: MemberView): Place | undefined {
    return this.places.find((place) => member.peerUrls.some((url) => place.isAt(url)));
  }

  memberOf(place: Place): MemberView | undefined {
    return this.#parts.log.members.find(({ peerUrls }) => peerUrls.some((url) => place.isAt(url)));
  }

  /** Whether a machine listens elsewhere than where the cluster says that its member lives. */
  isElsewhere(place: Place): boolean {
    return place.running && place.url !== this.#recordedUrl(place);
  }

  leader(): Place | undefined {
    return this.places.find((place) => place.member?.isLeader() === true && place.process?.paused === false);
  }

  /** Places of members whose data we have not spoilt. */
  core(): Place[] {
    const places = this.#parts.log.members.map((member) => this.placeOf(member));
    return places.filter((place) => place !== undefined).filter((place) => !place.lost);
  }

  /**
   * Whether the cluster could still be brought back if these places were lost for good, or their members removed.
   */
  couldSpare(change: {
    readonly lost?: Place;
    readonly removed?: readonly Place[];
    readonly addedVoters?: number;
  }): boolean {
    const removed = change.removed ?? [];
    const voters = this.#parts.log.members.filter((member) => !member.isLearner);
    const after = voters
      .map((member) => this.placeOf(member))
      .filter((place) => place === undefined || !removed.includes(place));
    const isHealthy = (place: Place | undefined): boolean =>
      place !== undefined && !place.lost && place.everStarted && place !== change.lost;
    const healthy = after.filter(isHealthy).length;
    const size = after.length + (change.addedVoters ?? 0);
    return size >= 2 && healthy >= Math.floor(size / 2) + 1;
  }

  /** Whether a process runs on a disk that we have spoilt. */
  isSpoilt(process: SimProcess): boolean {
    return this.places.some((place) => place.process === process && place.lost);
  }

  /** Whether a member's data is gone that is still counted. */
  someLost(): boolean {
    return this.places.some((place) => place.lost && this.memberOf(place) !== undefined);
  }

  /** Whether all other members are sure to have met a process of this place's that a copy of its data forgets. */
  allHaveMet(place: Place, forgotten: Forgotten): boolean {
    return this.core().every((each) => each === place || this.#parts.oldData.hasMet(each, place, forgotten));
  }

  /** How far a running member has applied. */
  appliedIndex(place: Place): number | undefined {
    const { member, process } = place;
    return member === null || process === null ? undefined : this.#parts.runs.of(process)?.raft.applied;
  }

  /** Whether a running member is in a joint configuration. */
  isInJoint(place: Place): boolean {
    const run = place.process === null ? undefined : this.#parts.runs.of(place.process);
    return run !== undefined && isJoint(run.raft.conf);
  }

  /** Looks at what a status would say of where each member stands; a whole one would cost a tenth of a run. */
  sampleStatuses(): void {
    this.#parts.oldData.look();
    for (const place of this.places) {
      const { member, process } = place;
      if (member === null || process === null || place.lost) continue;
      const raft = this.#parts.runs.of(process)?.raft;
      if (raft === undefined) continue;
      this.#parts.leadership.sample({
        process: process.name,
        term: raft.term,
        commit: raft.log.commit,
        applied: raft.applied,
        revision: member.header().revision,
      });
      if (process.paused || place.stopping) this.#transfers.forget(process.name);
      else this.#sampleTransfer(process.name, raft);
    }
  }

  #sampleTransfer(process: string, { transferee, transferElapsed }: Raft): void {
    this.#transfers.sample({ process, transferee, ticks: transferElapsed }, this.#parts.scheduler.nowMs);
  }

  // ---- places tell ------------------------------------------------------------------------------------------

  logged(place: Place, level: string, fields: object, message: string): void {
    this.#parts.trace.line(place.name, `${level} ${message} ${fieldsText(fields)}`);
    if (message.startsWith('a torn log record was cut')) {
      place.tailCut = true;
      this.#tornTail.cut(place).catch((error: unknown) => this.#parts.scheduler.fail(error));
    }
    if (message.startsWith('the peers confirmed the cut')) place.tailUncertain = false;
    if (message !== 'role') return;
    const { term, role } = fields as { readonly term: number; readonly role: string };
    const { memberId } = place.transport ?? {};
    if (role === 'leader' && memberId !== undefined) this.#parts.leadership.leads(memberId, term);
  }

  /**
   * Starts what belongs to the cluster and does not run, machines of members just added included, and again what listens
   * elsewhere than where the cluster has it now.
   */
  bringUp(): void {
    for (const place of this.core()) {
      if (this.isElsewhere(place)) this.kill(place, false);
      if (place.running) continue;
      if (this.#joined.has(place) || this.#initial.includes(place)) this.start(place);
      else this.join(place);
    }
    if (this.core().some((place) => place.tailUncertain)) this.#bringUpRemoved();
  }

  /**
   * Whoever has cut a torn log may have to hear a member whose removal the others have forgotten to be committed: a limit
   * of the design, see the track record.
   */
  #bringUpRemoved(): void {
    for (const place of this.places) {
      const isGone = place.running || place.lost || place.isReplaced || !place.everStarted;
      if (!isGone && this.memberOf(place) === undefined) this.start(place);
    }
  }

  writeFailed(process: SimProcess): void {
    this.#parts.failStop.failed(process, this.#parts.scheduler.nowMs);
  }

  started(place: Place): void {
    // A fault of the disk that has not shown yet may still cut a record short.
    if (!place.tailCut && !place.storageFaulty) place.tailUncertain = false;
    if (place.wiped) this.#fail('empty-disk', `${place.name} runs again under its old name on an empty disk`);
    if (place.forgotten !== null) this.#parts.trace.line(place.name, 'runs on an old copy of its data');
  }

  ended(place: Place, error: unknown): void {
    if (error !== null) {
      // A write that failed may have got half of a record onto the disk.
      place.tailUncertain = true;
      this.#judge(place, error);
    }
    this.#restartLater(place);
  }

  /** Whether a process may end like this, given what was done to it. */
  #judge(place: Place, error: unknown): void {
    if (error instanceof AssertionError || !(error instanceof StoreError)) {
      const stack = error instanceof Error ? error.stack : String(error);
      this.#fail('assertion', `${place.name}: ${stack}`);
      return;
    }
    const { code, message } = error;
    if (place.lost) return;
    switch (code) {
      case 'storage':
        if (!place.storageFaulty)
          this.#fail('crash', `${place.name} ended without a fault of its disk: ${error.stack ?? message}`);
        return;
      case 'stopped':
        if (this.memberOf(place) !== undefined)
          this.#fail('crash', `${place.name} left, but was not removed: ${message}`);
        return;
      case 'member-data-lost':
        // Who has not heard yet that the former member was removed takes the new one for it.
        if (!this.places.some((other) => other.isReplaced && other.name === place.name))
          this.#fail('crash', `${place.name}: ${message}`);
        return;
      case 'member-not-found':
        // It was told to join and is not, or not yet, or no more, a member.
        if (this.memberOf(place) !== undefined && this.#initial.includes(place))
          this.#fail('crash', `${place.name}: ${message}`);
        return;
      default:
        this.#fail('crash', `${place.name} ended: ${error.stack ?? message}`);
    }
  }

  #restartLater(place: Place): void {
    const { random, scheduler, plan } = this.#parts;
    const long = random.chance(6);
    const delayMs = RESTART_MS_MIN + random.fraction() * (long ? plan.durationMs / 2 : RESTART_MS_MAX);
    const run = (): void => {
      if (this.restarts && !place.running && this.#mayRun(place)) this.start(place);
    };
    scheduler.schedule(delayMs, { owner: null, kind: 'fault', run });
  }

  /** A member that was removed, or is lost, is sometimes started again, by mistake. */
  #mayRun(place: Place): boolean {
    if (place.lost && !this.#parts.random.chance(30)) return false;
    return this.memberOf(place) !== undefined || this.#parts.random.chance(30);
  }

  #recordedUrl(place: Place): string {
    return this.memberOf(place)?.peerUrls[0] ?? place.url;
  }

  #addPlace(name: string, processName = name): Place {
    const { plan, scheduler, network, random, trace, report } = this.#parts;
    const rate = (): number => 1 + plan.skew * (2 * random.fraction() - 1);
    const { pace, timerLagMsMax } = plan;
    const salt = LOST_NAMES_SALT + this.places.length;
    const lostNames = plan.losesNames ? new Prng(plan.seed, salt) : null;
    const common = { scheduler, network, trace, rate, pace, timerLagMsMax, lostNames, report };
    const region = this.#regionOf(name);
    const place = new Place({ ...common, name, region, processName, random: random.fork(), listener: this });
    this.places.push(place);
    return place;
  }

  /** A machine that took another one's address is where that was. */
  #regionOf(name: string): string {
    const { regions } = this.#parts.plan;
    const known = this.places.find((place) => place.name === name)?.region;
    return regions === null ? '' : (known ?? regionOf(regions, this.places.length + 1));
  }

  /** What an operator tells a machine that is to join: the members as they are now, and itself. */
  #membersBeside(place: Place): readonly InitialMember[] {
    const others = this.#parts.log.members.filter(({ peerUrls }) => !peerUrls.includes(place.url));
    return [
      ...others.map(({ name, peerUrls }) => ({ name: name || 'other', peerUrls })),
      { name: place.name, peerUrls: [place.url] },
    ];
  }

  #initialMembers(): readonly InitialMember[] {
    return this.#initial.map(({ name, firstUrl }) => ({ name, peerUrls: [firstUrl] }));
  }

  #optionsOf(place: Place, processNumber: number): MemberOptions {
    const { plan } = this.#parts;
    const joined = this.#joined.get(place);
    return {
      name: place.name,
      peerUrls: [place.url],
      clientUrls: [`http://${place.name}:2379`],
      initialCluster: joined ?? this.#initialMembers(),
      initialClusterToken: TOKEN,
      initialClusterState: joined === undefined ? 'new' : 'existing',
      ...flagsOf(plan, processNumber),
      ...(plan.regions !== null && {
        region: place.region,
        leaderRegions: plan.regions.leaderRegions,
        preferenceTiming: plan.regions.preferenceTiming,
      }),
      quotaBytes: plan.quotaBytes,
      freeBytesMin: 0,
      ballastBytes: 0,
      logSegmentBytes: plan.logSegmentBytes,
      forceNewCluster: false,
      autoCompaction: null,
      // Clients read from every member, and so does the phase that nothing disturbs.
      learnerLinearizableReads: true,
    };
  }

  #fail(checker: string, message: string): void {
    this.#parts.report(new Violation(checker, message));
  }
}

function fieldsText(fields: object): string {
  return JSON.stringify(fields, (_key, value: unknown) => (value instanceof Error ? value.message : value));
}
