import { attributeOf, read } from './attribute.ts';
import { type CompiledCondition, holds } from './condition.ts';
import type { EvaluationContext } from './evaluation.ts';
import type { AttributeCondition, Condition, Json, Operator } from './model.ts';

/** Conditions in the words of people. */

const VALUES_SHOWN = 5;
const TEXT_SHOWN = 80;

const MUST: { readonly [operator in Operator]: string } = {
  EQUALS: 'must be',
  NOT_EQUALS: 'must not be',
  IN: 'must be one of',
  NOT_IN: 'must be none of',
  CONTAINS: 'must contain',
  NOT_CONTAINS: 'must not contain',
  STARTS_WITH: 'must start with',
  ENDS_WITH: 'must end with',
  MATCHES: 'must match',
  GREATER_THAN: 'must be above',
  GREATER_OR_EQUAL: 'must be at least',
  LESS_THAN: 'must be below',
  LESS_OR_EQUAL: 'must be at most',
  SEMVER_EQUALS: 'must be version',
  SEMVER_NOT_EQUALS: 'must be a version other than',
  SEMVER_GREATER_THAN: 'must be a version above',
  SEMVER_GREATER_OR_EQUAL: 'must be a version from',
  SEMVER_LESS_THAN: 'must be a version below',
  SEMVER_LESS_OR_EQUAL: 'must be a version up to',
  SEMVER_CARET: 'must be a version with the major number of',
  SEMVER_TILDE: 'must be a version with the major and minor numbers of',
  BEFORE: 'must be before',
  AFTER: 'must be after',
  EXISTS: 'must be there',
};

/** One question: what is asked, what was found, and whether it holds. */
export interface Asked {
  readonly condition: Condition;
  readonly compiled: CompiledCondition;
  readonly context: EvaluationContext;
  readonly nowMs: number;
}

export function describe({ condition, compiled, context, nowMs }: Asked): string {
  const verdict = holds(compiled, context, nowMs) ? 'holds' : 'does not hold';
  return `${question(condition, context, nowMs)}: ${verdict}`;
}

function question(condition: Condition, context: EvaluationContext, nowMs: number): string {
  const part = (inner: Condition): string => question(inner, context, nowMs);
  if ('all' in condition) return `all of (${condition.all.map(part).join(' and ')})`;
  if ('any' in condition) return `any of (${condition.any.map(part).join(' or ')})`;
  if ('not' in condition) return `not (${part(condition.not)})`;
  if ('segment' in condition) return `must belong to segment ${condition.segment}`;
  return attributeQuestion(condition, read(attributeOf(condition.attribute), context, nowMs));
}

function attributeQuestion({ attribute, operator, values }: AttributeCondition, found: unknown): string {
  const wanted = values.length === 0 ? '' : ` ${valuesText(values)}`;
  const is = found === undefined || found === null ? 'is absent' : `is ${shown(found)}`;
  return `${attribute} ${MUST[operator]}${wanted}, and ${is}`;
}

function valuesText(values: readonly Json[]): string {
  const texts = values.slice(0, VALUES_SHOWN).map(shown);
  const more = values.length - texts.length;
  return more > 0 ? `${texts.join(', ')} and ${more} more` : texts.join(', ');
}

/** JSON, cut where it is long; what is no JSON by its type. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(cut(value));
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

function cut(text: string): string {
  return text.length <= TEXT_SHOWN ? text : `${text.slice(0, TEXT_SHOWN)}…`;
}
