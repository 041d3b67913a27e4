import { textOf } from './attribute.ts';
import { compileCondition, holds } from './condition.ts';
import { isObject } from './fields.ts';
import { Findings, inside, type Place } from './finding.ts';
import {
  type AttributeCondition,
  type Condition,
  type FlagMetadata,
  type Json,
  NOW_ATTRIBUTE,
  type Operator,
  TARGETING_KEY,
  WHOLE,
} from './model.ts';

/** Reads JsonLogic as far as rules can say it. Everything else is a finding and null. */

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

const TIMESTAMP = '$flagd.timestamp';
const FLAG_KEY = '$flagd.flagKey';
/** How far evaluators may refer to one another, and how often a flag may refer to those that are no segments. */
const REFERENCES_DEEP_MAX = 16;
const REFERENCES_MAX = 1_000;

/** Of JsonLogic's comparisons: what they are, and what they are with their sides changed. */
const COMPARISONS: ReadonlyMap<string, readonly [Operator, Operator]> = new Map([
  ['==', ['EQUALS', 'EQUALS']],
  ['===', ['EQUALS', 'EQUALS']],
  ['!=', ['NOT_EQUALS', 'NOT_EQUALS']],
  ['!==', ['NOT_EQUALS', 'NOT_EQUALS']],
  ['<', ['LESS_THAN', 'GREATER_THAN']],
  ['<=', ['LESS_OR_EQUAL', 'GREATER_OR_EQUAL']],
  ['>', ['GREATER_THAN', 'LESS_THAN']],
  ['>=', ['GREATER_OR_EQUAL', 'LESS_OR_EQUAL']],
]);

const VERSION_OPERATORS: ReadonlyMap<string, Operator> = new Map([
  ['=', 'SEMVER_EQUALS'],
  ['!=', 'SEMVER_NOT_EQUALS'],
  ['>', 'SEMVER_GREATER_THAN'],
  ['>=', 'SEMVER_GREATER_OR_EQUAL'],
  ['<', 'SEMVER_LESS_THAN'],
  ['<=', 'SEMVER_LESS_OR_EQUAL'],
  ['^', 'SEMVER_CARET'],
  ['~', 'SEMVER_TILDE'],
]);

interface Variable {
  readonly name: string;
  /** Undefined = none. */
  readonly fallback: Json | undefined;
}

/** Reads one flag, or one evaluator. */
export class FlagdReader {
  readonly findings: Findings = new Findings();
  /** Null of an evaluator, which belongs to many. */
  readonly #key: string | null;
  readonly #evaluators: Readonly<Record<string, Json>>;
  readonly #segments: ReadonlySet<string>;
  #defaultVariant: string | null = null;
  #referencesDeep = 0;
  #references = 0;

  constructor(options: {
    readonly key: string | null;
    readonly evaluators: Readonly<Record<string, Json>>;
    /** Those evaluators that are segments. */
    readonly segments: ReadonlySet<string>;
  }) {
    this.#key = options.key;
    this.#evaluators = options.evaluators;
    this.#segments = options.segments;
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
    if (name === '$ref' && !this.#segments.has(textOf(operands[0]) ?? '')) {
      const referred = this.#refer(operands[0], at);
      const branches = referred === null ? [] : this.#branches(referred, guard, at);
      this.#referencesDeep -= 1;
      return branches;
    }
    const condition = this.condition(expression, place);
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
      const condition = rollout === undefined ? this.condition(part, at) : null;
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

  /** The condition, or null and a finding. */
  condition(expression: Json, place: Place | null): Condition | null {
    if (typeof expression === 'boolean') return expression ? { all: [] } : { any: [] };
    const operation = operationOf(expression);
    if (operation === null) return this.findings.add(place, 'must be an operation that is true or false');
    const { name, operands } = operation;
    const at = inside(place, name);
    if (name === 'and') return this.#group('all', operands, at);
    if (name === 'or') return this.#group('any', operands, at);
    if (name === '!') {
      const part = this.condition(operands[0] ?? null, at);
      return part === null ? null : { not: part };
    }
    if (name === '!!') return this.condition(operands[0] ?? null, at);
    if (name === '$ref') return this.#reference(operands[0], at);
    if (name === 'in') return this.#inCondition(operands, at);
    if (name === 'sem_ver') return this.#versionCondition(operands, at);
    if (name === 'starts_with') return this.#textCondition('STARTS_WITH', operands, at);
    if (name === 'ends_with') return this.#textCondition('ENDS_WITH', operands, at);
    if (COMPARISONS.has(name)) return this.#comparison(name, operands, at);
    return this.findings.add(at, 'cannot be carried over');
  }

  #group(kind: 'all' | 'any', operands: readonly Json[], place: Place): Condition | null {
    const parts = operands.map((operand, index) => this.condition(operand, inside(place, index)));
    const known = parts.filter((part) => part !== null);
    if (known.length < parts.length) return null;
    return kind === 'all' ? { all: known } : { any: known };
  }

  #reference(named: Json | undefined, place: Place): Condition | null {
    if (typeof named === 'string' && this.#segments.has(named)) return { segment: named };
    const referred = this.#refer(named, place);
    const condition = referred === null ? null : this.condition(referred, place);
    this.#referencesDeep -= 1;
    return condition;
  }

