import type { Channels } from './channels.ts';
import { asClientError, ClientError } from './client-error.ts';
import { LinkedSignal } from './linked-signal.ts';
import { pause } from './pause.ts';
import type { SignIn } from './sign-in.ts';
import { METHODS } from './wire.ts';

const RETRY_PAUSE_MS = 100;
/** What one member is given at least, as long as there is time. */
const ATTEMPT_MS_MIN = 100;
/** What another member, or the same one later, may do better. */
const HEALING: ReadonlySet<string> = new Set(['unavailable', 'internal', 'unknown', 'canceled']);

/** Bounds of one renewal. */
interface RenewalLimits {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Renews a lease once. Doing so twice does no harm: members are tried one after the other until the time is over.
 *
 * @returns its new remaining time in seconds, 0 when it is gone
 * @throws ClientError `deadline-exceeded`, `canceled`, and what the server refuses
 */
export async function renewLease(
  link: { readonly channels: Channels; readonly signIn: Pick<SignIn, 'with'> },
  id: bigint,
  limits: RenewalLimits,
): Promise<number> {
  const deadlineMs = Date.now() + limits.timeoutMs;
  for (let unreached = 0; ; ) {
    try {
      return await link.signIn.with(
        { ...limits, timeoutMs: Math.max(1, deadlineMs - Date.now()) },
        ({ token }) => renewAt(link.channels, id, { ...limits, token, timeoutMs: attemptMs(deadlineMs) }),
      );
    } catch (error) {
      const isOver = Date.now() >= deadlineMs || limits.signal?.aborted === true;
      if (isOver || !(error instanceof ClientError)) throw error;
      if (error.code !== 'deadline-exceeded' && !HEALING.has(error.code)) throw error;
      unreached = error.unsent ? unreached + 1 : 0;
      if (unreached > 1) throw error;
      await pause(RETRY_PAUSE_MS, limits.signal);
    }
  }
}

/** A member that may be cut off gets half of what time there is. */
function attemptMs(deadlineMs: number): number {
  const leftMs = deadlineMs - Date.now();
  return Math.min(leftMs, Math.max(ATTEMPT_MS_MIN, Math.ceil(leftMs / 2)));
}

async function renewAt(
  channels: Channels,
  id: bigint,
  limits: RenewalLimits & { readonly token: string | null },
): Promise<number> {
  using link = new LinkedSignal([limits.signal], limits.timeoutMs);
  const { signal } = link;
  // Time is left for another member when one takes no connection.
  const call = { signal, token: limits.token, connectMs: limits.timeoutMs / 2 };
  const { address, stream } = await channels.duplex(METHODS.leaseKeepAlive, call);
  try {
    stream.write({ ID: id });
    for await (const answer of stream as AsyncIterable<{ readonly TTL: number | bigint }>)
      return Number(answer.TTL);
    throw new ClientError('unavailable', 'the member ended the stream without an answer');
  } catch (error) {
    const failure = asClientError(error);
    if (limits.signal?.aborted === true) throw failure;
    if (link.isTimeout) {
      channels.fail(address);
      throw new ClientError('deadline-exceeded', 'the lease was not renewed in time');
    }
    if (failure instanceof ClientError && HEALING.has(failure.code)) channels.fail(address);
    throw failure;
  } finally {
    stream.cancel();
  }
}
