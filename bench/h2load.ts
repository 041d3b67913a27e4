import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { percentile } from './statistics.ts';

/** One kind of unary call, sent over and over. */
export interface UnaryLoad {
  readonly url: string;
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly message: Buffer;
  readonly requests: number;
  readonly connections: number;
  /** Calls in flight on each connection. */
  readonly streams: number;
}

export interface UnaryFigures {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Bytes of DATA that came back, framing of messages included. */
  readonly dataBytes: number;
}

const MESSAGE_HEAD_BYTES = 5;
const OUTPUT_BYTES_MAX = 1024 * 1024;

/** Sends the load with h2load (Debian: `nghttp2-client`). @throws Error when any request failed on the HTTP level */
export async function unaryLoad(load: UnaryLoad): Promise<UnaryFigures> {
  const directory = await mkdtemp(join(tmpdir(), 'bench-h2load-'));
  try {
    const body = join(directory, 'body');
    const log = join(directory, 'log');
    await writeFile(body, framed(load.message));
    const { stdout } = await promisify(execFile)(
      'h2load',
      [
        `--requests=${load.requests}`,
        `--clients=${load.connections}`,
        `--max-concurrent-streams=${load.streams}`,
        `--data=${body}`,
        `--log-file=${log}`,
        '--header=content-type: application/grpc',
        '--header=te: trailers',
        `${load.url}${load.path}`,
      ],
      { maxBuffer: OUTPUT_BYTES_MAX },
    );
    const succeeded = Number(/(\d+) succeeded/.exec(stdout)?.[1] ?? 0);
    if (succeeded !== load.requests) throw new Error(`${load.requests - succeeded} calls failed:\n${stdout}`);
    return { ...readSummary(stdout), ...readLatencies(await readFile(log, 'utf8')) };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function framed(message: Buffer): Buffer {
  const head = Buffer.alloc(MESSAGE_HEAD_BYTES);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function readSummary(output: string): Pick<UnaryFigures, 'requestsPerSecond' | 'dataBytes'> {
  return {
    requestsPerSecond: Number(/finished in [^,]+, ([\d.]+) req\/s/.exec(output)![1]),
    dataBytes: Number(/\((\d+)\) data/.exec(output)![1]),
  };
}

/** Each line of the log: start in microseconds, HTTP status, duration in microseconds. */
function readLatencies(log: string): Pick<UnaryFigures, 'p50Ms' | 'p99Ms'> {
  const durationsMs = log
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => Number(line.split('\t')[2]) / 1000);
  return { p50Ms: percentile(durationsMs, 50), p99Ms: percentile(durationsMs, 99) };
}
