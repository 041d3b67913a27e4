import type { CallLimits, Channels } from './channels.ts';
import { ClientError } from './client-error.ts';
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
const NOT_ENABLED = 'etcdserver: authentication is not enabled';
/** How often one call is tried with a new token. */
const RENEWALS_MAX = 3;

/**
 * Keeps a token for a user: got at the first call, and anew when the server says that it is over. Where authentication is
 * not enabled there is none, and calls go without.
 */
export class SignIn {
  readonly #channels: Channels;
  readonly #login: Login | undefined;
  /** Shared by all calls that wait for it. */
  #token: Promise<string | null> | null = null;

  constructor(channels: Channels, login: Login | undefined) {
    this.#channels = channels;
    this.#login = login;
  }

  /** Calls with a token, and once more with a new one when it was refused as stale. @throws ClientError */
  async with<T>(limits: CallLimits, call: (token: string | null) => Promise<T>): Promise<T> {
    for (let renewals = 0; ; renewals += 1) {
      const asked = this.token(limits);
      const token = await asked;
      try {
        return await call(token);
      } catch (error) {
        if (!this.isStale(error) || renewals >= RENEWALS_MAX) throw error;
        this.forget(asked);
      }
    }
  }

  /** @throws ClientError when the password is wrong or no member could be asked */
  token(limits: CallLimits): Promise<string | null> {
    if (this.#login === undefined) return Promise.resolve(null);
    if (this.#token === null) {
      const asked = this.#ask(this.#login, limits);
      this.#token = asked;
      asked.catch(() => this.forget(asked));
    }
    return this.#token;
  }

  /** Whether a new token may help. */
  isStale(error: unknown): boolean {
    if (this.#login === undefined || !(error instanceof ClientError)) return false;
    return STALE.some((text) => error.message.endsWith(text));
  }

  /** The token is of no use any more; a later one is kept. */
  forget(token: Promise<string | null>): void {
    if (this.#token === token) this.#token = null;
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
