import type { Evaluation, EvaluationContext } from '../../src/evaluation/evaluation.ts';
import { compileFlags, type FlagSet } from '../../src/evaluation/flag-set.ts';
import type { FlagDefinition, Segment } from '../../src/evaluation/model.ts';
import { type Validated, validateFlag, validateSegment } from '../../src/evaluation/validate.ts';

/** 2026-01-01T00:00:00Z. */
export const NEW_YEAR_MS = 1_767_225_600_000;

/** What people write: a boolean flag with the variants on and off, which falls through to off, but for `fields`. */
export function written(fields: object = {}): object {
  return {
    key: 'flag',
    type: 'boolean',
    variants: { on: true, off: false },
    offVariant: 'off',
    fallthrough: { variant: 'off' },
    ...fields,
  };
}

/** @throws Error naming what is wrong */
export function flagOf(fields: object = {}): FlagDefinition {
  return valueOf(validateFlag(written(fields)));
}

/** @throws Error naming what is wrong */
export function segmentOf(fields: object): Segment {
  return valueOf(validateSegment(fields));
}

export function valueOf<Thing>(validated: Validated<Thing>): Thing {
  if (validated.ok) return validated.value;
  throw new Error(validated.findings.map(({ field, message }) => `${field} ${message}`).join('; '));
}

/** What is wrong with a flag, as `field: message`. */
export function problemsOf(fields: object): readonly string[] {
  const validated = validateFlag(written(fields));
  return validated.ok ? [] : validated.findings.map(({ field, message }) => `${field}: ${message}`);
}

/** The answer of one flag named `flag`. */
export function evaluate(
  fields: object,
  context: EvaluationContext = {},
  nowMs: number = NEW_YEAR_MS,
): Evaluation {
  return compileFlags([flagOf(fields)]).evaluate('flag', context, { nowMs });
}

/** Variant and reason, or the error code: what most tests ask for. */
export function brief({ variant, reason, errorCode }: Evaluation): string {
  return errorCode ?? `${variant ?? 'none'} ${reason}`;
}

export function ask(flags: FlagSet, key: string, context: EvaluationContext, nowMs = NEW_YEAR_MS): string {
  return brief(flags.evaluate(key, context, { nowMs }));
}

/** A rule that serves `on` to whom all conditions hold for. */
export function ruleOn(...when: readonly object[]): object {
  return { when, serve: { variant: 'on' } };
}
