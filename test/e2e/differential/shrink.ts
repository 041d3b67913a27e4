import type { Operation } from './operations.ts';

/** Tries are dear: each starts two servers. */
const TRIES_MAX = 150;

/**
 * A shorter stream that still fails: first the shortest tail before the failing operation, then without ever
 * smaller parts of it (after Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002).
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
  for (let size = Math.ceil(left.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let from = 0; from < left.length && tries < TRIES_MAX; ) {
      const without = [...left.slice(0, from), ...left.slice(from + size)];
      if (without.length > 0 && (await still(without))) left = without;
      else from += size;
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
