import { pause } from './client.ts';
import type { NemesisParts } from './nemesis-parts.ts';
import type { Place } from './place.ts';

/** How long a member runs before it is started again, and how long it is asked afterwards, in ms. */
const FIRST_MS = 250;
const SECOND_MS = 900;
const READ_MS = 9;
const WRITE_MS = 25;
const HAUNT_MS = 4;
const TIMEOUT_MS = 1_000;
/** How long a start is waited for, in ms. */
const START_MS_MAX = 1_500;

/**
 * A follower is started twice in short order and asked much each time. While it runs the second time it lags, and
 * hears the answers to what it asked the first time (RELIABILITY P30).
 */
export class LateAnswers {
  stopped = false;
  readonly #parts: NemesisParts;
  #busy = false;

  constructor(parts: NemesisParts) {
    this.#parts = parts;
  }

  /** @returns whether it began */
  begin(): boolean {
    const { cluster, random } = this.#parts;
    if (this.#busy || cluster.leader() === undefined) return false;
    const followers = cluster.core().filter((each) => each.member !== null && each !== cluster.leader());
    if (followers.length === 0) return false;
    this.#busy = true;
    void this.#run(random.pick(followers)).then(() => {
      this.#busy = false;
    });
    return true;
  }

  async #run(place: Place): Promise<void> {
    const { network, cluster, random, trace } = this.#parts;
    trace.line('faults', `late answers for ${place.name}`);
    if (!(await this.#startAgain(place))) return;
    await this.#ask(place, FIRST_MS);
    if (this.stopped || !place.running) return;
    const extraMs = random.between(20, 300);
    for (const { name } of cluster.places) if (name !== place.name) network.clog(name, place.name, extraMs);
    if (await this.#startAgain(place)) {
      network.haunt(place.url, { forMs: SECOND_MS, everyMs: HAUNT_MS });
      await this.#ask(place, SECOND_MS);
    }
    for (const { name } of cluster.places) network.clog(name, place.name, 0);
  }

  async #startAgain(place: Place): Promise<boolean> {
    const { cluster, scheduler } = this.#parts;
    if (this.stopped || !place.running || place.lost) return false;
    cluster.kill(place, false);
    cluster.start(place);
    for (let leftMs = START_MS_MAX; leftMs > 0 && !this.stopped; leftMs -= 10) {
      await pause(scheduler, 10);
      if (place.member !== null) return true;
    }
    return false;
  }

  /** Reads at the place, and writes elsewhere, for a while. */
  async #ask(place: Place, forMs: number): Promise<void> {
    const { client, scheduler, random, cluster } = this.#parts;
    const untilMs = scheduler.nowMs + forMs;
    const writes = async (): Promise<void> => {
      while (!this.stopped && scheduler.nowMs < untilMs) {
        await pause(scheduler, 2 * WRITE_MS * random.fraction());
        const other = random.pick(cluster.places.filter((each) => each !== place));
        if (!this.stopped) void client.put(other, TIMEOUT_MS);
      }
    };
    void writes();
    while (!this.stopped && scheduler.nowMs < untilMs) {
      await pause(scheduler, 2 * READ_MS * random.fraction());
      if (!this.stopped) void client.read(place, TIMEOUT_MS);
    }
  }
}
