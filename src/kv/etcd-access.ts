import { ClientError } from '../client/client-error.ts';
import type { CallOptions, KvClient } from '../client/kv-client.ts';
import type { Login } from '../client/sign-in.ts';
import type { Permission } from '../client/types.ts';
import type { KvLogin, KvPermit, KvPermitRequest, Principal } from './kv.ts';

/** How old may be what is known of users and roles, in ms: so long a change of them may go unnoticed here. */
export const RIGHTS_AGE_MS_MAX = 1_000;
/** Tokens whose owners, and whose rights, are remembered; the oldest are forgotten. */
export const TOKENS_MAX = 10_000;

/** What somebody may do, as it was read at a time of `performance.now()`. */
interface Rights {
  readonly atMs: number;
  readonly isRoot: boolean;
  readonly permissions: readonly Permission[];
}

/**
 * Who may do what on an etcd cluster, which answers no such question: the rights of a user are read with its own token,
 * as users may look at themselves and their roles, which also shows whether the token is still good. Whose it is this
 * knows of tokens that it gave out itself, and of those that say so themselves (JWT). Of other tokens the cluster is
 * asked by a transaction that would do it and never does.
 */
export class EtcdAccess {
  readonly #client: KvClient;
  readonly #login: Login | undefined;
  readonly #owners = new Map<string, string>();
  /** By token; that of the service is empty. */
  readonly #rights = new Map<string, Rights>();
  #enabled: { readonly atMs: number; readonly value: boolean } | null = null;

  constructor(client: KvClient, login: Login | undefined) {
    this.#client = client;
    this.#login = login;
  }

  /** @throws ClientError */
  async isEnabled(signal: AbortSignal): Promise<boolean> {
    if (this.#enabled !== null && isFresh(this.#enabled)) return this.#enabled.value;
    const atMs = performance.now();
    this.#enabled = { atMs, value: await this.#askEnabled(signal) };
    return this.#enabled.value;
  }

  /** @throws ClientError */
  async signIn({ name, password }: KvLogin, signal: AbortSignal): Promise<string> {
    const token = await this.#client.auth.authenticate({ user: name, password }, { signal });
    remember(this.#owners, token, name);
    return token;
  }

  /** @throws ClientError */
  async permits(request: KvPermitRequest, principal: Principal, signal: AbortSignal): Promise<KvPermit> {
    if (!(await this.isEnabled(signal))) return { user: null, permitted: true };
    switch (principal.type) {
      case 'anonymous':
        return { user: null, permitted: false };
      case 'service': {
        if (this.#login === undefined) return { user: null, permitted: false };
        return this.#permit(request, { user: this.#login.user, key: '', call: { signal } });
      }
      case 'token': {
        const { token } = principal;
        const user = this.#owners.get(token) ?? claimedUser(token);
        const call = { signal, token };
        if (user === undefined) return { user: null, permitted: await this.#wouldDo(request, call) };
        return this.#permit(request, { user, key: token, call });
      }
    }
  }

  async #permit(
    request: KvPermitRequest,
    who: { readonly user: string; readonly key: string; readonly call: CallOptions },
  ): Promise<KvPermit> {
    const { user, key } = who;
    const known = this.#rights.get(key);
    const rights = known !== undefined && isFresh(known) ? known : await this.#readRights(user, who.call);
    if (rights !== known) remember(this.#rights, key, rights);
    return { user, permitted: rights.isRoot || covers(rights.permissions, request) };
  }

  async #readRights(user: string, call: CallOptions): Promise<Rights> {
    const atMs = performance.now();
    const roles = await this.#client.auth.userGet(user, call);
    if (roles.includes('root')) return { atMs, isRoot: true, permissions: [] };
    const permissions = await Promise.all(roles.map((role) => this.#permissionsOf(role, call)));
    return { atMs, isRoot: false, permissions: permissions.flat() };
  }

  async #permissionsOf(role: string, call: CallOptions): Promise<readonly Permission[]> {
    try {
      return await this.#client.auth.roleGet(role, call);
    } catch (error) {
      // It was taken from the user meanwhile.
      if (error instanceof ClientError && GONE.has(error.code)) return [];
      throw error;
    }
  }

  /** Both sides of a transaction must be permitted, whichever is performed. */
  async #wouldDo({ access, ...keys }: KvPermitRequest, call: CallOptions): Promise<boolean> {
    const never = access === 'read' ? 'range' : 'delete';
    try {
      await this.#client.txn({ compare: [], success: [], failure: [{ type: never, ...keys }] }, call);
      return true;
    } catch (error) {
      if (error instanceof ClientError && error.code === 'permission-denied') return false;
      throw error;
    }
  }

  async #askEnabled(signal: AbortSignal): Promise<boolean> {
    try {
      return (await this.#client.auth.status({ signal, token: null })).enabled;
    } catch (error) {
      if (!(error instanceof ClientError) || error.code !== 'unimplemented') throw error;
      return this.#seemsEnabled(signal);
    }
  }

  /** Before 3.5 nobody tells; but the name of nobody is refused for one reason or the other. */
  async #seemsEnabled(signal: AbortSignal): Promise<boolean> {
    try {
      await this.#client.auth.authenticate({ user: '', password: '' }, { signal });
      return true;
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      if (error.message.endsWith('authentication is not enabled')) return false;
      if (error.message.endsWith('authentication failed, invalid user ID or password')) return true;
      throw error;
    }
  }
}

/** What looking at a role fails with that is no more, or not the user's. */
const GONE: ReadonlySet<string> = new Set(['failed-precondition', 'permission-denied']);

function isFresh({ atMs }: { readonly atMs: number }): boolean {
  return performance.now() - atMs < RIGHTS_AGE_MS_MAX;
}

function remember<T>(known: Map<string, T>, token: string, value: T): void {
  known.delete(token);
  known.set(token, value);
  if (known.size > TOKENS_MAX) known.delete(known.keys().next().value!);
}

/** The user that a JWT is for, as it says itself: the cluster judges the token when it is used. */
function claimedUser(token: string): string | undefined {
  const [, payload, signature] = token.split('.');
  if (payload === undefined || signature === undefined) return undefined;
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString());
    const user = claims instanceof Object && 'username' in claims ? claims.username : undefined;
    return typeof user === 'string' && user !== '' ? user : undefined;
  } catch {
    return undefined;
  }
}

/** Whether the permissions together cover the whole range: where one ends another may go on. */
function covers(permissions: readonly Permission[], { access, key, rangeEnd }: KvPermitRequest): boolean {
  const end = endOf({ key, rangeEnd });
  let reached = key.toString('latin1');
  const ranges = permissions
    .filter(({ type }) => type === access || type === 'read-write')
    .map((permission) => ({ key: text(permission.key), end: endOf(permission) }))
    .toSorted((left, right) => (left.key < right.key ? -1 : Number(left.key > right.key)));
  for (const range of ranges) {
    if (range.key > reached) return false;
    if (range.end === null) return true;
    if (range.end > reached) reached = range.end;
    if (end !== null && reached >= end) return true;
  }
  return false;
}

/** Null = the end of all keys. */
function endOf({
  key,
  rangeEnd,
}: {
  readonly key: Buffer | string;
  readonly rangeEnd?: Buffer | string | undefined;
}): string | null {
  const end = text(rangeEnd ?? '');
  if (end === '') return `${text(key)}\0`;
  return end === '\0' ? null : end;
}

function text(bytes: Buffer | string): string {
  return Buffer.from(bytes).toString('latin1');
}
