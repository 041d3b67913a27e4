import type { CrossKeyRule, Json } from '../model.ts';
import { invalid } from '../service-error.ts';
import { type Expression, RuleEnvironment } from './rule-environment.ts';
import { StepLimitError, StepMeter } from './step-meter.ts';

/** Characters of one expression. */
export const RULE_LENGTH_MAX = 4_096;
/** Steps that one rule may take, and all rules of one check: some 100 ms. */
export const RULE_STEPS_MAX = 300_000;
export const RULES_STEPS_MAX = 1_000_000;
const KEPT_MAX = 1_000;

/** A rule that does not hold, or of which that cannot be said. Nothing of it is of a value. */
export interface RuleFinding {
  readonly rule: string;
  readonly message: string;
}

const meter = new StepMeter();
let environment: RuleEnvironment | null = null;
const kept = new Map<string, Expression>();

/**
 * Whether the text is a rule: an expression in CEL over `config` that gives true or false.
 *
 * @throws ServiceError `invalid`, about the field `expression`
 */
export function checkRule(expression: string): void {
  try {
    expressionOf(expression);
  } catch (error) {
    throw invalid({ field: 'expression', message: messageOf(error) });
  }
}

/** The rules that do not hold of the values, in their order. */
export function brokenRules(
  rules: readonly CrossKeyRule[],
  values: ReadonlyMap<string, Json>,
): readonly RuleFinding[] {
  let left = RULES_STEPS_MAX;
  return rules.flatMap((rule) => {
    const steps = Math.min(left, RULE_STEPS_MAX);
    const message = brokenBecause(rule, { values, steps });
    left = Math.max(0, left - meter.taken);
    return message === null ? [] : [{ rule: rule.name, message }];
  });
}

function brokenBecause(
  { expression, message }: CrossKeyRule,
  { values, steps }: { readonly values: ReadonlyMap<string, Json>; readonly steps: number },
): string | null {
  try {
    const evaluate = expressionOf(expression);
    const outcome = meter.run(steps, () => evaluate(values));
    if (outcome === true) return null;
    return outcome === false ? message : 'cannot be checked: it gives neither true nor false';
  } catch (error) {
    return `cannot be checked: ${evaluationMessageOf(error)}`;
  }
}

function expressionOf(text: string): Expression {
  const known = kept.get(text);
  if (known !== undefined) return known;
  if (text.length > RULE_LENGTH_MAX) throw new Error(`it is longer than ${RULE_LENGTH_MAX} characters`);
  environment ??= new RuleEnvironment(meter);
  const expression = environment.parse(text);
  if (kept.size === KEPT_MAX) kept.clear();
  kept.set(text, expression);
  return expression;
}

/** About the text of the rule: its first line says what is wrong, the others show where. */
function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Of errors of values only the kind is told: messages may hold values, which may be secret. */
function evaluationMessageOf(error: unknown): string {
  if (error instanceof StepLimitError) return 'it takes too long';
  if (error instanceof RangeError) return 'it makes something too large';
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'no_such_key') return messageOf(error).split('\n', 1)[0]!;
  return typeof code === 'string' ? code.replaceAll('_', ' ') : 'it failed';
}
