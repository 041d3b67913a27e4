/**
 * A flag as it is defined, in the form in which it is stored: JSON in which every field is present, as `readFlag` makes
 * it of what people write. What decides an evaluation is here and nothing else; names of people, versions and tags are
 * the service's. Times are ISO 8601 with a zone, shares are hundredths of a percent.
 */

import type { Json } from '../lib/json.ts';

export type { Json } from '../lib/json.ts';

/** OpenFeature's types; `object` is an object or an array. */
export const FLAG_TYPES = ['boolean', 'string', 'number', 'object'] as const;
export type FlagType = (typeof FLAG_TYPES)[number];

/** What OpenFeature hands on with every evaluation. */
export type FlagMetadata = { readonly [name: string]: boolean | string | number };

/** All of a share, and what the weights of a split add up to unless it says otherwise: 100 % in hundredths. */
export const WHOLE = 10_000;

/** The attribute by which buckets are made and people targeted unless another is named. */
export const TARGETING_KEY = 'targetingKey';

/** The attribute that names who evaluates, for flags that are meant for some services only. */
export const SERVICE_ATTRIBUTE = 'service';

/** Stands for the moment of the evaluation in conditions: milliseconds since 1970. */
export const NOW_ATTRIBUTE = '$now';

/**
 * Decided from top to bottom: a disabled flag, and one whose prerequisites, services or conditions do not hold, answers
 * its off variant; then come the targets, then the rules, of which the first match wins, then the fallthrough. Where a
 * variant is null the caller's own default is the answer.
 */
export interface FlagDefinition {
  readonly key: string;
  readonly type: FlagType;
  readonly enabled: boolean;
  /** By name; at least one; each of the flag's type. */
  readonly variants: { readonly [name: string]: Json };
  readonly offVariant: string | null;
  readonly fallthrough: Serve;
  readonly targets: readonly Target[];
  readonly rules: readonly Rule[];
  /** All must hold. */
  readonly prerequisites: readonly Prerequisite[];
  /** Values of the attribute `service` that the flag is meant for; empty = all. */
  readonly targetServices: readonly string[];
  /** Attributes and what each must equal; all must hold (001's `conditions`). */
  readonly conditions: { readonly [attribute: string]: Json };
  /** What changes by itself, the earliest first; each starts from what the ones before have made. */
  readonly schedule: readonly ScheduledChange[];
  /** When the flag should be gone, for reports; evaluation does not ask. */
  readonly expiresAt: string | null;
  readonly metadata: FlagMetadata;
}

/** What a match answers: one variant, or one of several by weight. Null = the caller's default. */
export type Serve = { readonly variant: string | null } | { readonly split: Split };

/**
 * How a bucket is found: murmur3 over `seed` and the attribute's value. A null seed is the flag's key, a null attribute
 * the targeting key. Flags with one seed and one attribute have the same people in the same buckets.
 */
export interface Bucketing {
  readonly seed: string | null;
  readonly bucketBy: string | null;
}

/** Variants by weight. The weights are integers from 0 that add up to `total`, at most 2,147,483,647. */
export interface Split extends Bucketing {
  readonly weights: readonly { readonly variant: string; readonly weight: number }[];
  /** `WHOLE` unless it says otherwise: the weights are hundredths of a percent then. */
  readonly total: number;
}

/** People by their targeting keys, ahead of all rules. */
export interface Target {
  readonly variant: string;
  readonly keys: readonly string[];
}

/** Matches when all of `when` hold (none always holds), and for the share that `rollout` lets in. */
export interface Rule {
  /** For people; empty = none. */
  readonly name: string;
  readonly when: readonly Condition[];
  /** Null = everybody. Whoever is not let in goes on to the next rule. */
  readonly rollout: Rollout | null;
  readonly serve: Serve;
}

/** The first `share` of all buckets. Who is in at one share is in at every larger one. */
export interface Rollout extends Bucketing {
  /** 0 to `WHOLE`; with a ramp: until its first point. */
  readonly share: number;
  readonly ramp: Ramp | null;
}

