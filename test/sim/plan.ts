import type { LinkRules } from './network.ts';
import type { DiskPace } from './place.ts';
import { Prng } from './prng.ts';
import { type RegionPlan, regionPlanOf } from './region-plan.ts';

/** What may be done to a running cluster. */
export type FaultKind =
  | 'kill'
  | 'power-loss'
  | 'power-loss-all'
  | 'graceful-stop'
  | 'pause'
  | 'suspend'
  | 'freeze'
  | 'partition'
  | 'one-way'
  | 'partial'
  | 'isolate-leader'
  | 'swizzle'
  | 'region-cut'
  | 'region-crawl'
  | 'region-loss'
  | 'standoff'
  | 'late-answers'
  | 'slow-disk'
  | 'stalled-disk'
  | 'fsync-error'
  | 'disk-full'
  | 'level-error'
  | 'move-leader'
  | 'add-member'
  | 'remove-member'
  | 'replace-member'
  | 'move-member'
  | 'hopeless-transfer'
  | 'compact'
  | 'defragment'
  | 'wipe'
  | 'roll-back'
  | 'old-copy'
  | 'bit-rot'
  | 'row-rot'
  | 'read-error'
  | 'quota';

const FAULTS: readonly (readonly [FaultKind, number])[] = [
  ['kill', 10],
  ['power-loss', 8],
  ['power-loss-all', 2],
  ['graceful-stop', 4],
  ['pause', 6],
  ['partition', 8],
  ['one-way', 5],
  ['partial', 5],
  ['isolate-leader', 6],
  ['swizzle', 4],
  ['standoff', 5],
  ['late-answers', 3],
  ['slow-disk', 4],
  ['stalled-disk', 4],
  ['fsync-error', 3],
  ['disk-full', 3],
  ['level-error', 3],
  ['move-leader', 6],
  ['add-member', 5],
  ['remove-member', 4],
  ['replace-member', 3],
  ['compact', 6],
  ['defragment', 2],
  ['wipe', 2],
  ['roll-back', 8],
  ['bit-rot', 2],
  ['quota', 2],
];

/** Faults that many bugs need: at least so many seeds in a hundred have them, whatever their share is. */
const OFTEN_PERCENT: ReadonlyMap<FaultKind, number> = new Map([
  ['standoff', 40],
  ['late-answers', 30],
]);

/** Faults that spoil a member's data for good. */
const LOSSES: ReadonlySet<FaultKind> = new Set(['wipe', 'roll-back', 'old-copy', 'bit-rot', 'row-rot']);
/** As often as everything else together, or nearly. */
const ADD_MEMBER_WEIGHT = 30;

/**
 * Seeds in a hundred with authentication, with joint configurations, in which members move to other addresses, in which
 * leadership is handed to members that cannot take it, old copies of members' data are put back, rows of their state
 * rot, and their disks fail to read. The salts of the first two are such that the seeds that found older bugs kept the
 * runs that they had.
 */
const AUTH_PERCENT = 20;
const AUTH_SALT = 21;
const JOINT_PERCENT = 12;
const JOINT_SALT = 23;
const MOVE_PERCENT = 12;
const MOVE_SALT = 25;
/** Seeds in a hundred in which a new machine, and a new member, gets the address of one that was removed. */
const REUSE_PERCENT = 12;
const REUSE_SALT = 461;
const REPLACE_MEMBER: Plan['faults'][number] = ['replace-member', 40];
/** Seeds in a hundred in which two operators change the members at the same time. */
const OPERATORS_PERCENT = 12;
const OPERATORS_SALT = 79;
const MOVE_MEMBER: Plan['faults'][number] = ['move-member', 12];
/** Seeds in a hundred in which a loss of power takes names of LevelDB's files. */
const NAMES_PERCENT = 30;
const NAMES_SALT = 885;
const HOPELESS_PERCENT = 12;
const HOPELESS_SALT = 40;
const HOPELESS_TRANSFER: Plan['faults'][number] = ['hopeless-transfer', 15];
const OLD_COPY_PERCENT = 12;
const OLD_COPY_SALT = 27;
const OLD_COPY: Plan['faults'][number] = ['old-copy', 12];
const ROW_ROT_PERCENT = 20;
const ROW_ROT_SALT = 31;
const ROW_ROT: Plan['faults'][number] = ['row-rot', 40];
const READ_ERROR_PERCENT = 12;
const READ_ERROR_SALT = 33;
const READ_ERROR: Plan['faults'][number] = ['read-error', 8];
/** What befalls whole regions, and machines that sleep, wherever a run is spread over regions. */
const REGION_FAULTS: Plan['faults'] = [
  ['region-cut', 15],
  ['region-crawl', 8],
  ['region-loss', 4],
  ['suspend', 8],
  ['pause', 10],
];

