import { OPERATOR } from './auth-operator.ts';
import { pause } from './client.ts';
import type { NemesisParts } from './nemesis-parts.ts';
import type { Place } from './place.ts';
import type { FaultKind } from './plan.ts';

/** An operator's request is given up after this. */
const REQUEST_MS = 3_000;
/** How often a learner's promotion is tried. */
const PROMOTIONS_MAX = 20;
/** How often a second operator looks for the machine that the first one adds. */
const LOOKS_MAX = 40;
const MEMBERS_MAX = 7;

/** What two operators do at the same time; `same` means that both mean one machine. */
type Pair = 'add-same' | 'add-add' | 'add-remove' | 'remove-remove' | 'remove-same' | 'add-and-remove-it';

/**
 * Who adds members, promotes and removes them, as far as the cluster can spare it whatever becomes of it. One operator
 * waits for one change before the next; in some seeds there are two, who know nothing of each other.
 */
export class MemberOperators {
  stopped = false;
  readonly #parts: NemesisParts;
  /** A membership change whose outcome is unknown: no other one, and no loss, until the end. */
  #uncertain = false;
  #changing = false;

  constructor(parts: NemesisParts) {
    this.#parts = parts;
  }

  /** Whether it is known who belongs to the cluster. */
  get areIdle(): boolean {
    return !this.#uncertain && !this.#changing;
  }

