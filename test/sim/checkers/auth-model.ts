import type { AuthOperation, Principal } from '../../../src/core/auth/operations.ts';
import type { Permission } from '../../../src/core/auth/permission.ts';
import type { Operation } from '../../../src/core/command.ts';
import type { RequestOp } from '../../../src/core/mvcc/operations.ts';
import type { StoreErrorCode } from '../../../src/lib/errors.ts';

/** The role that may do everything, and the user who must have it. */
const ROOT = 'root';
const INTERNAL = '\0';

/** Users, roles and permissions as they are behind one entry; never changed. */
export interface AuthState {
  /** The entry that made it so. */
  readonly index: number;
  readonly enabled: boolean;
  readonly revision: number;
  readonly enabledRevision: number;
  readonly users: ReadonlyMap<string, { readonly roles: readonly string[]; readonly since: number }>;
  readonly roles: ReadonlyMap<string, readonly Permission[]>;
}

type Access = 'read' | 'write';
type KeySpan = Pick<Permission, 'key' | 'rangeEnd'>;
type Change = Omit<AuthState, 'index'> | StoreErrorCode;

/** What keys a lease has. */
type LeaseKeys = (id: bigint) => readonly string[];

/**
 * The rules of users and roles by the simplest means: each state a value of its own, all of them kept, nothing merged
 * or cached. Driven by the committed operations, it says who was allowed what at any index.
 */
export class AuthModel {
  /** By index, the oldest first. */
  readonly states: AuthState[] = [
    { index: 0, enabled: false, revision: 1, enabledRevision: 0, users: new Map(), roles: new Map() },
  ];

  get now(): AuthState {
    return this.states.at(-1)!;
  }

  /** The states that held behind some entry of [from, to]. */
  between(from: number, to: number): readonly AuthState[] {
    return this.states.filter(
      ({ index }, i) => index <= to && (this.states[i + 1]?.index ?? Number.POSITIVE_INFINITY) > from,
    );
  }

  /** @returns why it changes nothing, or null */
  apply(operation: AuthOperation, index: number): StoreErrorCode | null {
    const changed = changedBy(this.now, operation);
    if (typeof changed === 'string') return changed;
    this.states.push({ ...changed, index });
    return null;
  }
}

function changedBy(state: AuthState, operation: AuthOperation): Change {
  const { users, roles } = state;
  const later = { ...state, revision: state.revision + 1 };
  switch (operation.type) {
    case 'auth-enable': {
      if (state.enabled) return state;
      const root = users.get(ROOT);
      if (root === undefined) return 'root-user-missing';
      if (!root.roles.includes(ROOT)) return 'root-role-missing';
      return { ...state, enabled: true, enabledRevision: state.revision };
    }
    case 'auth-disable':
      return state.enabled ? { ...later, enabled: false } : state;
    case 'user-add':
      if (users.has(operation.name)) return 'user-exists';
      return { ...later, users: put(users, operation.name, { roles: [], since: later.revision }) };
    case 'user-change-password': {
      const user = users.get(operation.name);
      if (user === undefined) return 'user-not-found';
      return { ...later, users: put(users, operation.name, { ...user, since: later.revision }) };
    }
    case 'user-delete':
      if (state.enabled && operation.name === ROOT) return 'auth-management-invalid';
      if (!users.has(operation.name)) return 'user-not-found';
      return { ...later, users: without(users, operation.name) };
    case 'user-grant-role':
    case 'user-revoke-role':
      return roleOfUser(state, operation);
    case 'role-add':
      if (roles.has(operation.name)) return 'role-exists';
      return { ...later, roles: put(roles, operation.name, []) };
    case 'role-delete': {
      if (!roles.has(operation.name)) return 'role-not-found';
      const left = [...users].map(
        ([name, user]) =>
          [name, { ...user, roles: user.roles.filter((each) => each !== operation.name) }] as const,
      );
      return { ...later, roles: without(roles, operation.name), users: new Map(left) };
    }
    case 'role-grant-permission':
    case 'role-revoke-permission':
      return permissionOfRole(state, operation);
  }
}

function roleOfUser(
  state: AuthState,
  { type, name, role }: Extract<AuthOperation, { type: 'user-grant-role' | 'user-revoke-role' }>,
): Change {
  const { users, roles } = state;
  const user = users.get(name);
  const others = user?.roles.filter((each) => each !== role) ?? [];
  const grants = type === 'user-grant-role';
  if (!grants && state.enabled && name === ROOT && role === ROOT) return 'auth-management-invalid';
  if (user === undefined) return 'user-not-found';
  const has = user.roles.includes(role);
  if (grants && role !== ROOT && !roles.has(role)) return 'role-not-found';
  if (grants && has) return state;
  if (!grants && !has) return 'role-not-granted';
  const next = { ...user, roles: grants ? [...others, role] : others };
  return { ...state, revision: state.revision + 1, users: put(users, name, next) };
}

function permissionOfRole(
  state: AuthState,
  operation: Extract<AuthOperation, { type: 'role-grant-permission' | 'role-revoke-permission' }>,
): Change {
  const permissions = state.roles.get(operation.name);
  if (permissions === undefined) return 'role-not-found';
  const span: KeySpan = operation.type === 'role-grant-permission' ? operation.permission : operation;
  const others = permissions.filter(
    ({ key, rangeEnd }) => !key.equals(span.key) || !rangeEnd.equals(span.rangeEnd),
  );
  const grants = operation.type === 'role-grant-permission';
  if (!grants && others.length === permissions.length) return 'permission-not-granted';
  const next = grants ? [...others, operation.permission] : others;
  return { ...state, revision: state.revision + 1, roles: put(state.roles, operation.name, next) };
}

