import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Spread, spread } from '../statistics.ts';
import { framed } from './grpc-connection.ts';

/** One kind of unary call, sent over and over. */
export interface UnaryLoad {
  readonly url: string;
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly message: Buffer;
  readonly requests: number;
  readonly connections: number;
  /** Calls in flight on each connection at most. */
  readonly streams: number;
  /** Offered by all connections together; absent = the next call as soon as one is answered. */
  readonly perSecond?: number;
}

export interface UnaryFigures {
  /** Answered from the first call to the last answer, each second. */
  readonly requestsPerSecond: number;
  readonly latencyMs: Spread;
  /** Bytes of DATA that came back, framing of messages included. */
  readonly dataBytes: number;
}

const OUTPUT_BYTES_MAX = 1024 * 1024;
const LOAD_TIMEOUT_MS = 15 * 60_000;

/**
 * Sends the load with h2load (Debian: `nghttp2-client`). Latency counts from when a call was sent: at an offered rate
 * `streams` must be enough that calls are sent when they are due.
 *
 * @throws Error when any request failed on the HTTP level, or after 15 minutes
 */
export async function unaryLoad(load: UnaryLoad): Promise<UnaryFigures> {
  const directory = await mkdtemp(join(tmpdir(), 'bench-h2load-'));
  try {
    const body = join(directory, 'body');
    const log = join(directory, 'log');
    await writeFile(body, framed(load.message));
    const { stdout } = await promisify(execFile)('h2load', h2loadArguments(load, { body, log }), {
      maxBuffer: OUTPUT_BYTES_MAX,
      timeout: LOAD_TIMEOUT_MS,
    });
    const succeeded = Number(/(\d+) succeeded/.exec(stdout)?.[1] ?? 0);
    if (succeeded !== load.requests) throw new Error(`${load.requests - succeeded} calls failed:\n${stdout}`);
    return { dataBytes: readDataBytes(stdout), ...readLog(await readFile(log, 'utf8')) };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The offered rate is shared out evenly; fewer calls than connections take one connection each. */
export function h2loadArguments(
  { url, path, requests, connections, streams, perSecond }: UnaryLoad,
  files: { readonly body: string; readonly log: string },
): readonly string[] {
  const clients = Math.min(connections, requests);
  return [
    `--requests=${requests}`,
    `--clients=${clients}`,
    `--max-concurrent-streams=${streams}`,
    ...(perSecond === undefined ? [] : [`--rps=${perSecond / clients}`]),
    `--data=${files.body}`,
    `--log-file=${files.log}`,
    '--header=content-type: application/grpc',
    '--header=te: trailers',
    `${url}${path}`,
  ];
}

function readDataBytes(output: string): number {
  return Number(/\((\d+)\) data/.exec(output)![1]);
}

/** Each line of the log: start in microseconds, HTTP status, duration in microseconds. */
export function readLog(log: string): Pick<UnaryFigures, 'requestsPerSecond' | 'latencyMs'> {
  const durationsMs: number[] = [];
  let firstUs = Number.POSITIVE_INFINITY;
  let lastUs = 0;
  for (const line of log.split('\n')) {
    if (line === '') continue;
    const [startUs, , durationUs] = line.split('\t').map(Number);
    durationsMs.push(durationUs! / 1000);
    firstUs = Math.min(firstUs, startUs!);
    lastUs = Math.max(lastUs, startUs! + durationUs!);
  }
  const seconds = (lastUs - firstUs) / 1e6;
  return { requestsPerSecond: durationsMs.length / seconds, latencyMs: spread(durationsMs) };
}
