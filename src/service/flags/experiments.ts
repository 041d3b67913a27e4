import type { KvRow } from '../../kv/kv.ts';
import { prefixEnd } from '../../lib/range-end.ts';
import type { Caller } from '../caller.ts';
import { checkKnownScope } from '../configurations/refs.ts';
import type { ServiceContext } from '../context.ts';
import { experimentKey } from '../keyspace.ts';
import { asService } from '../kv-errors.ts';
import type { Scope } from '../model.ts';
import { Problems } from '../names.ts';
import { invalid, ServiceError } from '../service-error.ts';
import { effectiveFeatures } from './effective-features.ts';
import { type ExperimentLine, experimentLines } from './experiment-lines.ts';
import { addExposures, decodeExposures, type ExposureSet } from './exposure-rows.ts';
import { EXPERIMENT_VARIANTS_MAX, type Exposure, type Exposures } from './exposures.ts';
import { checkScopeAccess, plainNameOf } from './feature-access.ts';

/** Exposures that are reported at once. */
export const REPORTED_EXPOSURES_MAX = 1_000;
/** Flags of one report. */
export const REPORTED_EXPERIMENTS_MAX = 1_000;
const TARGETING_KEY_LENGTH_MAX = 1_024;
/** Rows that are read at a time: one is up to 900 KiB. */
const ROWS_AT_ONCE = 8;

export interface ExperimentRequest {
  readonly scope: Scope;
  /** Default: all that have exposures. */
  readonly flag?: string | undefined;
  /** The variant that others are compared with; default: the flag's off variant, else the first by name. */
  readonly control?: string | undefined;
}

/** The use cases about which variant does better. */
export class Experiments {
  readonly #context: ServiceContext;
  readonly #exposures: Exposures;

  constructor(context: ServiceContext, exposures: Exposures) {
    this.#context = context;
    this.#exposures = exposures;
  }

