import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { freePorts } from '../../cluster/free-ports.ts';
import {
  parseRoundTrips,
  REGION_MEMBERS,
  REGIONS,
  ROUND_TRIPS,
  roundTripMs,
  roundTripsText,
  timersFor,
} from '../../cluster/region-layout.ts';
import { regionNetwork } from '../../cluster/region-network.ts';
import type { ProbedMember, ProbedStatus } from '../../cluster/region-probe.ts';
import { regionTable } from '../../cluster/region-table.ts';

describe('placement', () => {
  test('no region has a majority of the voters', () => {
    const voters = REGION_MEMBERS.filter(({ learner }) => !learner);
    for (const region of REGIONS) {
      const there = voters.filter((member) => member.region === region).length;
      expect(voters.length - there).toBeGreaterThan(voters.length / 2);
    }
  });

  test('no port is used twice, and a peer port is one above its client port', () => {
    const ports = REGION_MEMBERS.flatMap(({ clientPort, peerPort, httpPort }) => [
      clientPort,
      peerPort,
      httpPort,
    ]);
    expect(new Set(ports).size).toBe(3 * REGION_MEMBERS.length);
    expect(REGION_MEMBERS.every(({ clientPort, peerPort }) => peerPort === clientPort + 1)).toBe(true);
  });
});

describe('round trips', () => {
  test('are the same both ways and none within a region', () => {
    expect(roundTripMs(ROUND_TRIPS, { from: 'c', to: 'a' })).toBe(140);
    expect(roundTripMs(ROUND_TRIPS, { from: 'a', to: 'c' })).toBe(140);
    expect(roundTripMs(ROUND_TRIPS, { from: 'b', to: 'b' })).toBe(0);
  });

  test('are read from text; what is not named keeps its own', () => {
    expect(parseRoundTrips(roundTripsText(ROUND_TRIPS))).toEqual(ROUND_TRIPS);
    expect([...parseRoundTrips('a-c=20.5, a-b=0')]).toEqual([
      ['a-b', 0],
      ['a-c', 20.5],
      ['b-c', 80],
    ]);
  });

  test.each(['', 'a-b', 'a-b=x', 'b-a=5', 'a-d=5', 'a-b=-1', 'a-b=5001', 'a-b=1;a-c=2'])(
    '%j is refused',
    (text) => {
      expect(() => parseRoundTrips(text)).toThrow(/round trips: .*a-b=65,a-c=140,b-c=80/);
    },
  );
});

test('timers follow the longest round trip, and are what a member takes', () => {
  expect(timersFor(ROUND_TRIPS)).toEqual({ heartbeatMs: 150, electionMs: 1_500 });
  expect(timersFor(parseRoundTrips('a-b=1,a-c=1,b-c=1'))).toEqual({ heartbeatMs: 100, electionMs: 1_000 });
  expect(timersFor(parseRoundTrips('b-c=5000'))).toEqual({ heartbeatMs: 5_000, electionMs: 50_000 });
});

test('a taken peer port is named with its member, and no proxy stays behind', async () => {
  const [first, second] = (await freePorts(2)) as [number, number];
  const other = createServer().listen(second, '127.0.0.1');
  await once(other, 'listening');
  const proxied = [first, second].map((peerPort, at) => ({
    member: { name: `n${at + 1}`, region: 'a', peerPort },
    target: 'http://127.0.0.1:1',
  }));
  const options = { host: '127.0.0.1', roundTrips: ROUND_TRIPS };
  await expect(regionNetwork(proxied, options)).rejects.toThrow(`port ${second} (peer port of n2) is in use`);
  other.close();
  await once(other, 'close');
  await using network = await regionNetwork(proxied, options);
  expect(network.places).toEqual(['a']);
});

describe('the table', () => {
  const status = (more: Partial<ProbedStatus>): ProbedStatus => ({
    id: 1n,
    leader: 1n,
    term: 4,
    appliedIndex: 100,
    isLearner: false,
    ...more,
  });
  const probed = (at: number, more: Partial<ProbedMember>): ProbedMember => ({
    member: REGION_MEMBERS[at]!,
    status: null,
    latenciesMs: { linearizable: [], serializable: [], bounded: [] },
    failures: { linearizable: null, serializable: null, bounded: null },
    ageMs: null,
    ...more,
  });

  test('tells who leads, how far each member is, and what its reads cost', () => {
    const lines = regionTable(
      [
        probed(0, {
          status: status({}),
          latenciesMs: { linearizable: [66, 90, 65], serializable: [0.5], bounded: [1] },
          ageMs: 12,
        }),
        probed(1, {}),
        probed(5, {
          status: status({ id: 6n, appliedIndex: 93, isLearner: true }),
          failures: { linearizable: 'no answer', serializable: null, bounded: null },
        }),
      ],
      ROUND_TRIPS,
    );
    expect(lines[0]).toBe('n1 in region a leads (term 4, entry 100)');
    expect(lines[1]).toBe('round trips   a-b 65 ms   a-c 140 ms   b-c 80 ms');
    const rows = lines.slice(5, 8).map((line) => line.split(/ {2,}/));
    expect(rows).toEqual([
      ['a', 'n1', 'leader', '2379', '0', '66.0', '0.5', '1.0', '12 ms'],
      ['a', 'n2', 'silent', '22379', '-', '-', '-', '-', '-'],
      ['c', 'n6', 'learner', '62379', '7', 'no answer', '-', '-', '-'],
    ]);
  });

  test('a leader of an older term, or none, is told apart', () => {
    const old = probed(0, { status: status({ term: 3 }) });
    const young = probed(2, { status: status({ id: 3n, leader: 3n }) });
    expect(regionTable([old, young], ROUND_TRIPS)[0]).toBe(
      'n3 in region b leads (term 4, entry 100); region a is preferred',
    );
    expect(regionTable([probed(0, {})], ROUND_TRIPS)[0]).toBe('nobody leads');
  });

  test('fits a terminal of 80 columns, and is cut for one that is narrower: no line is folded', () => {
    const members = REGION_MEMBERS.map((_, at) =>
      probed(at, {
        status: status({ id: BigInt(at + 1), term: 12, appliedIndex: 1_234_567, isLearner: at === 5 }),
        latenciesMs: { linearizable: [1_206.1], serializable: [12.3], bounded: [12.3] },
        failures: { linearizable: null, serializable: at === 3 ? 'unavailable' : null, bounded: null },
        ageMs: 312,
      }),
    );
    const lines = regionTable(members, ROUND_TRIPS);
    expect(regionTable(members, ROUND_TRIPS, 80)).toEqual(lines);
    const narrow = regionTable(members, ROUND_TRIPS, 40);
    expect(narrow).toHaveLength(lines.length);
    for (const [at, line] of narrow.entries()) {
      expect(line.length).toBeLessThanOrEqual(40);
      if (line !== lines[at]) expect(line).toBe(`${lines[at]!.slice(0, 39)}…`);
    }
  });
});
