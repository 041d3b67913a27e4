import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type LocalCluster, LocalClusterError } from './local-cluster.ts';

/** What the programs that run a cluster on this machine have in common. */

/** Two signals closer together than this are one press of Ctrl-C that reached us twice (npm passes it on). */
const SAME_PRESS_MS = 1000;

/** The `conclave` command of this build. */
export function programPath(): string {
  return fileURLToPath(new URL('../src/main.js', import.meta.url));
}

/** A path as a person here would write it. */
export function shownPath(path: string): string {
  const shown = relative(process.cwd(), path);
  return shown === '' || shown.startsWith('..') ? path : `./${shown}`;
}

/** Reads `2379,22379`. @throws LocalClusterError when these are not `count` ports */
export function portList(
  text: string,
  expected: { readonly flag: string; readonly count: number },
): readonly number[] {
  const numbers = text.split(',').map(Number);
  const valid = numbers.every((port) => Number.isInteger(port) && port > 0 && port < 65_536);
  if (numbers.length === expected.count && valid) return numbers;
  throw new LocalClusterError(`${expected.flag}: '${text}' is not ${expected.count} ports, as in 2379,22379`);
}

/**
 * Resolves with the exit code once a signal came and all members have stopped; a second signal kills them, and so does
 * whatever else ends this process.
 *
 * @param interrupted aborted at the first signal
 */
export async function stopOnSignals(cluster: LocalCluster, interrupted: AbortController): Promise<number> {
  return new Promise((resolveCode, reject) => {
    let firstAt: number | null = null;
    const onSignal = (): void => {
      if (firstAt === null) {
        firstAt = performance.now();
        interrupted.abort();
        console.log('\nStopping the members ...');
        cluster.stop().then(() => {
          console.log('Stopped. The data is kept.');
          resolveCode(0);
        }, reject);
      } else if (performance.now() - firstAt > SAME_PRESS_MS) {
        console.error('Killing the members.');
        cluster.kill();
      }
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
    process.on('exit', () => cluster.kill());
  });
}

/** Runs a launcher to its end and leaves with its exit code; what went wrong is told in one line. */
export async function exitWith(main: () => Promise<number>): Promise<never> {
  try {
    process.exit(await main());
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
}