const SNAPSHOT_COUNTS = [10, 50, 200, 2_000];
const CATCH_UP_ENTRIES = [0, 5, 50, 500];
const CACHE_BYTES = [0, 500, 20_000, 2 ** 24];

/** Of these seeds in a hundred each start of a member draws its own flags. */
const OWN_FLAGS_PERCENT = 20;
const OWN_FLAGS_SALT = 29;
/** So many times the plan's election timeout is a member's own. */
const ELECTION_FACTORS = [1, 1, 2] as const;

/** The flags of a process that may differ from member to member, and from start to start. */
export type Flags = Pick<
  Plan,
  'heartbeatMs' | 'electionMs' | 'snapshotCount' | 'catchUpEntries' | 'cacheBytesMax'
>;

/** Everything about a run that its seed decides before it begins. */
export interface Plan {
  readonly seed: number;
  readonly members: number;
  readonly heartbeatMs: number;
  readonly electionMs: number;
  /** Of the phase with faults, in virtual ms. */
  readonly durationMs: number;
  readonly clients: number;
  readonly watchers: number;
  readonly keys: number;
  /** Whether clients make transactions of many changes. */
  readonly bulk: boolean;
  /** Whether leases that need checkpoints are tried once the faults are over. */
  readonly longLeases: boolean;
  readonly thinkMsMax: number;
  readonly valueBytesMax: number;
  readonly snapshotCount: number;
  readonly catchUpEntries: number;
  readonly cacheBytesMax: number;
  readonly quotaBytes: number;
  readonly logSegmentBytes: number;
  readonly links: LinkRules;
  readonly pace: DiskPace;
  /** Clocks run at a rate in [1 - skew, 1 + skew]. */
  readonly skew: number;
  readonly timerLagMsMax: number;
  readonly faults: readonly (readonly [FaultKind, number])[];
  /** Whether members differ in their flags. */
  readonly ownFlags: boolean;
  /** Whether changes of members go through joint configurations. */
  readonly joint: boolean;
  /** Whether a replaced member's address goes to its successor, while the old machine may go on. */
  readonly reusesAddresses: boolean;
  /** Whether two operators change the members at the same time, and know nothing of each other. */
  readonly twoOperators: boolean;
  /** Whether authentication is enabled and clients work as users. */
  readonly auth: boolean;
  /** Whether a loss of power takes names of LevelDB's files that were not synced, which ext4 seldom does. */
  readonly losesNames: boolean;
  /** Mean pause between faults, in ms. */
  readonly faultPauseMs: number;
  /** How the members are spread over regions; null = they are not. */
  readonly regions: RegionPlan | null;
}

/** Swarm testing: each seed takes some of the faults, and its own proportions of everything. */
export function planOf(seed: number): Plan {
  const random = new Prng(seed, 0x706c616e);
  const heartbeatMs = random.pick([20, 50, 50, 100]);
  const share = random.pick([15, 30, 60]);
  const shareOf = (kind: FaultKind): number => Math.max(share, OFTEN_PERCENT.get(kind) ?? 0);
  const faults = FAULTS.filter(([kind]) => random.chance(shareOf(kind))).map(
    ([kind, weight]) => [kind, weight * (0.3 + 2 * random.fraction())] as const,
  );
  const calm = random.chance(3);
  const joint = new Prng(seed, JOINT_SALT).chance(JOINT_PERCENT);
  const own = (salt: number, percent: number, fault: Plan['faults'][number]): Plan['faults'] =>
    !calm && new Prng(seed, salt).chance(percent) ? [fault] : [];
  const twoOperators = !joint && new Prng(seed, OPERATORS_SALT).chance(OPERATORS_PERCENT);
  const reusesAddresses = !calm && new Prng(seed, REUSE_SALT).chance(REUSE_PERCENT);
  const regions = regionPlanOf(seed);
  const all = [
    ...faults,
    ...own(MOVE_SALT, MOVE_PERCENT, MOVE_MEMBER),
    ...own(HOPELESS_SALT, HOPELESS_PERCENT, HOPELESS_TRANSFER),
    ...(reusesAddresses ? [REPLACE_MEMBER] : []),
    ...own(OLD_COPY_SALT, OLD_COPY_PERCENT, OLD_COPY),
    ...own(ROW_ROT_SALT, ROW_ROT_PERCENT, ROW_ROT),
    ...own(READ_ERROR_SALT, READ_ERROR_PERCENT, READ_ERROR),
    ...(regions === null || calm ? [] : REGION_FAULTS),
  ];
  const plan: Plan = {
    seed,
    members: random.pick([3, 3, 3, 5]),
    heartbeatMs,
    electionMs: heartbeatMs * random.pick([5, 10, 10]),
    durationMs: random.between(8_000, 24_000),
    clients: random.between(2, 6),
    watchers: random.between(1, 4),
    keys: random.between(2, 24),
    bulk: random.chance(15),
    longLeases: random.chance(20),
    thinkMsMax: random.pick([20, 60, 150, 400]),
    valueBytesMax: random.pick([8, 64, 64, 2_000]),
    snapshotCount: random.pick(SNAPSHOT_COUNTS),
    catchUpEntries: random.pick(CATCH_UP_ENTRIES),
    cacheBytesMax: random.pick(CACHE_BYTES),
    quotaBytes: random.chance(8) ? random.between(4_000, 40_000) : 2 ** 31,
    logSegmentBytes: random.pick([4_096, 16_384, 65_536, 2 ** 18]),
    links: linksOf(random),
    pace: paceOf(random),
    skew: random.pick([0, 0.0002, 0.01, 0.05]),
    timerLagMsMax: random.pick([0.1, 1, 10]),
    faults: calm ? [] : joint || twoOperators ? withMemberChanges(all) : all,
    faultPauseMs: random.pick([300, 1_000, 1_000, 3_000]),
    auth: new Prng(seed, AUTH_SALT).chance(AUTH_PERCENT),
    joint,
    losesNames: new Prng(seed, NAMES_SALT).chance(NAMES_PERCENT),
    twoOperators,
    reusesAddresses,
    ownFlags: new Prng(seed, OWN_FLAGS_SALT).chance(OWN_FLAGS_PERCENT),
    regions: null,
  };
  return regions === null ? plan : spread(plan, regions);
}

