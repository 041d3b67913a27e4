import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type LocalCluster,
  LocalClusterError,
  type LocalClusterOptions,
  type LocalMember,
} from './local-cluster.ts';

/** What the programs that run a cluster on this machine have in common. */

/** Two signals closer together than this are one press of Ctrl-C that reached us twice (npm passes it on). */
const SAME_PRESS_MS = 1000;
const READY_TIMEOUT_MS = 120_000;

/** What a person is told of a cluster, and what goes on beside it. */
export interface Launched {
  /** Printed before the members start. */
  readonly banner: string;
  /** Printed once they are ready, behind how long that took. */
  readonly usage: string;
  /** Goes on from then until the signal. */
  readonly meanwhile?: (signal: AbortSignal) => Promise<void>;
}

/** The `conclave` command of this build. */
export function programPath(): string {
  return fileURLToPath(new URL('../src/main.js', import.meta.url));
}

/** A path as a person here would write it. */
export function shownPath(path: string): string {
  const shown = relative(process.cwd(), path);
  return shown === '' || shown.startsWith('..') ? path : `./${shown}`;
}

/** The ports of each of `count` members, from the lists on the command line. @throws LocalClusterError for no such lists */
export function memberPorts(
  lists: Readonly<Record<'client-ports' | 'peer-ports' | 'http-ports', string>>,
  count: number,
): readonly Pick<LocalMember, 'clientPort' | 'peerPort' | 'httpPort'>[] {
  const clients = portList(lists['client-ports'], { flag: '--client-ports', count });
  const peers = portList(lists['peer-ports'], { flag: '--peer-ports', count });
  const https = portList(lists['http-ports'], { flag: '--http-ports', count });
  return clients.map((clientPort, at) => ({ clientPort, peerPort: peers[at]!, httpPort: https[at]! }));
}

/** Keeps a cluster on this machine running until a signal comes, or until the last of its members has ended. */
export class Launch {
  readonly #memberCount: number;
  readonly #ended = new AbortController();

  constructor(memberCount: number) {
    this.#memberCount = memberCount;
  }

  /** To be told by the cluster that is run. */
  readonly onMemberEnd: LocalClusterOptions['onMemberEnd'] = (name, how, runningCount) => {
    console.error(`\n${name} ended (${how}); ${runningCount} of ${this.#memberCount} members run`);
    if (runningCount === 0) this.#ended.abort();
  };

  /** Resolves with the exit code. @throws LocalClusterError when a port is taken, or a member does not get ready */
  async run(cluster: LocalCluster, { banner, usage, meanwhile }: Launched): Promise<number> {
    const interrupted = new AbortController();
    const stopped = stopOnSignals(cluster, interrupted);
    console.log(banner);
    const startedAt = performance.now();
    try {
      await cluster.start(AbortSignal.any([interrupted.signal, AbortSignal.timeout(READY_TIMEOUT_MS)]));
    } catch (error) {
      if (interrupted.signal.aborted) return stopped;
      throw error;
    }
    console.log(`Ready after ${((performance.now() - startedAt) / 1000).toFixed(1)} s.${usage}`);
    const ended = this.#ended.signal;
    const beside = meanwhile?.(AbortSignal.any([interrupted.signal, ended]));
    const died = new Promise<number>((settle) => ended.addEventListener('abort', () => settle(1)));
    const code = await Promise.race([stopped, died]);
    await beside;
    return code;
  }
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

/**
 * Resolves with the exit code once a signal came and all members have stopped; a second signal kills them, and so does
 * whatever else ends this process.
 *
 * @param interrupted aborted at the first signal
 */
async function stopOnSignals(cluster: LocalCluster, interrupted: AbortController): Promise<number> {
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

/** Reads `2379,22379`. @throws LocalClusterError when these are not `count` ports */
function portList(
  text: string,
  expected: { readonly flag: string; readonly count: number },
): readonly number[] {
  const numbers = text.split(',').map(Number);
  const valid = numbers.every((port) => Number.isInteger(port) && port > 0 && port < 65_536);
  if (numbers.length === expected.count && valid) return numbers;
  throw new LocalClusterError(`${expected.flag}: '${text}' is not ${expected.count} ports, as in 2379,22379`);
}
