import { createHmac, randomBytes } from 'node:crypto';
import type { Kv, Principal } from '../kv/kv.ts';
import type { Caller } from '../service/caller.ts';
import { HEAD_KEY } from '../service/keyspace.ts';
import { asService } from '../service/kv-errors.ts';
import { checkLabel, LENGTHS } from '../service/names.ts';
import { ServiceError } from '../service/service-error.ts';

/** How callers of the configuration service are known, over HTTP and gRPC alike. */
export interface IdentityOptions {
  /** Where users, passwords and tokens are checked once the store wants to know who asks. */
  readonly kv: Pick<Kv, 'authEnabled' | 'signIn' | 'permits'>;
  /** Refuse whoever does not say who they are, also while the store does not want to know. */
  readonly requireIdentity: boolean;
}

/** Users whose names and passwords were checked lately, and for how long they are not checked again. */
export interface SignInLimits {
  readonly signInsMax: number;
  readonly signInMs: number;
}

export const SIGN_IN_LIMITS: SignInLimits = { signInsMax: 10_000, signInMs: 60_000 };

/** What somebody who calls shows of themselves; empty is the same as nothing. */
export interface Shown {
  /** `Bearer`, `Basic`, or a token as it is. */
  readonly authorization?: string | undefined;
  /** A token of the store, where it has a place of its own. */
  readonly token?: string | undefined;
  /** Of a certificate that was verified. */
  readonly certificateName?: string | undefined;
  /** What the caller names itself; not proven. */
  readonly user?: string | undefined;
  /** Where from, without the port. */
  readonly address: string;
  readonly agent?: string | undefined;
}

/** The name of those who give none. */
export const ANONYMOUS = 'anonymous';
/** Characters of a user agent that are kept. */
export const AGENT_LENGTH_MAX = 256;

/**
 * Says who a caller is. With authentication on it is the user of the token, or of name and password; what it names itself
 * does not count, nor does a certificate. Else it is whom the certificate names, or what it names itself, which nobody
 * checks.
 */
export class Identity {
  readonly #options: IdentityOptions;
  readonly #signIns: SignIns;

  constructor(options: IdentityOptions, limits: SignInLimits = SIGN_IN_LIMITS) {
    this.#options = options;
    this.#signIns = new SignIns(options.kv, limits);
  }

  /** @throws ServiceError `unauthenticated`, `invalid` for a name that cannot be, `unavailable` */
  async callerOf(shown: Shown, signal: AbortSignal): Promise<Caller> {
    const { kv, requireIdentity } = this.#options;
    const { address, agent } = shown;
    const from = { claimed: null, address, agent: agent?.slice(0, AGENT_LENGTH_MAX) ?? null };
    const principal: Principal = { type: 'anonymous' };
    if (await asService(kv.authEnabled({ principal, signal }))) {
      const { user, token } = await this.#authenticated(shown, signal);
      const actor = { ...from, name: user ?? ANONYMOUS, isAuthenticated: true };
      return { actor, principal: { type: 'token', token }, signal };
    }
    const { certificateName } = shown;
    const name = certificateName ?? nameIn(shown);
    if (name === null && requireIdentity) throw nobody('say who you are in X-Conclave-User');
    const isAuthenticated = certificateName !== undefined;
    return { actor: { ...from, name: name ?? ANONYMOUS, isAuthenticated }, principal, signal };
  }

