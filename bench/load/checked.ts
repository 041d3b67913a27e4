import type { Figure } from '../question.ts';
import { latencyFigures } from '../question.ts';
import { compareAndPutCall, put, putCall, range, rangeCall, type UnaryCall } from './calls.ts';
import { GrpcConnection } from './grpc-connection.ts';
import { type UnaryFigures, unaryLoad } from './h2load.ts';

/** The key that unary loads read and write. */
export const KEY = Buffer.from('bench/key');
export const VALUE_BYTES = 1024;
/** All that 50 busy clients with ten calls in flight each can ask. */
export const FULL = { connections: 50, streams: 10 };
/** Before what is measured: compilers, caches and connections are warm. */
export const WARM_UP_REQUESTS = 20_000;

/** Where calls go, and how many. */
export interface Aim {
  readonly url: string;
  readonly requests: number;
  readonly connections: number;
  readonly streams: number;
  readonly perSecond?: number;
}

const MESSAGE_HEAD_BYTES = 5;

/** The key as loads expect it. */
export async function prepare(url: string, value: Buffer): Promise<void> {
  await withConnection(url, (connection) => put(connection, KEY, value));
}

/** Puts of one key. @throws Error unless each made a revision */
export function puts(aim: Aim, value: Buffer): Promise<UnaryFigures> {
  return writes(aim, putCall(KEY, value), value);
}

/** Transactions that put a key which must be there. @throws Error unless each made a revision */
export function txns(aim: Aim, value: Buffer): Promise<UnaryFigures> {
  return writes(aim, compareAndPutCall(KEY, value), value);
}

/** Ranges of one key. @throws Error unless all answers together have the size of right ones */
export async function ranges(aim: Aim, options: { readonly serializable: boolean }): Promise<UnaryFigures> {
  const call = rangeCall({ key: KEY, ...options });
  return withConnection(aim.url, async (connection) => {
    // The read index has brought the member up to date before its own state is asked for.
    await range(connection, { key: KEY });
    const leastBytes = await answerBytes(connection, call);
    const figures = await unaryLoad({ ...aim, ...call });
    const mostBytes = await answerBytes(connection, call);
    const meanBytes = figures.dataBytes / aim.requests;
    // Revisions in answers only grow, while others write.
    if (leastBytes < VALUE_BYTES || meanBytes < leastBytes || meanBytes > mostBytes) {
      throw new Error(`an answer has ${meanBytes} bytes on average, not ${leastBytes} to ${mostBytes}`);
    }
    return figures;
  });
}

export function unaryFigures({ requestsPerSecond, latencyMs }: UnaryFigures): readonly Figure[] {
  return [{ name: 'calls', unit: 'req/s', value: requestsPerSecond }, ...latencyFigures(latencyMs)];
}

async function writes(aim: Aim, call: UnaryCall, value: Buffer): Promise<UnaryFigures> {
  return withConnection(aim.url, async (connection) => {
    const before = (await range(connection, { key: KEY })).header.revision;
    const figures = await unaryLoad({ ...aim, ...call });
    const { header, kvs } = await range(connection, { key: KEY });
    if (header.revision - before !== aim.requests || kvs[0]?.value.equals(value) !== true) {
      throw new Error(`${header.revision - before} of ${aim.requests} writes took effect`);
    }
    return figures;
  });
}

async function answerBytes(connection: GrpcConnection, { path, message }: UnaryCall): Promise<number> {
  return MESSAGE_HEAD_BYTES + (await connection.call(path, message)).length;
}

async function withConnection<T>(url: string, work: (connection: GrpcConnection) => Promise<T>): Promise<T> {
  const connection = await GrpcConnection.open(url);
  try {
    return await work(connection);
  } finally {
    connection.close();
  }
}
