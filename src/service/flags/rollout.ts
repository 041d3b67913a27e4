import type { FlagDefinition, Ramp, Rule, Serve } from '../../evaluation/model.ts';
import { WHOLE } from '../../evaluation/model.ts';
import { invalid } from '../service-error.ts';

/** A share of everybody: the flag's last rule, which asks for nothing but the bucket. */
export interface RolloutInput {
  /** Hundredths of a percent, 0 to 10,000. */
  readonly share: number;
  /** What those get who are let in; default: what the rollout serves now, or what "on" is of the flag. */
  readonly variant?: string | undefined;
  /** In the course of time, from `share` on; null = none any more, absent = none. */
  readonly ramp?: Ramp | null | undefined;
}

/** The rule that lets a share of everybody in, if the flag's last one is such. */
export function rolloutRuleOf({ rules }: FlagDefinition): Rule | null {
  const last = rules.at(-1);
  return last !== undefined && last.when.length === 0 && last.rollout !== null ? last : null;
}

/**
 * The definition with another rollout, which takes the place of the present one or comes behind all other rules. Whoever
 * was in at a smaller share stays in at a larger one.
 *
 * @throws ServiceError `invalid` when it is not clear which variant is meant
 */
export function withRollout(flag: FlagDefinition, { share, variant, ramp }: RolloutInput): FlagDefinition {
  if (!Number.isInteger(share) || share < 0 || share > WHOLE) {
    throw invalid({ field: 'share', message: `must be a whole number from 0 to ${WHOLE}` });
  }
  const present = rolloutRuleOf(flag);
  const serve: Serve | null = variant === undefined ? (present?.serve ?? onServe(flag)) : { variant };
  if (serve === null) {
    throw invalid({ field: 'variant', message: 'is required: the flag has several that it may be' });
  }
  const rollout = {
    seed: present?.rollout?.seed ?? null,
    bucketBy: present?.rollout?.bucketBy ?? null,
    share,
    ramp: ramp ?? null,
  };
  const rule = { name: present?.name ?? 'rollout', when: [], rollout, serve };
  const rules = [...flag.rules.slice(0, present === null ? flag.rules.length : -1), rule];
  // Whoever is not let in must not get the same all the same.
  const isOpen =
    'variant' in serve && 'variant' in flag.fallthrough && flag.fallthrough.variant === serve.variant;
  return { ...flag, rules, fallthrough: isOpen ? { variant: flag.offVariant } : flag.fallthrough };
}

/** The share of everybody that gets what is on, in hundredths; of flags without such a rule all or nothing. */
export function rolloutShareOf(flag: FlagDefinition): number {
  const rule = rolloutRuleOf(flag);
  if (rule?.rollout) return rule.rollout.share;
  const on = onVariantOf(flag);
  return 'variant' in flag.fallthrough && flag.fallthrough.variant === on && on !== null ? WHOLE : 0;
}

/** The one variant that is not the off variant, nor what everybody else gets; of booleans the true one. */
export function onVariantOf({ type, variants, offVariant, fallthrough }: FlagDefinition): string | null {
  const names = Object.keys(variants);
  if (type === 'boolean') return names.find((name) => variants[name] === true) ?? null;
  const others = names.filter((name) => name !== offVariant);
  if (others.length === 1) return others[0]!;
  const rest = others.filter((name) => !('variant' in fallthrough) || fallthrough.variant !== name);
  return rest.length === 1 ? rest[0]! : null;
}

function onServe(flag: FlagDefinition): Serve | null {
  const variant = onVariantOf(flag);
  return variant === null ? null : { variant };
}
