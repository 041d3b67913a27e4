import type { Channels } from './channels.ts';
import { ClientError, type ClientErrorCode } from './client-error.ts';
import type { CallLimits } from './connection.ts';
import { LinkedSignal } from './linked-signal.ts';
import { pause } from './pause.ts';
import { METHODS } from './wire.ts';

/** A user's name and password. */
export interface Login {
  readonly user: string;
  readonly password: string;
}

/** The server's texts for a token that is over, or of before a change of users and roles: nothing was done. */
const STALE: readonly string[] = [
  'etcdserver: invalid auth token',
  'etcdserver: revision of auth store is old',
  'etcdserver: user name is empty',
];
/** Failures that say something of the one call only. */
const OF_ONE_CALL: ReadonlySet<ClientErrorCode> = new Set(['canceled', 'deadline-exceeded']);
const NOT_ENABLED = 'etcdserver: authentication is not enabled';
/** How often one call is tried with a new token. */
const RENEWALS_MAX = 3;

/** What is left of a call once it has a token. */
export interface ShownCall {
  readonly token: string | null;
  readonly timeoutMs: number;
}

function leftMs(untilMs: number): number {
  return Math.max(1, untilMs - Date.now());
}

/** What calls show: null where there is nothing to show. */
export interface HeldToken {
  readonly value: string | null;
}
const NOTHING: HeldToken = { value: null };

/**
 * Keeps a token for a user: got at the first call, and anew when the server says that it is over. Where authentication is
 * not enabled there is none, and calls go without.
 */
export class SignIn {
  readonly #channels: Channels;
  readonly #login: Login | undefined;
  #held: HeldToken | null = null;
  /** Begun by one call, waited for by all. */
  #asking: Promise<HeldToken> | null = null;

  constructor(channels: Channels, login: Login | undefined) {
    this.#channels = channels;
    this.#login = login;
  }

  /** Whether calls show who is asking. */
  get hasLogin(): boolean {
    return this.#login !== undefined;
  }

  /**
   * Calls with a token, and once more with a new one when it was refused as stale. Signing in takes of the call's time.
   *
   * @throws ClientError
   */
  async with<T>(limits: CallLimits, call: (shown: ShownCall) => Promise<T>): Promise<T> {
    const untilMs = Date.now() + limits.timeoutMs;
    for (let renewals = 0; ; renewals += 1) {
      const token = await this.token({ ...limits, timeoutMs: leftMs(untilMs) });
      try {
        return await call({ token: token.value, timeoutMs: leftMs(untilMs) });
      } catch (error) {
        if (!this.isStale(error) || renewals >= RENEWALS_MAX) throw error;
        this.forget(token);
      }
    }
  }

  /** A stream with a token, opened once more with a new one when it was refused as stale before it told anything. */
  async *stream<T>(
    limits: CallLimits,
    open: (token: string | null) => AsyncIterable<T>,
  ): AsyncGenerator<T, void, undefined> {
    for (let renewals = 0; ; renewals += 1) {
      const token = await this.token(limits);
      let begun = false;
      try {
        for await (const item of open(token.value)) {
          begun = true;
          yield item;
        }
        return;
      } catch (error) {
        if (!this.isStale(error)) throw error;
        this.forget(token);
        if (begun || renewals >= RENEWALS_MAX) throw error;
      }
    }
  }

  /** @throws ClientError when the password is wrong or no member could be asked within the limits */
  async token(limits: CallLimits): Promise<HeldToken> {
    const untilMs = Date.now() + limits.timeoutMs;
    for (;;) {
      if (this.#login === undefined) return NOTHING;
      if (this.#held !== null) return this.#held;
      const left = { ...limits, timeoutMs: leftMs(untilMs) };
      if (this.#asking === null) return this.#begin(this.#login, left);
      try {
        return await within(this.#asking, left);
      } catch (error) {
        // It was the other call that was given up, or that had no more time: this one may have.
        const isOver = limits.signal?.aborted === true || Date.now() >= untilMs;
        if (isOver || !(error instanceof ClientError) || !OF_ONE_CALL.has(error.code)) throw error;
      }
    }
  }

  /** Whether a new token may help. */
  isStale(error: unknown): boolean {
    if (this.#login === undefined || !(error instanceof ClientError)) return false;
    return STALE.some((text) => error.message.endsWith(text));
  }

  /** The token is of no use any more; a later one is kept. */
  forget(token: HeldToken): void {
    if (this.#held === token) this.#held = null;
  }

  async #begin(login: Login, limits: CallLimits): Promise<HeldToken> {
    this.#asking = this.#ask(login, limits).then((value) => ({ value }));
    try {
      this.#held = await this.#asking;
      return this.#held;
    } finally {
      this.#asking = null;
    }
  }

  async #ask({ user, password }: Login, limits: CallLimits): Promise<string | null> {
    try {
      const request = { name: user, password };
      return (await this.#channels.unary(METHODS.authenticate, request, limits)).token;
    } catch (error) {
      if (error instanceof ClientError && error.message === NOT_ENABLED) return null;
      throw error;
    }
  }
}

/** Settles as `work` does, or rejects when the call that waits for it is over before. */
async function within<T>(work: Promise<T>, { timeoutMs, signal }: CallLimits): Promise<T> {
  const done = new AbortController();
  using ends = new LinkedSignal([signal, done.signal]);
  const over = pause(timeoutMs, ends.signal).then((): never => {
    throw new ClientError('deadline-exceeded', 'no time was left to sign in', { unsent: true });
  });
  try {
    return await Promise.race([work, over]);
  } finally {
    done.abort();
    over.catch(() => {});
  }
}
