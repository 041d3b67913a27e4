import { assert } from '../../lib/assert.ts';
import { StoreError, type StoreErrorCode } from '../../lib/errors.ts';
import type { KeyRange } from '../mvcc/key-index.ts';
import { KeyIntervals } from '../mvcc/key-intervals.ts';
import { keysOf } from '../mvcc/key-range.ts';
import { type AuthOperation, INTERNAL_USER, type Principal } from './operations.ts';
import { comparePermissions, isGrantable, type Permission, sameRange } from './permission.ts';

/** The user who must exist before authentication is enabled, and the role that may do everything. */
export const ROOT = 'root';
/** Bytes of a user's or role's name; beyond: `request-too-large`. */
export const NAME_BYTES_MAX = 1_024;
/** Users, and roles, there may be; one more is `too-many-requests`. */
export const PRINCIPALS_MAX = 100_000;
/** Bytes of all keys in one role's permissions; beyond: `request-too-large`. */
export const ROLE_BYTES_MAX = 1024 * 1024;
/** What one permission counts besides its keys. */
const PERMISSION_BYTES = 16;

export interface User {
  readonly name: string;
  /** Made and understood by the members; empty when no password fits. */
  readonly passwordHash: string;
  /** Signs in by certificate only. */
  readonly noPassword: boolean;
  /** In byte order. */
  readonly roles: readonly string[];
  /** The auth revision at which the user was added or given another password: who signed in before is out. */
  readonly credentialRevision: number;
}
export interface Role {
  readonly name: string;
  /** By key, then end; one for each range. */
  readonly permissions: readonly Permission[];
}
export interface AuthSettings {
  readonly enabled: boolean;
  /** Counts changes; every decision is bound to one. */
  readonly revision: number;
  /** The revision at which authentication was last enabled: who signed in before is out. */
  readonly enabledRevision: number;
}
/** One row of the table that holds all this. */
export type AuthRecord =
  | { readonly type: 'settings'; readonly settings: AuthSettings }
  | { readonly type: 'user'; readonly user: User }
  | { readonly type: 'role'; readonly role: Role };

/** Told of every row that changes; null = absent before, or removed. */
export type AuthRecordChanged = (before: AuthRecord | null, after: AuthRecord | null) => void;

const SETTINGS_START: AuthSettings = { enabled: false, revision: 1, enabledRevision: 0 };
const NO_BYTES = Buffer.alloc(0);
/** What the root role shows as its permission. */
const EVERYTHING: Permission = { kind: 'read-write', key: NO_BYTES, rangeEnd: Buffer.of(0) };

/**
 * Users, roles and permissions: replicated, pure, changed only by apply. While authentication is disabled everything
 * is allowed; the rules and codes are etcd's.
 *
 * Every change moves the auth revision, except enabling. A request is decided at the very revision its principal was
 * identified at: one that is older says `auth-revision-old` and is to be tried anew.
 */
export class AuthStore {
  readonly #changed: AuthRecordChanged;
  readonly #users = new Map<string, User>();
  readonly #roles = new Map<string, Role>();
  /** What users may do, merged over their roles; made when first asked, forgotten with every change. */
  readonly #access = new Map<string, UserAccess>();
  /** Null until the first change: nothing is on disk then. */
  #settings: AuthSettings | null = null;

  constructor(changed: AuthRecordChanged) {
    this.#changed = changed;
  }

  get enabled(): boolean {
    return this.#now.enabled;
  }

  get revision(): number {
    return this.#now.revision;
  }

