import type { AuthOperation } from '../../src/core/auth/operations.ts';
import type { Permission, PermissionKind } from '../../src/core/auth/permission.ts';
import type { ClientContext, Credentials } from '../../src/member/auth/access.ts';
import type { Member } from '../../src/member/member.ts';
import { pause } from './client.ts';
import type { NemesisParts } from './nemesis-parts.ts';

/** Who may do everything: operators, and the checkers themselves. Without authentication it says nothing. */
export const OPERATOR: Credentials = { certificateName: 'root' };

const REQUEST_MS = 2_000;
const ROLES = ['r0', 'r1', 'r2'];
/** Between two changes of users and roles, in ms. */
const PAUSE_MS_MAX = 800;
const EVERYTHING = Buffer.of(0);

/**
 * Sets users and roles up, enables authentication, and from then on gives and takes permissions while clients work as
 * those users. Every request is repeated until the log shows that it was done.
 */
export class AuthOperator {
  stopped = false;
  changeCount = 0;
  readonly #parts: NemesisParts;
  readonly #users: readonly string[];

  constructor(parts: NemesisParts, users: readonly string[]) {
    this.#parts = parts;
    this.#users = users;
  }

  async run(): Promise<void> {
    const { plan, random, scheduler } = this.#parts;
    if (!plan.auth) return;
    await this.#setUp();
    while (!this.stopped) {
      await pause(scheduler, random.fraction() * PAUSE_MS_MAX);
      if (!this.stopped) await this.#request(this.#aChange());
    }
  }

  /** Gives every user everything, so that what follows is not refused. */
  async finish(): Promise<void> {
    if (!this.#parts.plan.auth || !this.#now.enabled) return;
    for (let next = this.#missing(); next !== null; next = this.#missing()) {
      await this.#request(next);
      await pause(this.#parts.scheduler, 20);
    }
  }

  /** The first change that is missing; one that was asked for long ago may still undo an earlier one. */
  #missing(): AuthOperation | null {
    const everything: Permission = { kind: 'read-write', key: EVERYTHING, rangeEnd: EVERYTHING };
    const hasAll = this.#now.roles.get('r0')!.some(({ kind, key, rangeEnd }) => {
      return kind === 'read-write' && key.equals(EVERYTHING) && rangeEnd.equals(EVERYTHING);
    });
    if (!hasAll) return { type: 'role-grant-permission', name: 'r0', permission: everything };
    for (const name of this.#users) {
      if (!this.#now.users.has(name)) return userAdd(name);
      if (!this.#has(name, 'r0')) return { type: 'user-grant-role', name, role: 'r0' };
    }
    return null;
  }

  async #setUp(): Promise<void> {
    const { random } = this.#parts;
    for (const name of ['root', ...this.#users]) {
      await this.#setUpWith(() => this.#now.users.has(name), userAdd(name));
    }
    await this.#setUpWith(() => this.#has('root', 'root'), {
      type: 'user-grant-role',
      name: 'root',
      role: 'root',
    });
    for (const name of ROLES) {
      await this.#setUpWith(() => this.#now.roles.has(name), { type: 'role-add', name });
      await this.#setUpWith(() => this.#now.roles.get(name)!.length > 0, {
        type: 'role-grant-permission',
        name,
        permission: this.#aPermission(),
      });
    }
    for (const name of this.#users) {
      const role = random.pick(ROLES);
      await this.#setUpWith(() => this.#has(name, role), { type: 'user-grant-role', name, role });
    }
    await this.#setUpWith(() => this.#now.enabled, { type: 'auth-enable' });
  }

  async #setUpWith(isDone: () => boolean, operation: AuthOperation): Promise<void> {
    while (!this.stopped && !isDone()) await this.#request(operation);
  }

  #aChange(): AuthOperation {
    const { random } = this.#parts;
    const name = random.pick(this.#users);
    const role = random.pick(ROLES);
    const permission = random.pick(this.#now.roles.get(role) ?? []);
    switch (random.integer(12)) {
      case 0:
        return this.#now.users.has(name) ? { type: 'user-delete', name } : userAdd(name);
      case 1:
        return { type: 'user-revoke-role', name, role };
      case 2:
      case 3:
        if (permission !== undefined) return { type: 'role-revoke-permission', name: role, ...permission };
        return { type: 'user-grant-role', name, role };
      case 4:
      case 5:
      case 6:
      case 7:
        return { type: 'user-grant-role', name, role };
      default:
        return { type: 'role-grant-permission', name: role, permission: this.#aPermission() };
    }
  }

  #aPermission(): Permission {
    const { random, plan } = this.#parts;
    // Often everything, so that clients who are refused much still do much.
    if (random.chance(40)) return { kind: 'read-write', key: EVERYTHING, rangeEnd: EVERYTHING };
    const from = random.integer(plan.keys);
    const to = random.between(from + 1, plan.keys);
    return {
      kind: random.pick<PermissionKind>(['read', 'write', 'read-write', 'read-write']),
      key: keyAt(from),
      rangeEnd: random.pick([Buffer.alloc(0), keyAt(to), keyAt(to), EVERYTHING]),
    };
  }

  async #request(operation: AuthOperation): Promise<void> {
    const { port, cluster, random } = this.#parts;
    this.changeCount += 1;
    await port.call(random.pick(cluster.places), REQUEST_MS, (member, signal) =>
      carryOut(member, operation, { signal, credentials: OPERATOR }),
    );
    await pause(this.#parts.scheduler, 5);
  }

  #has(user: string, role: string): boolean {
    return this.#now.users.get(user)?.roles.includes(role) === true;
  }

  get #now(): NemesisParts['log']['model']['auth']['now'] {
    return this.#parts.log.model.auth.now;
  }
}

function userAdd(name: string): AuthOperation {
  return { type: 'user-add', name, passwordHash: '', noPassword: true };
}

function keyAt(number: number): Buffer {
  return Buffer.from(`k${String(number).padStart(2, '0')}`);
}

function carryOut({ accounts }: Member, operation: AuthOperation, context: ClientContext): Promise<unknown> {
  switch (operation.type) {
    case 'auth-enable':
      return accounts.enable(context);
    case 'auth-disable':
      return accounts.disable(context);
    case 'user-add':
      return accounts.userAdd({ name: operation.name, password: '', noPassword: true }, context);
    case 'user-delete':
      return accounts.userDelete(operation.name, context);
    case 'user-change-password':
      return accounts.userChangePassword({ name: operation.name, password: '' }, context);
    case 'user-grant-role':
      return accounts.userGrantRole(operation, context);
    case 'user-revoke-role':
      return accounts.userRevokeRole(operation, context);
    case 'role-add':
      return accounts.roleAdd(operation.name, context);
    case 'role-delete':
      return accounts.roleDelete(operation.name, context);
    case 'role-grant-permission':
      return accounts.roleGrantPermission(operation, context);
    case 'role-revoke-permission':
      return accounts.roleRevokePermission(operation, context);
  }
}
