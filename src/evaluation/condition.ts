import { unreachable } from '../lib/assert.ts';
import { type Attribute, attributeOf, read } from './attribute.ts';
import type { EvaluationContext } from './evaluation.ts';
import { type Condition, type Segment, TARGETING_KEY } from './model.ts';
import { applies, NEGATIONS, type Test, testOf } from './operator.ts';

/** A condition made ready to be asked many times. */
export type CompiledCondition =
  | {
      readonly kind: 'attribute';
      readonly attribute: Attribute;
      readonly test: Test;
      readonly isNegated: boolean;
    }
  | { readonly kind: 'all' | 'any'; readonly parts: readonly CompiledCondition[] }
  | { readonly kind: 'not'; readonly part: CompiledCondition }
  | { readonly kind: 'segment'; readonly segment: CompiledSegment };

export interface CompiledSegment {
  readonly key: string;
  readonly included: ReadonlySet<string>;
  readonly excluded: ReadonlySet<string>;
  /** Null = none: only the included belong to it. */
  readonly when: readonly CompiledCondition[] | null;
}

/** @throws Error for an unknown segment or values that the operator cannot use, which validation finds before */
export function compileCondition(
  condition: Condition,
  segments: ReadonlyMap<string, CompiledSegment>,
): CompiledCondition {
  if ('all' in condition) return { kind: 'all', parts: compileAll(condition.all, segments) };
  if ('any' in condition) return { kind: 'any', parts: compileAll(condition.any, segments) };
  if ('not' in condition) return { kind: 'not', part: compileCondition(condition.not, segments) };
  if ('segment' in condition) {
    const segment = segments.get(condition.segment);
    if (segment === undefined) throw new Error('unknown segment');
    return { kind: 'segment', segment };
  }
  const { attribute, operator } = condition;
  const isNegated = NEGATIONS[operator] === true;
  return { kind: 'attribute', attribute: attributeOf(attribute), test: testOf(condition), isNegated };
}

/** @throws Error as `compileCondition` does */
export function compileAll(
  conditions: readonly Condition[],
  segments: ReadonlyMap<string, CompiledSegment>,
): readonly CompiledCondition[] {
  return conditions.map((condition) => compileCondition(condition, segments));
}

/** @throws Error as `compileCondition` does */
export function compileSegment(
  segment: Segment,
  segments: ReadonlyMap<string, CompiledSegment>,
): CompiledSegment {
  return {
    key: segment.key,
    included: new Set(segment.included),
    excluded: new Set(segment.excluded),
    when: segment.when.length === 0 ? null : compileAll(segment.when, segments),
  };
}

export function holds(condition: CompiledCondition, context: EvaluationContext, nowMs: number): boolean {
  switch (condition.kind) {
    case 'attribute':
      return applies(condition.test, read(condition.attribute, context, nowMs)) !== condition.isNegated;
    case 'all':
      return allHold(condition.parts, context, nowMs);
    case 'any':
      return anyHolds(condition.parts, context, nowMs);
    case 'not':
      return !holds(condition.part, context, nowMs);
    case 'segment':
      return belongs(condition.segment, context, nowMs);
    default:
      return unreachable(condition);
  }
}

/** True of none. */
export function allHold(
  conditions: readonly CompiledCondition[],
  context: EvaluationContext,
  nowMs: number,
): boolean {
  for (let at = 0; at < conditions.length; at += 1) if (!holds(conditions[at]!, context, nowMs)) return false;
  return true;
}

/** False of none. */
function anyHolds(
  conditions: readonly CompiledCondition[],
  context: EvaluationContext,
  nowMs: number,
): boolean {
  for (let at = 0; at < conditions.length; at += 1) if (holds(conditions[at]!, context, nowMs)) return true;
  return false;
}

function belongs(segment: CompiledSegment, context: EvaluationContext, nowMs: number): boolean {
  const key = context[TARGETING_KEY];
  if (typeof key === 'string') {
    if (segment.excluded.has(key)) return false;
    if (segment.included.has(key)) return true;
  }
  return segment.when !== null && allHold(segment.when, context, nowMs);
}
