import { codec } from '../rpc/codec.ts';
import type { Definitions, WatchRequest } from '../rpc/generated/flags/v1/flags.ts';
import type { Channels } from './channels.ts';
import { asClientError, ClientError, type ClientErrorCode } from './client-error.ts';
import type { Method } from './connection.ts';
import { type Backoff, backoffMs, pause } from './pause.ts';
import type { SignIn } from './sign-in.ts';

/** Between two attempts to reach the cluster. */
const RETRY: Backoff = { firstMs: 200, longestMs: 10_000 };

/** Failures that no other attempt gets over: they say that something is wrong with the client. */
const FINAL: ReadonlySet<ClientErrorCode> = new Set([
  'invalid-argument',
  'failed-precondition',
  'permission-denied',
  'unauthenticated',
  'unimplemented',
]);

const WATCH: Method<WatchRequest, Definitions> = {
  path: '/flags.v1.FlagService/Watch',
  encode: (request) => codec('flags.v1.WatchRequest').encode(request),
  decode: (bytes) => codec('flags.v1.Definitions').decode(bytes),
  mutating: false,
};

/** Whether another attempt may help against what has ended a stream. */
export function isFinal(error: unknown): boolean {
  return error instanceof ClientError && FINAL.has(error.code);
}

/** What a feed tells, in order. */
export interface FlagFeedListener {
  readonly definitions: (definitions: Definitions) => void;
  /** The stream is lost, or could not be opened; it is tried again. */
  readonly lost: (error: unknown) => void;
}

/** The definitions of flags as the cluster has them, again after each change, until the signal is aborted. */
export async function followFlags(
  { channels, signIn }: { readonly channels: Channels; readonly signIn: SignIn },
  options: {
    readonly request: WatchRequest;
    /** How long signing in may take. */
    readonly timeoutMs: number;
    readonly listener: FlagFeedListener;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { request, timeoutMs, listener, signal } = options;
  for (let failures = 0; !signal.aborted; ) {
    try {
      const stream = signIn.stream({ timeoutMs, signal }, (token) =>
        openOnce(channels, { request, token, signal }),
      );
      for await (const definitions of stream) {
        failures = 0;
        listener.definitions(definitions);
      }
      throw new ClientError('unavailable', 'the server ended the stream of flags');
    } catch (error) {
      if (signal.aborted) return;
      listener.lost(error);
      failures += 1;
      await pause(backoffMs(failures, RETRY), signal).catch(() => undefined);
    }
  }
}

async function* openOnce(
  channels: Channels,
  call: { readonly request: WatchRequest; readonly token: string | null; readonly signal: AbortSignal },
): AsyncGenerator<Definitions, void, undefined> {
  const { address, stream } = await channels.stream(WATCH, call);
  try {
    for await (const definitions of stream as AsyncIterable<Definitions>) yield definitions;
    channels.fail(address);
  } catch (error) {
    const found = asClientError(error);
    if (!isFinal(found)) channels.fail(address);
    throw found;
  } finally {
    stream.cancel();
  }
}
