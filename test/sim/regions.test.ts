import { describe, expect, test } from 'vitest';
import { type FaultKind, type Plan, planOf } from './plan.ts';
import { Prng } from './prng.ts';
import { drawRegionPlan, regionOf } from './region-plan.ts';
import { type SimResult, simulate, simulatePlan } from './simulation.ts';

const SEEDS_OF_KIND = 5;
const FREEZES_MAX = 12;

/** A plan over regions of its own, with this fault alone, time and again. */
function planWith(seed: number, fault: FaultKind): Plan {
  const regions = {
    ...drawRegionPlan(new Prng(seed)),
    members: ['a', 'b', 'c'],
    learners: [],
    readers: 3,
    cachers: 2,
  };
  const { heartbeatMs, electionMs, skew } = regions;
  const faults = [[fault, 1]] as const;
  const kept = {
    ...planOf(1),
    auth: false,
    joint: false,
    twoOperators: false,
    ownFlags: false,
    longLeases: false,
  };
  const timing = { heartbeatMs, electionMs, skew, durationMs: 15_000, faultPauseMs: 1_500 };
  return { ...kept, ...timing, seed, members: 3, thinkMsMax: 60, faults, regions };
}

test('regions have no majority, are far apart and know where later machines are', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const plan = drawRegionPlan(new Prng(seed));
    const { members, learners, waysMs, jitter, electionMs, heartbeatMs } = plan;
    for (const region of ['a', 'b', 'c']) {
      expect(members.filter((each) => each === region).length).toBeLessThanOrEqual((members.length - 1) / 2);
    }
    expect(Object.keys(waysMs)).toHaveLength(6);
    expect(Math.min(...Object.values(waysMs))).toBeGreaterThanOrEqual(5);
    const roundTripMs = 2 * Math.max(...Object.values(waysMs)) * (1 + jitter);
    expect(electionMs).toBeGreaterThanOrEqual(4 * roundTripMs);
    expect(electionMs).toBeGreaterThanOrEqual(2 * heartbeatMs);
    expect([1, 2, 3].map((number) => regionOf(plan, number))).toEqual(members.slice(0, 3));
    expect(['a', 'b', 'c']).toContain(regionOf(plan, members.length + learners.length + 1));
  }
});

test('a share of the seeds is spread over regions, and the others are as they were', () => {
  const plans = Array.from({ length: 300 }, (_, i) => planOf(i + 1));
  const spread = plans.filter(({ regions }) => regions !== null);
  expect(spread.length).toBeGreaterThan(40);
  expect(spread.length).toBeLessThan(80);
  const alone = plans.filter(({ regions }) => regions === null);
  expect(alone.flatMap(({ faults }) => faults.filter(([kind]) => kind.startsWith('region')))).toEqual([]);
  // Nobody can hold a bound when all of a machine's clocks stand still: no seed tries it.
  expect(plans.flatMap(({ faults }) => faults.filter(([kind]) => kind === 'freeze'))).toEqual([]);
});

test('ages are judged, leases held and lapsed, in seeds that are spread over regions', async () => {
  const results: SimResult[] = [];
  for (let seed = 1; results.length < SEEDS_OF_KIND; seed++) {
    if (planOf(seed).regions !== null) results.push(await simulate(seed));
  }
  expect(results.map(({ violation }) => violation?.message)).toEqual(results.map(() => undefined));
  const total = (of: (figures: NonNullable<SimResult['regions']>) => number): number =>
    results.reduce((sum, { regions }) => sum + of(regions!), 0);
  expect(total(({ agesJudged }) => agesJudged)).toBeGreaterThan(0);
  expect(total(({ staleAnswers }) => staleAnswers)).toBeGreaterThan(0);
  expect(total(({ progressJudged }) => progressJudged)).toBeGreaterThan(0);
  expect(total(({ progressLinearizable }) => progressLinearizable)).toBeGreaterThan(0);
  expect(total(({ spansJudged }) => spansJudged)).toBeGreaterThan(0);
  expect(total(({ lapses }) => lapses)).toBeGreaterThan(0);
});

describe('a machine that stands still', () => {
  test('may sleep: its uptime tells it', async () => {
    const { violation, faults, regions } = await simulatePlan(planWith(1, 'suspend'));
    expect(violation?.message).toBeUndefined();
    expect(faults.get('suspend')).toBeGreaterThan(0);
    expect(regions!.agesJudged).toBeGreaterThan(0);
  });

  test('breaks the bound when it is frozen with all its clocks: excluded, and found', async () => {
    const found: string[] = [];
    for (let seed = 1; seed <= FREEZES_MAX && found.length === 0; seed++) {
      const { violation } = await simulatePlan(planWith(seed, 'freeze'));
      if (violation !== null) found.push(violation.message);
    }
    expect(found).toEqual([expect.stringMatching(/^(read-age|progress-age|cache-age): /)]);
  });
});
