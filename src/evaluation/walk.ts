import { inside, type Place } from './finding.ts';
import type { Condition, FlagDefinition, Rule } from './model.ts';

/** Is shown a condition and where it stands; its parts come after it. */
export type Visit = (condition: Condition, place: Place) => void;

/** All conditions of all rules, also of those that are scheduled. */
export function walkRules({ rules, schedule }: FlagDefinition, visit: Visit): void {
  walkRuleList(rules, inside(null, 'rules'), visit);
  schedule.forEach(({ set }, index) => {
    const place = inside(inside(inside(inside(null, 'schedule'), index), 'set'), 'rules');
    walkRuleList(set.rules ?? [], place, visit);
  });
}

export function walkConditions(conditions: readonly Condition[], place: Place | null, visit: Visit): void {
  conditions.forEach((condition, index) => walkOne(condition, inside(place, index), visit));
}

function walkRuleList(rules: readonly Rule[], place: Place | null, visit: Visit): void {
  rules.forEach(({ when }, index) => walkConditions(when, inside(inside(place, index), 'when'), visit));
}

function walkOne(condition: Condition, place: Place, visit: Visit): void {
  visit(condition, place);
  if ('all' in condition) walkConditions(condition.all, inside(place, 'all'), visit);
  else if ('any' in condition) walkConditions(condition.any, inside(place, 'any'), visit);
  else if ('not' in condition) walkOne(condition.not, inside(place, 'not'), visit);
}
