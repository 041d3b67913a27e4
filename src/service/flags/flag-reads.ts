import type { Evaluation, EvaluationContext } from '../../evaluation/evaluation.ts';
import type { Explanation } from '../../evaluation/explain.ts';
import { exportFlagd, type FlagdExport } from '../../evaluation/flagd.ts';
import type { FlagType } from '../../evaluation/model.ts';
import type { Caller } from '../caller.ts';
import type { Answer, ReadOptions } from '../configurations/reads.ts';
import { checkKnownScope } from '../configurations/refs.ts';
import type { ServiceContext } from '../context.ts';
import type { Scope } from '../model.ts';
import { ServiceError } from '../service-error.ts';
import { type AdditionalValue, additionalValueOf } from './additional-value.ts';
import { checkScopeAccess } from './feature-access.ts';
import { checkFeatureName, nameIn } from './feature-content.ts';
import { featureNotFound } from './feature-edits.ts';
import { FlagChanges, type OpenFlagChanges } from './flag-changes.ts';
import type { CompiledFlags, FlagSets, KnownFlags } from './flag-sets.ts';
import type { FlagUsage } from './flag-usage.ts';
import { type TenantFlagsChanged, tenantFlagChanges } from './tenant-flag-changes.ts';

/** Which flags are meant. */
export interface ScopeRequest extends ReadOptions {
  readonly scope: Scope;
}

export interface EvaluateRequest extends ScopeRequest {
  readonly key: string;
  readonly context: EvaluationContext;
  /** What the caller expects; absent = any. */
  readonly type?: FlagType | undefined;
}

/** Whether a feature is on for somebody. */
export interface FlagCheck {
  readonly key: string;
  readonly enabled: boolean;
  /** What the flag says more to those for whom it is on; null = no more. */
  readonly value: AdditionalValue | null;
  readonly evaluation: Evaluation;
}

/** The use cases of those who evaluate flags. The right to read all flags of the application there is needed. */
export class FlagReads {
  readonly #context: ServiceContext;
  readonly #sets: FlagSets;
  readonly #usage: FlagUsage;
  readonly #changes: FlagChanges;

  constructor(context: ServiceContext, sets: FlagSets, usage: FlagUsage) {
    this.#context = context;
    this.#sets = sets;
    this.#usage = usage;
    this.#changes = new FlagChanges(context, sets);
  }