  get counts(): { readonly users: number; readonly roles: number } {
    return { users: this.#users.size, roles: this.#roles.size };
  }

  user(name: string): User | undefined {
    return this.#users.get(name);
  }

  /** In byte order. */
  userNames(): readonly string[] {
    return [...this.#users.keys()].sort(compareNames);
  }

  /** The role as shown: that of root has every key. */
  role(name: string): Role | undefined {
    const role = this.#roles.get(name);
    return role !== undefined && name === ROOT ? { name, permissions: [EVERYTHING] } : role;
  }

  /** In byte order. */
  roleNames(): readonly string[] {
    return [...this.#roles.keys()].sort(compareNames);
  }

  // ---- decisions --------------------------------------------------------------------------------------------

  /** Why a principal may not read or write every key of a range, or null. */
  refusal(
    principal: Principal,
    access: 'read' | 'write',
    range: Pick<Permission, 'key' | 'rangeEnd'>,
  ): StoreErrorCode | null {
    return this.enabled ? this.rangeRefusal(principal, access, keysOf(range)) : null;
  }

  /** As `refusal`. */
  rangeRefusal(principal: Principal, access: 'read' | 'write', range: KeyRange): StoreErrorCode | null {
    if (this.#isFree(principal)) return null;
    if (principal.revision === 0) return 'user-empty';
    if (principal.revision !== this.revision) return 'auth-revision-old';
    const user = this.#users.get(principal.user);
    if (user === undefined) return 'permission-denied';
    if (isRoot(user) || this.#accessOf(user)[access].covers(range)) return null;
    return 'permission-denied';
  }

  /** Why a principal may not administer the cluster, or null. */
  rootRefusal(principal: Principal): StoreErrorCode | null {
    if (this.#isFree(principal)) return null;
    if (principal.user === '' || principal.revision === 0) return 'user-empty';
    const user = this.#users.get(principal.user);
    if (user === undefined) return 'user-not-found';
    if (!this.isFresh(principal)) return 'auth-revision-old';
    return isRoot(user) ? null : 'permission-denied';
  }

  /** Why a principal is no user at all, or null: for what every user may do. */
  userRefusal(principal: Principal): StoreErrorCode | null {
    if (this.#isFree(principal)) return null;
    if (principal.revision === 0) return 'user-empty';
    if (!this.#users.has(principal.user)) return 'permission-denied';
    return this.isFresh(principal) ? null : 'auth-revision-old';
  }

  /** Why a name and a token cannot be given to each other after a password fitted at `revision`, or null. */
  signInRefusal({ user: name, revision }: Principal): StoreErrorCode | null {
    if (!this.enabled) return 'auth-not-enabled';
    const user = this.#users.get(name);
    if (user === undefined || user.noPassword) return 'auth-failed';
    return this.isFresh({ user: name, revision }) ? null : 'auth-revision-old';
  }

  /** Whether what proved who the principal is still holds: no new password, no new user of that name since. */
  isFresh({ user: name, revision }: Principal): boolean {
    const user = this.#users.get(name);
    return user !== undefined && user.credentialRevision <= revision && this.#now.enabledRevision <= revision;
  }

  /** A principal that was identified a while ago, as of now; the same as before when what proved it is over. */
  renewed(principal: Principal): Principal {
    const { user, revision } = principal;
    return revision !== 0 && this.isFresh(principal) ? { user, revision: this.revision } : principal;
  }

  /** Whether the principal has that role. */
  hasRole({ user: name }: Principal, role: string): boolean {
    return this.#users.get(name)?.roles.includes(role) === true;
  }

  #isFree({ user }: Principal): boolean {
    return !this.enabled || user === INTERNAL_USER;
  }

  #accessOf(user: User): UserAccess {
    let access = this.#access.get(user.name);
    if (access === undefined) {
      const permissions = user.roles.flatMap((role) => this.#roles.get(role)?.permissions ?? []);
      access = { read: allowed(permissions, 'read'), write: allowed(permissions, 'write') };
      this.#access.set(user.name, access);
    }
    return access;
  }

  // ---- changes ----------------------------------------------------------------------------------------------

  /** @throws StoreError with etcd's reason, before anything was changed */
  apply(operation: AuthOperation): void {
    switch (operation.type) {
      case 'auth-enable':
        return this.#enable();
      case 'auth-disable':
        return this.#disable();
      case 'user-add':
        return this.#addUser(operation);
      case 'user-delete':
        return this.#deleteUser(operation.name);
      case 'user-change-password':
        return this.#changePassword(operation);
      case 'user-grant-role':
        return this.#grantRole(operation);
      case 'user-revoke-role':
        return this.#revokeRole(operation);
      case 'role-add':
        return this.#addRole(operation.name);
      case 'role-delete':
        return this.#deleteRole(operation.name);
      case 'role-grant-permission':
        return this.#grantPermission(operation);
      case 'role-revoke-permission':
        return this.#revokePermission(operation);
    }
  }

  #enable(): void {
    if (this.enabled) return;
    const root = this.#users.get(ROOT);
    if (root === undefined) throw new StoreError('root-user-missing');
    if (!isRoot(root)) throw new StoreError('root-role-missing');
    this.#set({ ...this.#now, enabled: true, enabledRevision: this.revision });
  }

  #disable(): void {
    if (this.enabled) this.#set({ ...this.#now, enabled: false, revision: this.revision + 1 });
  }

  #addUser({ name, passwordHash, noPassword }: Extract<AuthOperation, { type: 'user-add' }>): void {
    if (name === '') throw new StoreError('user-empty');
    if (name === INTERNAL_USER) throw new StoreError('auth-management-invalid');
    checkName(name);
    if (this.#users.has(name)) throw new StoreError('user-exists');
    if (this.#users.size >= PRINCIPALS_MAX) throw new StoreError('too-many-requests');
    const hash = noPassword ? '' : passwordHash;
    this.#putUser({
      name,
      passwordHash: hash,
      noPassword,
      roles: [],
      credentialRevision: this.revision + 1,
    });
    this.#advance();
  }

  #deleteUser(name: string): void {
    if (this.enabled && name === ROOT) throw new StoreError('auth-management-invalid');
    const user = this.#existingUser(name);
    this.#users.delete(name);
    this.#changed({ type: 'user', user }, null);
    this.#advance();
  }

  #changePassword({ name, passwordHash }: Extract<AuthOperation, { type: 'user-change-password' }>): void {
    const user = this.#existingUser(name);
    const hash = user.noPassword ? '' : passwordHash;
    this.#putUser({ ...user, passwordHash: hash, credentialRevision: this.revision + 1 });
    this.#advance();
  }

  #grantRole({ name, role }: Extract<AuthOperation, { type: 'user-grant-role' }>): void {
    const user = this.#existingUser(name);
    // The root role need not exist: what it may do is known.
    if (role !== ROOT && !this.#roles.has(role)) throw new StoreError('role-not-found');
    if (user.roles.includes(role)) return;
    this.#putUser({ ...user, roles: [...user.roles, role].sort(compareNames) });
    this.#advance();
  }

  #revokeRole({ name, role }: Extract<AuthOperation, { type: 'user-revoke-role' }>): void {
    if (this.enabled && name === ROOT && role === ROOT) throw new StoreError('auth-management-invalid');
    const user = this.#existingUser(name);
    if (!user.roles.includes(role)) throw new StoreError('role-not-granted');
    this.#putUser({ ...user, roles: user.roles.filter((each) => each !== role) });
    this.#advance();
  }

  #addRole(name: string): void {
    if (name === '') throw new StoreError('role-empty');
    checkName(name);
    if (this.#roles.has(name)) throw new StoreError('role-exists');
    if (this.#roles.size >= PRINCIPALS_MAX) throw new StoreError('too-many-requests');
    this.#putRole({ name, permissions: [] });
    this.#advance();
  }

  #deleteRole(name: string): void {
    if (this.enabled && name === ROOT) throw new StoreError('auth-management-invalid');
    const role = this.#existingRole(name);
    this.#roles.delete(name);
    this.#changed({ type: 'role', role }, null);
    for (const user of this.#users.values()) {
      if (!user.roles.includes(name)) continue;
      this.#putUser({ ...user, roles: user.roles.filter((each) => each !== name) });
    }
    this.#advance();
  }

  #grantPermission({ name, permission }: Extract<AuthOperation, { type: 'role-grant-permission' }>): void {
    if (!isGrantable(permission)) throw new StoreError('auth-management-invalid');
    const role = this.#existingRole(name);
    const others = role.permissions.filter((each) => !sameRange(each, permission));
    const permissions = [...others, permission].sort(comparePermissions);
    const bytes = permissions.reduce(
      (sum, { key, rangeEnd }) => sum + key.length + rangeEnd.length + PERMISSION_BYTES,
      0,
    );
    if (bytes > ROLE_BYTES_MAX) throw new StoreError('request-too-large');
    this.#putRole({ name, permissions });
    this.#advance();
  }

