import { ClientError } from './client-error.ts';
import { CLOCK_DRIFT } from './clock.ts';
import type { CallOptions } from './kv-client.ts';
import { LinkedSignal } from './linked-signal.ts';
import { pause } from './pause.ts';
import type { LeaseGrantAnswer, ResponseHeader } from './types.ts';

const RETRY_PAUSE_MS = 200;
/** However long a lease lasts, it is renewed so often; timers cannot wait for more than 24 days. */
const RENEWAL_MS_MAX = 3_600_000;
const TIMER_MS_MAX = 2 ** 31 - 1;
/** How long the clean-up may take behind what is given up by a signal, or by the end of a block. */
export const FAREWELL_TIMEOUT_MS = 2000;

/** What a lease is to be. */
export interface LeaseOptions {
  /** How long it lives on after its last renewal; the cluster may make it longer. */
  readonly ttlSeconds: number;
  /** Absent = the cluster chooses one. */
  readonly id?: bigint;
  /** Aborting it ends the lease, as far as the cluster can be reached. */
  readonly signal?: AbortSignal;
}

/** How a lease came to its end. */
export type LeaseEnd =
  | { readonly type: 'revoked' }
  /** It is gone, or may be: it could not be renewed in time. */
  | { readonly type: 'lost'; readonly error: ClientError };

/** What a lease needs of its client. */
export interface LeaseCalls {
  grant(options: Pick<LeaseOptions, 'ttlSeconds' | 'id'>, call: CallOptions): Promise<LeaseGrantAnswer>;
  /** May be repeated. @returns the remaining time in seconds, 0 when the lease is gone */
  renew(id: bigint, call: CallOptions): Promise<number>;
  /** May be repeated: the id means this lease only. */
  revoke(id: bigint, call: CallOptions): Promise<ResponseHeader>;
  /** Aborts when the client is closed. */
  readonly closing: AbortSignal;
}

/**
 * A lease that renews itself at every third of its time (at least every hour), at whichever member answers, until it is revoked or lost. It
 * counts as lost when the server says that it is gone, or when no renewal came through in time: from then on its keys
 * may vanish at any moment. The time runs on this process's monotonic clock from before each renewal was sent; it stands
 * still while the whole machine sleeps, so that a loss meanwhile is only noticed at the next renewal.
 */
export class Lease {
  readonly id: bigint;
  /** As granted. */
  readonly ttlSeconds: number;
  /** Settles once, when the lease is over; it never rejects. */
  readonly ended: Promise<LeaseEnd>;
  readonly #calls: LeaseCalls;
  readonly #over = new AbortController();
  readonly #resolveEnded: (end: LeaseEnd) => void;
  #untilMs = 0;
  #expiry: NodeJS.Timeout | null = null;

  constructor(
    calls: LeaseCalls,
    granted: { readonly id: bigint; readonly ttlSeconds: number; readonly sentMs: number },
  ) {
    this.id = granted.id;
    this.ttlSeconds = granted.ttlSeconds;
    this.#calls = calls;
    let resolveEnded: (end: LeaseEnd) => void = () => {};
    this.ended = new Promise((resolve) => {
      resolveEnded = resolve;
    });
    this.#resolveEnded = resolveEnded;
    this.#lastsFrom(granted.sentMs, granted.ttlSeconds);
    void this.#renew();
  }

  /** Aborts when the lease is over; its reason is a ClientError that says why. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** How long it surely lives on without a renewal, in ms; 0 when it is over or may be. */
  get remainingMs(): number {
    return this.#over.signal.aborted ? 0 : Math.max(0, this.#untilMs - performance.now());
  }

  /** Ends the lease and deletes its keys. Repeating it does no harm. @throws ClientError */
  async revoke(call: CallOptions = {}): Promise<void> {
    try {
      await this.#calls.revoke(this.id, call);
    } catch (error) {
      // It has ended by itself.
      if (!(error instanceof ClientError) || error.code !== 'not-found') throw error;
    } finally {
      // Whatever became of it, it is not renewed any more.
      this.#end({ type: 'revoked' });
    }
  }

