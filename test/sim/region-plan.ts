import type { PreferenceTiming } from '../../src/member/leader-preference.ts';
import { Prng } from './prng.ts';

/**
 * Seeds in a hundred that are spread over regions. The salt is such that the seeds that found older bugs kept the runs
 * that they had.
 */
const REGIONS_PERCENT = 20;
const REGIONS_SALT = 476_051;

const NAMES = ['a', 'b', 'c'] as const;
/** Where the first members are: no region has a majority, so that any one may be lost (RELIABILITY 8.1). */
const LAYOUTS = [
  ['a', 'a', 'b', 'b', 'c'],
  ['a', 'b', 'c'],
] as const;
/** One way between two regions, in ms. */
const WAY_MS_MIN = 5;
const WAYS_MS_MAX = [20, 60, 150] as const;
/** Round trips in an election timeout. */
const ELECTION_ROUND_TRIPS = [4, 8] as const;
const HEARTBEATS_PER_ELECTION = 10;
const HEARTBEAT_MS_MIN = 20;
/** How old an answer or a cache may be, in ms: from what can never be proven from afar to what always can. */
const BOUNDS_MS = [0, 30, 100, 250, 500, 1_000, 5_000] as const;
const LEASE_BOUNDS_MS = [200, 500, 1_000, 3_000] as const;

/** How a run is spread over regions. */
export interface RegionPlan {
  /** Of the members that the cluster begins with, and of the learners that join them and stay learners. */
  readonly members: readonly string[];
  readonly learners: readonly string[];
  /** One way between two regions in ms, by `from>to`: not the same there and back. */
  readonly waysMs: Readonly<Record<string, number>>;
  /** What a way takes is up to so much longer, as a part of it. */
  readonly jitter: number;
  /** Where the leader is wanted, best first; may be empty. */
  readonly leaderRegions: readonly string[];
  readonly preferenceTiming: PreferenceTiming;
  readonly heartbeatMs: number;
  readonly electionMs: number;
  readonly durationMs: number;
  readonly faultPauseMs: number;
  /** Clocks of members and clients run at a rate in [1 - skew, 1 + skew]: no more than clients reckon with. */
  readonly skew: number;
  /** Clients that make bounded reads, and those that hold a fresh lease on what they watch. */
  readonly readers: number;
  readonly cachers: number;
  /** How stale an answer may be, in ms, as readers ask; and X of the leases. */
  readonly boundsMs: readonly number[];
  readonly leaseBoundsMs: readonly number[];
}

/** How this seed's run is spread over regions; null = it is not. */
export function regionPlanOf(seed: number): RegionPlan | null {
  const random = new Prng(seed, REGIONS_SALT);
  return random.chance(REGIONS_PERCENT) ? drawRegionPlan(random) : null;
}

/** One that is spread over regions, whatever the seed. */
export function drawRegionPlan(random: Prng): RegionPlan {
  const ways = NAMES.flatMap((from) => NAMES.filter((to) => to !== from).map((to) => `${from}>${to}`));
  const wayMsMax = random.pick(WAYS_MS_MAX);
  const waysMs = Object.fromEntries(ways.map((way) => [way, random.between(WAY_MS_MIN, wayMsMax)]));
  const jitter = random.pick([0, 0.1, 0.5]);
  const roundTripMs = 2 * Math.max(...Object.values(waysMs)) * (1 + jitter);
  const electionMs = Math.ceil(roundTripMs * random.pick(ELECTION_ROUND_TRIPS));
  return {
    members: random.pick(LAYOUTS),
    learners: random.shuffle([...NAMES]).slice(0, random.integer(3)),
    waysMs,
    jitter,
    leaderRegions: random.pick([[], ['a'], ['a', 'b'], ['b', 'a'], ['c', 'b']]),
    preferenceTiming: {
      lookMs: roundTripMs,
      healthyMs: 2 * roundTripMs,
      tenureMs: 2 * electionMs,
      pauseMsMin: electionMs,
      pauseMsMax: 4 * electionMs,
    },
    heartbeatMs: Math.max(HEARTBEAT_MS_MIN, Math.ceil(electionMs / HEARTBEATS_PER_ELECTION)),
    electionMs,
    durationMs: random.between(15_000, 40_000),
    faultPauseMs: random.pick([1_000, 3_000, 5_000]),
    skew: random.pick([0, 0.0002, 0.001]),
    readers: random.between(1, 3),
    cachers: random.between(1, 3),
    boundsMs: BOUNDS_MS,
    leaseBoundsMs: LEASE_BOUNDS_MS,
  };
}

/** Where the machine with this number is, counted from 1: later ones come wherever there is none yet, in turn. */
export function regionOf({ members, learners }: RegionPlan, number: number): string {
  return [...members, ...learners][number - 1] ?? NAMES[number % NAMES.length]!;
}
