import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { WatchRequest, WatchResponse } from '../rpc/generated/etcdserverpb/rpc.ts';
import { type Channels, pause } from './channels.ts';
import { asClientError, ClientError, type ClientErrorCode } from './client-error.ts';
import type { SignIn } from './sign-in.ts';
import type { WatchBatch, WatchOptions } from './types.ts';
import { header, METHODS, watchEvent, watchRequest } from './wire.ts';

/** Failures in a row, without one answer between them, after which a watch gives up. */
const FAILURES_MAX = 30;
const RETRY_PAUSE_MS = 100;
const RETRY_PAUSE_MS_MAX = 2000;

/** What may heal on another member, or on this one later. */
const HEALING: ReadonlySet<string> = new Set(['unavailable', 'internal', 'canceled', 'unknown']);

/**
 * Every change of the range in order, each once, over any number of lost connections and members: after one is lost
 * the watch goes on behind the last revision that was told. It ends when the signal is aborted or the loop is left.
 *
 * @throws ClientError `out-of-range` with `compactRevision` when history from its revision on is gone, `unavailable`
 *   when no member could be reached for a long while, and what the server says otherwise
 */
export async function* watch(
  connection: WatchConnection,
  options: WatchOptions,
): AsyncGenerator<WatchBatch, void, undefined> {
  const position: Position = { next: options.startRevision ?? 0, failures: 0 };
  while (!isAborted(options)) {
    try {
      yield* follow(connection, options, position);
    } catch (error) {
      if (isAborted(options)) return;
      const heals = error instanceof ClientError && HEALING.has(error.code);
      if (!heals && !connection.signIn.isStale(error)) throw error;
      position.failures += 1;
      if (position.failures > FAILURES_MAX) throw error;
      await pauseAfter(position.failures, options.signal);
    }
  }
}

/** What a watch goes over, again and again. */
export interface WatchConnection {
  readonly channels: Channels;
  readonly signIn: SignIn;
  readonly timeoutMs: number;
}

function isAborted(options: WatchOptions): boolean {
  return options.signal?.aborted === true;
}

interface Position {
  /** The first revision not told yet; 0 until the server has said which one that is. */
  next: number;
  failures: number;
}

async function pauseAfter(failures: number, signal: AbortSignal | undefined): Promise<void> {
  const durationMs = Math.min(RETRY_PAUSE_MS * 2 ** (failures - 1), RETRY_PAUSE_MS_MAX);
  // Aborted while waiting: the loop sees it.
  await pause(durationMs, signal).catch(() => {});
}

/** One stream on one member, until it breaks. */
async function* follow(
  { channels, signIn, timeoutMs }: WatchConnection,
  options: WatchOptions,
  position: Position,
): AsyncGenerator<WatchBatch, void, undefined> {
  const { signal } = options;
  const token = await signIn.token({ timeoutMs, signal });
  const { address, stream } = await channels.duplex(METHODS.watch, { signal, token: token.value });
  const onAbort = (): void => stream.cancel();
  options.signal?.addEventListener('abort', onAbort, { once: true });
  try {
    stream.write(watchRequest(options, position.next));
    yield* batches(stream, options, position);
    throw new ClientError('unavailable', `${address} ended the watch`);
  } catch (error) {
    const failure = asClientError(error);
    if (signIn.isStale(failure)) signIn.forget(token);
    else channels.fail(address);
    throw failure;
  } finally {
    options.signal?.removeEventListener('abort', onAbort);
    // The cancellation comes back as an error that nobody waits for any more.
    stream.on('error', () => {});
    stream.cancel();
  }
}

async function* batches(
  stream: ClientDuplexStream<Partial<WatchRequest>, WatchResponse>,
  options: WatchOptions,
  position: Position,
): AsyncGenerator<WatchBatch, void, undefined> {
  for await (const response of stream as AsyncIterable<WatchResponse>) {
    if (response.canceled) throw cancellation(response);
    position.failures = 0;
    const answered = header(response.header);
    if (response.created) {
      // From here on a lost connection must not skip what happens meanwhile.
      if (position.next === 0) position.next = answered.revision + 1;
      continue;
    }
    const events = response.events.map(watchEvent);
    const last = events.at(-1);
    // Without events it is a promise: everything up to the header's revision has been told.
    const told = last === undefined ? answered.revision : last.kv.modRevision;
    position.next = Math.max(position.next, told + 1);
    if (last !== undefined || options.progressNotify === true) yield { header: answered, events };
  }
}

const REFUSALS: Readonly<Record<string, ClientErrorCode>> = {
  PermissionDenied: 'permission-denied',
  Unauthenticated: 'unauthenticated',
  InvalidArgument: 'invalid-argument',
};

function cancellation(response: WatchResponse): ClientError {
  const compactRevision = Number(response.compact_revision);
  if (compactRevision > 0) {
    const text = 'etcdserver: mvcc: required revision has been compacted';
    return new ClientError('out-of-range', response.cancel_reason || text, { compactRevision });
  }
  const reason = response.cancel_reason || 'etcdserver: watch canceled';
  // A refusal comes as the text of a gRPC status.
  const refusal = /^rpc error: code = (\w+) desc = (.*)$/s.exec(reason);
  const code = REFUSALS[refusal?.[1] ?? ''];
  return code === undefined
    ? new ClientError('failed-precondition', reason)
    : new ClientError(code, refusal![2]!);
}
