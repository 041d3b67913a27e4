import type { FlagDefinition, Segment } from './model.ts';
import { momentsOf } from './moments.ts';
import { walkConditions, walkRules } from './walk.ts';

/** Flags, and the segments that they name, by key. */
export interface DefinitionsByKey {
  readonly flags: ReadonlyMap<string, FlagDefinition>;
  readonly segments: ReadonlyMap<string, Segment>;
}

/** What somebody refers to. */
export interface References {
  readonly flags: ReadonlySet<string>;
  readonly segments: ReadonlySet<string>;
}

/**
 * The flags that may answer otherwise when these features have changed: they themselves, and all that refer to them, near
 * or far; in the order of their keys.
 */
export function affectedFlags({ flags, segments }: DefinitionsByKey, changed: References): readonly string[] {
  const changedSegments = closure(segments.keys(), changed.segments, (key) => segmentsOf(segments.get(key)!));
  const direct = new Set(changed.flags);
  for (const [key, flag] of flags) {
    if (segmentsNamedBy(flag).some((name) => changedSegments.has(name))) direct.add(key);
  }
  const all = closure(flags.keys(), direct, (key) => flags.get(key)!.prerequisites.map(({ flag }) => flag));
  return [...all].sort();
}

/** The flags whose answers may change in the course of time, and those that refer to them; in order. */
export function flagsOfTime(definitions: DefinitionsByKey): readonly string[] {
  const { flags, segments } = definitions;
  return affectedFlags(definitions, {
    flags: keysWhere(flags, (flag) => hasRamp(flag) || momentsOf([flag], []).length > 0),
    segments: keysWhere(segments, (segment) => momentsOf([], [segment]).length > 0),
  });
}

/** The keys, and those that refer to one of them, until there are no more. */
function closure(
  keys: Iterable<string>,
  changed: Iterable<string>,
  referred: (key: string) => readonly string[],
): ReadonlySet<string> {
  const users = new Map<string, string[]>();
  for (const key of keys) {
    for (const name of referred(key)) {
      const known = users.get(name);
      if (known === undefined) users.set(name, [key]);
      else known.push(key);
    }
  }
  const found = new Set(changed);
  // A set is walked over what is added meanwhile, too.
  for (const key of found) for (const user of users.get(key) ?? []) found.add(user);
  return found;
}

function segmentsNamedBy(flag: FlagDefinition): readonly string[] {
  const names: string[] = [];
  walkRules(flag, (condition) => {
    if ('segment' in condition) names.push(condition.segment);
  });
  return names;
}

function segmentsOf(segment: Segment): readonly string[] {
  const names: string[] = [];
  walkConditions(segment.when, null, (condition) => {
    if ('segment' in condition) names.push(condition.segment);
  });
  return names;
}

function keysWhere<Definition>(
  definitions: ReadonlyMap<string, Definition>,
  holds: (definition: Definition) => boolean,
): ReadonlySet<string> {
  return new Set([...definitions].filter(([, definition]) => holds(definition)).map(([key]) => key));
}

function hasRamp({ rules, schedule }: FlagDefinition): boolean {
  const all = [rules, ...schedule.map(({ set }) => set.rules ?? [])].flat();
  return all.some(({ rollout }) => rollout !== null && rollout.ramp !== null);
}