/** The share in the course of time; after the last point it stays. */
export interface Ramp {
  /** `steps`: each point's share holds until the next; `linear`: it moves evenly from point to point. */
  readonly kind: 'steps' | 'linear';
  /** The earliest first. */
  readonly points: readonly { readonly at: string; readonly share: number }[];
}

/** Holds when the flag answers one of the variants, whatever its reason. */
export interface Prerequisite {
  readonly flag: string;
  readonly variants: readonly string[];
}

export interface ScheduledChange {
  readonly at: string;
  /** What is replaced from then on; what is absent stays. */
  readonly set: FlagChange;
}
export type FlagChange = Partial<
  Pick<FlagDefinition, 'enabled' | 'offVariant' | 'fallthrough' | 'targets' | 'rules'>
>;

/** A group of people that flags can name. Explicit keys come first: excluded, then included; then all of `when`. */
export interface Segment {
  readonly key: string;
  /** Targeting keys. */
  readonly included: readonly string[];
  readonly excluded: readonly string[];
  /** All must hold; with none only the included belong to it. */
  readonly when: readonly Condition[];
}

export type Condition =
  | AttributeCondition
  | { readonly all: readonly Condition[] }
  | { readonly any: readonly Condition[] }
  | { readonly not: Condition }
  | { readonly segment: string };

/**
 * One attribute against values. Where the operator takes several, one of them must hold (with `NOT_`: none). The
 * attribute's name is looked up as it is, then along its dots in nested objects. An absent attribute, or one of a type
 * that the operator cannot compare, makes every operator false but `NOT_EQUALS`, `NOT_IN` and `NOT_CONTAINS`, which are
 * exactly what EQUALS, IN and CONTAINS are not. Of an array one element must hold.
 */
export interface AttributeCondition {
  readonly attribute: string;
  readonly operator: Operator;
  readonly values: readonly Json[];
}

/** Equality of texts, numbers and booleans goes by their text; objects and arrays are compared part by part. */
export const EQUALITY_OPERATORS = ['EQUALS', 'NOT_EQUALS', 'IN', 'NOT_IN'] as const;
/** Of a text: a part of it. `CONTAINS` of an array: one of its elements. */
export const TEXT_OPERATORS = ['CONTAINS', 'NOT_CONTAINS', 'STARTS_WITH', 'ENDS_WITH'] as const;
/** RE2, found anywhere in the text unless anchored. */
export const PATTERN_OPERATORS = ['MATCHES'] as const;
/** Numbers, or texts that are numbers; one value. */
export const NUMBER_OPERATORS = ['GREATER_THAN', 'GREATER_OR_EQUAL', 'LESS_THAN', 'LESS_OR_EQUAL'] as const;
/** Semantic versions, also with a leading v or of one or two numbers only; one value. CARET: same major; TILDE: same minor. */
export const VERSION_OPERATORS = [
  'SEMVER_EQUALS',
  'SEMVER_NOT_EQUALS',
  'SEMVER_GREATER_THAN',
  'SEMVER_GREATER_OR_EQUAL',
  'SEMVER_LESS_THAN',
  'SEMVER_LESS_OR_EQUAL',
  'SEMVER_CARET',
  'SEMVER_TILDE',
] as const;
/** Instants: ISO 8601 with a zone, or milliseconds since 1970; one value. */
export const TIME_OPERATORS = ['BEFORE', 'AFTER'] as const;
/** There is such an attribute and it is not null; no values. */
export const PRESENCE_OPERATORS = ['EXISTS'] as const;

export const OPERATORS = [
  ...EQUALITY_OPERATORS,
  ...TEXT_OPERATORS,
  ...PATTERN_OPERATORS,
  ...NUMBER_OPERATORS,
  ...VERSION_OPERATORS,
  ...TIME_OPERATORS,
  ...PRESENCE_OPERATORS,
] as const;
export type Operator = (typeof OPERATORS)[number];
