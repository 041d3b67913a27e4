import { setMaxListeners } from 'node:events';
import { ClientError, clientClosed } from './client-error.ts';
import { CLOCK_DRIFT, type ClientClock } from './clock.ts';
import type { CallOptions } from './kv-client.ts';
import { LinkedSignal } from './linked-signal.ts';
import type { LeaseGrantAnswer, ResponseHeader } from './types.ts';

const RETRY_PAUSE_MS = 200;
/** However long a lease lasts, it is renewed so often. */
const RENEWAL_MS_MAX = 3_600_000;
/** Timers stand still while the machine sleeps: the clock is looked at so often, in running time. */
const LOOK_MS = 1000;
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
  readonly clock: ClientClock;
}

/**
 * A lease that renews itself at every third of its time (at least every hour), at whichever member answers, until it is
 * revoked or lost. It counts as lost when the server says that it is gone, or when no renewal came through in time: from
 * then on its keys may vanish at any moment. The time runs on this machine's own clock from before each renewal was sent,
 * sleep included: a lease that ended while the machine slept is found lost by whoever asks for `remainingMs`, and within
 * a second of running time in any case.
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
  /** When it is renewed next. */
  #dueMs = 0;
  #isRenewing = false;
  #callOffLook = (): void => {};

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
    const onClosing = (): void => this.#lost(clientClosed());
    // As many wait for it as have their keys on it.
    setMaxListeners(0, this.#over.signal);
    calls.closing.addEventListener('abort', onClosing, { once: true, signal: this.#over.signal });
    if (calls.closing.aborted) onClosing();
    this.#look();
  }

  /** Aborts when the lease is over; its reason is a ClientError that says why. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** How long it surely lives on without a renewal, in ms; 0 when it is over or may be: it is then lost. */
  get remainingMs(): number {
    if (this.#over.signal.aborted) return 0;
    const remainingMs = this.#untilMs - this.#calls.clock.nowMs();
    if (remainingMs > 0) return remainingMs;
    this.#lost(new ClientError('unavailable', 'the lease could not be renewed in time'));
    return 0;
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

  /** Does what is due, and comes back in time for the rest. */
  #look(): void {
    const leftMs = this.remainingMs;
    if (leftMs === 0) return;
    const { clock } = this.#calls;
    let nextMs = Math.min(leftMs, LOOK_MS);
    if (!this.#isRenewing) {
      const dueMs = this.#dueMs - clock.nowMs();
      if (dueMs <= 0) void this.#renew();
      else nextMs = Math.min(nextMs, dueMs);
    }
    // Timers may be early by a part of a millisecond.
    this.#callOffLook = clock.after(Math.ceil(nextMs), () => this.#look());
  }

  async #renew(): Promise<void> {
    const { clock } = this.#calls;
    const sentMs = clock.nowMs();
    this.#isRenewing = true;
    try {
      const timeoutMs = Math.max(1, Math.ceil(this.#untilMs - sentMs));
      const ttlSeconds = await this.#calls.renew(this.id, { timeoutMs, signal: this.#over.signal });
      if (ttlSeconds > 0) this.#lastsFrom(sentMs, ttlSeconds);
      else this.#lost(new ClientError('not-found', 'etcdserver: requested lease not found'));
    } catch (error) {
      if (error instanceof ClientError && FINAL.has(error.code)) this.#lost(error);
      this.#dueMs = clock.nowMs() + RETRY_PAUSE_MS;
    } finally {
      this.#isRenewing = false;
      this.#callOffLook();
      this.#look();
    }
  }

  #lastsFrom(sentMs: number, ttlSeconds: number): void {
    this.#untilMs = sentMs + ttlSeconds * 1000 * (1 - CLOCK_DRIFT);
    this.#dueMs = sentMs + Math.min((ttlSeconds * 1000) / 3, RENEWAL_MS_MAX);
  }

  #lost(error: ClientError): void {
    this.#end({ type: 'lost', error });
  }

  #end(end: LeaseEnd): void {
    if (this.#over.signal.aborted) return;
    this.#callOffLook();
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
  const sentMs = calls.clock.nowMs();
  const { id, ttlSeconds } = await calls.grant(wanted, { ...call, signal: link.signal });
  const lease = new Lease(calls, { id, ttlSeconds, sentMs });
  if (signal !== undefined) lease.bindTo(signal);
  return lease;
}
