import type { MemberView } from '../../src/core/members.ts';
import type { Member } from '../../src/member/member.ts';
import { OPERATOR } from './auth-operator.ts';
import type { NemesisParts } from './nemesis-parts.ts';
import type { Place } from './place.ts';

/** An operator waits so long for a transfer, in ms. */
const REQUEST_MS = 3_000;
/** Between what befalls the target and the request, in ms: the leader may still take it for well. */
const BETWEEN_MS_MAX = 60;

/** What has befallen the target. */
type Way = 'killed' | 'stopped' | 'unheard';
const WAYS: readonly (readonly [Way, number])[] = [
  ['killed', 1],
  ['stopped', 1],
  ['unheard', 2],
];

/**
 * Leadership is handed to a voter that cannot take it: killed, standing still or not hearing the leader just before. Only the leader
 * can end that, by giving up (RELIABILITY P9); with a majority left the cluster must go on meanwhile.
 */
export class HopelessTransfer {
  stopped = false;
  readonly #parts: NemesisParts;

  constructor(parts: NemesisParts) {
    this.#parts = parts;
  }

  /** @returns whether it began */
  begin(): boolean {
    const { cluster, log, plan, port, random, trace } = this.#parts;
    const leader = cluster.leader();
    if (leader === undefined) return false;
    const targets = log.members.filter((member) => !member.isLearner && this.#mayTarget(member, leader));
    if (targets.length === 0) return false;
    const target = random.pick(targets);
    const place = cluster.placeOf(target)!;
    const way = random.weighted<Way>(WAYS)!;
    const forMs = plan.electionMs * random.between(5, 8);
    trace.line('faults', `${leader.name} is to hand over to ${place.name}, ${way} for ${forMs} ms`);
    this.#disable({ place, way, forMs, leader });
    this.#later(random.between(0, BETWEEN_MS_MAX), () => {
      if (this.stopped) return;
      const ask = (member: Member, signal: AbortSignal): Promise<unknown> =>
        member.moveLeader({ target: target.id }, { signal, credentials: OPERATOR });
      void port.call(leader, REQUEST_MS, ask);
    });
    return true;
  }

  #mayTarget(member: MemberView, leader: Place): boolean {
    const place = this.#parts.cluster.placeOf(member);
    return place !== undefined && place !== leader && place.running && place.process?.paused === false;
  }

  #disable(target: {
    readonly place: Place;
    readonly way: Way;
    readonly forMs: number;
    readonly leader: Place;
  }): void {
    const { cluster, network } = this.#parts;
    const { place, way, forMs, leader } = target;
    if (way === 'killed') {
      cluster.kill(place, false);
    } else if (way === 'stopped') {
      const { process } = place;
      process?.pause();
      this.#later(forMs, () => process?.resume('stopped'));
    } else {
      // Its connections stay: nothing but silence tells that it does not hear.
      network.mute(leader.name, place.name);
      this.#later(forMs, () => network.unmute(leader.name, place.name));
    }
  }

  #later(delayMs: number, run: () => void): void {
    this.#parts.scheduler.schedule(delayMs, { owner: null, kind: 'fault', run });
  }
}
