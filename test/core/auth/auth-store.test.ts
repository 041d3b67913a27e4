import { describe, expect, test } from 'vitest';
import {
  AuthStore,
  NAME_BYTES_MAX,
  PRINCIPALS_MAX,
  ROLE_BYTES_MAX,
} from '../../../src/core/auth/auth-store.ts';
import { ANONYMOUS, type AuthOperation, INTERNAL_USER } from '../../../src/core/auth/operations.ts';
import type { PermissionKind } from '../../../src/core/auth/permission.ts';
import type { StoreError } from '../../../src/lib/errors.ts';

const range = (key: string, rangeEnd = ''): { key: Buffer; rangeEnd: Buffer } => ({
  key: Buffer.from(key, 'latin1'),
  rangeEnd: Buffer.from(rangeEnd, 'latin1'),
});
const user = (name: string): AuthOperation => ({
  type: 'user-add',
  name,
  passwordHash: 'h',
  noPassword: false,
});
const grant = (name: string, role: string): AuthOperation => ({ type: 'user-grant-role', name, role });
const allow = (name: string, kind: PermissionKind, key: string, rangeEnd = ''): AuthOperation => ({
  type: 'role-grant-permission',
  name,
  permission: { kind, ...range(key, rangeEnd) },
});

function store(...operations: readonly AuthOperation[]): AuthStore {
  const auth = new AuthStore(() => {});
  for (const operation of operations) auth.apply(operation);
  return auth;
}
const ROOTED = [user('root'), grant('root', 'root')];
function enabled(...operations: readonly AuthOperation[]): AuthStore {
  return store(...ROOTED, ...operations, { type: 'auth-enable' });
}
function code(auth: AuthStore, operation: AuthOperation): string {
  const { revision } = auth;
  try {
    auth.apply(operation);
    return 'ok';
  } catch (error) {
    expect(auth.revision).toBe(revision);
    return (error as StoreError).code;
  }
}

describe('enabling', () => {
  test('needs a root user with the root role', () => {
    const auth = store();
    expect(code(auth, { type: 'auth-enable' })).toBe('root-user-missing');
    auth.apply(user('root'));
    expect(code(auth, { type: 'auth-enable' })).toBe('root-role-missing');
    // The root role need not be added first.
    auth.apply(grant('root', 'root'));
    expect(code(auth, { type: 'auth-enable' })).toBe('ok');
    expect(auth.enabled).toBe(true);
  });

  test('does not move the revision, every other change does', () => {
    const auth = store();
    expect(auth.revision).toBe(1);
    for (const operation of ROOTED) auth.apply(operation);
    expect(auth.revision).toBe(3);
    auth.apply({ type: 'auth-enable' });
    auth.apply({ type: 'auth-enable' });
    expect(auth.revision).toBe(3);
    auth.apply({ type: 'auth-disable' });
    auth.apply({ type: 'auth-disable' });
    expect(auth.revision).toBe(4);
  });

  test('keeps root what it is', () => {
    const auth = enabled();
    expect(code(auth, { type: 'user-delete', name: 'root' })).toBe('auth-management-invalid');
    expect(code(auth, { type: 'role-delete', name: 'root' })).toBe('auth-management-invalid');
    const revoke = { type: 'user-revoke-role', name: 'root', role: 'root' } as const;
    expect(code(auth, revoke)).toBe('auth-management-invalid');
    auth.apply({ type: 'auth-disable' });
    expect(code(auth, revoke)).toBe('ok');
  });
});

test('what cannot be done is refused as by etcd', () => {
  const auth = store(user('u'), { type: 'role-add', name: 'r' });
  const cases: readonly [AuthOperation, string][] = [
    [user(''), 'user-empty'],
    [user('u'), 'user-exists'],
    [user(INTERNAL_USER), 'auth-management-invalid'],
    [user('x'.repeat(NAME_BYTES_MAX + 1)), 'request-too-large'],
    [{ type: 'user-delete', name: 'v' }, 'user-not-found'],
    [{ type: 'user-change-password', name: 'v', passwordHash: '' }, 'user-not-found'],
    [grant('v', 'r'), 'user-not-found'],
    [grant('u', 's'), 'role-not-found'],
    [{ type: 'user-revoke-role', name: 'u', role: 'r' }, 'role-not-granted'],
    [{ type: 'role-add', name: '' }, 'role-empty'],
    [{ type: 'role-add', name: 'r' }, 'role-exists'],
    [{ type: 'role-delete', name: 's' }, 'role-not-found'],
    [allow('s', 'read', 'k'), 'role-not-found'],
    [allow('r', 'read', ''), 'auth-management-invalid'],
    [allow('r', 'read', 'b', 'a'), 'auth-management-invalid'],
    [allow('r', 'read', 'k', 'k'), 'auth-management-invalid'],
    [allow('r', 'read', 'k'.repeat(ROLE_BYTES_MAX)), 'request-too-large'],
    [{ type: 'role-revoke-permission', name: 'r', ...range('k') }, 'permission-not-granted'],
  ];
  for (const [operation, expected] of cases) expect(code(auth, operation)).toBe(expected);
});

