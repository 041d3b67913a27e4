import {
  type Condition,
  type FlagDefinition,
  OPERATORS,
  type Operator,
  type Rule,
  TARGETING_KEY,
  WHOLE,
} from '../../../../evaluation/model.ts';
import { spellEnvironment } from '../../../../service/environments/spelling.ts';
import { additionalValueOf } from '../../../../service/flags/additional-value.ts';
import type { FeatureView } from '../../../../service/flags/feature-apply.ts';
import type { FeatureContent, FeatureInput } from '../../../../service/flags/feature-content.ts';
import type { FlagCheck } from '../../../../service/flags/flag-reads.ts';
import { onVariantOf } from '../../../../service/flags/rollout.ts';
import type { Json } from '../../../../service/model.ts';
import { invalid, ServiceError } from '../../../../service/service-error.ts';
import { isObject } from '../../../../service/values/json-limits.ts';

/** A rule as 002 writes it: without an attribute it is about everybody. */
export interface RuleBody {
  readonly attribute?: string;
  readonly operator?: Operator;
  readonly values?: readonly Json[];
  readonly percentage?: number;
  /** Beyond 002: with two decimals, instead of the whole percentage. */
  readonly exactPercentage?: number;
}

/** What 002 says of a flag; what is left out stays. */
export interface FlagBody {
  readonly description?: string;
  readonly enabled?: boolean;
  readonly rules?: readonly RuleBody[];
  readonly value?: { readonly [name: string]: Json } | null;
  readonly tags?: readonly string[];
  /** Beyond 002: all of it, in the model's own words, instead of rules and value. */
  readonly definition?: Json;
}

/** Operators that a rule may have: 002's, those of its model, and ours. */
export const RULE_OPERATORS = OPERATORS;

/** What 002 calls the targeting key. */
const USER_ID = 'userId';
const [ON, OFF] = ['on', 'off'];

/** What is on for everybody as long as it is enabled. */
const NEW_FLAG = {
  type: 'boolean',
  enabled: false,
  variants: { [ON]: true, [OFF]: false },
  offVariant: OFF,
  fallthrough: { variant: ON },
  rules: [],
} as const;

/**
 * What a body makes of a flag. Rules let the matching in, the first match wins, and whoever no rule lets in gets the off
 * variant; without rules everybody is let in. A value makes the flag one of type object: what is on answers the value,
 * and what is off answers the caller's default.
 *
 * @throws ServiceError `invalid`
 */
export function inputFrom002(body: FlagBody, before: FeatureContent | null): FeatureInput {
  const { description, tags, enabled, rules, value, definition } = body;
  if (definition !== undefined && (rules !== undefined || value !== undefined)) {
    throw invalid({ field: 'definition', message: 'cannot be there beside rules or value' });
  }
  const known = before === null ? NEW_FLAG : before.definition;
  let flag: { readonly [name: string]: unknown } = known as unknown as Record<string, unknown>;
  if (definition !== undefined) {
    if (!isObject(definition)) throw invalid({ field: 'definition', message: 'must be an object' });
    flag = definition;
  }
  if (value !== undefined) flag = withValue(flag as unknown as FlagDefinition, value);
  if (rules !== undefined) flag = withRules(flag as unknown as FlagDefinition, rules);
  if (enabled !== undefined) flag = { ...flag, enabled };
  return { description, tags, definition: flag as unknown as Json };
}

function withValue(flag: FlagDefinition, value: FlagBody['value']): { readonly [name: string]: unknown } {
  const on = onVariantOf(flag) ?? ON;
  if (value === null || value === undefined) {
    return { ...flag, type: 'boolean', variants: { [on]: true, [OFF]: false }, offVariant: OFF };
  }
  const { offVariant, fallthrough } = flag;
  const isObjectFlag = flag.type === 'object';
  const kept = isObjectFlag ? flag.variants : {};
  const served = (variant: string | null): string | null => (isObjectFlag || variant === on ? variant : null);
  return {
    ...flag,
    type: 'object',
    variants: { ...kept, [on]: value },
    offVariant: served(offVariant),
    fallthrough: 'variant' in fallthrough ? { variant: served(fallthrough.variant) } : fallthrough,
  };
}

