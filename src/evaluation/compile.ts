import { type CompiledRollout, type CompiledSplit, compileRollout, compileSplit } from './bucketing.ts';
import { type CompiledCondition, type CompiledSegment, compileAll } from './condition.ts';
import { type Evaluation, failure, type Reason } from './evaluation.ts';
import { parseInstant } from './instant.ts';
import {
  type Condition,
  type FlagDefinition,
  type FlagMetadata,
  type FlagType,
  type Json,
  type Rule,
  SERVICE_ATTRIBUTE,
  type Serve,
} from './model.ts';

/** A flag made ready to be evaluated many times: every answer it can give exists already. */
export interface CompiledFlag {
  readonly definition: FlagDefinition;
  readonly type: FlagType;
  /** What everybody gets as long as the definition stays; null = it depends. */
  readonly fixed: Evaluation | null;
  /** From the first, which has always been, to the last of the schedule. */
  readonly stages: readonly Stage[];
  readonly prerequisites: readonly CompiledPrerequisite[];
  /** The conditions that come before all targeting: services first, then the flag's own. */
  readonly requirements: readonly CompiledCondition[];
  readonly errors: {
    readonly typeMismatch: Evaluation;
    readonly noTargetingKey: Evaluation;
    readonly badTargetingKey: Evaluation;
    readonly badContext: Evaluation;
    readonly thrown: Evaluation;
  };
}

/** What a flag is from a moment on. */
export interface Stage {
  readonly fromMs: number;
  readonly enabled: boolean;
  readonly disabled: Evaluation;
  /** Prerequisites, services or conditions do not hold. */
  readonly unmet: Evaluation;
  /** By targeting key; null = none. */
  readonly targets: ReadonlyMap<string, Evaluation> | null;
  readonly rules: readonly CompiledRule[];
  readonly fallthrough: CompiledServe;
  /** Of a fallthrough that splits, where the attribute to split by is absent. */
  readonly unsplit: Evaluation;
}

export interface CompiledRule {
  readonly name: string;
  readonly when: readonly CompiledCondition[];
  readonly rollout: CompiledRollout | null;
  readonly serve: CompiledServe;
}

export type CompiledServe =
  | {
      readonly kind: 'fixed';
      readonly answer: Evaluation;
      /** The same where a rollout let somebody in. */
      readonly bySplit: Evaluation;
    }
  | { readonly kind: 'split'; readonly split: CompiledSplit<Evaluation> };

export interface CompiledPrerequisite {
  readonly flag: CompiledFlag;
  readonly variants: readonly string[];
}

/**
 * @param flags those that it requires must be among them
 * @throws Error for what validation finds before
 */
export function compileFlag(
  definition: FlagDefinition,
  flags: ReadonlyMap<string, CompiledFlag>,
  segments: ReadonlyMap<string, CompiledSegment>,
): CompiledFlag {
  const { key, type, metadata } = definition;
  const flagMetadata = Object.freeze({ ...metadata });
  const answers = new Answers(definition, flagMetadata);
  return {
    definition,
    type,
    fixed: isStatic(definition) && definition.enabled ? fixedAnswer(definition.fallthrough, answers) : null,
    stages: stagesOf(definition, answers, segments),
    prerequisites: definition.prerequisites.map((prerequisite) => {
      const flag = flags.get(prerequisite.flag);
      if (flag === undefined) throw new Error('unknown prerequisite');
      return { flag, variants: prerequisite.variants };
    }),
    requirements: compileAll(requirementsIn(definition), segments),
    errors: {
      typeMismatch: failure('TYPE_MISMATCH', `flag ${key} is of type ${type}`, flagMetadata),
      noTargetingKey: failure('TARGETING_KEY_MISSING', `flag ${key} needs a targeting key`, flagMetadata),
      badTargetingKey: failure('INVALID_CONTEXT', 'the targeting key is no text', flagMetadata),
      badContext: failure('INVALID_CONTEXT', 'the context is no object', flagMetadata),
      thrown: failure('GENERAL', `flag ${key} could not be evaluated for this context`, flagMetadata),
    },
  };
}

/** The definition as it stands from each moment of its schedule on; the first has always been. */
export function definitionsOf(
  definition: FlagDefinition,
): readonly { readonly fromMs: number; readonly definition: FlagDefinition }[] {
  const stages = [{ fromMs: Number.NEGATIVE_INFINITY, definition }];
  for (const { at, set } of definition.schedule) {
    stages.push({ fromMs: parseInstant(at), definition: { ...stages.at(-1)!.definition, ...set } });
  }
  return stages;
}

/** The definition as it stands at a time. */
export function definitionAt(definition: FlagDefinition, nowMs: number): FlagDefinition {
  return definitionsOf(definition).findLast(({ fromMs }) => fromMs <= nowMs)!.definition;
}

