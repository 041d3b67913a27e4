import { type RegionMember, type RoundTrips, roundTripMs } from '../../cluster/region-layout.ts';

/**
 * What calls cost by the round trips alone, in milliseconds: the least that any implementation of Raft can take
 * (docs/multi-region.md). `syncMs` is what one write to a log takes.
 */
export class Formulas {
  readonly #roundTrips: RoundTrips;
  readonly #voters: readonly RegionMember[];
  readonly #leader: RegionMember;
  readonly #syncMs: number;

  constructor(options: {
    readonly roundTrips: RoundTrips;
    readonly members: readonly RegionMember[];
    readonly leader: RegionMember;
    readonly syncMs: number;
  }) {
    this.#roundTrips = options.roundTrips;
    this.#voters = options.members.filter(({ learner }) => !learner);
    this.#leader = options.leader;
    this.#syncMs = options.syncMs;
  }

  /** From the leader to as many voters as it needs, and back. */
  get quorumMs(): number {
    const majority = Math.floor(this.#voters.length / 2) + 1;
    const others = this.#voters
      .filter((voter) => voter !== this.#leader)
      .map((voter) => this.#toLeaderMs(voter.region))
      .toSorted((left, right) => left - right);
    // The leader counts itself.
    return others[majority - 2] ?? 0;
  }

  /** From proposal to commit at the leader: its own disk works meanwhile. */
  get commitMs(): number {
    return this.quorumMs + this.#syncMs;
  }

  /** A put through a member of `region`. */
  writeMs(region: string): number {
    return this.#toLeaderMs(region) + this.commitMs;
  }

  /** A linearizable read of a member of `region`. */
  linearizableReadMs(region: string): number {
    return this.#toLeaderMs(region) + this.quorumMs;
  }

  /** From a put at the leader to its event in `region`: committed, and one way. */
  watchMs(region: string): number {
    return this.commitMs + this.#toLeaderMs(region) / 2;
  }

  #toLeaderMs(region: string): number {
    return roundTripMs(this.#roundTrips, { from: region, to: this.#leader.region });
  }
}
