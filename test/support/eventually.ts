/** Between two looks: what is waited for happens in other processes, which cannot be subscribed to. */
const POLL_MS = 20;
const PATIENCE_MS_DEFAULT = 60_000;

/**
 * Repeats `look` until it answers something else than false or undefined.
 *
 * @throws Error naming `what` after `patienceMs`, with the last failure as its cause
 */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | false | undefined> | T | false | undefined,
  patienceMs = PATIENCE_MS_DEFAULT,
): Promise<T> {
  const endMs = performance.now() + patienceMs;
  let failure: unknown;
  while (performance.now() < endMs) {
    try {
      const found = await look();
      if (found !== false && found !== undefined) return found;
      failure = undefined;
    } catch (error) {
      failure = error;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(`${what} did not happen within ${patienceMs} ms`, { cause: failure });
}
