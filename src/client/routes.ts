import type { Identity } from './identity.ts';

/** What a call needs of the member that takes it. */
export type CallKind =
  /** Answered from the member's own state, and so by learners, too. */
  | 'local'
  /** Takes a round of the voters, or the leader's word. */
  | 'quorum'
  /** The same, and changes something. */
  | 'write';

/** What a member says of itself, as far as it has been asked. */
export interface RouteFacts extends Identity {
  /** Empty = none. */
  readonly region: string;
  readonly isLearner: boolean;
  readonly isLeader: boolean;
  /** The shortest of the last few; null = not measured. */
  readonly roundTripMs: number | null;
}

/** An endpoint as far as its place in the order matters. */
export interface Route {
  readonly address: string;
  /** Null = nobody answered there yet. */
  facts: RouteFacts | null;
  /** Grows with every failure of any route; 0 = it is well as far as is known. */
  failedAt: number;
}

/** How routes are compared. */
export interface Preference {
  /** Members of this region come first; undefined = the order in which the endpoints were given counts. */
  readonly region: string | undefined;
  /** Whether writes go to the leader first. */
  readonly leaderFirst: boolean;
}

/**
 * Routes in the order in which a call of this kind tries them. First come those that are well, after them the others,
 * longest failed first. Learners come last where a quorum is needed. Then, with a region: its own members, then the
 * nearest by measured round trip, and what was never measured last. What is equal stays in its order.
 */
export function inOrder<R extends Route>(
  routes: readonly R[],
  kind: CallKind,
  { region, leaderFirst }: Preference,
): readonly R[] {
  const ranks = (route: R): readonly number[] => [
    route.failedAt,
    Number(kind !== 'local' && route.facts?.isLearner === true),
    Number(!(kind === 'write' && leaderFirst && route.facts?.isLeader === true)),
    region === undefined ? 0 : Number(route.facts?.region !== region),
    region === undefined ? 0 : (route.facts?.roundTripMs ?? Infinity),
  ];
  return routes
    .map((route) => ({ route, rank: ranks(route) }))
    .toSorted((left, right) => compared(left.rank, right.rank))
    .map(({ route }) => route);
}

/** Whether a watch that is served at `current` should go home to `best`: back into its region. */
export function isHomecoming(
  routes: { readonly current: Route | undefined; readonly best: Route },
  region: string | undefined,
): boolean {
  if (region === undefined || routes.best.failedAt !== 0) return false;
  return routes.best.facts?.region === region && routes.current?.facts?.region !== region;
}

function compared(left: readonly number[], right: readonly number[]): number {
  for (const [at, rank] of left.entries()) {
    const other = right[at]!;
    if (rank !== other) return rank < other ? -1 : 1;
  }
  return 0;
}
