import { pause } from './client.ts';
import type { NemesisParts } from './nemesis-parts.ts';
import type { Place } from './place.ts';

/** Pauses between what clients do meanwhile, in ms: mean values. */
const WRITE_MS = 30;
const READ_MS = 20;
const KEEP_ALIVE_MS = 60;
/** How long an answer may take that is needed before it begins, in ms. */
const PREPARE_MS_MAX = 400;

/** What is done to the leader, beside cutting it off. */
type Way = 'cut' | 'stopped' | 'suspended';

/**
 * A leader is cut off from all others, perhaps stands still for a while, perhaps keeps hearing old answers, and does
 * not know that another leads meanwhile. Clients go on on both sides: whatever the old one still answers must be
 * true (RELIABILITY P32, P41).
 */
export class Standoff {
  stopped = false;
  readonly #parts: NemesisParts;
  #busy = false;

  constructor(parts: NemesisParts) {
    this.#parts = parts;
  }

  /** @returns whether it began */
  begin(): boolean {
    const { cluster } = this.#parts;
    const old = cluster.leader();
    if (this.#busy || old === undefined) return false;
    this.#busy = true;
    void this.#prepare(old).then((ok) => {
      if (ok) this.#divide(old);
      this.#busy = ok;
    });
    return true;
  }

  /** Leases that the leader knows of: one to be kept at it, one at the others, one nowhere. */
  readonly #leases = new Map<'old' | 'others' | 'nobody', bigint>();

  async #prepare(old: Place): Promise<boolean> {
    const { client } = this.#parts;
    this.#leases.clear();
    const kinds = ['old', 'others', 'nobody'] as const;
    const granted = await Promise.all(kinds.map(() => client.grant(old, 1)));
    for (const [i, kind] of kinds.entries()) if (granted[i]) this.#leases.set(kind, granted[i].id);
    return !this.stopped && old.member?.isLeader() === true;
  }

  #divide(old: Place): void {
    const { cluster, network, plan, random, trace } = this.#parts;
    const others = cluster.places.filter((place) => place !== old);
    const way = random.weighted<Way>([
      ['cut', 6],
      ['stopped', 2],
      ['suspended', 2],
    ])!;
    const { electionMs, heartbeatMs } = plan;
    const haunted = random.chance(65);
    const forMs =
      electionMs * random.between(2, 4) +
      (haunted ? random.pick([500, 2_000, 3_500]) : random.pick([0, 500]));
    trace.line('faults', `a standoff: ${old.name} ${way}${haunted ? ', haunted' : ''} for ${forMs} ms`);
    for (const { name } of others) {
      network.cut(old.name, name);
      network.cut(name, old.name);
    }
    if (haunted) network.haunt(old.url, { forMs, everyMs: heartbeatMs / 2 });
    if (way !== 'cut') this.#stand(old, way, forMs);
    this.#clients({ old, others, forMs });
    this.#later(forMs, () => {
      trace.line('faults', 'the standoff is over');
      network.heal();
      this.#busy = false;
    });
  }

  /** The leader's process stands still for most of the time. */
  #stand(old: Place, kind: 'stopped' | 'suspended', forMs: number): void {
    const { process } = old;
    if (process === null || process.paused) return;
    process.pause();
    this.#later(forMs * (0.4 + 0.5 * this.#parts.random.fraction()), () => process.resume(kind));
  }

  #clients({
    old,
    others,
    forMs,
  }: {
    readonly old: Place;
    readonly others: readonly Place[];
    readonly forMs: number;
  }): void {
    const { client, random, scheduler } = this.#parts;
    const untilMs = scheduler.nowMs + forMs;
    const other = (): Place => random.pick(others);
    const each = async (meanMs: number, act: () => void): Promise<void> => {
      while (!this.stopped && scheduler.nowMs < untilMs) {
        await pause(scheduler, meanMs * 2 * random.fraction());
        if (!this.stopped) act();
      }
    };
    void each(WRITE_MS, () => void client.put(other(), PREPARE_MS_MAX));
    void each(READ_MS, () => void client.read(old, forMs));
    const keep = (kind: 'old' | 'others', place: () => Place, timeoutMs: number): void => {
      void each(KEEP_ALIVE_MS, () => {
        const id = this.#leases.get(kind);
        if (id === undefined) return;
        void client.keepAlive(place(), id, timeoutMs).then((isGone) => {
          if (isGone && this.#leases.get(kind) === id) this.#leases.delete(kind);
        });
      });
    };
    keep('old', () => old, forMs);
    keep('others', other, PREPARE_MS_MAX);
  }

  #later(delayMs: number, run: () => void): void {
    this.#parts.scheduler.schedule(delayMs, { owner: null, kind: 'fault', run });
  }
}
