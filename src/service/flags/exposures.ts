import type { Kv } from '../../kv/kv.ts';
import type { Logger } from '../../lib/logger.ts';
import { type Clock, isoTime } from '../caller.ts';
import { experimentKey } from '../keyspace.ts';
import type { Scope } from '../model.ts';
import { ServiceError } from '../service-error.ts';
import {
  addExposures,
  decodeExposures,
  type ExposureSet,
  encodeExposures,
  type VariantExposures,
  variantIn,
} from './exposure-rows.ts';

/** Between two times that what was gathered is written: so much is lost when a server dies. */
export const EXPOSURES_FLUSH_MS = 30_000;
/** Variants whose exposures wait to be written, 64 KiB each. */
export const WAITING_VARIANTS_MAX = 500;
/** Variants of one flag whose exposures are kept. */
export const EXPERIMENT_VARIANTS_MAX = 10;
const CLOSE_MS_MAX = 1_000;

/** That somebody got a variant of a flag. */
export interface Exposure {
  readonly flag: string;
  readonly variant: string;
  readonly targetingKey: string;
  /** Whether they also did what was hoped for. */
  readonly converted: boolean;
}

interface Waiting {
  readonly scope: Scope;
  readonly flag: string;
  readonly set: ExposureSet;
}

/**
 * Gathers who got which variant: a row for each flag of an application in an environment, which all servers share. To add
 * is to set bits, so that what comes twice, from wherever, counts once; targeting keys are not kept.
 */
export class Exposures {
  readonly #kv: Kv;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  readonly #waiting = new Map<string, Waiting>();
  /** Taken from those that wait; one at most. */
  readonly #writing = new Map<string, Waiting>();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(kv: Kv, { clock, logger }: { readonly clock: Clock; readonly logger: Logger }) {
    this.#kv = kv;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Writes from now on, until it is closed. */
  start(): void {
    this.#timer = setInterval(() => void this.flush(), EXPOSURES_FLUSH_MS);
    this.#timer.unref();
  }

  /** All of them or none. @throws ServiceError `too-many-requests` while too many variants wait to be written */
  add(scope: Scope, exposures: readonly Exposure[]): void {
    const wanted = new Set(
      exposures.map(({ flag, variant }) => JSON.stringify([idOf(scope, flag), variant])),
    );
    for (const [id, { set }] of this.#waiting) {
      for (const variant of set.variants.keys()) wanted.add(JSON.stringify([id, variant]));
    }
    if (wanted.size > WAITING_VARIANTS_MAX) {
      throw new ServiceError('too-many-requests', 'too many variants wait to be written: try again soon');
    }
    for (const exposure of exposures) this.#add(scope, exposure);
  }

  /** What this server has not written yet, that which it writes now included. */
  unwritten(scope: Scope, flag: string): readonly ReadonlyMap<string, VariantExposures>[] {
    const id = idOf(scope, flag);
    const found = [this.#writing.get(id), this.#waiting.get(id)];
    return found.flatMap((each) => (each === undefined ? [] : [each.set.variants]));
  }

  /** Flags of a scope of which this server has not written everything. */
  unwrittenFlags(scope: Scope): readonly string[] {
    const start = idOf(scope, '');
    return [...new Map([...this.#writing, ...this.#waiting])]
      .filter(([id]) => id.startsWith(start))
      .map(([, { flag }]) => flag);
  }

  /** Drops what this server has not written yet. */
  forget(scope: Scope, flag: string): void {
    this.#waiting.delete(idOf(scope, flag));
  }

  /** Writes what waits; what fails is written the next time. */
  async flush(): Promise<void> {
    this.#running = this.#running.then(() => this.#flush(this.#stop.signal));
    await this.#running;
  }

  /** Writes what is left, if that goes quickly. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort();
    await this.#running;
    await this.#flush(AbortSignal.timeout(CLOSE_MS_MAX));
  }

  #add(scope: Scope, { flag, variant, targetingKey, converted }: Exposure): void {
    const id = idOf(scope, flag);
    const { tenant, environment, application } = scope;
    const known: Waiting = this.#waiting.get(id) ?? {
      scope: { tenant, environment, application },
      flag,
      set: { since: isoTime(this.#clock.nowMs()), variants: new Map() },
    };
    this.#waiting.set(id, known);
    const counts = variantIn(known.set.variants, variant);
    counts.exposed.add(targetingKey);
    if (converted) counts.converted.add(targetingKey);
  }

  async #flush(signal: AbortSignal): Promise<void> {
    // What is put back is left for the next time.
    const all = [...this.#waiting];
    for (const [id, waiting] of all) {
      // What comes while it is written waits anew.
      this.#waiting.delete(id);
      this.#writing.set(id, waiting);
      try {
        await this.#write(waiting, signal);
      } catch (error) {
        this.#putBack(id, waiting);
        if (signal.aborted) return;
        this.#logger.warn({ error: String(error) }, 'exposures of a flag were not written yet');
      } finally {
        this.#writing.delete(id);
      }
    }
  }

  async #write({ scope, flag, set }: Waiting, signal: AbortSignal): Promise<void> {
    const key = experimentKey(scope, flag);
    const asked = { principal: { type: 'service' }, signal } as const;
    const { rows } = await this.#kv.range({ key, consistency: { type: 'linearizable' } }, asked);
    const row = rows[0];
    const stored = row === undefined ? { since: set.since, variants: new Map() } : decodeExposures(row.value);
    if (!addExposures(stored.variants, set.variants)) return;
    for (const name of [...stored.variants.keys()].slice(EXPERIMENT_VARIANTS_MAX))
      stored.variants.delete(name);
    const { succeeded } = await this.#kv.txn(
      {
        compare: [{ key, target: 'mod', result: 'equal', number: row?.modRevision ?? 0 }],
        success: [{ type: 'put', key, value: encodeExposures(stored) }],
        failure: [],
      },
      asked,
    );
    if (!succeeded) throw new ServiceError('conflict', 'another server wrote first');
  }

  #putBack(id: string, waiting: Waiting): void {
    const newer = this.#waiting.get(id);
    if (newer !== undefined) addExposures(waiting.set.variants, newer.set.variants);
    this.#waiting.set(id, waiting);
  }
}

function idOf({ tenant, environment, application }: Scope, flag: string): string {
  return `${tenant}/${environment}/${application}/${flag}`;
}
