import { REGION_MEMBERS, REGIONS, type RoundTrips } from '../../cluster/region-layout.ts';
import { shapeRegions } from '../../cluster/region-network.ts';
import type { Prng } from '../core/raft/prng.ts';
import { type ArenaMember, FaultArena } from './fault-arena.ts';

/** A quarter of the real ones, as the timers of the arena are: a run holds many elections. */
const ROUND_TRIPS: RoundTrips = new Map([
  ['a-b', 16],
  ['a-c', 36],
  ['b-c', 20],
]);

/** The members of `npm run regions` as real processes, each region one place of the network between them. */
export class RegionArena {
  readonly arena: FaultArena;

  private constructor(arena: FaultArena) {
    this.arena = arena;
  }

  static async start(random: Prng): Promise<RegionArena> {
    const voters = REGION_MEMBERS.filter(({ learner }) => !learner);
    const arena = await FaultArena.start({
      size: voters.length,
      random,
      placeOf: regionOf,
      flags: ({ name }) => [`--region=${regionOf(name)}`, '--leader-regions=a,b'],
    });
    const regions = new RegionArena(arena);
    try {
      regions.#shape();
      await arena.addLearner();
      return regions;
    } catch (error) {
      await arena.destroy();
      throw error;
    }
  }

  /** Members of a region, the learner among them. */
  in(region: string): readonly ArenaMember[] {
    return this.arena.members.filter(({ name }) => regionOf(name) === region);
  }

  get learner(): ArenaMember {
    return this.arena.member(REGION_MEMBERS.find(({ learner }) => learner)!.name);
  }

  async leaderRegion(): Promise<string> {
    return regionOf((await this.arena.leader()).name);
  }

  /** Ends whatever a fault has left behind: every member runs, every link has its round trip and nothing else. */
  async mend(): Promise<void> {
    await this.arena.repair();
    this.#shape();
  }

  #shape(): void {
    shapeRegions(this.arena.network, ROUND_TRIPS);
  }
}

export function regionOf(name: string): string {
  return REGION_MEMBERS.find((member) => member.name === name)!.region;
}

/** All regions but one. */
export function otherRegions(region: string): readonly string[] {
  return REGIONS.filter((other) => other !== region);
}
