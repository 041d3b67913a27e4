import { OPERATOR } from './auth-operator.ts';
import { pause } from './client.ts';
import type { NemesisParts } from './nemesis-parts.ts';
import type { Place } from './place.ts';

/** An operator's request is given up after this; then the next member is asked. */
const REQUEST_MS = 3_000;
const PAUSE_MS_MAX = 1_500;

/** An operator who adds the learners of a plan, one after the other, and never promotes them. */
export class Learners {
  stopped = false;
  readonly #parts: NemesisParts;

  constructor(parts: NemesisParts) {
    this.#parts = parts;
  }

  async run(): Promise<void> {
    for (const place of this.#parts.cluster.learners) await this.#add(place);
  }

  /** Asks until it is a member: the answer may be lost, and who asks for it twice is refused the second time. */
  async #add(place: Place): Promise<void> {
    const { cluster, port, random, scheduler, trace } = this.#parts;
    const others = cluster.places.filter((each) => each !== place);
    while (!this.stopped && cluster.memberOf(place) === undefined) {
      await pause(scheduler, random.fraction() * PAUSE_MS_MAX);
      if (this.stopped) return;
      await port.call(random.pick(others), REQUEST_MS, (member, signal) =>
        member.memberAdd({ peerUrls: [place.url], isLearner: true }, { signal, credentials: OPERATOR }),
      );
    }
    if (this.stopped || place.everStarted) return;
    trace.line('faults', `${place.name} joins as a learner in ${place.region}`);
    cluster.join(place);
  }
}
