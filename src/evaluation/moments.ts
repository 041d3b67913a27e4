import { numberOf } from './attribute.ts';
import { parseInstant } from './instant.ts';
import { type Condition, type FlagDefinition, NOW_ATTRIBUTE, type Segment } from './model.ts';
import { instantOf } from './operator.ts';
import { walkConditions, walkRules } from './walk.ts';

/** The moments, in ms since 1970, at which answers may change by themselves, but for ramps, which have many. */
export function momentsOf(flags: Iterable<FlagDefinition>, segments: Iterable<Segment>): readonly number[] {
  const moments = new Set<number>();
  const visit = (condition: Condition): void => {
    for (const moment of momentsIn(condition)) if (Number.isFinite(moment)) moments.add(moment);
  };
  for (const flag of flags) {
    for (const { at } of flag.schedule) moments.add(parseInstant(at));
    walkRules(flag, visit);
  }
  for (const { when } of segments) walkConditions(when, null, visit);
  return [...moments];
}

/** A bound may belong to either side of it. */
function momentsIn(condition: Condition): readonly number[] {
  if (!('attribute' in condition) || condition.attribute !== NOW_ATTRIBUTE) return [];
  return condition.values.flatMap((value) => {
    const [instant, number] = [instantOf(value), numberOf(value)];
    const moment = Math.floor(Number.isNaN(instant) ? number : instant);
    return [moment, moment + 1];
  });
}