/** The same over regions: timers and pauses are those of long ways. */
function spread(plan: Plan, regions: RegionPlan): Plan {
  const { heartbeatMs, electionMs, durationMs, faultPauseMs, skew } = regions;
  const members = regions.members.length;
  return { ...plan, members, heartbeatMs, electionMs, durationMs, faultPauseMs, skew, regions };
}

/**
 * What a process is started with. Nobody's heartbeat is slower than the plan's and nobody's election quicker, so that
 * each hears any leader often enough.
 */
export function flagsOf(plan: Plan, processNumber: number): Flags {
  if (!plan.ownFlags) {
    const { heartbeatMs, electionMs, snapshotCount, catchUpEntries, cacheBytesMax } = plan;
    return { heartbeatMs, electionMs, snapshotCount, catchUpEntries, cacheBytesMax };
  }
  const random = new Prng(plan.seed, OWN_FLAGS_SALT + 1_000 * processNumber);
  return {
    heartbeatMs: plan.heartbeatMs / random.pick([1, 1, 2]),
    electionMs: plan.electionMs * random.pick(ELECTION_FACTORS),
    snapshotCount: random.pick(SNAPSHOT_COUNTS),
    catchUpEntries: random.pick(CATCH_UP_ENTRIES),
    cacheBytesMax: random.pick(CACHE_BYTES),
  };
}

/**
 * Members come often, and nobody's data is lost: which voter a joint configuration demotes, or which of two changes
 * comes first, cannot depend on whose disk we have spoilt, so a lost member could be left without the others that the
 * cluster needs instead.
 */
function withMemberChanges(faults: Plan['faults']): Plan['faults'] {
  const others = faults.filter(([kind]) => !LOSSES.has(kind) && kind !== 'add-member');
  return [...others, ['add-member', ADD_MEMBER_WEIGHT], ['remove-member', ADD_MEMBER_WEIGHT / 3]];
}

function linksOf(random: Prng): LinkRules {
  const wide = random.chance(25);
  const delayMsMin = wide ? random.between(1, 10) : 0.1;
  const often = (percent: number): boolean => random.chance(percent);
  return {
    delayMsMin,
    delayMsMax: delayMsMin + random.pick([0.5, 2, 10]),
    tailMs: random.pick([1, 20, 400]),
    dropPercent: often(40) ? random.fraction() * random.pick([2, 20]) : 0,
    duplicatePercent: often(40) ? random.fraction() * 20 : 0,
    reorderPercent: often(40) ? random.fraction() * 30 : 0,
    replayPercent: often(40) ? random.fraction() * 20 : 0,
    bulkBytesPerMs: random.pick([20, 1_000, 100_000]),
  };
}

function paceOf(random: Prng): DiskPace {
  const latencyMsMin = random.pick([0.01, 0.1]);
  return { latencyMsMin, latencyMsMax: latencyMsMin + random.pick([0.1, 1, 5]) };
}

/** The longest election timeout that a member of this run may be started with. */
export function longestElectionMs({ electionMs, ownFlags }: Plan): number {
  return electionMs * (ownFlags ? Math.max(...ELECTION_FACTORS) : 1);
}