/** The conditions that stand for the services and for the map of conditions, in the order in which they are asked. */
export function requirementsIn({ targetServices, conditions }: FlagDefinition): readonly Condition[] {
  const equalities = Object.entries(conditions).map(
    ([attribute, value]) => ({ attribute, operator: 'EQUALS', values: [value] }) as const,
  );
  if (targetServices.length === 0) return equalities;
  return [{ attribute: SERVICE_ATTRIBUTE, operator: 'IN', values: targetServices }, ...equalities];
}

function stagesOf(
  whole: FlagDefinition,
  answers: Answers,
  segments: ReadonlyMap<string, CompiledSegment>,
): readonly Stage[] {
  return definitionsOf(whole).map(({ fromMs, definition }) => ({
    fromMs,
    enabled: definition.enabled,
    disabled: answers.of(definition.offVariant, 'DISABLED'),
    unmet: answers.of(definition.offVariant, 'DEFAULT'),
    targets: targetsOf(definition, answers),
    rules: definition.rules.map((rule) => compileRule(rule, answers, segments)),
    fallthrough: compileServe(definition.fallthrough, answers, isStatic(definition) ? 'STATIC' : 'DEFAULT'),
    unsplit: answers.of(definition.offVariant, 'DEFAULT'),
  }));
}

/** Whether everybody gets the same as long as the definition is not changed: then clients may keep the answer. */
function isStatic(definition: FlagDefinition): boolean {
  const { targets, rules, prerequisites, targetServices, conditions, schedule } = definition;
  const dynamic = [targets, rules, prerequisites, targetServices, Object.keys(conditions), schedule];
  return dynamic.every(({ length }) => length === 0);
}

function fixedAnswer(serve: Serve, answers: Answers): Evaluation | null {
  return 'split' in serve ? null : answers.of(serve.variant, 'STATIC');
}

function targetsOf({ targets }: FlagDefinition, answers: Answers): ReadonlyMap<string, Evaluation> | null {
  if (targets.length === 0) return null;
  const byKey = new Map<string, Evaluation>();
  for (const { variant, keys } of targets) {
    const answer = answers.of(variant, 'TARGETING_MATCH');
    for (const key of keys) byKey.set(key, answer);
  }
  return byKey;
}

function compileRule(
  rule: Rule,
  answers: Answers,
  segments: ReadonlyMap<string, CompiledSegment>,
): CompiledRule {
  return {
    name: rule.name,
    when: compileAll(rule.when, segments),
    rollout: rule.rollout === null ? null : compileRollout(rule.rollout, answers.key),
    serve: compileServe(rule.serve, answers, 'TARGETING_MATCH'),
  };
}

function compileServe(serve: Serve, answers: Answers, reason: Reason): CompiledServe {
  if ('split' in serve) {
    const split = compileSplit(serve.split, answers.key, (variant) => answers.of(variant, 'SPLIT'));
    return { kind: 'split', split };
  }
  const answer = answers.of(serve.variant, reason);
  return { kind: 'fixed', answer, bySplit: answers.of(serve.variant, 'SPLIT') };
}

/** The answers of one flag, each made once. */
class Answers {
  readonly key: string;
  readonly #metadata: FlagMetadata;
  readonly #values: ReadonlyMap<string, Json>;
  readonly #made = new Map<string, Evaluation>();

  constructor({ key, variants }: FlagDefinition, metadata: FlagMetadata) {
    this.key = key;
    this.#metadata = metadata;
    this.#values = new Map(Object.entries(variants).map(([name, value]) => [name, frozenCopy(value)]));
  }

  /** @param variant null = the caller's default, which is no STATIC answer of ours */
  of(variant: string | null, reason: Reason): Evaluation {
    if (variant === null) return this.#get(undefined, reason === 'STATIC' ? 'DEFAULT' : reason);
    if (!this.#values.has(variant)) throw new Error('unknown variant');
    return this.#get(variant, reason);
  }

  #get(variant: string | undefined, reason: Reason): Evaluation {
    const id = `${reason} ${variant === undefined ? '' : `=${variant}`}`;
    const made = this.#made.get(id) ?? this.#make(variant, reason);
    this.#made.set(id, made);
    return made;
  }

  #make(variant: string | undefined, reason: Reason): Evaluation {
    return Object.freeze({
      value: variant === undefined ? undefined : this.#values.get(variant),
      variant,
      reason,
      errorCode: undefined,
      errorMessage: undefined,
      flagMetadata: this.#metadata,
    });
  }
}

function frozenCopy(value: Json): Json {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return Object.freeze(value.map((element: Json) => frozenCopy(element)));
  const parts = Object.entries(value).map(([name, part]) => [name, frozenCopy(part)] as const);
  return Object.freeze(Object.fromEntries(parts));
}
