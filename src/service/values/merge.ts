import type { Json } from '../model.ts';
import { isObject, memberOf, pointerToken, sameJson } from './json-limits.ts';

/** Which side a conflict takes; `manual`: none, whoever asked decides. */
export type MergeStrategy = 'ours' | 'theirs' | 'manual';

/** Both sides changed one place, and differently. Undefined = it is not there. */
export interface MergeConflict {
  /** A JSON pointer; empty = the whole value. */
  readonly pointer: string;
  readonly base: Json | undefined;
  readonly ours: Json | undefined;
  readonly theirs: Json | undefined;
}

export interface Merge {
  /** With ours at conflicts unless the strategy says theirs; undefined = there is none. */
  readonly json: Json | undefined;
  /** All of them, also those that the strategy has decided. */
  readonly conflicts: readonly MergeConflict[];
}

/**
 * What two changes of one value make together: objects member by member; lists and everything else as wholes, from the
 * side that changed them. Undefined = there is none, or it was removed.
 */
export function mergeJson(
  sides: {
    readonly base: Json | undefined;
    readonly ours: Json | undefined;
    readonly theirs: Json | undefined;
  },
  strategy: MergeStrategy,
): Merge {
  const conflicts: MergeConflict[] = [];
  const json = mergeAt({ ...sides, pointer: '' }, (conflict) => {
    conflicts.push(conflict);
    return strategy === 'theirs' ? conflict.theirs : conflict.ours;
  });
  return { json, conflicts };
}

type Decide = (conflict: MergeConflict) => Json | undefined;

function mergeAt(place: MergeConflict, decide: Decide): Json | undefined {
  const { base, ours, theirs } = place;
  if (sameJson(ours, theirs) || sameJson(base, theirs)) return ours;
  if (sameJson(base, ours)) return theirs;
  const isMade = base === undefined || isObject(base);
  if (!isMade || !isObject(ours) || !isObject(theirs)) return decide(place);
  const names = new Set([...Object.keys(ours), ...Object.keys(theirs)]);
  const members: [string, Json][] = [];
  for (const name of names) {
    const member = mergeAt(
      {
        pointer: `${place.pointer}/${pointerToken(name)}`,
        base: base === undefined ? undefined : memberOf(base, name),
        ours: memberOf(ours, name),
        theirs: memberOf(theirs, name),
      },
      decide,
    );
    if (member !== undefined) members.push([name, member]);
  }
  return Object.fromEntries(members);
}
