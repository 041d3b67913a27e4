import { createHmac, randomBytes } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { Kv, Principal } from '../../../kv/kv.ts';
import { HEAD_KEY } from '../../../service/keyspace.ts';
import { asService } from '../../../service/kv-errors.ts';
import type { Actor } from '../../../service/model.ts';
import { checkLabel, LENGTHS } from '../../../service/names.ts';
import { invalid, ServiceError } from '../../../service/service-error.ts';
import type { RestLimits } from './limits.ts';

/** How callers are known. */
export interface IdentityOptions {
  /** Where users, passwords and tokens are checked once the store wants to know who asks. */
  readonly kv: Pick<Kv, 'authEnabled' | 'signIn' | 'permits'>;
  /** Refuse whoever does not say who they are, also while the store does not want to know. */
  readonly requireIdentity: boolean;
}

/** Who asks, and what they may do is asked with. */
export interface Identified {
  readonly actor: Actor;
  readonly principal: Principal;
}

/** How the caller names itself while the store does not want to know who asks. */
export const USER_HEADER = 'x-conclave-user';
/** Takes a token as `Authorization: Bearer` does: providers of flags know both. */
const API_KEY_HEADER = 'x-api-key';
const ANONYMOUS = 'anonymous';
/** Characters of a user agent that are kept. */
const AGENT_LENGTH_MAX = 256;

/**
 * Says who a caller is. With authentication on it is the user of the token (`Bearer`), or of name and password (`Basic`);
 * what it names itself does not count. Else it is what it names itself, which nobody checks.
 */
export class Identity {
  readonly #options: IdentityOptions;
  readonly #signIns: SignIns;

  constructor(options: IdentityOptions, limits: Pick<RestLimits, 'signInsMax' | 'signInMs'>) {
    this.#options = options;
    this.#signIns = new SignIns(options.kv, limits);
  }

  /** @throws ServiceError `unauthenticated`, `invalid` for a name that cannot be, `unavailable` */
  async of(request: FastifyRequest, signal: AbortSignal): Promise<Identified> {
    const { kv, requireIdentity } = this.#options;
    const from = {
      claimed: null,
      address: addressOf(request),
      agent: request.headers['user-agent']?.slice(0, AGENT_LENGTH_MAX) ?? null,
    };
    const principal = { type: 'anonymous' } as const;
    if (await asService(kv.authEnabled({ principal, signal }))) {
      const { user, token } = await this.#authenticated(request, signal);
      const actor = { ...from, name: user ?? ANONYMOUS, isAuthenticated: true };
      return { actor, principal: { type: 'token', token } };
    }
    const name = nameIn(request);
    if (name === null && requireIdentity) throw nobody('say who you are in X-Conclave-User');
    return { actor: { ...from, name: name ?? ANONYMOUS, isAuthenticated: false }, principal };
  }

  async #authenticated(
    request: FastifyRequest,
    signal: AbortSignal,
  ): Promise<{ readonly user: string | null; readonly token: string }> {
    // A gateway does not know the user of every token.
    const { authorization, [API_KEY_HEADER]: apiKey } = request.headers;
    const header = authorization ?? (typeof apiKey === 'string' ? `Bearer ${apiKey}` : '');
    const [, scheme = '', credentials = ''] = /^(\w+) +(\S+)$/.exec(header) ?? [];
    switch (scheme.toLowerCase()) {
      case 'bearer':
        return { user: await this.#userOf(credentials, signal), token: credentials };
      case 'basic':
        return this.#signedIn(loginOf(credentials, addressOf(request)), signal);
      default:
        throw nobody('authenticate with Basic or Bearer as a user of the store');
    }
  }

  /** A token that is no longer known is made anew once. */
  async #signedIn(
    login: Login,
    signal: AbortSignal,
  ): Promise<{ readonly user: string | null; readonly token: string }> {
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

  async #userOf(token: string, signal: AbortSignal): Promise<string | null> {
    const principal = { type: 'token', token } as const;
    const { user } = await asService(
      this.#options.kv.permits({ key: HEAD_KEY, access: 'read' }, { principal, signal }),
    );
    return user;
  }
}

interface Login {
  readonly name: string;
  readonly password: string;
  readonly address: string;
}

/** The tokens of those who signed in with a password lately: checking one takes long on purpose. */
class SignIns {
  readonly #kv: Pick<Kv, 'signIn'>;
  readonly #limits: Pick<RestLimits, 'signInsMax' | 'signInMs'>;
  /** Passwords are not kept, not even so that they could be guessed at. */
  readonly #salt = randomBytes(32);
  readonly #underWay = new Map<string, Promise<string>>();
  /** In the order in which they were made. */
  readonly #tokens = new Map<string, { readonly token: string; readonly untilMs: number }>();

  constructor(kv: Pick<Kv, 'signIn'>, limits: Pick<RestLimits, 'signInsMax' | 'signInMs'>) {
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

function addressOf({ raw }: FastifyRequest): string {
  return raw.socket.remoteAddress ?? '';
}

function loginOf(credentials: string, address: string): Login {
  const text = Buffer.from(credentials, 'base64').toString();
  const colon = text.indexOf(':');
  if (colon < 0) throw nobody('Basic takes name:password in base64');
  return { name: text.slice(0, colon), password: text.slice(colon + 1), address };
}

/** What the caller names itself, or null. @throws ServiceError `invalid` */
function nameIn({ headers }: FastifyRequest): string | null {
  const header = headers[USER_HEADER];
  if (header === undefined || header === '') return null;
  const name = headerText(header);
  try {
    checkLabel('user', name);
  } catch (cause) {
    const message = `must be 1 to ${LENGTHS.user} characters, none of them a control character`;
    throw new ServiceError('invalid', `X-Conclave-User: ${message}`, {
      cause,
      problems: [{ field: 'X-Conclave-User', message }],
    });
  }
  return name;
}

/** Bytes of a header come one a character; as a rule they are UTF-8. @throws ServiceError `invalid` for several */
export function headerText(header: string | readonly string[]): string {
  if (typeof header !== 'string') throw invalid({ field: 'headers', message: 'one of them is there twice' });
  const bytes = Buffer.from(header, 'latin1');
  const text = bytes.toString();
  return text.includes('\ufffd') ? header : text;
}

function nobody(hint: string): ServiceError {
  return new ServiceError('unauthenticated', `Authentication required: ${hint}`);
}
