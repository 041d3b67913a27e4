import type { NemesisParts } from './nemesis-parts.ts';
import type { Place } from './place.ts';
import type { FaultKind } from './plan.ts';

/** How long a region stays cut off, or a way slow, in ms. */
const CUT_MS = [300, 2_000, 8_000] as const;
const CRAWL_MS = [2_000, 8_000] as const;
/** What a way that has slowed to a crawl takes beside its own time, in ms. */
const CRAWL_EXTRA_MS = [300, 1_500, 5_000] as const;

/** What befalls whole regions: one is cut off, is only heard, or only hears; the way to one crawls; all of it is lost. */
export class RegionFaults {
  stopped = false;
  readonly #parts: NemesisParts;

  constructor(parts: NemesisParts) {
    this.#parts = parts;
  }

  /** @returns whether it was done; the rest of it follows */
  begin(kind: FaultKind): boolean {
    const { cluster, random } = this.#parts;
    const regions = [...new Set(cluster.places.map(({ region }) => region))];
    const leaders = cluster.leader()?.region;
    const region = random.chance(40) && leaders !== undefined ? leaders : random.pick(regions);
    if (region === undefined || regions.length < 2) return false;
    if (kind === 'region-loss') return this.#lose(region);
    if (kind === 'region-crawl') return this.#crawl(region, random.pick(regions.filter((r) => r !== region)));
    return this.#cut(region);
  }

  #cut(region: string): boolean {
    const { network, random, trace } = this.#parts;
    const way = random.pick(['off', 'off', 'deaf', 'mute'] as const);
    const forMs = random.pick(CUT_MS) * (0.5 + random.fraction());
    trace.line('faults', `region ${region} is cut (${way}) for ${forMs.toFixed(0)} ms`);
    for (const { inside, outside } of this.#pairs(region)) {
      if (way !== 'deaf') network.cut(inside, outside);
      if (way !== 'mute') network.cut(outside, inside);
    }
    this.#later(forMs, () => {
      trace.line('faults', 'the network is whole');
      network.heal();
    });
    return true;
  }

  /** Both ways between two regions, or one of them. */
  #crawl(region: string, other: string | undefined): boolean {
    const { network, random, trace } = this.#parts;
    const extraMs = random.pick(CRAWL_EXTRA_MS);
    const forMs = random.pick(CRAWL_MS) * (0.5 + random.fraction());
    const both = random.chance(60);
    trace.line(
      'faults',
      `the way from ${region} to ${other} crawls (${extraMs} ms) for ${forMs.toFixed(0)} ms`,
    );
    const slow = (byMs: number): void => {
      for (const { inside, outside } of this.#pairs(region, other)) {
        network.clog(inside, outside, byMs);
        if (both) network.clog(outside, inside, byMs);
      }
    };
    slow(extraMs);
    this.#later(forMs, () => slow(0));
    return true;
  }

  /** All its machines are killed, or lose power, at once. */
  #lose(region: string): boolean {
    const { cluster, random, trace } = this.#parts;
    const places = cluster.places.filter((place) => place.region === region && place.running);
    if (places.length === 0) return false;
    trace.line('faults', `region ${region} is lost for a while`);
    const powerLoss = random.chance(50);
    for (const place of places) cluster.kill(place, powerLoss);
    return true;
  }

  #pairs(region: string, other?: string): readonly { readonly inside: string; readonly outside: string }[] {
    const { places } = this.#parts.cluster;
    const isOutside = (place: Place): boolean =>
      other === undefined ? place.region !== region : place.region === other;
    const outside = places.filter(isOutside);
    return places
      .filter((place) => place.region === region)
      .flatMap((inside) => outside.map(({ name }) => ({ inside: inside.name, outside: name })));
  }

  #later(delayMs: number, run: () => void): void {
    const act = (): void => {
      if (!this.stopped) run();
    };
    this.#parts.scheduler.schedule(delayMs, { owner: null, kind: 'fault', run: act });
  }
}