function put<T>(map: ReadonlyMap<string, T>, key: string, value: T): ReadonlyMap<string, T> {
  return new Map([...map, [key, value]]);
}

function without<T>(map: ReadonlyMap<string, T>, key: string): ReadonlyMap<string, T> {
  return new Map([...map].filter(([each]) => each !== key));
}

// ---- decisions -----------------------------------------------------------------------------------------------

/** Why a principal may not do this in a state, or null. */
export function refusalIn(
  state: AuthState,
  principal: Principal,
  { operation, leaseKeys }: { readonly operation: Operation; readonly leaseKeys: LeaseKeys },
): StoreErrorCode | null {
  if (!state.enabled || principal.user === INTERNAL) return null;
  switch (operation.type) {
    case 'put':
    case 'delete-range':
    case 'txn':
      return requestRefusal(state, principal, { op: operation, leaseKeys });
    case 'lease-grant':
      return userRefusal(state, principal);
    case 'lease-revoke':
      return userRefusal(state, principal) ?? leaseRefusal(state, principal, leaseKeys(operation.id));
    case 'lease-expire':
    case 'lease-checkpoint':
    case 'member-publish':
    case 'authenticate':
      return null;
    default:
      return rootRefusal(state, principal);
  }
}

/** Whether a user, identified now, may read all that a request reads. */
export function mayRead(state: AuthState, user: string, op: RequestOp): boolean {
  const principal = { user, revision: state.revision };
  return !state.enabled || requestRefusal(state, principal, { op, leaseKeys: () => [] }) === null;
}

function requestRefusal(
  state: AuthState,
  principal: Principal,
  { op, leaseKeys }: { readonly op: RequestOp; readonly leaseKeys: LeaseKeys },
): StoreErrorCode | null {
  const of = (access: Access, span: KeySpan): StoreErrorCode | null =>
    spanRefusal(state, principal, { access, span });
  switch (op.type) {
    case 'range':
      return of('read', op);
    case 'put': {
      const one = { key: op.key, rangeEnd: Buffer.alloc(0) };
      const keys = op.lease === 0n ? [] : leaseKeys(op.lease);
      return of('write', one) ?? leaseRefusal(state, principal, keys) ?? (op.prevKv ? of('read', one) : null);
    }
    case 'delete-range':
      return of('write', op) ?? (op.prevKv ? of('read', op) : null);
    case 'txn': {
      const compared = op.compare.map((compare) => of('read', compare));
      const done = [...op.success, ...op.failure].map((each) =>
        requestRefusal(state, principal, { op: each, leaseKeys }),
      );
      return [...compared, ...done].find((refusal) => refusal !== null) ?? null;
    }
  }
}

function leaseRefusal(
  state: AuthState,
  principal: Principal,
  keys: readonly string[],
): StoreErrorCode | null {
  if (rootRefusal(state, principal) === null) return null;
  const refusals = keys.map((key) =>
    spanRefusal(state, principal, {
      access: 'write',
      span: { key: Buffer.from(key, 'latin1'), rangeEnd: Buffer.alloc(0) },
    }),
  );
  return refusals.find((refusal) => refusal !== null) ?? null;
}

function spanRefusal(
  state: AuthState,
  { user: name, revision }: Principal,
  { access, span }: { readonly access: Access; readonly span: KeySpan },
): StoreErrorCode | null {
  if (revision === 0) return 'user-empty';
  if (revision !== state.revision) return 'auth-revision-old';
  const user = state.users.get(name);
  if (user === undefined) return 'permission-denied';
  if (user.roles.includes(ROOT)) return null;
  const granted = user.roles
    .flatMap((role) => state.roles.get(role) ?? [])
    .filter(({ kind }) => kind === access || kind === 'read-write');
  return isCovered(span, granted) ? null : 'permission-denied';
}

function userRefusal(state: AuthState, { user: name, revision }: Principal): StoreErrorCode | null {
  if (revision === 0) return 'user-empty';
  if (!state.users.has(name)) return 'permission-denied';
  return isFresh(state, { user: name, revision }) ? null : 'auth-revision-old';
}

function rootRefusal(state: AuthState, { user: name, revision }: Principal): StoreErrorCode | null {
  if (name === '' || revision === 0) return 'user-empty';
  if (!state.users.has(name)) return 'user-not-found';
  if (!isFresh(state, { user: name, revision })) return 'auth-revision-old';
  return state.users.get(name)!.roles.includes(ROOT) ? null : 'permission-denied';
}

function isFresh(state: AuthState, { user: name, revision }: Principal): boolean {
  const since = state.users.get(name)?.since ?? Number.POSITIVE_INFINITY;
  return since <= revision && state.enabledRevision <= revision;
}

/** Walks from the span's first key to its end over whatever is granted; an empty span counts by its first key. */
function isCovered(span: KeySpan, granted: readonly KeySpan[]): boolean {
  const [from, end] = boundsOf(span);
  let at = from;
  for (;;) {
    const next = granted.map(boundsOf).find(([low, high]) => low <= at && (high === null || high > at));
    if (next === undefined) return false;
    if (next[1] === null || (end !== null && end <= next[1])) return true;
    at = next[1];
  }
}

function boundsOf({ key, rangeEnd }: KeySpan): readonly [string, string | null] {
  const from = key.toString('latin1');
  if (rangeEnd.length === 0) return [from, `${from}\0`];
  return [from, rangeEnd.equals(Buffer.of(0)) ? null : rangeEnd.toString('latin1')];
}
