import {
  BAD_TARGETING_KEY,
  type CompiledRollout,
  choose,
  hashOf,
  NO_TARGETING_KEY,
  shareAt,
} from './bucketing.ts';
import type { CompiledFlag, CompiledRule, CompiledServe, Stage } from './compile.ts';
import { allHold, holds } from './condition.ts';
import type { Evaluation, EvaluationContext } from './evaluation.ts';
import { TARGETING_KEY, WHOLE } from './model.ts';
import { bucketOf } from './murmur.ts';

/** Is told the way to an answer, where somebody wants to know it; usual evaluations have none. */
export interface Trace {
  note(step: Step): void;
}

/** What was found on the way, in its order; indexes are those of the definition at that time. */
export type Step =
  /** What was scheduled for that moment holds already. */
  | { readonly kind: 'scheduled'; readonly stage: Stage }
  | { readonly kind: 'disabled' }
  | {
      readonly kind: 'prerequisite';
      readonly index: number;
      readonly answer: Evaluation;
      readonly holds: boolean;
    }
  | { readonly kind: 'requirement'; readonly index: number; readonly holds: boolean }
  | { readonly kind: 'targets'; readonly found: boolean }
  | { readonly kind: 'rule'; readonly index: number; readonly outcome: RuleOutcome }
  /** Ahead of the rule that it belongs to. */
  | { readonly kind: 'rollout'; readonly bucket: number; readonly share: number }
  | { readonly kind: 'fallthrough'; readonly outcome: 'fixed' | 'split' | 'no-bucket' };

export type RuleOutcome =
  /** A condition does not hold. */
  | 'conditions'
  /** The rollout does not let them in. */
  | 'rollout'
  /** The attribute by which buckets are made is absent. */
  | 'no-bucket'
  | 'match';

/** What there is no hash for comes from `hashOf`, below 0; this is above: who is in without one, or needs none. */
const IN = 0;
const IN_BY_BUCKET = 1;
const OUT = -4;

/** The flag's answer at that time. It throws only what a getter of the context throws. */
export function decide(
  flag: CompiledFlag,
  context: EvaluationContext,
  nowMs: number,
  trace: Trace | null,
): Evaluation {
  const stage = stageAt(flag.stages, nowMs);
  if (trace !== null && stage !== flag.stages[0]) trace.note({ kind: 'scheduled', stage });
  if (!stage.enabled) {
    trace?.note({ kind: 'disabled' });
    return stage.disabled;
  }
  if (!meetsAll(flag, context, nowMs, trace)) return stage.unmet;
  if (stage.targets !== null) {
    const key = context[TARGETING_KEY];
    const answer = typeof key === 'string' ? stage.targets.get(key) : undefined;
    trace?.note({ kind: 'targets', found: answer !== undefined });
    if (answer !== undefined) return answer;
  }
  for (let index = 0; index < stage.rules.length; index += 1) {
    const answer = tryRule(flag, stage.rules[index]!, context, nowMs, trace, index);
    if (answer !== null) return answer;
  }
  return fallThrough(flag, stage, context, nowMs, trace);
}

/** The last whose time has come; the first has always been. */
function stageAt(stages: readonly Stage[], nowMs: number): Stage {
  let at = stages.length - 1;
  while (at > 0 && stages[at]!.fromMs > nowMs) at -= 1;
  return stages[at]!;
}

function meetsAll(
  flag: CompiledFlag,
  context: EvaluationContext,
  nowMs: number,
  trace: Trace | null,
): boolean {
  const { prerequisites, requirements } = flag;
  for (let index = 0; index < prerequisites.length; index += 1) {
    const prerequisite = prerequisites[index]!;
    const answer = decide(prerequisite.flag, context, nowMs, null);
    const isMet = answer.variant !== undefined && prerequisite.variants.includes(answer.variant);
    trace?.note({ kind: 'prerequisite', index, answer, holds: isMet });
    if (!isMet) return false;
  }
  for (let index = 0; index < requirements.length; index += 1) {
    const isMet = holds(requirements[index]!, context, nowMs);
    trace?.note({ kind: 'requirement', index, holds: isMet });
    if (!isMet) return false;
  }
  return true;
}

/** @returns null = on to the next */
function tryRule(
  flag: CompiledFlag,
  rule: CompiledRule,
  context: EvaluationContext,
  nowMs: number,
  trace: Trace | null,
  index: number,
): Evaluation | null {
  if (!allHold(rule.when, context, nowMs)) {
    trace?.note({ kind: 'rule', index, outcome: 'conditions' });
    return null;
  }
  const entry = rule.rollout === null ? IN : enter(rule.rollout, context, nowMs, trace);
  const answer = entry < 0 ? entry : serve(rule.serve, context, nowMs, entry === IN_BY_BUCKET);
  if (typeof answer !== 'number') {
    trace?.note({ kind: 'rule', index, outcome: 'match' });
    return answer;
  }
  trace?.note({ kind: 'rule', index, outcome: answer === OUT ? 'rollout' : 'no-bucket' });
  return keyError(flag, answer);
}

/** `IN`, `IN_BY_BUCKET`, `OUT`, or why there is no bucket. All or nobody need none. */
function enter(
  rollout: CompiledRollout,
  context: EvaluationContext,
  nowMs: number,
  trace: Trace | null,
): number {
  const share = shareAt(rollout, nowMs);
  if (share >= WHOLE) return IN;
  if (share <= 0) return OUT;
  const hash = hashOf(rollout.bucketing, context, nowMs);
  if (hash < 0) return hash;
  const bucket = bucketOf(hash, WHOLE);
  trace?.note({ kind: 'rollout', bucket, share });
  return bucket < share ? IN_BY_BUCKET : OUT;
}

/** The answer, or why there is no bucket. */
function serve(
  served: CompiledServe,
  context: EvaluationContext,
  nowMs: number,
  isByBucket: boolean,
): Evaluation | number {
  if (served.kind === 'fixed') return isByBucket ? served.bySplit : served.answer;
  const hash = hashOf(served.split.bucketing, context, nowMs);
  return hash < 0 ? hash : choose(served.split, hash);
}

function fallThrough(
  flag: CompiledFlag,
  stage: Stage,
  context: EvaluationContext,
  nowMs: number,
  trace: Trace | null,
): Evaluation {
  const answer = serve(stage.fallthrough, context, nowMs, false);
  if (typeof answer === 'number') {
    trace?.note({ kind: 'fallthrough', outcome: 'no-bucket' });
    return keyError(flag, answer) ?? stage.unsplit;
  }
  trace?.note({ kind: 'fallthrough', outcome: stage.fallthrough.kind });
  return answer;
}

/** Of a targeting key that is needed and absent or no text; null of other attributes, which are simply absent. */
function keyError(flag: CompiledFlag, missing: number): Evaluation | null {
  if (missing === NO_TARGETING_KEY) return flag.errors.noTargetingKey;
  return missing === BAD_TARGETING_KEY ? flag.errors.badTargetingKey : null;
}
