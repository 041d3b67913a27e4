import { randomUUID } from 'node:crypto';
import type { Evaluation, EvaluationContext } from '../../evaluation/evaluation.ts';
import { SERVICE_ATTRIBUTE } from '../../evaluation/model.ts';
import type { Kv, KvOp } from '../../kv/kv.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Clock } from '../caller.ts';
import { PREFIXES, usageKey, usagePrefix } from '../keyspace.ts';
import type { Scope } from '../model.ts';
import { encodeUsage, type UsageCount } from './usage-rows.ts';

/** Between two times that what was counted is written: so much is lost when a server dies. */
export const USAGE_FLUSH_MS = 30_000;
/** Different counts of one application in one environment and hour; what is beyond is counted without its service. */
export const USAGE_COUNTS_MAX = 2_000;
/** Applications in environments that are counted in one hour; others are not. */
export const USAGE_SCOPES_MAX = 1_000;
/** How long counts are kept. */
export const USAGE_KEEP_HOURS = 90 * 24;
/** Rows of one transaction, and transactions of one flush. */
const FLUSH_ROWS = 8;
const FLUSH_STEPS_MAX = 10;
const CLOSE_MS_MAX = 1_000;
const SERVICE_LENGTH_MAX = 100;
const HOUR_MS = 3_600_000;

/** Counts of one application in one environment and hour, as this server saw it. */
interface ScopeCounts {
  readonly hour: string;
  readonly scope: Scope;
  readonly counts: Map<string, { -readonly [Field in keyof UsageCount]: UsageCount[Field] }>;
  /** Whether there is more than what was written. */
  isDirty: boolean;
}

/** `2026-11-22T11` */
export function hourOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 13);
}

/**
 * Counts what flags answer, by variant, reason and service: in memory, by the hour, and now and then in a row of its own
 * for each application, environment and server. Counting is synchronous and bounded; it never fails.
 */
export class FlagUsage {
  readonly #kv: Kv;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #server = randomUUID();
  readonly #stop = new AbortController();
  readonly #scopes = new Map<string, ScopeCounts>();
  #hour = '';
  #hourEndMs = 0;
  #sweptHour = '';
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #uncounted = 0;

  constructor(kv: Kv, { clock, logger }: { readonly clock: Clock; readonly logger: Logger }) {
    this.#kv = kv;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Whose row it is: no two servers have the same. */
  get server(): string {
    return this.#server;
  }

  /** Evaluations that were not counted, since there was too much to tell apart. */
  get uncounted(): number {
    return this.#uncounted;
  }

  /** Writes from now on, until it is closed. */
  start(): void {
    this.#timer = setInterval(() => void this.flush(), USAGE_FLUSH_MS);
    this.#timer.unref();
  }

  /** Counts an answer; what is no flag is not counted. */
  evaluated(
    scope: Scope,
    key: string,
    asked: { readonly context: EvaluationContext; readonly evaluation: Evaluation },
  ): void {
    const { variant, reason, errorCode } = asked.evaluation;
    if (errorCode === 'FLAG_NOT_FOUND') return;
    const service = asked.context?.[SERVICE_ATTRIBUTE];
    const isName = typeof service === 'string' && service !== '' && service.length <= SERVICE_LENGTH_MAX;
    this.count(scope, {
      flag: key,
      variant: variant ?? null,
      reason,
      service: isName ? service : null,
      count: 1,
    });
  }

  /** Counts several at once. */
  count(scope: Scope, { flag, variant, reason, service, count }: UsageCount): void {
    const counts = this.#countsOf(scope);
    const id = idOf(flag, variant, reason, service);
    const known = counts?.counts.get(id);
    if (counts === undefined) this.#uncounted += count;
    else if (known !== undefined) {
      known.count += count;
      counts.isDirty = true;
    } else if (counts.counts.size < USAGE_COUNTS_MAX) {
      counts.counts.set(id, { flag, variant, reason, service, count });
      counts.isDirty = true;
    } else if (service !== null) this.count(scope, { flag, variant, reason, service: null, count });
    else this.#uncounted += count;
  }

  /** What this server has counted in an hour, of which a part may not be written yet. */
  inMemory(hour: string, scope: Scope): readonly UsageCount[] | null {
    const counts = this.#scopes.get(scopeKey(hour, scope));
    return counts === undefined ? null : [...counts.counts.values()];
  }

  /** Writes what is new, in bounded steps; what fails is written the next time. */
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

  #countsOf(scope: Scope): ScopeCounts | undefined {
    const nowMs = this.#clock.nowMs();
    if (nowMs >= this.#hourEndMs || nowMs < this.#hourEndMs - HOUR_MS) {
      this.#hour = hourOf(nowMs);
      this.#hourEndMs = Math.floor(nowMs / HOUR_MS) * HOUR_MS + HOUR_MS;
    }
    const key = scopeKey(this.#hour, scope);
    const known = this.#scopes.get(key);
    if (known !== undefined || this.#scopes.size >= USAGE_SCOPES_MAX) return known;
    const { tenant, environment, application } = scope;
    const made: ScopeCounts = {
      hour: this.#hour,
      scope: { tenant, environment, application },
      counts: new Map(),
      isDirty: false,
    };
    this.#scopes.set(key, made);
    return made;
  }

  async #flush(signal: AbortSignal): Promise<void> {
    try {
      for (let step = 0; step < FLUSH_STEPS_MAX; step += 1) {
        const dirty = [...this.#scopes.values()].filter(({ isDirty }) => isDirty).slice(0, FLUSH_ROWS);
        if (dirty.length === 0) break;
        await this.#write(dirty, signal);
      }
      this.#forgetOver();
    } catch (error) {
      if (!signal.aborted)
        this.#logger.warn({ error: String(error) }, 'counts of flags were not written yet');
    }
  }

  async #write(dirty: readonly ScopeCounts[], signal: AbortSignal): Promise<void> {
    const puts = dirty.map(({ hour, scope, counts }): KvOp => {
      return {
        type: 'put',
        key: usageKey(hour, scope, this.#server),
        value: encodeUsage([...counts.values()]),
      };
    });
    // What is counted while it is written is new again.
    for (const each of dirty) each.isDirty = false;
    const hour = hourOf(this.#clock.nowMs());
    const success = hour === this.#sweptHour ? puts : [...puts, this.#sweep()];
    try {
      await this.#kv.txn({ compare: [], success, failure: [] }, { principal: { type: 'service' }, signal });
      this.#sweptHour = hour;
    } catch (error) {
      for (const each of dirty) each.isDirty = true;
      throw error;
    }
  }

  /** Deletes the hours that are kept no longer. */
  #sweep(): KvOp {
    const cutoff = hourOf(this.#clock.nowMs() - USAGE_KEEP_HOURS * HOUR_MS);
    return { type: 'delete', key: Buffer.from(PREFIXES.usage), rangeEnd: Buffer.from(usagePrefix(cutoff)) };
  }

  #forgetOver(): void {
    const hour = hourOf(this.#clock.nowMs());
    for (const [key, counts] of this.#scopes) {
      if (counts.hour !== hour && !counts.isDirty) this.#scopes.delete(key);
    }
  }
}

function scopeKey(hour: string, { tenant, environment, application }: Scope): string {
  return `${hour}/${tenant}/${environment}/${application}`;
}

function idOf(flag: string, variant: string | null, reason: string, service: string | null): string {
  return JSON.stringify([flag, variant, reason, service]);
}