  /**
   * Takes who got what, all of them or none. What was told before, to whichever server, changes nothing.
   *
   * @throws ServiceError `invalid`, also for a flag or variant that is not there; `not-found`, `forbidden`,
   *   `too-many-requests`
   */
  async add(
    caller: Caller,
    { scope, exposures }: { readonly scope: Scope; readonly exposures: readonly Exposure[] },
  ): Promise<void> {
    await this.#check(caller, scope);
    if (exposures.length > REPORTED_EXPOSURES_MAX) {
      throw invalid({ field: 'exposures', message: `are more than ${REPORTED_EXPOSURES_MAX}` });
    }
    const { flags } = effectiveFeatures(this.#context.projection.state, scope);
    const problems = new Problems();
    for (const [at, { flag, variant, targetingKey }] of exposures.entries()) {
      const variants = flags.get(flag)?.row.definition.variants;
      if (variants === undefined) problems.add(`exposures/${at}/flag`, `there is no flag ${flag}`);
      else if (Object.keys(variants).length > EXPERIMENT_VARIANTS_MAX) {
        problems.add(`exposures/${at}/flag`, `has more than ${EXPERIMENT_VARIANTS_MAX} variants`);
      } else if (!Object.hasOwn(variants, variant)) {
        problems.add(`exposures/${at}/variant`, `${flag} has no variant ${variant}`);
      }
      if (targetingKey === '' || targetingKey.length > TARGETING_KEY_LENGTH_MAX) {
        const message = `must have 1 to ${TARGETING_KEY_LENGTH_MAX} characters`;
        problems.add(`exposures/${at}/targetingKey`, message);
      }
    }
    problems.check();
    this.#exposures.add(scope, exposures);
  }

  /**
   * A line for each variant, by flag; the control comes first. Of other servers up to 30 s may be missing.
   *
   * @throws ServiceError `not-found`, `forbidden`, `too-large`; `invalid` for a control that nobody got
   */
  async report(caller: Caller, request: ExperimentRequest): Promise<readonly ExperimentLine[]> {
    const { scope, flag, control } = request;
    await this.#check(caller, scope);
    const sets = await this.#sets(caller, request);
    const { flags } = effectiveFeatures(this.#context.projection.state, scope);
    if (control !== undefined && flag !== undefined && sets.get(flag)?.variants.has(control) === false) {
      throw invalid({ field: 'control', message: `nobody got ${control}` });
    }
    return [...sets]
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .flatMap(([key, set]) =>
        experimentLines(set, {
          scope,
          flag: key,
          control: control ?? flags.get(key)?.row.definition.offVariant ?? null,
        }),
      );
  }

  /**
   * Begins anew: drops what is known of a flag. What other servers have not written yet may come in up to 30 s later.
   *
   * @throws ServiceError `not-found` for a flag without exposures, `forbidden` for who may not change the flag
   */
  async reset(
    caller: Caller,
    { scope, flag }: { readonly scope: Scope; readonly flag: string },
  ): Promise<void> {
    const { projection, access, kv } = this.#context;
    await projection.catchUp(caller.signal);
    checkKnownScope(this.#context, scope);
    await access.check(caller, 'write', plainNameOf({ kind: 'flag', ...scope, key: flag }));
    const isWaiting = this.#exposures.unwritten(scope, flag).length > 0;
    // What is being written is not to come after the deletion.
    await this.#exposures.flush();
    this.#exposures.forget(scope, flag);
    const asked = { principal: { type: 'service' }, signal: caller.signal } as const;
    const { succeeded } = await asService(
      kv.txn(
        {
          compare: [{ key: experimentKey(scope, flag), target: 'mod', result: 'greater', number: 0 }],
          success: [{ type: 'delete', key: experimentKey(scope, flag) }],
          failure: [],
        },
        asked,
      ),
    );
    if (!succeeded && !isWaiting) throw new ServiceError('not-found', `there are no exposures of ${flag}`);
  }

  async #check(caller: Caller, scope: Scope): Promise<void> {
    const { projection, access } = this.#context;
    await projection.catchUp(caller.signal);
    checkKnownScope(this.#context, scope);
    await checkScopeAccess(access, caller, { scope, kind: 'flag', mode: 'read' });
  }

  /** What is stored and what waits here, by flag. */
  async #sets(caller: Caller, { scope, flag }: ExperimentRequest): Promise<ReadonlyMap<string, ExposureSet>> {
    const sets = new Map<string, ExposureSet>();
    const start = experimentKey(scope, '').length;
    // Before the rows: what is written meanwhile is in both, and counts once.
    const waiting = (flag === undefined ? this.#exposures.unwrittenFlags(scope) : [flag]).map(
      (key) => [key, this.#exposures.unwritten(scope, key)] as const,
    );
    for await (const { key, value } of this.#rows(caller, { scope, flag })) {
      sets.set(key.subarray(start).toString(), decodeExposures(value));
    }
    const now = new Date(this.#context.clock.nowMs()).toISOString();
    for (const [key, unwritten] of waiting) {
      const set = sets.get(key) ?? { since: now, variants: new Map() };
      for (const variants of unwritten) addExposures(set.variants, variants);
      if (set.variants.size > 0) sets.set(key, set);
    }
    return sets;
  }

  async *#rows(
    { signal }: Caller,
    { scope, flag }: { readonly scope: Scope; readonly flag: string | undefined },
  ): AsyncGenerator<KvRow> {
    const all = experimentKey(scope, '');
    let key = flag === undefined ? all : experimentKey(scope, flag);
    for (let count = 0; ; ) {
      const { rows, more } = await asService(
        this.#context.kv.range(
          {
            key,
            ...(flag === undefined ? { rangeEnd: prefixEnd(all) } : {}),
            limit: ROWS_AT_ONCE,
            consistency: { type: 'linearizable' },
          },
          { principal: { type: 'service' }, signal },
        ),
      );
      yield* rows;
      count += rows.length;
      if (!more) return;
      if (count >= REPORTED_EXPERIMENTS_MAX) {
        throw new ServiceError('too-large', `a report shows ${REPORTED_EXPERIMENTS_MAX} flags: name one`);
      }
      key = Buffer.concat([rows.at(-1)!.key, Buffer.of(0)]);
    }
  }
}