  /** Revokes it; where the cluster cannot be reached it ends by its time. Never rejects. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#over.signal.aborted) return;
    await this.revoke({ timeoutMs: FAREWELL_TIMEOUT_MS }).catch(() => {});
  }

  /** Ends it when the signal aborts. */
  bindTo(signal: AbortSignal): void {
    const onAbort = (): void => void this[Symbol.asyncDispose]();
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    void this.ended.then(() => signal.removeEventListener('abort', onAbort));
  }

  async #renew(): Promise<void> {
    const { signal } = this.#over;
    const onClosing = (): void => this.#lost(new ClientError('canceled', 'the client was closed'));
    this.#calls.closing.addEventListener('abort', onClosing, { once: true });
    if (this.#calls.closing.aborted) onClosing();
    while (!signal.aborted) {
      const dueMs = this.#untilMs - (this.ttlSeconds * 1000 * 2) / 3 - performance.now();
      await pause(Math.min(Math.max(0, dueMs), RENEWAL_MS_MAX), signal).catch(() => {});
      if (!signal.aborted) await this.#renewOnce();
    }
    this.#calls.closing.removeEventListener('abort', onClosing);
  }

  async #renewOnce(): Promise<void> {
    const { signal } = this.#over;
    const sentMs = performance.now();
    try {
      const timeoutMs = Math.max(1, Math.ceil(this.#untilMs - sentMs));
      const ttlSeconds = await this.#calls.renew(this.id, { timeoutMs, signal });
      if (ttlSeconds > 0) this.#lastsFrom(sentMs, ttlSeconds);
      else this.#lost(new ClientError('not-found', 'etcdserver: requested lease not found'));
    } catch (error) {
      if (error instanceof ClientError && FINAL.has(error.code)) return this.#lost(error);
      // The time that is left is watched over by the timer.
      await pause(RETRY_PAUSE_MS, signal).catch(() => {});
    }
  }

  #lastsFrom(sentMs: number, ttlSeconds: number): void {
    if (this.#over.signal.aborted) return;
    this.#untilMs = sentMs + ttlSeconds * 1000 * (1 - CLOCK_DRIFT);
    if (this.#expiry !== null) clearTimeout(this.#expiry);
    const error = new ClientError('unavailable', 'the lease could not be renewed in time');
    const leftMs = Math.min(Math.max(0, this.#untilMs - performance.now()), TIMER_MS_MAX);
    this.#expiry = setTimeout(() => this.#lost(error), leftMs);
  }

  #lost(error: ClientError): void {
    this.#end({ type: 'lost', error });
  }

  #end(end: LeaseEnd): void {
    if (this.#over.signal.aborted) return;
    if (this.#expiry !== null) clearTimeout(this.#expiry);
    this.#over.abort(end.type === 'lost' ? end.error : new ClientError('canceled', 'the lease was revoked'));
    this.#resolveEnded(end);
  }
}

/** After these no later attempt can come out better. */
const FINAL: ReadonlySet<string> = new Set([
  'invalid-argument',
  'not-found',
  'permission-denied',
  'unauthenticated',
  'unimplemented',
]);

/** Grants a lease and keeps it alive. @throws ClientError */
export async function grantLease(
  calls: LeaseCalls,
  { signal, ...wanted }: LeaseOptions,
  call: CallOptions,
): Promise<Lease> {
  using link = new LinkedSignal([signal, call.signal]);
  const sentMs = performance.now();
  const { id, ttlSeconds } = await calls.grant(wanted, { ...call, signal: link.signal });
  const lease = new Lease(calls, { id, ttlSeconds, sentMs });
  if (signal !== undefined) lease.bindTo(signal);
  return lease;
}