describe('permission', () => {
  const auth = enabled(
    user('u'),
    { type: 'role-add', name: 'r' },
    { type: 'role-add', name: 's' },
    grant('u', 'r'),
    grant('u', 's'),
    allow('r', 'read', 'a', 'b'),
    allow('s', 'read', 'b', 'c'),
    allow('s', 'write', 'w'),
    allow('s', 'read-write', 'x', '\0'),
  );
  const me = { user: 'u', revision: auth.revision };

  test('is merged over roles and checked over the whole range', () => {
    expect(auth.refusal(me, 'read', range('a', 'c'))).toBeNull();
    expect(auth.refusal(me, 'read', range('a', 'c\0'))).toBe('permission-denied');
    expect(auth.refusal(me, 'read', range('a', '\0'))).toBe('permission-denied');
    expect(auth.refusal(me, 'write', range('a'))).toBe('permission-denied');
    expect(auth.refusal(me, 'write', range('w'))).toBeNull();
    expect(auth.refusal(me, 'write', range('w', '\0'))).toBe('permission-denied');
    expect(auth.refusal(me, 'read', range('w'))).toBe('permission-denied');
    expect(auth.refusal(me, 'write', range('x', '\0'))).toBeNull();
    expect(auth.refusal(me, 'write', range('x', 'z'))).toBeNull();
  });

  test('is decided at the very revision', () => {
    expect(auth.refusal({ ...me, revision: me.revision - 1 }, 'read', range('a'))).toBe('auth-revision-old');
    expect(auth.refusal({ ...me, revision: me.revision + 1 }, 'read', range('a'))).toBe('auth-revision-old');
    expect(auth.refusal(ANONYMOUS, 'read', range('a'))).toBe('user-empty');
    expect(auth.refusal({ ...me, user: 'gone' }, 'read', range('a'))).toBe('permission-denied');
    expect(auth.refusal({ user: INTERNAL_USER, revision: 0 }, 'write', range('a'))).toBeNull();
  });

  test("root's matters are root's", () => {
    expect(auth.rootRefusal(me)).toBe('permission-denied');
    expect(auth.rootRefusal(ANONYMOUS)).toBe('user-empty');
    expect(auth.rootRefusal({ user: 'root', revision: 0 })).toBe('user-empty');
    expect(auth.rootRefusal({ user: 'gone', revision: me.revision })).toBe('user-not-found');
    expect(auth.rootRefusal({ user: 'root', revision: me.revision })).toBeNull();
    expect(auth.refusal({ ...me, user: 'root' }, 'write', range('\0', '\0'))).toBeNull();
  });
});

test('granting a range again changes what it allows, revoking takes just that range', () => {
  const auth = store({ type: 'role-add', name: 'r' }, allow('r', 'read', 'k'), allow('r', 'read', 'k', 'l'));
  auth.apply(allow('r', 'write', 'k'));
  expect(auth.role('r')?.permissions.map(({ kind, rangeEnd }) => [kind, rangeEnd.toString()])).toEqual([
    ['write', ''],
    ['read', 'l'],
  ]);
  auth.apply({ type: 'role-revoke-permission', name: 'r', ...range('k', 'l') });
  expect(auth.role('r')?.permissions).toHaveLength(1);
});

test('a deleted role is taken from its users', () => {
  const auth = store(user('u'), { type: 'role-add', name: 'r' }, grant('u', 'r'));
  auth.apply({ type: 'role-delete', name: 'r' });
  expect(auth.user('u')?.roles).toEqual([]);
});

