import type { AuthStore, Role } from '../../core/auth/auth-store.ts';
import type { AuthOperation, Principal } from '../../core/auth/operations.ts';
import type { Permission } from '../../core/auth/permission.ts';
import { StoreError, type StoreErrorCode } from '../../lib/errors.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Answer, ClientCalls } from '../client-calls.ts';
import type { SignInOutcome } from '../observer.ts';
import type { ClientContext } from './access.ts';
import type { Attempts } from './attempts.ts';
import type { Passwords } from './passwords.ts';
import type { SignIn, Tokens } from './tokens.ts';

/** How often a sign-in is begun anew because the password was changed while it was checked. */
const SIGN_IN_RETRIES_MAX = 5;
/** Characters of a name that is logged: anybody can send any. */
const LOGGED_NAME_MAX = 64;

const OUTCOMES: ReadonlyMap<StoreErrorCode | null, SignInOutcome> = new Map([
  ['auth-failed', 'refused'],
  ['too-many-requests', 'limited'],
]);

export interface AccountsOptions {
  readonly calls: ClientCalls;
  readonly tokens: Tokens;
  readonly passwords: Passwords;
  readonly attempts: Attempts;
  readonly logger: Logger;
  /** Told of every sign-in, while authentication is enabled. */
  readonly signedIn: (outcome: SignInOutcome) => void;
}
export interface AuthStatus {
  readonly enabled: boolean;
  readonly revision: number;
}

/**
 * Users, roles and signing in, as the faces use them. Every change goes through the log and is decided at its index;
 * reads are linearizable. All but `status` and `authenticate` are for root, save that every user may look at himself
 * and his roles. Codes are those of `AuthStore`, beside those of a proposal or a read.
 */
export class Accounts {
  readonly #options: AccountsOptions;
  readonly #calls: ClientCalls;
  readonly #followers: ((enabled: boolean) => void)[] = [];
  /** What the followers were told last. */
  #wasEnabled = false;

  constructor(options: AccountsOptions) {
    this.#options = options;
    this.#calls = options.calls;
  }

  enable(context: ClientContext): Promise<Answer<null>> {
    return this.#change({ type: 'auth-enable' }, context);
  }

  disable(context: ClientContext): Promise<Answer<null>> {
    return this.#change({ type: 'auth-disable' }, context);
  }

  async status(context: ClientContext): Promise<Answer<AuthStatus>> {
    await this.#calls.linearizable(context.signal);
    const { enabled, revision } = this.#auth;
    return this.#calls.answer({ enabled, revision });
  }

  /** As this member has applied it: without a round. */
  get enabled(): boolean {
    return this.#auth.enabled;
  }

  /** Tells whether authentication is enabled: now, and of every change before whoever made it hears that it is made. */
  follow(listener: (enabled: boolean) => void): void {
    this.#wasEnabled = this.enabled;
    this.#followers.push(listener);
    listener(this.#wasEnabled);
  }

  /** More of the log was applied. */
  applied(): void {
    const { enabled } = this;
    if (enabled === this.#wasEnabled) return;
    this.#wasEnabled = enabled;
    for (const follower of this.#followers) follower(enabled);
  }

  /**
   * Who asks, and whether that user may read or write every key of a range; with authentication disabled everybody may.
   * Who may write is asked of the state of now, who may read of what this member has applied, as a read would be.
   *
   * @throws StoreError `auth-token-invalid`, and `user-empty` for nobody
   */
  async permits(
    { access, ...range }: Pick<Permission, 'key' | 'rangeEnd'> & { readonly access: 'read' | 'write' },
    context: ClientContext,
  ): Promise<{ readonly user: string; readonly permitted: boolean }> {
    if (!this.enabled) return { user: '', permitted: true };
    if (access === 'write') await this.#calls.linearizable(context.signal);
    return this.#calls.permits(context, ({ auth }, principal) => auth.refusal(principal, access, range));
  }

  /**
   * Answers a token for a name and a password. A password that fits is bound to the revision at which it was checked:
   * when it is changed meanwhile, there is no token.
   *
   * @param request `address`: where the client is, for counting its failures
   * @throws StoreError `auth-not-enabled`, `auth-failed`, `too-many-requests`
   */
  async authenticate(
    request: { readonly name: string; readonly password: string; readonly address: string },
    context: ClientContext,
  ): Promise<Answer<string>> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const token = await this.#signIn(request, context);
        this.#options.signedIn('granted');
        return token;
      } catch (error) {
        const code = error instanceof StoreError ? error.code : null;
        if (code === 'auth-revision-old' && attempt < SIGN_IN_RETRIES_MAX) continue;
        if (code !== 'auth-not-enabled') this.#options.signedIn(OUTCOMES.get(code) ?? 'failed');
        throw error;
      }
    }
  }

  // ---- users ------------------------------------------------------------------------------------------------

  async userAdd(
    request: { readonly name: string; readonly password: string; readonly noPassword: boolean },
    context: ClientContext,
  ): Promise<Answer<null>> {
    const { name, noPassword } = request;
    await this.#calls.forRoot(context);
    if (name === '') throw new StoreError('user-empty');
    const passwordHash = noPassword
      ? ''
      : await this.#options.passwords.hash(request.password, { signal: context.signal });
    return this.#change({ type: 'user-add', name, noPassword, passwordHash }, context);
  }