  #revokePermission(operation: Extract<AuthOperation, { type: 'role-revoke-permission' }>): void {
    const role = this.#existingRole(operation.name);
    const permissions = role.permissions.filter((each) => !sameRange(each, operation));
    if (permissions.length === role.permissions.length) throw new StoreError('permission-not-granted');
    this.#putRole({ name: role.name, permissions });
    this.#advance();
  }

  // ---- rows -------------------------------------------------------------------------------------------------

  /** Every row: the settings, users, roles, each in byte order. */
  records(): readonly AuthRecord[] {
    const settings: AuthRecord[] =
      this.#settings === null ? [] : [{ type: 'settings', settings: this.#settings }];
    return [
      ...settings,
      ...this.userNames().map((name): AuthRecord => ({ type: 'user', user: this.#users.get(name)! })),
      ...this.roleNames().map((name): AuthRecord => ({ type: 'role', role: this.#roles.get(name)! })),
    ];
  }

  /** Takes a row of a disk or a snapshot. */
  restore(record: AuthRecord): void {
    switch (record.type) {
      case 'settings':
        this.#settings = record.settings;
        return;
      case 'user':
        this.#users.set(record.user.name, record.user);
        return;
      case 'role':
        this.#roles.set(record.role.name, record.role);
        return;
    }
  }

  get #now(): AuthSettings {
    return this.#settings ?? SETTINGS_START;
  }

  #existingUser(name: string): User {
    const user = this.#users.get(name);
    if (user === undefined) throw new StoreError('user-not-found');
    return user;
  }

  #existingRole(name: string): Role {
    const role = this.#roles.get(name);
    if (role === undefined) throw new StoreError('role-not-found');
    return role;
  }

  #putUser(user: User): void {
    const before = this.#users.get(user.name);
    this.#users.set(user.name, user);
    this.#changed(before === undefined ? null : { type: 'user', user: before }, { type: 'user', user });
  }

  #putRole(role: Role): void {
    const before = this.#roles.get(role.name);
    this.#roles.set(role.name, role);
    this.#changed(before === undefined ? null : { type: 'role', role: before }, { type: 'role', role });
  }

  #set(settings: AuthSettings): void {
    assert(settings.revision >= this.revision, 'the auth revision never goes back');
    const before = this.#settings;
    this.#settings = settings;
    this.#access.clear();
    this.#changed(before === null ? null : { type: 'settings', settings: before }, {
      type: 'settings',
      settings,
    });
  }

  #advance(): void {
    this.#set({ ...this.#now, revision: this.revision + 1 });
  }
}

interface UserAccess {
  readonly read: KeyIntervals;
  readonly write: KeyIntervals;
}

function allowed(permissions: readonly Permission[], access: 'read' | 'write'): KeyIntervals {
  return new KeyIntervals(
    permissions.filter(({ kind }) => kind === access || kind === 'read-write').map(keysOf),
  );
}

function isRoot(user: User): boolean {
  return user.roles.includes(ROOT);
}

function checkName(name: string): void {
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) throw new StoreError('request-too-large');
}

function compareNames(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}