  /** Whoever refers lowers `#referencesDeep` when it is done. */
  #refer(named: Json | undefined, place: Place): Json | null {
    this.#referencesDeep += 1;
    this.#references += 1;
    if (this.#referencesDeep > REFERENCES_DEEP_MAX)
      return this.findings.add(place, 'refers too deep, or in a circle');
    if (this.#references > REFERENCES_MAX)
      return this.findings.add(place, `more than ${REFERENCES_MAX} references`);
    if (typeof named !== 'string' || !Object.hasOwn(this.#evaluators, named))
      return this.findings.add(place, `there is no evaluator ${textOf(named) ?? 'of this name'}`);
    return this.#evaluators[named]!;
  }

  #inCondition(operands: readonly Json[], place: Place): Condition | null {
    const [needle = null, haystack = null] = operands;
    const [wanted, container] = [variableOf(needle), variableOf(haystack)];
    if (wanted !== null && Array.isArray(haystack) && haystack.length > 0)
      return this.#attribute(wanted, 'IN', haystack, place);
    if (wanted !== null && Array.isArray(haystack)) return { any: [] };
    if (container !== null && typeof needle !== 'object')
      return this.#attribute(container, 'CONTAINS', [needle], place);
    return this.findings.add(place, 'must be an attribute in a list, or a constant in an attribute');
  }

  #textCondition(operator: Operator, operands: readonly Json[], place: Place): Condition | null {
    const [variable, text] = [variableOf(operands[0] ?? null), operands[1]];
    if (variable !== null && typeof text === 'string')
      return this.#attribute(variable, operator, [text], place);
    return this.findings.add(place, 'must be an attribute and a text');
  }

  #versionCondition(operands: readonly Json[], place: Place): Condition | null {
    const [variable, relation, version] = [variableOf(operands[0] ?? null), operands[1], operands[2]];
    const operator = VERSION_OPERATORS.get(textOf(relation) ?? '');
    if (variable !== null && operator !== undefined && version !== undefined)
      return this.#attribute(variable, operator, [version], place);
    return this.findings.add(place, 'must be an attribute, an operator and a version');
  }

  /** Of two, or of three with the attribute between: `{"<": [1, {"var": "age"}, 9]}`. */
  #comparison(name: string, operands: readonly Json[], place: Place): Condition | null {
    if (operands.length === 3) {
      const [low, middle, high] = operands as readonly [Json, Json, Json];
      return this.#group('all', [{ [name]: [low, middle] }, { [name]: [middle, high] }], place);
    }
    const [left = null, right = null] = operands;
    const [operator, changed] = COMPARISONS.get(name)!;
    const [first, second] = [variableOf(left), variableOf(right)];
    if (operands.length === 2 && first !== null && second === null)
      return this.#compared(first, operator, right, place);
    if (operands.length === 2 && second !== null && first === null)
      return this.#compared(second, changed, left, place);
    return this.findings.add(place, 'must compare an attribute with a constant');
  }

  #compared(variable: Variable, operator: Operator, value: Json, place: Place): Condition | null {
    const { name } = variable;
    if (name === TIMESTAMP) return this.#timeCondition(operator, value, place);
    if (value === null && (operator === 'EQUALS' || operator === 'NOT_EQUALS')) {
      const exists: Condition = { attribute: name, operator: 'EXISTS', values: [] };
      return operator === 'EQUALS' ? { not: exists } : exists;
    }
    if (isObject(value)) return this.findings.add(place, 'must compare an attribute with a constant');
    return this.#attribute(variable, operator, [value], place);
  }

  /** flagd's time has whole seconds: what holds for one holds for all of its milliseconds. */
  #timeCondition(operator: Operator, seconds: Json, place: Place): Condition | null {
    const ms = (value: number): AttributeCondition => ({
      attribute: NOW_ATTRIBUTE,
      operator: operator === 'LESS_THAN' || operator === 'LESS_OR_EQUAL' ? 'LESS_THAN' : 'GREATER_OR_EQUAL',
      values: [Math.ceil(value) * 1000],
    });
    if (typeof seconds !== 'number') return this.findings.add(place, 'must compare the time with a number');
    if (operator === 'GREATER_OR_EQUAL' || operator === 'LESS_THAN') return ms(seconds);
    if (operator === 'GREATER_THAN' || operator === 'LESS_OR_EQUAL') return ms(Math.floor(seconds) + 1);
    return this.findings.add(place, 'must ask whether the time is before or after');
  }

  /** With the meaning that the default of the variable, where it has one, gives to its absence. */
  #attribute(
    variable: Variable,
    operator: Operator,
    values: readonly Json[],
    place: Place,
  ): Condition | null {
    const { name, fallback } = variable;
    if (name.startsWith('$')) return this.findings.add(place, `${name} cannot be used here`);
    const condition: AttributeCondition = { attribute: name, operator, values };
    if (fallback === undefined || fallback === null) return condition;
    const exists: Condition = { attribute: name, operator: 'EXISTS', values: [] };
    try {
      const compiled = compileCondition(condition, new Map());
      const byDefault = holds(compiled, { [name]: fallback }, 0);
      if (byDefault === holds(compiled, {}, 0)) return condition;
      return byDefault ? { any: [condition, { not: exists }] } : { all: [condition, exists] };
    } catch {
      return this.findings.add(place, 'has values that cannot be compared');
    }
  }
}

function hasLogic(targeting: Json | undefined): boolean {
  if (targeting === undefined || targeting === null) return false;
  return typeof targeting !== 'object' || Object.keys(targeting).length > 0;
}

/** An object of one field is an operation; operands that are no list are one. */
function operationOf(expression: Json): { readonly name: string; readonly operands: readonly Json[] } | null {
  if (!isObject(expression)) return null;
  const entries = Object.entries(expression) as readonly (readonly [string, Json])[];
  if (entries.length !== 1) return null;
  const [name, operands] = entries[0]!;
  return { name, operands: Array.isArray(operands) ? (operands as readonly Json[]) : [operands] };
}

function variableOf(expression: Json): Variable | null {
  const operation = operationOf(expression);
  if (operation?.name !== 'var') return null;
  const [name, fallback] = operation.operands;
  return typeof name === 'string' && name !== '' ? { name, fallback } : null;
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
