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
  readonly headers?: Readonly<Record<string, string>>;
}

export interface UnaryFigures {
  /** Answered from the first call to the last answer, each second. */
  readonly requestsPerSecond: number;
  readonly latencyMs: Spread;
  /** Bytes of DATA that came back, framing of messages included. */
  readonly dataBytes: number;
}

/** One HTTP/1.1 request, sent over and over on connections that are kept. */
export interface HttpLoad {
  readonly url: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly requests: number;
  readonly connections: number;
  /** Offered by all connections together; absent = the next request as soon as one is answered. */
  readonly perSecond?: number;
}

export interface HttpFigures extends UnaryFigures {
  /** Answers that found something, and those that said that the caller has it already. */
  readonly found: number;
  readonly notModified: number;
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
  return inDirectory(async (directory) => {
    const [body, log] = [join(directory, 'body'), join(directory, 'log')];
    await writeFile(body, framed(load.message));
    const output = await h2load(h2loadArguments(load, { body, log }), load.requests);
    return { dataBytes: readDataBytes(output), ...readLog(await readFile(log, 'utf8')) };
  });
}

/** GET over HTTP/1.1, one request at a time on each connection. @throws Error as `unaryLoad` */
export async function httpLoad(load: HttpLoad): Promise<HttpFigures> {
  return inDirectory(async (directory) => {
    const log = join(directory, 'log');
    const output = await h2load(httpArguments(load, log), load.requests);
    const [, found = 0, notModified = 0] = /(\d+) 2xx, (\d+) 3xx/.exec(output)?.map(Number) ?? [];
    const common = { dataBytes: readDataBytes(output), ...readLog(await readFile(log, 'utf8')) };
    return { ...common, found, notModified };
  });
}

async function inDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'bench-h2load-'));
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function h2load(args: readonly string[], requests: number): Promise<string> {
  const { stdout } = await promisify(execFile)('h2load', args, {
    maxBuffer: OUTPUT_BYTES_MAX,
    timeout: LOAD_TIMEOUT_MS,
  });
  const succeeded = Number(/(\d+) succeeded/.exec(stdout)?.[1] ?? 0);
  if (succeeded !== requests) throw new Error(`${requests - succeeded} calls failed:\n${stdout}`);
  return stdout;
}

/** The offered rate is shared out evenly; fewer calls than connections take one connection each. */
export function h2loadArguments(
  { url, path, requests, connections, streams, perSecond, headers = {} }: UnaryLoad,
  files: { readonly body: string; readonly log: string },
): readonly string[] {
  return [
    ...commonArguments({ requests, connections, perSecond }, files.log),
    `--max-concurrent-streams=${streams}`,
    `--data=${files.body}`,
    '--header=content-type: application/grpc',
    '--header=te: trailers',
    ...headerArguments(headers),
    `${url}${path}`,
  ];
}

/** As `h2loadArguments`, of `httpLoad`. */
export function httpArguments(
  { url, path, requests, connections, perSecond, headers = {} }: HttpLoad,
  log: string,
): readonly string[] {
  const common = commonArguments({ requests, connections, perSecond }, log);
  return [...common, '--h1', ...headerArguments(headers), `${url}${path}`];
}

function commonArguments(
  {
    requests,
    connections,
    perSecond,
  }: { readonly requests: number; readonly connections: number; readonly perSecond: number | undefined },
  log: string,
): readonly string[] {
  const clients = Math.min(connections, requests);
  return [
    `--requests=${requests}`,
    `--clients=${clients}`,
    ...(perSecond === undefined ? [] : [`--rps=${perSecond / clients}`]),
    `--log-file=${log}`,
  ];
}

function headerArguments(headers: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(headers).map(([name, value]) => `--header=${name}: ${value}`);
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
