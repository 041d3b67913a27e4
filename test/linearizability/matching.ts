/**
 * Gives every item of the left side a partner of its own among those it may have, if that can be done; otherwise as
 * many as can be. Augmenting paths, breadth kept small by the caller.
 *
 * @param candidates for each item of the left side, the indices of its possible partners
 * @returns for each item its partner, or undefined
 */
export function match(candidates: readonly (readonly number[])[]): readonly (number | undefined)[] {
  const leftOf = new Map<number, number>();
  for (const left of candidates.keys()) {
    augment(candidates, left, leftOf);
  }
  const partners: (number | undefined)[] = candidates.map(() => undefined);
  for (const [right, left] of leftOf) partners[left] = right;
  return partners;
}

/** Looks for a free partner, moving others to their next one; the path is kept in a list, not on the call stack. */
function augment(
  candidates: readonly (readonly number[])[],
  start: number,
  leftOf: Map<number, number>,
): void {
  const from = new Map<number, number>();
  const queue = [start];
  for (let at = 0; at < queue.length; at++) {
    const left = queue[at]!;
    for (const right of candidates[left]!) {
      if (from.has(right)) continue;
      from.set(right, left);
      const owner = leftOf.get(right);
      if (owner !== undefined) {
        queue.push(owner);
        continue;
      }
      assignPath(right, { from, leftOf, start });
      return;
    }
  }
}

function assignPath(
  free: number,
  path: {
    readonly from: ReadonlyMap<number, number>;
    readonly leftOf: Map<number, number>;
    readonly start: number;
  },
): void {
  const { from, leftOf, start } = path;
  let right = free;
  for (let left = from.get(right)!; left !== start; left = from.get(right)!) {
    // On the way from the start `left` was reached through the partner it has: that one is free from now on.
    const given = partnerOf(left, leftOf);
    leftOf.set(right, left);
    right = given;
  }
  leftOf.set(right, start);
}

function partnerOf(left: number, leftOf: ReadonlyMap<number, number>): number {
  for (const [right, owner] of leftOf) if (owner === left) return right;
  throw new Error('an item on an augmenting path has a partner');
}