  async #authenticated(
    { authorization = '', token, address }: Shown,
    signal: AbortSignal,
  ): Promise<SignedIn> {
    if (token !== undefined && token !== '') return this.#owned(token, signal);
    const [, scheme = '', credentials = ''] = /^(?:(\w+) +)?(\S+)$/.exec(authorization) ?? [];
    switch (scheme.toLowerCase()) {
      case '':
        if (credentials !== '') return this.#owned(credentials, signal);
        throw nobody('authenticate with Basic or Bearer as a user of the store');
      case 'bearer':
        return this.#owned(credentials, signal);
      case 'basic':
        return this.#signedIn(loginOf(credentials, address), signal);
      default:
        throw nobody('authenticate with Basic or Bearer as a user of the store');
    }
  }

  async #owned(token: string, signal: AbortSignal): Promise<SignedIn> {
    return { user: await this.#userOf(token, signal), token };
  }

  /** A token that is no longer known is made anew once. */
  async #signedIn(login: Login, signal: AbortSignal): Promise<SignedIn> {
    const token = await this.#signIns.tokenOf(login);
    const userOf = async (of: string) => (await this.#userOf(of, signal)) ?? login.name;
    try {
      return { user: await userOf(token), token };
    } catch (error) {
      if (!(error instanceof ServiceError) || error.code !== 'unauthenticated') throw error;
      this.#signIns.forget(login);
      const fresh = await this.#signIns.tokenOf(login);
      return { user: await userOf(fresh), token: fresh };
    }
  }

  /** Null where it is not known: a gateway does not know the user of every token. */
  async #userOf(token: string, signal: AbortSignal): Promise<string | null> {
    const principal = { type: 'token', token } as const;
    const { user } = await asService(
      this.#options.kv.permits({ key: HEAD_KEY, access: 'read' }, { principal, signal }),
    );
    return user;
  }
}

interface SignedIn {
  readonly user: string | null;
  readonly token: string;
}

interface Login {
  readonly name: string;
  readonly password: string;
  readonly address: string;
}

/** The tokens of those who signed in with a password lately: checking one takes long on purpose. */
class SignIns {
  readonly #kv: Pick<Kv, 'signIn'>;
  readonly #limits: SignInLimits;
  /** Passwords are not kept, not even so that they could be guessed at. */
  readonly #salt = randomBytes(32);
  readonly #underWay = new Map<string, Promise<string>>();
  /** In the order in which they were made. */
  readonly #tokens = new Map<string, { readonly token: string; readonly untilMs: number }>();

  constructor(kv: Pick<Kv, 'signIn'>, limits: SignInLimits) {
    this.#kv = kv;
    this.#limits = limits;
  }

  /** Those who ask at once from one address wait for one answer. @throws ServiceError `unauthenticated` */
  async tokenOf(login: Login): Promise<string> {
    const id = this.#idOf(login);
    const known = this.#tokens.get(id);
    if (known !== undefined && performance.now() < known.untilMs) return known.token;
    const asked = `${id} ${login.address}`;
    const underWay = this.#underWay.get(asked);
    if (underWay !== undefined) return underWay;
    const signIn = this.#signIn(login, id).finally(() => this.#underWay.delete(asked));
    this.#underWay.set(asked, signIn);
    return signIn;
  }

  async #signIn({ name, password, address }: Login, id: string): Promise<string> {
    // Others may wait for it: it does not end with the one who asked first.
    const call = { principal: { type: 'anonymous' }, signal: new AbortController().signal } as const;
    const token = await asService(this.#kv.signIn({ name, password, address }, call));
    this.#tokens.delete(id);
    this.#tokens.set(id, { token, untilMs: performance.now() + this.#limits.signInMs });
    if (this.#tokens.size > this.#limits.signInsMax) this.#tokens.delete(this.#tokens.keys().next().value!);
    return token;
  }

  forget(login: Login): void {
    this.#tokens.delete(this.#idOf(login));
  }

  #idOf({ name, password }: Login): string {
    return createHmac('sha256', this.#salt).update(`${name.length}:${name}${password}`).digest('base64');
  }
}

function loginOf(credentials: string, address: string): Login {
  const text = Buffer.from(credentials, 'base64').toString();
  const colon = text.indexOf(':');
  if (colon < 0) throw nobody('Basic takes name:password in base64');
  return { name: text.slice(0, colon), password: text.slice(colon + 1), address };
}

/** What the caller names itself, or null. @throws ServiceError `invalid` */
function nameIn({ user }: Shown): string | null {
  if (user === undefined || user === '') return null;
  try {
    checkLabel('user', user);
  } catch (cause) {
    const message = `must be 1 to ${LENGTHS.user} characters, none of them a control character`;
    throw new ServiceError('invalid', `X-Conclave-User: ${message}`, {
      cause,
      problems: [{ field: 'X-Conclave-User', message }],
    });
  }
  return user;
}

function nobody(hint: string): ServiceError {
  return new ServiceError('unauthenticated', `Authentication required: ${hint}`);
}
