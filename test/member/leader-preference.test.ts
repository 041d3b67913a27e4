import { describe, expect, test } from 'vitest';
import type { ProgressStatus, RaftStatus } from '../../src/core/raft/raw-node.ts';
import { StoreError } from '../../src/lib/errors.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import {
  electionPatience,
  LeaderPreference,
  rankOf,
  DEFAULT_PREFERENCE_TIMING as TIMING,
} from '../../src/member/leader-preference.ts';
import type { MemberInfo } from '../../src/member/membership.ts';
import { ManualClock } from './manual-clock.ts';
import { eventually, type Place, put, TestCluster, valueOf } from './test-cluster.ts';

test('the first region is best, the last place is everywhere else', () => {
  const regions = ['a', 'b'];
  expect(['a', 'b', 'c', undefined].map((region) => rankOf(region, regions))).toEqual([0, 1, 2, 2]);
  expect(['a', 'b', 'c', undefined].map((region) => electionPatience(region, regions))).toEqual([
    1, 1.5, 2, 2,
  ]);
  expect(['a', undefined].map((region) => electionPatience(region, []))).toEqual([1, 1]);
});

/** Member 1 in region c leads; 2 is in a, 3 in b, 4 in c, and 5, a learner, in a. */
class Fixture {
  readonly clock = new ManualClock();
  readonly transfers: { readonly to: number; readonly atMs: number }[] = [];
  readonly errors: unknown[] = [];
  /** What a transfer comes to; without one it succeeds, and this member leads no more. */
  failure: Error | null = null;
  /** A transfer succeeds, and the next election brings this member back. */
  comesBack = false;
  isLeader = true;
  term = 5;
  commit = 100;
  transferee = 0;
  readonly match = new Map([
    [2, 100],
    [3, 100],
    [4, 100],
    [5, 100],
  ]);
  readonly connected = new Set([2, 3, 4, 5]);
  members: readonly MemberInfo[] = [
    member(1, 'c'),
    member(2, 'a'),
    member(3, 'b'),
    member(4, 'c'),
    { ...member(5, 'a'), isLearner: true },
  ];
  readonly preference: LeaderPreference;

  constructor({ leaderRegions = ['a', 'b'], region = 'c' as string | undefined } = {}) {
    this.preference = new LeaderPreference({
      self: 1,
      region,
      leaderRegions,
      timing: TIMING,
      clock: this.clock,
      logger: silentLogger,
      status: () => this.#status(),
      isLeader: () => this.isLeader,
      members: () => this.members,
      isConnected: (id) => this.connected.has(id),
      transfer: async (to) => {
        this.transfers.push({ to, atMs: this.clock.nowMs() });
        if (this.failure !== null) throw this.failure;
        if (this.comesBack) this.term += 2;
        else this.isLeader = false;
      },
      fatal: (error) => this.errors.push(error),
    });
  }

  /** Ticks for so long, giving what was begun its chance in between. */
  async run(forMs: number): Promise<void> {
    for (let ms = 0; ms < forMs; ms += 500) {
      this.clock.advance(500);
      this.preference.tick();
      await Promise.resolve();
      await Promise.resolve();
    }
  }

  get targets(): readonly number[] {
    return this.transfers.map(({ to }) => to);
  }

  #status(): RaftStatus {
    const progress = new Map([...this.match].map(([id, match]) => [id, { match } as ProgressStatus]));
    const { term, commit, transferee } = this;
    return { term, commit, leadTransferee: transferee, progress } as unknown as RaftStatus;
  }
}

function member(id: number, region: string): MemberInfo {
  return { id, name: `n${id}`, peerUrls: [], clientUrls: [], isLearner: false, region };
}

