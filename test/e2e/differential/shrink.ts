import type { Operation } from './operations.ts';

/** Tries are dear: each starts two servers. */
const TRIES_MAX = 80;

/**
 * A shorter stream that still fails: first the shortest tail before the failing operation, then delta debugging
 * (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002).
 */
export async function shrunken(
  failing: readonly Operation[],
  fails: (operations: readonly Operation[]) => Promise<boolean>,
): Promise<readonly Operation[]> {
  let tries = 0;
  const still = async (operations: readonly Operation[]): Promise<boolean> => {
    tries += 1;
    return fails(operations);
  };
  let left = await tail(failing, still);
  for (let parts = 2; left.length > 1 && tries < TRIES_MAX; ) {
    const size = Math.ceil(left.length / parts);
    let shorter: readonly Operation[] | null = null;
    for (let from = 0; from < left.length && tries < TRIES_MAX && shorter === null; from += size) {
      const without = [...left.slice(0, from), ...left.slice(from + size)];
      if (await still(without)) shorter = without;
    }
    if (shorter !== null) {
      left = shorter;
      parts = Math.max(2, parts - 1);
    } else if (parts >= left.length) {
      break;
    } else {
      parts = Math.min(left.length, parts * 2);
    }
  }
  return left;
}

async function tail(
  failing: readonly Operation[],
  still: (operations: readonly Operation[]) => Promise<boolean>,
): Promise<readonly Operation[]> {
  for (let length = 2; length < failing.length; length *= 3) {
    const candidate = failing.slice(-length);
    if (await still(candidate)) return candidate;
  }
  return failing;
}
