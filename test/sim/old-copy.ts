import { pause } from './client.ts';
import type { NemesisParts } from './nemesis-parts.ts';
import type { Place } from './place.ts';

/** How long a start, or a peer, may be waited for, in ms. */
const WAIT_MS_MAX = 3_000;
const LOOK_MS = 20;
/** How often a member on an old copy is started. */
const STARTS_MAX = 4;

/**
 * A copy of a member's data is made, the member goes on, and after one start or two the copy is put back. It is
 * started again and again, as somebody would who wonders why the member does not join in (RELIABILITY S5, P46).
 */
export class OldCopy {
  stopped = false;
  readonly #parts: NemesisParts;
  readonly #mayLose: (place: Place) => boolean;
  #busy = false;

  /** @param mayLose whether the cluster can spare a member's data now */
  constructor(parts: NemesisParts, mayLose: (place: Place) => boolean) {
    this.#parts = parts;
    this.#mayLose = mayLose;
  }

  /** @returns whether it began */
  begin(): boolean {
    const { cluster, random } = this.#parts;
    if (this.#busy) return false;
    const fit = cluster.places.filter(
      (place) => place.member?.hasLeader() === true && !place.storageFaulty && this.#mayLose(place),
    );
    if (fit.length === 0) return false;
    this.#busy = true;
    void this.#run(random.pick(fit)).then(() => {
      this.#busy = false;
    });
    return true;
  }

  async #run(place: Place): Promise<void> {
    const { cluster, random, trace, scheduler } = this.#parts;
    trace.line(place.name, 'is copied');
    cluster.kill(place, false);
    const restore = await place.copyData();
    const after = cluster.startCount;
    for (let starts = random.between(1, 2); starts > 0; starts--) {
      if (!(await this.#start(place))) return;
      await pause(scheduler, random.between(50, 1_500));
    }
    const forgotten = { after, upTo: Number.POSITIVE_INFINITY };
    const isReady = (): boolean => cluster.allHaveMet(place, forgotten) && this.#mayLose(place);
    if (!(await this.#wait(isReady))) return;
    trace.line(place.name, 'gets the old copy of its data');
    place.lost = true;
    place.forgotten = { after, upTo: cluster.startCount };
    cluster.kill(place, false);
    await restore();
    for (let starts = random.between(1, STARTS_MAX); starts > 0; starts--) {
      if (!(await this.#start(place))) return;
      await pause(scheduler, random.between(50, 1_500));
    }
  }

  /** Kills it, if it runs, and starts it. @returns whether it runs */
  async #start(place: Place): Promise<boolean> {
    const { cluster } = this.#parts;
    if (this.stopped) return false;
    if (place.running) cluster.kill(place, false);
    cluster.start(place);
    return this.#wait(() => place.member !== null);
  }

  async #wait(done: () => boolean): Promise<boolean> {
    for (let leftMs = WAIT_MS_MAX; leftMs > 0 && !this.stopped; leftMs -= LOOK_MS) {
      if (done()) return true;
      await pause(this.#parts.scheduler, LOOK_MS);
    }
    return false;
  }
}
