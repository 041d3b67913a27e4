import { isObject } from './fields.ts';
import { Findings, inside, type Place } from './finding.ts';
import { FlagdConditions, operationOf, variableOf } from './flagd-condition.ts';
import { type Condition, type FlagMetadata, type Json, TARGETING_KEY, WHOLE } from './model.ts';

/** Reads the targeting of flags as a list of rules. What rules cannot say is a finding. */

/** What a targeting gives to whom its conditions hold for; `rollout` is for those that are let in only. */
interface Branch {
  readonly when: readonly Condition[];
  readonly rollout: Bucket | null;
  readonly serve: WrittenServe;
}
type WrittenServe = { readonly variant: string | null } | { readonly split: object };
interface Bucket {
  readonly share: number;
  readonly seed: string | null;
  readonly bucketBy: string | null;
}

/** What must hold on the way to an outcome. */
interface Guard {
  readonly when: readonly Condition[];
  readonly rollout: Bucket | null;
}
const ANYBODY: Guard = { when: [], rollout: null };

const FLAG_KEY = '$flagd.flagKey';

/** Reads one flag. */
export class FlagdReader {
  readonly findings: Findings = new Findings();
  readonly #key: string;
  readonly #conditions: FlagdConditions;
  #defaultVariant: string | null = null;

  constructor(options: {
    readonly key: string;
    readonly evaluators: Readonly<Record<string, Json>>;
    /** Those evaluators that are segments. */
    readonly segments: ReadonlySet<string>;
  }) {
    this.#key = options.key;
    this.#conditions = new FlagdConditions({ ...options, findings: this.findings });
  }

  /** The flag as people write ours, for `validateFlag`; with findings it is of no use. */
  flag(value: Json, setMetadata: FlagMetadata): object {
    if (!isObject(value)) {
      this.findings.add(null, 'must be an object');
      return {};
    }
    const {
      state,
      variants,
      defaultVariant,
      targeting,
      metadata = {},
    } = value as Readonly<Record<string, Json>>;
    if (state !== 'ENABLED' && state !== 'DISABLED')
      this.findings.add(inside(null, 'state'), 'must be ENABLED or DISABLED');
    if (!isObject(metadata)) this.findings.add(inside(null, 'metadata'), 'must be an object');
    this.#defaultVariant =
      typeof defaultVariant === 'string' && defaultVariant !== '' ? defaultVariant : null;
    const branches = hasLogic(targeting)
      ? this.#branches(targeting!, ANYBODY, inside(null, 'targeting'))
      : [];
    const last = branches.at(-1);
    const endsForAll = last !== undefined && last.when.length === 0 && last.rollout === null;
    const fallthrough = endsForAll ? last.serve : { variant: this.#defaultVariant };
    return {
      key: this.#key,
      type: this.#typeOf(variants),
      enabled: state === 'ENABLED',
      variants: variants ?? null,
      fallthrough,
      // Where the fallthrough has nothing to split by.
      offVariant: 'split' in fallthrough ? this.#defaultVariant : null,
      rules: withoutDefaults(endsForAll ? branches.slice(0, -1) : branches, fallthrough).map(ruleOf),
      metadata: { ...setMetadata, ...(isObject(metadata) ? metadata : {}) },
    };
  }

  #typeOf(variants: Json | undefined): string | null {
    if (!isObject(variants)) return 'object';
    const values = Object.values(variants) as readonly Json[];
    const types = new Set(values.map((value) => (typeof value === 'object' ? 'object' : typeof value)));
    if (types.size <= 1) return [...types][0] ?? 'object';
    return this.findings.add(inside(null, 'variants'), 'must all be of one type');
  }

