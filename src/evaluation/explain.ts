import { unreachable } from '../lib/assert.ts';
import { percentOf } from './bucketing.ts';
import { type CompiledFlag, definitionsOf, requirementsIn } from './compile.ts';
import { type CompiledCondition, holds } from './condition.ts';
import { decide, type Step } from './decide.ts';
import type { Evaluation, EvaluationContext } from './evaluation.ts';
import type { Finding } from './finding.ts';
import { instantText } from './instant.ts';
import { type Condition, type FlagDefinition, TARGETING_KEY, WHOLE } from './model.ts';
import { describe, shown } from './words.ts';

/** Why a flag answers what it answers. */
export interface Explanation {
  readonly evaluation: Evaluation;
  /** What gave the answer; null after an error. */
  readonly matched: Matched | null;
  /** The way to it, a sentence each, in the order in which things were asked. */
  readonly lines: readonly string[];
}

export type Matched =
  | { readonly kind: 'disabled' | 'prerequisite' | 'requirement' | 'target' | 'fallthrough' }
  /** The index is that of the rules at that time, from 0. */
  | { readonly kind: 'rule'; readonly index: number; readonly name: string };

/** Evaluates once more, and tells. Never throws. */
export function explain(asked: {
  /** Null = there is none that could be evaluated. */
  readonly flag: CompiledFlag | null;
  readonly evaluation: Evaluation;
  readonly context: EvaluationContext;
  readonly nowMs: number;
  readonly findings: readonly Finding[];
}): Explanation {
  const { flag, evaluation, context, nowMs, findings } = asked;
  const { errorCode, errorMessage } = evaluation;
  const endsAtOnce =
    flag === null || errorCode === 'TYPE_MISMATCH' || typeof context !== 'object' || context === null;
  if (endsAtOnce) {
    const problems = findings.map(({ field, message }) => (field === '' ? message : `${field}: ${message}`));
    return { evaluation, matched: null, lines: [`${errorMessage}.`, ...problems.map((text) => `${text}.`)] };
  }
  const story = new Story(flag, context, nowMs);
  try {
    decide(flag, context, nowMs, story);
  } catch {
    story.lines.push('The context could not be read.');
  }
  story.lines.push(conclusion(evaluation));
  return { evaluation, matched: errorCode === undefined ? story.matched : null, lines: story.lines };
}

function conclusion({ variant, value, reason, errorCode, errorMessage }: Evaluation): string {
  if (errorCode !== undefined) return `${errorCode}: ${errorMessage}; the caller's default holds.`;
  if (variant === undefined) return `The answer is the caller's default, for the reason ${reason}.`;
  return `The answer is variant ${variant} (${shown(value)}), for the reason ${reason}.`;
}

/** Puts each step into words as it is taken. */
class Story {
  readonly lines: string[] = [];
  matched: Matched | null = null;
  readonly #flag: CompiledFlag;
  readonly #context: EvaluationContext;
  readonly #nowMs: number;
  /** As it stands at that time. */
  #definition: FlagDefinition;
  #stage = 0;

  constructor(flag: CompiledFlag, context: EvaluationContext, nowMs: number) {
    this.#flag = flag;
    this.#context = context;
    this.#nowMs = nowMs;
    this.#definition = flag.definition;
  }

  note(step: Step): void {
    switch (step.kind) {
      case 'scheduled':
        this.#stage = this.#flag.stages.indexOf(step.stage);
        this.#definition = definitionsOf(this.#flag.definition)[this.#stage]!.definition;
        this.lines.push(`What was scheduled for ${instantText(step.stage.fromMs)} holds.`);
        return;
      case 'disabled':
        this.#end({ kind: 'disabled' }, 'The flag is disabled.');
        return;
      case 'prerequisite':
        this.#prerequisite(step);
        return;
      case 'requirement':
        this.#requirement(step);
        return;
      case 'targets':
        this.#targets(step.found);
        return;
      case 'rollout':
        this.lines.push(this.#rollout(step));
        return;
      case 'rule':
        this.#rule(step);
        return;
      case 'fallthrough':
        this.#end({ kind: 'fallthrough' }, this.#fallthrough(step.outcome));
        return;
      default:
        unreachable(step);
    }
  }

  #end(matched: Matched, line: string): void {
    this.matched = matched;
    this.lines.push(line);
  }

