import { LocalClusterError } from './local-cluster.ts';

/** The three regions of `npm run regions` and of cluster/compose.regions.yaml, and what follows from them. */

/** One member's place. */
export interface RegionMember {
  readonly name: string;
  readonly region: string;
  readonly clientPort: number;
  /** Its proxy's: the address that the other members are told. */
  readonly peerPort: number;
  readonly httpPort: number;
  /** A local read replica that neither votes nor counts. */
  readonly learner: boolean;
}

/** Five voters 2-2-1, so that a quorum of three survives any one region, and a learner where there is one voter. */
export const REGION_MEMBERS: readonly RegionMember[] = [
  { name: 'n1', region: 'a', clientPort: 2379, peerPort: 2380, httpPort: 8080, learner: false },
  { name: 'n2', region: 'a', clientPort: 22379, peerPort: 22380, httpPort: 8081, learner: false },
  { name: 'n3', region: 'b', clientPort: 32379, peerPort: 32380, httpPort: 8082, learner: false },
  { name: 'n4', region: 'b', clientPort: 42379, peerPort: 42380, httpPort: 8083, learner: false },
  { name: 'n5', region: 'c', clientPort: 52379, peerPort: 52380, httpPort: 8084, learner: false },
  { name: 'n6', region: 'c', clientPort: 62379, peerPort: 62380, httpPort: 8085, learner: true },
];

export const REGIONS: readonly string[] = ['a', 'b', 'c'];

/** Where the leader should be, best first. */
export const LEADER_REGIONS: readonly string[] = ['a', 'b'];

/** Round trips between two regions, by `a-b`, in milliseconds. */
export type RoundTrips = ReadonlyMap<string, number>;

export const ROUND_TRIPS: RoundTrips = new Map([
  ['a-b', 65],
  ['a-c', 140],
  ['b-c', 80],
]);

/** An election timeout ten times as long is the longest that a member takes. */
const ROUND_TRIP_MS_MAX = 5_000;
const HEARTBEAT_MS_MIN = 100;
const HEARTBEAT_STEP_MS = 50;
const ELECTION_HEARTBEATS = 10;

/** The round trip between two regions; 0 within one. */
export function roundTripMs(
  roundTrips: RoundTrips,
  pair: { readonly from: string; readonly to: string },
): number {
  return roundTrips.get([pair.from, pair.to].toSorted().join('-')) ?? 0;
}

export function roundTripsText(roundTrips: RoundTrips): string {
  return [...roundTrips].map(([pair, ms]) => `${pair}=${ms}`).join(',');
}

/**
 * Reads `a-b=65,a-c=140,b-c=80`; a pair that is not named keeps its own.
 *
 * @throws LocalClusterError for anything else
 */
export function parseRoundTrips(text: string): RoundTrips {
  const found = new Map(ROUND_TRIPS);
  for (const part of text.split(',')) {
    const [, pair, ms] = /^([a-z]-[a-z])=(\d+(?:\.\d+)?)$/.exec(part.trim()) ?? [];
    if (pair === undefined || !found.has(pair) || Number(ms) > ROUND_TRIP_MS_MAX) {
      throw new LocalClusterError(
        `round trips: '${part}' is not one of ${[...found.keys()].join(', ')} with 0 to ${ROUND_TRIP_MS_MAX} ms, as in ${roundTripsText(ROUND_TRIPS)}`,
      );
    }
    found.set(pair, Number(ms));
  }
  return found;
}

/** How long members wait for each other, in milliseconds. */
export interface Timers {
  readonly heartbeatMs: number;
  readonly electionMs: number;
}

/** A heartbeat is about the longest round trip, an election timeout ten of them: a lost packet or two starts none. */
export function timersFor(roundTrips: RoundTrips): Timers {
  const longestMs = Math.max(...roundTrips.values());
  const heartbeatMs = Math.max(
    HEARTBEAT_MS_MIN,
    Math.ceil(longestMs / HEARTBEAT_STEP_MS) * HEARTBEAT_STEP_MS,
  );
  return { heartbeatMs, electionMs: heartbeatMs * ELECTION_HEARTBEATS };
}

/** What a member of `region` is started with besides its name and addresses. */
export function regionFlags(region: string, { heartbeatMs, electionMs }: Timers): readonly string[] {
  return [
    `--region=${region}`,
    `--leader-regions=${LEADER_REGIONS.join(',')}`,
    `--heartbeat-interval=${heartbeatMs}`,
    `--election-timeout=${electionMs}`,
  ];
}