test('who signed in before a change of password, a deletion or a new enabling is out', () => {
  const auth = enabled(user('u'));
  const before = { user: 'u', revision: auth.revision };
  auth.apply(user('v'));
  expect(auth.isFresh(before)).toBe(true);
  auth.apply({ type: 'user-change-password', name: 'u', passwordHash: 'i' });
  expect(auth.isFresh(before)).toBe(false);
  expect(auth.signInRefusal(before)).toBe('auth-revision-old');

  const again = { user: 'u', revision: auth.revision };
  auth.apply({ type: 'user-delete', name: 'u' });
  expect(auth.isFresh(again)).toBe(false);
  auth.apply(user('u'));
  expect(auth.isFresh(again)).toBe(false);

  const root = { user: 'root', revision: auth.revision };
  auth.apply({ type: 'auth-disable' });
  auth.apply({ type: 'auth-enable' });
  expect(auth.isFresh(root)).toBe(false);
  expect(auth.rootRefusal(root)).toBe('auth-revision-old');
});

test('a user without a password cannot sign in with one', () => {
  const auth = enabled({ type: 'user-add', name: 'c', passwordHash: 'h', noPassword: true });
  expect(auth.user('c')?.passwordHash).toBe('');
  expect(auth.signInRefusal({ user: 'c', revision: auth.revision })).toBe('auth-failed');
  auth.apply({ type: 'user-change-password', name: 'c', passwordHash: 'h' });
  expect(auth.user('c')?.passwordHash).toBe('');
});

describe('a principal of a while ago', () => {
  const at = (auth: AuthStore) => ({ user: 'u', revision: auth.revision });

  test('is as of now whatever else changed', () => {
    const auth = enabled(user('u'));
    const before = at(auth);
    for (const operation of [user('v'), { type: 'role-add', name: 'r' }, grant('u', 'r')] as const) {
      auth.apply(operation);
      expect(auth.renewed(before)).toEqual(at(auth));
    }
    expect(auth.rangeRefusal(auth.renewed(before), 'read', { key: 'k', end: 'l' })).toBe('permission-denied');
  });

  test('stays of then, and is refused, when what proved it is over', () => {
    const changes: readonly AuthOperation[][] = [
      [{ type: 'user-delete', name: 'u' }],
      [{ type: 'user-delete', name: 'u' }, user('u')],
      [{ type: 'user-change-password', name: 'u', passwordHash: 'other' }],
      [{ type: 'auth-disable' }, { type: 'auth-enable' }],
    ];
    for (const operations of changes) {
      const auth = enabled(
        user('u'),
        { type: 'role-add', name: 'r' },
        grant('u', 'r'),
        allow('r', 'read', 'k'),
      );
      const before = at(auth);
      for (const operation of operations) auth.apply(operation);
      expect(auth.renewed(before)).toBe(before);
      expect(auth.refusal(auth.renewed(before), 'read', range('k'))).toBe('auth-revision-old');
    }
    const auth = enabled();
    expect(auth.renewed(ANONYMOUS)).toBe(ANONYMOUS);
    // Whoever was somebody only while nobody had to sign in.
    expect(auth.renewed({ user: 'root', revision: 0 })).toEqual({ user: 'root', revision: 0 });
  });
});

test('there are so many users and roles, and not one more', () => {
  const auth = store();
  for (let i = 0; i < PRINCIPALS_MAX; i++) {
    const rest = { passwordHash: 'h', noPassword: false, roles: [], credentialRevision: 1 };
    auth.restore({ type: 'user', user: { name: `u${i}`, ...rest } });
    auth.restore({ type: 'role', role: { name: `r${i}`, permissions: [] } });
  }
  expect(code(auth, user('one more'))).toBe('too-many-requests');
  expect(code(auth, { type: 'role-add', name: 'one more' })).toBe('too-many-requests');
  expect(code(auth, { type: 'user-delete', name: 'u7' })).toBe('ok');
  expect(code(auth, { type: 'role-delete', name: 'r7' })).toBe('ok');
  expect(code(auth, user('one more'))).toBe('ok');
  expect(code(auth, { type: 'role-add', name: 'one more' })).toBe('ok');
  expect(auth.counts).toEqual({ users: PRINCIPALS_MAX, roles: PRINCIPALS_MAX });
});