  /**
   * All flags of an application in an environment, inherited ones included. They are compiled once for all who ask, and
   * must not be changed. A flag that cannot be evaluated is among them and answers `PARSE_ERROR`.
   *
   * @throws ServiceError `invalid`; `not-found` for an unknown environment or application; `forbidden`; `unavailable`
   */
  async compiled(caller: Caller, { scope, consistency }: ScopeRequest): Promise<CompiledFlags> {
    const { set, digest } = await this.#known(caller, { scope, consistency });
    return { set, digest, revision: this.#context.projection.revision };
  }

  /**
   * One answer. What is wrong with flag or context is told in the answer, as OpenFeature has it; a flag that is not there
   * is `FLAG_NOT_FOUND`.
   *
   * @throws ServiceError as `compiled`
   */
  async evaluate(caller: Caller, request: EvaluateRequest): Promise<Answer<Evaluation>> {
    const { set, revision } = await this.compiled(caller, request);
    const { key, context, type } = request;
    const evaluation = set.evaluate(key, context, { nowMs: this.#nowMs, type });
    this.#usage.evaluated(request.scope, key, { context, evaluation });
    return { revision, result: evaluation };
  }

  /** What every flag answers in one context, by key in order. They are not counted. @throws ServiceError as `compiled` */
  async answers(
    caller: Caller,
    request: ScopeRequest & { readonly context: EvaluationContext },
  ): Promise<Answer<ReadonlyMap<string, Evaluation>>> {
    const { set, revision } = await this.compiled(caller, request);
    const nowMs = this.#nowMs;
    const answers = Array.from(
      set.keys(),
      (key) => [key, set.evaluate(key, request.context, { nowMs })] as const,
    );
    return { revision, result: new Map(answers) };
  }

  /**
   * Whether a feature is on: the flag is enabled and answers a variant that is neither its off variant nor false.
   *
   * @throws ServiceError as `compiled`; `not-found` for an unknown flag, `invalid` for a key that none can have
   */
  async check(caller: Caller, request: EvaluateRequest): Promise<Answer<FlagCheck>> {
    const { scope, key, context } = request;
    const { flags, set } = await this.#known(caller, request);
    const flag = flags.get(key);
    if (flag === undefined) throw unknownFlag(scope, key);
    const evaluation = set.evaluate(key, context, { nowMs: this.#nowMs });
    this.#usage.evaluated(scope, key, { context, evaluation });
    const { variant, value, reason } = evaluation;
    const isOff =
      variant === undefined || variant === flag.offVariant || value === false || reason === 'DISABLED';
    const additional = isOff ? null : additionalValueOf(value);
    const result = { key, enabled: !isOff, value: additional, evaluation };
    return { revision: this.#context.projection.revision, result };
  }

  /** The same, with the way to the answer. @throws ServiceError as `compiled` */
  async explain(
    caller: Caller,
    request: EvaluateRequest & { readonly atMs?: number | undefined },
  ): Promise<Answer<Explanation>> {
    const { set, revision } = await this.compiled(caller, request);
    const { key, context, type, atMs } = request;
    if (!isKnown(set, key)) throw unknownFlag(request.scope, key);
    return { revision, result: set.explain(key, context, { nowMs: atMs ?? this.#nowMs, type }) };
  }

  /**
   * The same flags with their definitions, for those who evaluate them by themselves. What is given is the same as
   * long as nothing of it changes.
   *
   * @throws ServiceError as `compiled`
   */
  async definitions(caller: Caller, request: ScopeRequest): Promise<Answer<KnownFlags>> {
    const result = await this.#known(caller, request);
    await checkScopeAccess(this.#context.access, caller, { ...request, kind: 'segment', mode: 'read' });
    return { revision: this.#context.projection.revision, result };
  }

  /** The changes of all flags of a tenant, from now on. @throws ServiceError as `tenantFlagChanges` */
  subscribeTenant(caller: Caller, tenant: string): AsyncGenerator<TenantFlagsChanged, void, undefined> {
    return tenantFlagChanges(this.#context, this.#sets, { caller, tenant });
  }

  /** The moment for which flags are evaluated now. */
  nowMs(): number {
    return this.#nowMs;
  }

  /**
   * The flags as a document of flagd, as they stand now; those that flagd cannot say are left out and named in the
   * findings. The digest is that of the flags; what holds by itself at another time is not in it.
   *
   * @throws ServiceError as `compiled`
   */
  async exportFlagd(
    caller: Caller,
    request: ScopeRequest,
  ): Promise<Answer<FlagdExport & { readonly digest: string }>> {
    const { flags, segments, digest } = await this.#known(caller, request);
    await checkScopeAccess(this.#context.access, caller, { ...request, kind: 'segment', mode: 'read' });
    const exported = exportFlagd({ flags: flags.values(), segments: segments.values() }, this.#nowMs);
    return { revision: this.#context.projection.revision, result: { ...exported, digest } };
  }

  /**
   * What changes among the flags of an application in an environment, in order, and on and on; also what changes by
   * itself at its time. While the store does not answer it begins with what is known here.
   *
   * @param request.after what changed after this revision comes first; null = only what changes from now on
   * @throws ServiceError as `compiled`; while it is read `gone` when what came after that revision is not known any more,
   * `forbidden` when the right was taken away
   */
  async subscribe(
    caller: Caller,
    request: { readonly scope: Scope; readonly after: number | null },
  ): Promise<OpenFlagChanges> {
    await this.#knownAtBest(caller, request.scope);
    return this.#changes.open(caller, request);
  }

  /** As new as this call; while the store does not answer as they were, since flags that are late are better than none. */
  async #knownAtBest(caller: Caller, scope: Scope): Promise<KnownFlags> {
    try {
      return await this.#known(caller, { scope });
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code !== 'unavailable') throw error;
      return this.#known(caller, { scope, consistency: { type: 'eventual' } });
    }
  }

  get #nowMs(): number {
    return this.#context.clock.nowMs();
  }

  async #known(caller: Caller, { scope, consistency }: ScopeRequest): Promise<KnownFlags> {
    const { projection, access } = this.#context;
    await projection.freshen(consistency ?? { type: 'strong' }, caller.signal);
    checkKnownScope(this.#context, scope);
    await checkScopeAccess(access, caller, { scope, kind: 'flag', mode: 'read' });
    return this.#sets.of(scope);
  }
}

/** That there is no such flag, or that no flag can have this key. */
function unknownFlag(scope: Scope, key: string): ServiceError {
  const name = nameIn('flag', scope, key);
  checkFeatureName(name);
  return featureNotFound(name);
}

function isKnown(set: CompiledFlags['set'], key: string): boolean {
  return set.typeOf(key) !== undefined || set.findings.has(key);
}