  /** In the order in which they are tried; together they are for everybody whom the guard lets in. */
  #branches(expression: Json, guard: Guard, place: Place): readonly Branch[] {
    if (expression === null) return [{ ...guard, serve: { variant: this.#defaultVariant } }];
    if (typeof expression !== 'object') return [{ ...guard, serve: { variant: String(expression) } }];
    const operation = operationOf(expression);
    if (operation === null) {
      this.findings.add(place, 'must be one operation');
      return [];
    }
    const { name, operands } = operation;
    const at = inside(place, name);
    if (name === 'if' || name === '?:') return this.#ifBranches(operands, guard, at);
    if (name === 'fractional') return this.#fractionalBranches(operands, guard, at);
    if (name === '$ref' && !this.#conditions.isSegment(operands[0])) {
      return this.#conditions.resolve(operands[0], at, (to) => this.#branches(to, guard, at)) ?? [];
    }
    const condition = this.#conditions.condition(expression, place);
    if (condition === null) return [];
    return [
      { ...guard, when: [...guard.when, ...allOf(condition)], serve: { variant: 'true' } },
      { ...guard, serve: { variant: 'false' } },
    ];
  }

  #ifBranches(operands: readonly Json[], guard: Guard, place: Place): readonly Branch[] {
    const branches: Branch[] = [];
    let at = 0;
    for (; at + 1 < operands.length; at += 2) {
      const inner = this.#guardOf(operands[at]!, guard, inside(place, at));
      if (inner !== null) branches.push(...this.#branches(operands[at + 1]!, inner, inside(place, at + 1)));
    }
    const otherwise = operands[at] ?? null;
    return [...branches, ...this.#branches(otherwise, guard, inside(place, at))];
  }

  /** Who is let in by a rollout is what `fractional` says, in a condition of its own or one of those that must all hold. */
  #guardOf(expression: Json, guard: Guard, place: Place): Guard | null {
    const operation = operationOf(expression);
    const isAnd = operation?.name === 'and';
    const parts = isAnd ? operation.operands : [expression];
    let inner: Guard | null = guard;
    parts.forEach((part, index) => {
      const at = isAnd ? inside(inside(place, 'and'), index) : place;
      const rollout = this.#rolloutOf(part, at);
      const condition = rollout === undefined ? this.#conditions.condition(part, at) : null;
      if (rollout !== undefined && rollout !== null && inner !== null) {
        if (inner.rollout === null) inner = { ...inner, rollout };
        else inner = this.findings.add(at, 'must be the only share on its way');
      } else if (condition !== null && inner !== null) {
        inner = { ...inner, when: [...inner.when, ...allOf(condition)] };
      } else {
        inner = null;
      }
    });
    return inner;
  }

  /** Of `fractional` of two names, one of which is wanted. Undefined = it is something else. */
  #rolloutOf(expression: Json, place: Place): Bucket | null | undefined {
    const operation = operationOf(expression);
    if (operation === null || !['==', '==='].includes(operation.name)) return undefined;
    const fractional = operationOf(operation.operands[0] ?? null);
    if (fractional?.name !== 'fractional' || operation.operands.length !== 2) return undefined;
    const parts = this.#fractional(fractional.operands, place);
    if (parts === null) return null;
    const [first, second] = parts.weights;
    const isShare = parts.weights.length === 2 && first!.variant === operation.operands[1];
    const share = (first!.weight * WHOLE) / parts.total;
    if (!isShare || second!.variant === first!.variant || !Number.isInteger(share))
      return this.findings.add(
        place,
        'must compare two shares with the name of the first, in hundredths of a percent',
      );
    return { share, seed: parts.seed, bucketBy: parts.bucketBy };
  }

  #fractionalBranches(operands: readonly Json[], guard: Guard, place: Place): readonly Branch[] {
    const parts = this.#fractional(operands, place);
    if (parts === null) return [];
    const weights = parts.weights.map(({ variant, weight }) => ({
      variant: variant ?? this.#defaultVariant,
      weight,
    }));
    if (weights.some(({ variant }) => variant === null)) {
      this.findings.add(place, "cannot share with the caller's default");
      return [];
    }
    const { total, seed, bucketBy } = parts;
    const serve = { split: { weights, total, seed, bucketBy } };
    const split = { ...guard, serve };
    if (guard.when.length === 0 && guard.rollout === null) return [split];
    // Where there is nothing to split by, flagd looks no further.
    return [split, { ...guard, serve: { variant: this.#defaultVariant } }];
  }

  #fractional(
    operands: readonly Json[],
    place: Place,
  ): {
    readonly weights: readonly { readonly variant: string | null; readonly weight: number }[];
    readonly total: number;
    readonly seed: string | null;
    readonly bucketBy: string | null;
  } | null {
    const isByTargetingKey = Array.isArray(operands[0]);
    const bucketing = isByTargetingKey
      ? { seed: null, bucketBy: null }
      : this.#bucketing(operands[0] ?? null, inside(place, 0));
    const entries = isByTargetingKey ? operands : operands.slice(1);
    const weights = entries.map((entry, index) =>
      this.#weight(entry, inside(place, index + operands.length - entries.length)),
    );
    const known = weights.filter((weight) => weight !== null);
    const total = known.reduce((sum, { weight }) => sum + weight, 0);
    if (bucketing === null || known.length < weights.length) return null;
    if (total === 0) return this.findings.add(place, 'must have a weight above 0');
    // The same buckets in hundredths of a percent, where they come out even.
    const factor = WHOLE % total === 0 ? WHOLE / total : 1;
    const scaled = known.map(({ variant, weight }) => ({ variant, weight: weight * factor }));
    return { weights: scaled, total: total * factor, ...bucketing };
  }

  #weight(entry: Json, place: Place): { readonly variant: string | null; readonly weight: number } | null {
    if (!Array.isArray(entry) || entry.length < 1 || entry.length > 2)
      return this.findings.add(place, 'must be a variant and its weight');
    const [variant, weight = 1] = entry as readonly Json[];
    if (typeof variant === 'object' && variant !== null)
      return this.findings.add(inside(place, 0), 'must be the name of a variant: it cannot be computed');
    if (typeof weight !== 'number' || !Number.isInteger(weight))
      return this.findings.add(inside(place, 1), 'must be an integer: it cannot be computed');
    return {
      variant: variant === null || variant === undefined ? null : String(variant),
      weight: Math.max(0, weight),
    };
  }

  /** Constants and then one attribute: the constants are the seed. */
  #bucketing(
    expression: Json,
    place: Place,
  ): { readonly seed: string | null; readonly bucketBy: string | null } | null {
    const operation = operationOf(expression);
    const parts = operation?.name === 'cat' ? operation.operands : [expression];
    const variable = variableOf(parts.at(-1) ?? null);
    const seeds = parts.slice(0, -1).map((part) => {
      if (variableOf(part)?.name === FLAG_KEY) return this.#key;
      return typeof part === 'object' ? null : String(part);
    });
    const isSeed = seeds.every((seed) => seed !== null);
    if (variable === null || variable.fallback !== undefined || variable.name.startsWith('$') || !isSeed)
      return this.findings.add(place, 'must be an attribute, or constants and then an attribute');
    const seed = seeds.join('');
    const { name } = variable;
    return { seed: seed === this.#key ? null : seed, bucketBy: name === TARGETING_KEY ? null : name };
  }
}

function hasLogic(targeting: Json | undefined): boolean {
  if (targeting === undefined || targeting === null) return false;
  return typeof targeting !== 'object' || Object.keys(targeting).length > 0;
}

/** What must all hold, as a list. */
function allOf(condition: Condition): readonly Condition[] {
  return 'all' in condition ? condition.all : [condition];
}

/** Rules at the end that answer what the fallthrough answers anyway say nothing. */
function withoutDefaults(branches: readonly Branch[], fallthrough: WrittenServe): readonly Branch[] {
  if ('split' in fallthrough) return branches;
  const isDefault = ({ serve }: Branch): boolean =>
    'variant' in serve && serve.variant === fallthrough.variant;
  return branches.slice(0, branches.findLastIndex((branch) => !isDefault(branch)) + 1);
}

function ruleOf({ when, rollout, serve }: Branch): object {
  return { when, rollout, serve };
}
