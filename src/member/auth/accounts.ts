import type { Role } from '../../core/auth/auth-store.ts';
import type { AuthOperation, Principal } from '../../core/auth/operations.ts';
import type { Permission } from '../../core/auth/permission.ts';
import type { Operation } from '../../core/command.ts';
import type { Applied, StateMachine } from '../../core/state-machine.ts';
import { StoreError, type StoreErrorCode } from '../../lib/errors.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Answer } from '../member.ts';
import type { SignInOutcome } from '../observer.ts';
import type { CallContext } from '../proposals.ts';
import { type Access, type ClientContext, permit } from './access.ts';
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
  readonly access: Access;
  readonly tokens: Tokens;
  readonly passwords: Passwords;
  readonly attempts: Attempts;
  readonly logger: Logger;
  readonly machine: () => StateMachine;
  readonly propose: (operation: Operation, context: CallContext) => Promise<Applied>;
  readonly linearizable: (signal: AbortSignal) => Promise<void>;
  readonly answer: <T>(result: T) => Answer<T>;
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

  constructor(options: AccountsOptions) {
    this.#options = options;
  }

  enable(context: ClientContext): Promise<Answer<null>> {
    return this.#change({ type: 'auth-enable' }, context);
  }

  disable(context: ClientContext): Promise<Answer<null>> {
    return this.#change({ type: 'auth-disable' }, context);
  }

  async status(context: ClientContext): Promise<Answer<AuthStatus>> {
    await this.#options.linearizable(context.signal);
    const { enabled, revision } = this.#auth;
    return this.#options.answer({ enabled, revision });
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
    await this.#forRoot(context);
    if (name === '') throw new StoreError('user-empty');
    const passwordHash = noPassword ? '' : await this.#options.passwords.hash(request.password);
    return this.#change({ type: 'user-add', name, noPassword, passwordHash }, context);
  }

  async userChangePassword(
    request: { readonly name: string; readonly password: string },
    context: ClientContext,
  ): Promise<Answer<null>> {
    await this.#forRoot(context);
    const { name, password } = request;
    const passwordHash = password === '' ? '' : await this.#options.passwords.hash(password);
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
    return this.#read(context, (principal) => {
      if (principal.user !== name) permit(this.#auth.rootRefusal(principal));
      const user = this.#auth.user(name);
      if (user === undefined) throw new StoreError('user-not-found');
      return user.roles;
    });
  }

  userList(context: ClientContext): Promise<Answer<readonly string[]>> {
    return this.#read(context, (principal) => {
      permit(this.#auth.rootRefusal(principal));
      return this.#auth.userNames();
    });
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
    return this.#read(context, (principal) => {
      if (!this.#auth.hasRole(principal, name)) permit(this.#auth.rootRefusal(principal));
      const role = this.#auth.role(name);
      if (role === undefined) throw new StoreError('role-not-found');
      return role;
    });
  }

  roleList(context: ClientContext): Promise<Answer<readonly string[]>> {
    return this.#read(context, (principal) => {
      permit(this.#auth.rootRefusal(principal));
      return this.#auth.roleNames();
    });
  }

  // ---- below ------------------------------------------------------------------------------------------------

  get #auth(): StateMachine['auth'] {
    return this.#options.machine().auth;
  }

  async #signIn(
    {
      name,
      password,
      address,
    }: { readonly name: string; readonly password: string; readonly address: string },
    { signal }: ClientContext,
  ): Promise<Answer<string>> {
    const { attempts, passwords, tokens, logger, linearizable, propose, answer } = this.#options;
    await linearizable(signal);
    if (!this.#auth.enabled) throw new StoreError('auth-not-enabled');
    attempts.check(address);
    const authRevision = this.#auth.revision;
    const user = this.#auth.user(name);
    const hash = user === undefined || user.noPassword ? null : user.passwordHash;
    if (!(await passwords.fits(password, hash))) {
      attempts.failed(address);
      logger.warn({ user: name.slice(0, LOGGED_NAME_MAX), address }, 'a sign-in failed');
      throw new StoreError('auth-failed');
    }
    const offer = tokens.offer();
    const operation = { type: 'authenticate', name, tokenDigest: offer.digest } as const;
    const { outcome, index } = await propose(operation, { signal, authRevision });
    if (!outcome.ok) throw new StoreError(outcome.code);
    return answer(offer.token(outcome.result as SignIn, index));
  }

  #change(operation: AuthOperation, context: ClientContext): Promise<Answer<null>> {
    return this.#options.access.as(context, async ({ user, revision }) => {
      const { signal } = context;
      const { outcome } = await this.#options.propose(operation, { signal, user, authRevision: revision });
      if (!outcome.ok) throw new StoreError(outcome.code);
      return this.#options.answer(null);
    });
  }

  /** Refuses early, before a password costs a hash; what counts is decided at the entry's index. */
  #forRoot(context: ClientContext): Promise<void> {
    return this.#options.access.ahead(context, async (principal) => {
      permit(this.#auth.rootRefusal(principal));
    });
  }

  async #read<T>(context: ClientContext, read: (principal: Principal) => T): Promise<Answer<T>> {
    await this.#options.linearizable(context.signal);
    return this.#options.access.as(context, async (principal) => this.#options.answer(read(principal)));
  }
}
