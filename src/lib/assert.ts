/** A broken invariant: a bug in this program, never an operational condition. It stops the member. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/**
 * Checks an invariant; stays on in production.
 *
 * @param message static text, so that a passing check costs nothing
 * @throws AssertionError when the condition does not hold
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Closes an exhaustive `switch` over a tagged union. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${JSON.stringify(value)}`);
}

/** True under `VERIFY=1`: checks that cost more than O(1) run only then. Every test sets it. */
export const VERIFY = process.env['VERIFY'] === '1';
