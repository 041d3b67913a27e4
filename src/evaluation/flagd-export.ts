import { textOf, textsOf } from './attribute.ts';
import { compileRollout, shareAt } from './bucketing.ts';
import { requirementsIn } from './compile.ts';
import { Findings, inside, type Place } from './finding.ts';
import type { FlagdFlag } from './flagd.ts';
import {
  type AttributeCondition,
  type Bucketing,
  type Condition,
  type FlagDefinition,
  type Json,
  NOW_ATTRIBUTE,
  type Operator,
  type Rule,
  type Segment,
  type Serve,
  TARGETING_KEY,
  WHOLE,
} from './model.ts';
import { instantOf } from './operator.ts';

/** Writes rules as JsonLogic. What flagd cannot say is a finding. */

/** Names that can be referred to by replacing text, as some of flagd's readers do. */
const SAFE_NAME = /^[\w.-]+$/;
const TIMESTAMP: Json = { var: '$flagd.timestamp' };
/** Of an absent attribute, where null would count as 0. */
const FAR = 1e308;

/** Values and targeting keys of a flag, with all of what it refers to that must be written out. */
const VALUES_WRITTEN_MAX = 200_000;

const NUMBER_RELATIONS: { readonly [operator in Operator]?: string } = {
  GREATER_THAN: '>',
  GREATER_OR_EQUAL: '>=',
  LESS_THAN: '<',
  LESS_OR_EQUAL: '<=',
};
const VERSION_RELATIONS: { readonly [operator in Operator]?: string } = {
  SEMVER_EQUALS: '=',
  SEMVER_NOT_EQUALS: '!=',
  SEMVER_GREATER_THAN: '>',
  SEMVER_GREATER_OR_EQUAL: '>=',
  SEMVER_LESS_THAN: '<',
  SEMVER_LESS_OR_EQUAL: '<=',
  SEMVER_CARET: '^',
  SEMVER_TILDE: '~',
};

/** A condition and what it leads to. */
type Pair = readonly [Json, Json];

/** Writes one flag. */
export class FlagdWriter {
  readonly findings: Findings = new Findings();
  /** As they stand at that time. */
  readonly #flags: ReadonlyMap<string, FlagDefinition>;
  readonly #segments: ReadonlyMap<string, Segment>;
  readonly #evaluators: Map<string, Json>;
  readonly #nowMs: number;
  #segmentsDeep = 0;
  #valuesWritten = 0;

  /** @param options a set without findings, as `checkSet` tells, at least of what the flag refers to */
  constructor(options: {
    readonly flags: ReadonlyMap<string, FlagDefinition>;
    readonly segments: ReadonlyMap<string, Segment>;
    /** Gains the segments that are referred to. */
    readonly evaluators: Map<string, Json>;
    readonly nowMs: number;
  }) {
    this.#flags = options.flags;
    this.#segments = options.segments;
    this.#evaluators = options.evaluators;
    this.#nowMs = options.nowMs;
  }

  /** With findings it is of no use. */
  flag(definition: FlagDefinition): FlagdFlag {
    const { enabled, variants, offVariant, fallthrough, metadata } = definition;
    const rest = Object.keys(metadata).length === 0 ? { variants } : { variants, metadata };
    if (!enabled && offVariant === null) return { state: 'DISABLED', defaultVariant: null, ...rest };
    if (!enabled) return { state: 'ENABLED', defaultVariant: offVariant, ...rest };
    const pairs = this.#pairs(definition, false);
    if ('split' in fallthrough) {
      // Null comes of what cannot be split, and is the default: the off variant, as with us.
      const answer = this.#serve(fallthrough, definition.key, false);
      const [guard] = guards(fallthrough.split, false);
      const split = guard === undefined ? answer : chain([[guard, answer]], null);
      const needsNull = offVariant !== null && pairs.some(([, served]) => served === null);
      if (needsNull)
        this.findings.add(
          inside(null, 'rules'),
          "cannot answer the caller's default besides a default variant",
        );
      return { state: 'ENABLED', defaultVariant: offVariant, targeting: chain(pairs, split), ...rest };
    }
    const { variant } = fallthrough;
    if (pairs.length === 0) return { state: 'ENABLED', defaultVariant: variant, ...rest };
    const needsNull = pairs.some(([, served]) => served === null);
    if (!needsNull)
      return { state: 'ENABLED', defaultVariant: variant, targeting: chain(pairs, null), ...rest };
    return { state: 'ENABLED', defaultVariant: null, targeting: chain(pairs, variant), ...rest };
  }