  #prerequisite({ index, answer, holds: isMet }: Extract<Step, { readonly kind: 'prerequisite' }>): void {
    const { flag, variants } = this.#definition.prerequisites[index]!;
    const is = answer.variant ?? `no variant (${answer.errorCode ?? answer.reason})`;
    const line = `Prerequisite ${flag} must answer ${variants.join(' or ')}, and answers ${is}`;
    if (isMet) this.lines.push(`${line}.`);
    else this.#end({ kind: 'prerequisite' }, `${line}: the flag is off.`);
  }

  #requirement({ index, holds: isMet }: Extract<Step, { readonly kind: 'requirement' }>): void {
    const condition = requirementsIn(this.#definition)[index]!;
    const line = `Required: ${this.#describe(condition, this.#flag.requirements[index]!)}`;
    if (isMet) this.lines.push(`${line}.`);
    else this.#end({ kind: 'requirement' }, `${line}: the flag is off.`);
  }

  #targets(found: boolean): void {
    const key = shown(this.#context[TARGETING_KEY]);
    if (found) this.#end({ kind: 'target' }, `The targeting key ${key} is targeted by itself.`);
    else this.lines.push('The targeting key is not among those that are targeted by themselves.');
  }

  #rollout({ bucket, share }: Extract<Step, { readonly kind: 'rollout' }>): string {
    const where = bucket < share ? 'lies within' : 'lies outside of';
    return `Bucket ${bucket} of ${WHOLE} ${where} the ${percentOf(share)} % of the rollout.`;
  }

  #rule({ index, outcome }: Extract<Step, { readonly kind: 'rule' }>): void {
    const { name, rollout, serve } = this.#definition.rules[index]!;
    const rule = `Rule ${index + 1}${name === '' ? '' : ` (${name})`}`;
    const conditions = this.#conditions(index);
    const because = conditions === '' ? '' : `: ${conditions}`;
    if (outcome === 'match') {
      this.#end({ kind: 'rule', index, name }, `${rule} matches${because === '' ? ' everybody' : because}.`);
    } else if (outcome === 'rollout') {
      this.lines.push(`${rule} does not let them in: they are outside of its rollout.`);
    } else if (outcome === 'no-bucket') {
      const split = 'split' in serve ? serve.split : null;
      const by = rollout?.bucketBy ?? split?.bucketBy ?? TARGETING_KEY;
      this.lines.push(`${rule} needs ${by}, which is absent.`);
    } else {
      this.lines.push(`${rule} does not match${because}.`);
    }
  }

  /** All that hold, or the first that does not. */
  #conditions(index: number): string {
    const compiled = this.#flag.stages[this.#stage]!.rules[index]!.when;
    const { when } = this.#definition.rules[index]!;
    const failed = compiled.findIndex((condition) => !holds(condition, this.#context, this.#nowMs));
    if (failed >= 0) return this.#describe(when[failed]!, compiled[failed]!);
    return when.map((condition, at) => this.#describe(condition, compiled[at]!)).join('; ');
  }

  #describe(condition: Condition, compiled: CompiledCondition): string {
    return describe({ condition, compiled, context: this.#context, nowMs: this.#nowMs });
  }

  #fallthrough(outcome: 'fixed' | 'split' | 'no-bucket'): string {
    if (outcome === 'split') return 'Nothing matched: the fallthrough splits by bucket.';
    if (outcome === 'no-bucket') return 'Nothing matched, and what the fallthrough splits by is absent.';
    const { rules, targets } = this.#definition;
    return rules.length + targets.length === 0 ? 'The flag has no rules.' : 'Nothing matched.';
  }
}