  /** @returns whether something was begun */
  begin(kind: FaultKind): boolean {
    const { log, plan } = this.#parts;
    if (!this.areIdle || log.members.length === 0) return false;
    const work = (plan.twoOperators ? this.#two() : null) ?? this.#one(kind);
    if (work === null) return false;
    this.#changing = true;
    void work.then((known) => {
      this.#changing = false;
      if (!known) this.#uncertain = true;
    });
    return true;
  }

  #one(kind: FaultKind): Promise<boolean> | null {
    const { cluster, random, log } = this.#parts;
    if (kind === 'add-member') {
      if (log.members.length >= MEMBERS_MAX || !cluster.couldSpare({ addedVoters: 1 })) return null;
      return this.#add(cluster.addPlace());
    }
    const places = this.#memberPlaces();
    const lost = places.filter((place) => place.lost);
    const place = random.pick(kind === 'replace-member' && lost.length > 0 ? lost : places);
    if (!cluster.couldSpare({ removed: [place] })) return null;
    return this.#remove(place).then((ok) => {
      if (kind !== 'replace-member' || !ok) return ok;
      return this.#add(this.#isReusable(place) ? cluster.replaceMachine(place) : cluster.addPlace());
    });
  }

  /**
   * Whether a new member may get the address of this machine. One whose disk may be empty would take itself for the new
   * member if it came back: an operator's mistake that no store can tell.
   */
  #isReusable(place: Place): boolean {
    const { cluster, plan } = this.#parts;
    return plan.reusesAddresses && place.everStarted && !place.lost && cluster.memberOf(place) === undefined;
  }

  // ---- two at once ------------------------------------------------------------------------------------------

  /** Two changes at once, through two members, when the cluster can spare both of them, either, and none. */
  #two(): Promise<boolean> | null {
    const { cluster, log, random, scheduler, trace } = this.#parts;
    const pair = random.pick<Pair>([
      'add-same',
      'add-same',
      'add-add',
      'add-remove',
      'remove-remove',
      'remove-same',
      'add-and-remove-it',
    ]);
    const [a, b] = random.shuffle(this.#memberPlaces());
    if (a === undefined || b === undefined) return null;
    const adds = pair.startsWith('add') ? (pair === 'add-add' ? 2 : 1) : 0;
    if (log.members.length + adds > MEMBERS_MAX) return null;
    const removed =
      pair === 'remove-remove' ? [a, b] : pair === 'remove-same' || pair === 'add-remove' ? [a] : [];
    for (const gone of [[], removed.slice(0, 1), removed.slice(1), removed]) {
      for (const addedVoters of [0, adds])
        if (!cluster.couldSpare({ removed: gone, addedVoters })) return null;
    }
    trace.line('faults', `two operators at once: ${pair}`);
    const [first, second] = this.#changesOf(pair, { a, b });
    // Whoever answers can be asked, or the two would seldom meet.
    const running = cluster.places.filter((place) => place.member?.hasLeader() === true);
    const [via, other] = random.shuffle(running.length > 1 ? running : cluster.places);
    const delayMs = random.pick([0, 0, 5, 50]) * random.fraction();
    const later = pause(scheduler, delayMs).then(() => (this.stopped ? true : second(other!)));
    return Promise.all([first(via!), later]).then((known) => known.every(Boolean));
  }

  #changesOf(
    pair: Pair,
    { a, b }: { readonly a: Place; readonly b: Place },
  ): readonly [(via: Place) => Promise<boolean>, (via: Place) => Promise<boolean>] {
    const { cluster } = this.#parts;
    const remove = (place: Place) => (via: Place) => this.#remove(place, via);
    const add = (place: Place) => (via: Place) => this.#add(place, via);
    switch (pair) {
      case 'add-same': {
        const place = cluster.addPlace();
        return [add(place), add(place)];
      }
      case 'add-add':
        return [add(cluster.addPlace()), add(cluster.addPlace())];
      case 'add-remove':
        return [add(cluster.addPlace()), remove(a)];
      case 'remove-remove':
        return [remove(a), remove(b)];
      case 'remove-same':
        return [remove(a), remove(a)];
      case 'add-and-remove-it': {
        const place = cluster.addPlace();
        return [add(place), (via) => this.#removeOnceAdded(place, via)];
      }
    }
  }

  async #removeOnceAdded(place: Place, via: Place): Promise<boolean> {
    const { cluster, scheduler } = this.#parts;
    for (let i = 0; i < LOOKS_MAX && !this.stopped; i++) {
      if (cluster.memberOf(place) !== undefined) return this.#remove(place, via);
      await pause(scheduler, 50);
    }
    return true;
  }

  // ---- one change -------------------------------------------------------------------------------------------

  #memberPlaces(): Place[] {
    const { cluster } = this.#parts;
    return cluster.places.filter((place) => cluster.memberOf(place) !== undefined);
  }

  /** @returns whether it is known what became of it */
  async #add(place: Place, through?: Place): Promise<boolean> {
    const { cluster, port, random, trace, scheduler } = this.#parts;
    const isLearner = random.chance(60);
    trace.line('faults', `adds ${place.name} as a ${isLearner ? 'learner' : 'voter'}`);
    const via = through ?? random.pick(cluster.places.filter((each) => each !== place));
    const answer = await port.call(via, REQUEST_MS, (member, signal) =>
      member.memberAdd({ peerUrls: [place.url], isLearner }, { signal, credentials: OPERATOR }),
    );
    if (answer.type === 'refused' && answer.code === 'timeout-connection-lost') return false;
    if (answer.type === 'unknown') return false;
    if (cluster.memberOf(place) === undefined) return true;
    cluster.join(place);
    for (let i = 0; isLearner && i < PROMOTIONS_MAX && !this.stopped; i++) {
      await pause(scheduler, 200);
      const id = cluster.memberOf(place)?.id;
      if (id === undefined) return true;
      const to = cluster.leader() ?? via;
      const promoted = await port.call(to, REQUEST_MS, (member, signal) =>
        member.memberPromote({ id }, { signal, credentials: OPERATOR }),
      );
      if (promoted.type === 'answered') return true;
      if (promoted.type === 'unknown') return false;
    }
    return true;
  }

  /** @returns whether it is known what became of it */
  async #remove(place: Place, through?: Place): Promise<boolean> {
    const { cluster, port, random, trace } = this.#parts;
    const id = cluster.memberOf(place)?.id;
    if (id === undefined) return true;
    trace.line('faults', `removes ${place.name}`);
    const via = through ?? random.pick(cluster.places);
    const answer = await port.call(via, REQUEST_MS, (member, signal) =>
      member.memberRemove({ id }, { signal, credentials: OPERATOR }),
    );
    if (answer.type === 'unknown') return false;
    return !(answer.type === 'refused' && answer.code.startsWith('timeout'));
  }
}