  /** @param isNamed whether seeds must be written out, since flagd's own key is that of another flag */
  #pairs(definition: FlagDefinition, isNamed: boolean): readonly Pair[] {
    const { key, offVariant, targets, rules, prerequisites } = definition;
    const required = [
      ...prerequisites.map((prerequisite) => this.#prerequisite(prerequisite)),
      ...requirementsIn(definition).map((condition) =>
        this.#condition(condition, inside(null, 'conditions')),
      ),
    ];
    return [
      ...(required.length === 0 ? [] : [[{ '!': [all(required)] }, offVariant] as Pair]),
      ...targets.map(({ variant, keys }): Pair => [this.#isOneOf(keys, inside(null, 'targets')), variant]),
      ...rules.flatMap((rule, index) =>
        this.#rule(rule, { key, isNamed, place: inside(inside(null, 'rules'), index) }),
      ),
    ];
  }

  #prerequisite({ flag, variants }: FlagDefinition['prerequisites'][number]): Json {
    return { in: [this.#answer(this.#flags.get(flag)!), variants] };
  }

  /** The variant of another flag as an expression; null = none. */
  #answer(definition: FlagDefinition): Json {
    const { enabled, offVariant, fallthrough, key } = definition;
    if (!enabled) return offVariant;
    const pairs = this.#pairs(definition, true);
    const otherwise = this.#serve(fallthrough, key, true);
    if (!('split' in fallthrough)) return chain(pairs, otherwise);
    return chain([...pairs, [present(fallthrough.split), otherwise]], offVariant);
  }

  #rule(
    { when, rollout, serve }: Rule,
    { key, isNamed, place }: { readonly key: string; readonly isNamed: boolean; readonly place: Place },
  ): readonly Pair[] {
    const conditions = this.#conditions(when, inside(place, 'when'));
    if (rollout !== null) {
      const share = shareAt(compileRollout(rollout, key), this.#nowMs);
      if (share <= 0) return [];
      const shares: readonly Json[] = [
        ['in', share],
        ['out', WHOLE - share],
      ];
      if (share < WHOLE)
        conditions.push(...guards(rollout, isNamed), {
          '===': [fractional(rollout, shares, { key, isNamed }), 'in'],
        });
    }
    if ('split' in serve) conditions.push(...guards(serve.split, isNamed));
    return [[all(conditions), this.#serve(serve, key, isNamed)]];
  }

  #serve(serve: Serve, key: string, isNamed: boolean): Json {
    if (!('split' in serve)) return serve.variant;
    const shares = serve.split.weights.map(({ variant, weight }): Json => [variant, weight]);
    return fractional(serve.split, shares, { key, isNamed });
  }

  #condition(condition: Condition, place: Place): Json {
    if ('all' in condition) return all(this.#conditions(condition.all, inside(place, 'all')));
    if ('any' in condition) return any(this.#conditions(condition.any, inside(place, 'any')));
    if ('not' in condition) return { '!': [this.#condition(condition.not, inside(place, 'not'))] };
    if ('segment' in condition) return this.#segment(condition.segment, inside(place, 'segment'));
    return condition.attribute === NOW_ATTRIBUTE
      ? this.#time(condition, place)
      : this.#attribute(condition, place);
  }

  #conditions(conditions: readonly Condition[], place: Place): Json[] {
    return conditions.map((condition, index) => this.#condition(condition, inside(place, index)));
  }

  /** Referred to from flags; written out inside of other segments, since not every reader follows references twice. */
  #segment(key: string, place: Place): Json {
    const isInner = this.#segmentsDeep > 0;
    if (!isInner && this.#evaluators.has(key)) return { $ref: key };
    const findingsBefore = this.findings.list.length;
    this.#segmentsDeep += 1;
    const written = this.#segmentLogic(this.#segments.get(key)!, place);
    this.#segmentsDeep -= 1;
    const isReferable = !isInner && SAFE_NAME.test(key) && !JSON.stringify(written).includes('$');
    if (!isReferable || this.findings.list.length > findingsBefore) return written;
    this.#evaluators.set(key, written);
    return { $ref: key };
  }

  #segmentLogic({ included, excluded, when }: Segment, place: Place): Json {
    const rules = this.#conditions(when, place);
    const belongs = [
      ...(included.length === 0 ? [] : [this.#isOneOf(included, place)]),
      ...(when.length === 0 ? [] : [all(rules)]),
    ];
    const isIn = any(belongs);
    return excluded.length === 0 ? isIn : all([{ '!': [this.#isOneOf(excluded, place)] }, isIn]);
  }

  #isOneOf(keys: readonly string[], place: Place): Json {
    return this.#spend(keys.length, place) ? { in: [{ var: TARGETING_KEY }, keys] } : false;
  }

  /** @returns whether there is room for them; when not, nothing more is written */
  #spend(values: number, place: Place): boolean {
    const before = this.#valuesWritten;
    this.#valuesWritten += values;
    if (before <= VALUES_WRITTEN_MAX && this.#valuesWritten > VALUES_WRITTEN_MAX)
      this.findings.add(
        place,
        `takes more than ${VALUES_WRITTEN_MAX} values of flagd, with what it refers to`,
      );
    return this.#valuesWritten <= VALUES_WRITTEN_MAX;
  }

  #attribute(condition: AttributeCondition, place: Place): Json {
    const { attribute, operator, values } = condition;
    if (!this.#spend(1 + values.length, place)) return false;
    const variable: Json = { var: attribute };
    const anyText = (logic: (text: string) => Json): Json => any(textsOf(values).map(logic));
    switch (operator) {
      case 'EQUALS':
      case 'IN':
        return this.#equality(condition, place);
      case 'NOT_EQUALS':
      case 'NOT_IN':
        return { '!': [this.#equality(condition, place)] };
      case 'CONTAINS':
        return anyText((text) => ({ in: [text, variable] }));
      case 'NOT_CONTAINS':
        return { '!': [anyText((text) => ({ in: [text, variable] }))] };
      case 'STARTS_WITH':
        return anyText((text) => ({ starts_with: [variable, text] }));
      case 'ENDS_WITH':
        return anyText((text) => ({ ends_with: [variable, text] }));
      case 'EXISTS':
        return { '!==': [variable, null] };
      default:
        return this.#comparison(condition, place);
    }
  }

  #comparison({ attribute, operator, values }: AttributeCondition, place: Place): Json {
    const relation = NUMBER_RELATIONS[operator];
    if (relation !== undefined) {
      const absent = relation.startsWith('<') ? FAR : -FAR;
      return { [relation]: [{ var: [attribute, absent] }, Number(values[0])] };
    }
    const version = VERSION_RELATIONS[operator];
    if (version !== undefined) return { sem_ver: [{ var: attribute }, version, ...textsOf(values)] };
    this.findings.add(place, `flagd has nothing like ${operator}`);
    return false;
  }

  #equality({ attribute, values }: AttributeCondition, place: Place): Json {
    const forms = values.flatMap(formsOf);
    if (values.some((value) => textOf(value) === null))
      this.findings.add(place, 'flagd cannot compare objects');
    const [only] = forms;
    return forms.length === 1 ? { '===': [{ var: attribute }, only!] } : { in: [{ var: attribute }, forms] };
  }

  /** To the second, as flagd has it. */
  #time({ operator, values }: AttributeCondition, place: Place): Json {
    const isTime = operator === 'BEFORE' || operator === 'AFTER';
    const ms = isTime ? instantOf(values[0]) : Number(values[0]);
    // The first millisecond from which on it is true, or is no longer.
    const bound =
      operator === 'AFTER' || operator === 'GREATER_THAN' || operator === 'LESS_OR_EQUAL' ? ms + 1 : ms;
    const seconds = Math.ceil(bound / 1000);
    switch (operator) {
      case 'AFTER':
      case 'GREATER_THAN':
      case 'GREATER_OR_EQUAL':
        return { '>=': [TIMESTAMP, seconds] };
      case 'BEFORE':
      case 'LESS_THAN':
      case 'LESS_OR_EQUAL':
        return { '<': [TIMESTAMP, seconds] };
      default:
        this.findings.add(place, `flagd has nothing like ${operator} of the time`);
        return false;
    }
  }
}

function chain(pairs: readonly Pair[], otherwise: Json): Json {
  if (pairs.length === 0) return otherwise;
  return { if: otherwise === null ? pairs.flat() : [...pairs.flat(), otherwise] };
}

function all(parts: readonly Json[]): Json {
  if (parts.length === 1) return parts[0]!;
  return parts.length === 0 ? true : { and: parts };
}

function any(parts: readonly Json[]): Json {
  if (parts.length === 1) return parts[0]!;
  return parts.length === 0 ? false : { or: parts };
}

/** A value as each type that has the same text: what we compare by their texts, flagd compares with their types. */
function formsOf(value: Json): readonly Json[] {
  const text = textOf(value);
  if (text === null) return [];
  if (text === 'true' || text === 'false') return [text, text === 'true'];
  return String(Number(text)) === text && Number.isFinite(Number(text)) ? [text, Number(text)] : [text];
}

/** Whether there is something to make a bucket of. */
function present({ bucketBy }: Bucketing): Json {
  return { '!==': [{ var: bucketBy ?? TARGETING_KEY }, null] };
}

/** Ahead of a bucket that is written out: without the attribute the seed alone would be hashed. */
function guards(bucketing: Bucketing, isNamed: boolean): readonly Json[] {
  return isOwn(bucketing, isNamed) ? [] : [present(bucketing)];
}

/** Whether the bucket is by the flag's own key and the targeting key, which flagd takes by itself. */
function isOwn({ seed, bucketBy }: Bucketing, isNamed: boolean): boolean {
  return !isNamed && seed === null && (bucketBy === null || bucketBy === TARGETING_KEY);
}

function fractional(
  bucketing: Bucketing,
  shares: readonly Json[],
  { key, isNamed }: { readonly key: string; readonly isNamed: boolean },
): Json {
  const { seed, bucketBy } = bucketing;
  if (isOwn(bucketing, isNamed)) return { fractional: shares };
  return { fractional: [{ cat: [seed ?? key, { var: bucketBy ?? TARGETING_KEY }] }, ...shares] };
}