describe('a leader elsewhere', () => {
  test('goes to the best region once its tenure is over, and only to a voter', async () => {
    const fixture = new Fixture();
    await fixture.run(TIMING.tenureMs);
    expect(fixture.targets).toEqual([]);
    await fixture.run(2 * TIMING.lookMs);
    expect(fixture.targets).toEqual([2]);
    await fixture.run(10 * TIMING.tenureMs);
    expect(fixture.targets).toEqual([2]);
  });

  test('takes the next region when the best one has nobody who keeps up', async () => {
    const fixture = new Fixture();
    fixture.match.set(2, 99);
    await fixture.run(2 * TIMING.tenureMs);
    expect(fixture.targets).toEqual([3]);
  });

  test('stays where no voter of a better region is connected', async () => {
    const fixture = new Fixture();
    fixture.connected.delete(2);
    fixture.connected.delete(3);
    await fixture.run(5 * TIMING.tenureMs);
    expect(fixture.targets).toEqual([]);
  });

  test('waits until a voter has kept up for long enough without a break', async () => {
    const fixture = new Fixture({ leaderRegions: ['a'] });
    fixture.connected.delete(2);
    await fixture.run(2 * TIMING.tenureMs);
    fixture.connected.add(2);
    await fixture.run(TIMING.healthyMs - 5 * TIMING.lookMs);
    fixture.connected.delete(2);
    await fixture.run(TIMING.lookMs);
    fixture.connected.add(2);
    await fixture.run(TIMING.healthyMs - TIMING.lookMs);
    expect(fixture.targets).toEqual([]);
    await fixture.run(3 * TIMING.lookMs);
    expect(fixture.targets).toEqual([2]);
  });

  test('does not mind that a far voter is always some entries behind', async () => {
    const fixture = new Fixture({ leaderRegions: ['a'] });
    for (let at = 0; at < 2 * TIMING.tenureMs && fixture.targets.length === 0; at += TIMING.lookMs) {
      fixture.match.set(2, fixture.commit);
      fixture.commit += 1_000;
      await fixture.run(TIMING.lookMs);
    }
    expect(fixture.targets).toEqual([2]);
  });

  test('knows nothing of a time in which it stood still', async () => {
    const fixture = new Fixture({ leaderRegions: ['a'] });
    await fixture.run(TIMING.lookMs);
    fixture.clock.advance(10 * TIMING.tenureMs);
    await fixture.run(TIMING.healthyMs - TIMING.lookMs);
    expect(fixture.targets).toEqual([]);
    await fixture.run(3 * TIMING.lookMs);
    expect(fixture.targets).toEqual([2]);
  });

  test('rests ever longer after transfers that failed, or that brought it back', async () => {
    const fixture = new Fixture({ leaderRegions: ['a'] });
    fixture.failure = new StoreError('timeout');
    await fixture.run(20 * TIMING.tenureMs);
    const pauses = fixture.transfers.slice(1).map(({ atMs }, i) => atMs - fixture.transfers[i]!.atMs);
    expect(pauses.length).toBeGreaterThan(2);
    expect(pauses.every((ms, i) => ms >= TIMING.pauseMsMin * 2 ** i)).toBe(true);
    await fixture.run(10 * TIMING.pauseMsMax);
    const last = fixture.transfers.slice(-2).map(({ atMs }) => atMs);
    expect(last[1]! - last[0]!).toBeLessThanOrEqual(TIMING.pauseMsMax + 2 * TIMING.lookMs);

    const ousted = new Fixture({ leaderRegions: ['a'] });
    ousted.comesBack = true;
    await ousted.run(20 * TIMING.tenureMs);
    const reigns = ousted.transfers.slice(1).map(({ atMs }, i) => atMs - ousted.transfers[i]!.atMs);
    expect(reigns.length).toBeGreaterThan(2);
    expect(reigns.every((ms, i) => ms >= Math.max(TIMING.tenureMs, TIMING.pauseMsMin * 2 ** i))).toBe(true);
  });

  test('leaves a transfer alone that somebody else has begun', async () => {
    const fixture = new Fixture();
    fixture.transferee = 4;
    await fixture.run(3 * TIMING.tenureMs);
    expect(fixture.targets).toEqual([]);
  });

  test('ends the member at a bug', async () => {
    const fixture = new Fixture();
    fixture.failure = new TypeError('a bug');
    await fixture.run(2 * TIMING.tenureMs);
    expect(fixture.errors).toEqual([fixture.failure]);
  });
});

test('nobody moves who is where it should be, or where nothing is wished', async () => {
  for (const options of [{ region: 'a' }, { leaderRegions: [] }, { leaderRegions: [], region: undefined }]) {
    const fixture = new Fixture(options);
    await fixture.run(3 * TIMING.tenureMs);
    expect(fixture.targets).toEqual([]);
  }
  const second = new Fixture({ region: 'b' });
  second.members = second.members.filter(({ region }) => region !== 'a');
  await second.run(3 * TIMING.tenureMs);
  expect(second.targets).toEqual([]);
});

test('in a cluster leadership comes home after its region was away, and nothing is lost on the way', async () => {
  const cluster = new TestCluster(3, {
    leaderRegions: ['a', 'b'],
    preferenceTiming: { lookMs: 20, healthyMs: 100, tenureMs: 200, pauseMsMin: 200, pauseMsMax: 800 },
  });
  const [home, next, far] = cluster.places as [Place, Place, Place];
  const starts = [
    [home, 'a'],
    [next, 'b'],
    [far, 'c'],
  ] as const;
  await Promise.all(starts.map(([place, region]) => cluster.start(place, { region })));
  const { signal } = new AbortController();
  await eventually(() => home.member!.isLeader());
  const regionsKnown = (): number => new Set(far.member!.members().map(({ region }) => region)).size;
  await eventually(() => regionsKnown() === 3);
  await home.member!.put(put('k', 'one'), { signal });

  await home.member!.handOver();
  await cluster.stop(home);
  await eventually(() => next.member!.isLeader());
  await next.member!.put(put('k', 'two'), { signal });
  await cluster.start(home, { region: 'a' });
  await eventually(() => home.member!.isLeader());
  expect(await valueOf(far.member!, 'k')).toBe('two');
  await far.member!.put(put('k', 'three'), { signal });
  expect(await valueOf(home.member!, 'k')).toBe('three');
  const status = home.member!.status().result;
  expect(status.region).toBe('a');
  expect(new Set(status.roundTrips.map(({ member }) => member))).toEqual(
    new Set([next, far].map((place) => cluster.idOf(place))),
  );
  await cluster.stopAll();
});

test('a region that is not said any more is forgotten', async () => {
  const cluster = new TestCluster(1);
  const [place] = cluster.places;
  const regionOf = (): string | undefined => place!.member!.members()[0]!.region;
  for (const region of ['a', 'b', undefined]) {
    await cluster.start(place!, region === undefined ? {} : { region });
    await eventually(() => regionOf() === region);
    await cluster.stop(place!);
  }
});
