import type { Json } from '../model.ts';
import { FORBIDDEN_NAME, isObject } from './json-limits.ts';

/**
 * What the patch makes of the value (RFC 7396): members of the patch replace or, where both are objects, patch those of
 * the value; null removes; anything but an object replaces all. Neither argument is changed; the result shares parts
 * with both. No deeper than the patch; both are within `DEPTH_MAX`.
 *
 * @param target undefined = there is none yet
 */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const members = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [name, change] of Object.entries(patch)) {
    if (name === FORBIDDEN_NAME) continue;
    if (change === null) members.delete(name);
    else members.set(name, mergePatch(members.get(name), change));
  }
  return Object.fromEntries(members);
}