function withRules(flag: FlagDefinition, rules: readonly RuleBody[]): { readonly [name: string]: unknown } {
  const on = onVariantOf(flag);
  if (on === null) {
    throw invalid({
      field: 'rules',
      message: 'do not say which of the flag’s variants they mean: use definition',
    });
  }
  const serve = { variant: on };
  return {
    ...flag,
    fallthrough: rules.length === 0 ? serve : { variant: flag.offVariant },
    rules: rules.map((rule, at) => ({
      name: '',
      when: conditionsOf(rule, at),
      rollout: rolloutOf(rule, at),
      serve,
    })),
  };
}

function conditionsOf({ attribute, operator, values = [] }: RuleBody, at: number): readonly Condition[] {
  if (attribute === undefined && operator === undefined && values.length === 0) return [];
  if (attribute === undefined || operator === undefined) {
    const field = attribute === undefined ? 'attribute' : 'operator';
    throw invalid({ field: `rules/${at}/${field}`, message: 'is missing' });
  }
  return [{ attribute: attribute === USER_ID ? TARGETING_KEY : attribute, operator, values }];
}

function rolloutOf({ percentage, exactPercentage }: RuleBody, at: number): Rule['rollout'] {
  const percent = exactPercentage ?? percentage ?? 100;
  const share = Math.round(percent * 100);
  if (share < 0 || share > WHOLE || Math.abs(share - percent * 100) > 1e-6) {
    const field = exactPercentage === undefined ? 'percentage' : 'exactPercentage';
    throw invalid({
      field: `rules/${at}/${field}`,
      message: 'must be from 0 to 100, with two decimals at most',
    });
  }
  return share === WHOLE ? null : { seed: null, bucketBy: null, share, ramp: null };
}

/** The flag as 002 shows it. Rules that 002 has no words for stand in `definition` only. */
export function flagOf(view: FeatureView) {
  const { id, key, application, environment, description, tags, version } = view;
  const { createdBy, createdAt, updatedBy, updatedAt } = view;
  const flag = view.definition as FlagDefinition;
  const on = onVariantOf(flag);
  const value = on === null ? null : additionalValueOf(flag.variants[on]);
  return {
    id,
    key,
    application,
    environment: spellEnvironment(environment, 'short'),
    description,
    enabled: flag.enabled,
    rules: flag.rules.flatMap((rule) => ruleOf(rule, on)),
    ...(value === null ? {} : { value }),
    tags,
    version,
    createdBy,
    createdAt,
    updatedBy,
    updatedAt,
    definition: flag,
  };
}

function ruleOf({ when, rollout, serve }: Rule, on: string | null) {
  const [condition, ...more] = when;
  const isPlain =
    more.length === 0 &&
    (condition === undefined || 'attribute' in condition) &&
    'variant' in serve &&
    serve.variant === on;
  if (!isPlain) return [];
  const share = rollout?.share ?? WHOLE;
  const asked =
    condition === undefined
      ? {}
      : {
          attribute: condition.attribute === TARGETING_KEY ? USER_ID : condition.attribute,
          operator: condition.operator,
          values: condition.values.map((value) =>
            typeof value === 'string' ? value : JSON.stringify(value),
          ),
        };
  const exact = share % 100 === 0 ? {} : { exactPercentage: share / 100 };
  return [{ ...asked, percentage: Math.round(share / 100), ...exact }];
}

/** The answer of a check. */
export function checkOf({ key, enabled, value, evaluation }: FlagCheck) {
  const { variant, reason, errorCode, errorMessage } = evaluation;
  return {
    key,
    enabled,
    ...(value === null ? {} : { value }),
    reason,
    ...(variant === undefined ? {} : { variant }),
    ...(errorCode === undefined ? {} : { errorCode, errorDetails: errorMessage }),
  };
}

/** Runs a change that came in 002's words; fields of its failure are told in them. */
export async function inWords002<T>(body: FlagBody, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof ServiceError) || body.definition !== undefined) throw error;
    const problems = error.problems.map(({ field, message }) => ({ field: fieldIn002(field), message }));
    throw new ServiceError(error.code, error.message, { cause: error, problems });
  }
}

function fieldIn002(field: string): string {
  return field
    .replace(/^definition\/(rules\/\d+)\/when\/0/, '$1')
    .replace(/^definition\/(rules\/\d+)\/rollout\/share/, '$1/percentage')
    .replace(/^definition\/variants\/.*$/, 'value')
    .replace(/^definition\//, '');
}