  async userChangePassword(
    request: { readonly name: string; readonly password: string },
    context: ClientContext,
  ): Promise<Answer<null>> {
    await this.#calls.forRoot(context);
    const { name, password } = request;
    const passwordHash =
      password === '' ? '' : await this.#options.passwords.hash(password, { signal: context.signal });
    return this.#change({ type: 'user-change-password', name, passwordHash }, context);
  }

  userDelete(name: string, context: ClientContext): Promise<Answer<null>> {
    return this.#change({ type: 'user-delete', name }, context);
  }

  userGrantRole(
    { name, role }: { readonly name: string; readonly role: string },
    context: ClientContext,
  ): Promise<Answer<null>> {
    return this.#change({ type: 'user-grant-role', name, role }, context);
  }

  userRevokeRole(
    { name, role }: { readonly name: string; readonly role: string },
    context: ClientContext,
  ): Promise<Answer<null>> {
    return this.#change({ type: 'user-revoke-role', name, role }, context);
  }

  /** Answers the names of the user's roles. */
  userGet(name: string, context: ClientContext): Promise<Answer<readonly string[]>> {
    const refusal = (auth: AuthStore, principal: Principal): StoreErrorCode | null => {
      if (principal.user !== name) return auth.rootRefusal(principal);
      return auth.user(name) === undefined ? 'user-not-found' : auth.userRefusal(principal);
    };
    return this.#read(context, refusal, (auth) => {
      const user = auth.user(name);
      if (user === undefined) throw new StoreError('user-not-found');
      return user.roles;
    });
  }

  userList(context: ClientContext): Promise<Answer<readonly string[]>> {
    return this.#read(context, forRoot, (auth) => auth.userNames());
  }

  // ---- roles ------------------------------------------------------------------------------------------------

  async roleAdd(name: string, context: ClientContext): Promise<Answer<null>> {
    return this.#change({ type: 'role-add', name }, context);
  }

  roleDelete(name: string, context: ClientContext): Promise<Answer<null>> {
    return this.#change({ type: 'role-delete', name }, context);
  }

  roleGrantPermission(
    { name, permission }: { readonly name: string; readonly permission: Permission },
    context: ClientContext,
  ): Promise<Answer<null>> {
    return this.#change({ type: 'role-grant-permission', name, permission }, context);
  }

  roleRevokePermission(
    request: { readonly name: string; readonly key: Buffer; readonly rangeEnd: Buffer },
    context: ClientContext,
  ): Promise<Answer<null>> {
    return this.#change({ type: 'role-revoke-permission', ...request }, context);
  }

  roleGet(name: string, context: ClientContext): Promise<Answer<Role>> {
    const refusal = (auth: AuthStore, principal: Principal): StoreErrorCode | null =>
      auth.hasRole(principal, name) ? auth.userRefusal(principal) : auth.rootRefusal(principal);
    return this.#read(context, refusal, (auth) => {
      const role = auth.role(name);
      if (role === undefined) throw new StoreError('role-not-found');
      return role;
    });
  }

  roleList(context: ClientContext): Promise<Answer<readonly string[]>> {
    return this.#read(context, forRoot, (auth) => auth.roleNames());
  }

  // ---- below ------------------------------------------------------------------------------------------------

  get #auth(): AuthStore {
    return this.#calls.machine.auth;
  }

  async #signIn(
    {
      name,
      password,
      address,
    }: { readonly name: string; readonly password: string; readonly address: string },
    { signal }: ClientContext,
  ): Promise<Answer<string>> {
    const { attempts, passwords, tokens, logger } = this.#options;
    await this.#calls.linearizable(signal);
    if (!this.#auth.enabled) throw new StoreError('auth-not-enabled');
    const check = (): void => attempts.check(address);
    check();
    const authRevision = this.#auth.revision;
    const user = this.#auth.user(name);
    const hash = user === undefined || user.noPassword ? null : user.passwordHash;
    if (!(await passwords.fits(password, hash, { address, signal, check }))) {
      attempts.failed(address);
      logger.warn({ user: name.slice(0, LOGGED_NAME_MAX), address }, 'a sign-in failed');
      throw new StoreError('auth-failed');
    }
    const offer = tokens.offer();
    const operation = { type: 'authenticate', name, tokenDigest: offer.digest } as const;
    const { result, index } = await this.#calls.commandFrom(operation, { signal, authRevision });
    return this.#calls.answer(offer.token(result as SignIn, index));
  }

  async #change(operation: AuthOperation, context: ClientContext): Promise<Answer<null>> {
    await this.#calls.command(operation, context);
    return this.#calls.answer(null);
  }

  async #read<T>(
    context: ClientContext,
    refusal: (auth: AuthStore, principal: Principal) => StoreErrorCode | null,
    read: (auth: AuthStore) => T,
  ): Promise<Answer<T>> {
    await this.#calls.linearizable(context.signal);
    return this.#calls.asPermitted(
      context,
      (state, principal) => refusal(state.auth, principal),
      (machine) => read(machine.auth),
    );
  }
}

function forRoot(auth: AuthStore, principal: Principal): StoreErrorCode | null {
  return auth.rootRefusal(principal);
}
