import { afterEach, beforeEach, expect, test } from 'vitest';
import { StoreError } from '../../../src/lib/errors.ts';
import { failure } from '../../rpc/harness.ts';
import { WIRE_HEADER } from './fake-backend.ts';
import { EtcdHarness } from './harness.ts';

let etcd: EtcdHarness;
beforeEach(async () => {
  etcd = new EtcdHarness();
  await etcd.start();
});
afterEach(async () => {
  expect(etcd.bugs).toEqual([]);
  await etcd[Symbol.asyncDispose]();
});

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');

test('authentication is enabled, disabled and told of', async () => {
  expect(await etcd.unary('/etcdserverpb.Auth/AuthEnable', {})).toMatchObject({ header: WIRE_HEADER });
  expect(await etcd.unary('/etcdserverpb.Auth/AuthDisable', {})).toMatchObject({ header: WIRE_HEADER });
  const status = await etcd.unary('/etcdserverpb.Auth/AuthStatus', {});
  expect(status).toMatchObject({ header: WIRE_HEADER, enabled: true, authRevision: 12 });
  const { token } = await etcd.unary('/etcdserverpb.Auth/Authenticate', { name: 'u', password: 'p' });
  expect(token).toBe('letters.5');
  expect(etcd.backend.asked.slice(0, 3)).toEqual(['enable', 'disable', 'status']);
  expect(etcd.backend.asked[3]).toMatchObject({ name: 'u', password: 'p' });
});

test('users are translated; a hash made by the client is not taken', async () => {
  const hashedPassword = 'mine';
  await etcd.unary('/etcdserverpb.Auth/UserAdd', { name: 'u', password: 'p', hashedPassword });
  await etcd.unary('/etcdserverpb.Auth/UserAdd', { name: 'c', options: { no_password: true } });
  await etcd.unary('/etcdserverpb.Auth/UserChangePassword', { name: 'u', password: 'q', hashedPassword });
  await etcd.unary('/etcdserverpb.Auth/UserDelete', { name: 'u' });
  await etcd.unary('/etcdserverpb.Auth/UserGrantRole', { user: 'u', role: 'r' });
  await etcd.unary('/etcdserverpb.Auth/UserRevokeRole', { name: 'u', role: 'r' });
  expect((await etcd.unary('/etcdserverpb.Auth/UserGet', { name: 'u' })).roles).toEqual(['a', 'b']);
  expect((await etcd.unary('/etcdserverpb.Auth/UserList', {})).users).toEqual(['u', 'v']);
  expect(etcd.backend.asked).toEqual([
    { name: 'u', password: 'p', noPassword: false },
    { name: 'c', password: '', noPassword: true },
    { name: 'u', password: 'q' },
    { userDelete: 'u' },
    { grant: { name: 'u', role: 'r' } },
    { revoke: { name: 'u', role: 'r' } },
    { userGet: 'u' },
    'users',
  ]);
});

test('roles and permissions are translated', async () => {
  await etcd.unary('/etcdserverpb.Auth/RoleAdd', { name: 'r' });
  await etcd.unary('/etcdserverpb.Auth/RoleDelete', { role: 'r' });
  const perm = { permType: 1 as const, key: bytes('k'), range_end: bytes('\0') };
  await etcd.unary('/etcdserverpb.Auth/RoleGrantPermission', { name: 'r', perm });
  await etcd.unary('/etcdserverpb.Auth/RoleRevokePermission', {
    role: 'r',
    key: bytes('k'),
    range_end: bytes('l'),
  });
  const got = await etcd.unary('/etcdserverpb.Auth/RoleGet', { role: 'r' });
  expect(got.perm).toMatchObject([{ permType: 2, key: bytes('k'), range_end: bytes('l') }]);
  expect((await etcd.unary('/etcdserverpb.Auth/RoleList', {})).roles).toEqual(['r', 's']);
  expect(etcd.backend.asked).toEqual([
    { roleAdd: 'r' },
    { roleDelete: 'r' },
    { name: 'r', permission: { kind: 'write', key: bytes('k'), rangeEnd: bytes('\0') } },
    { name: 'r', key: bytes('k'), rangeEnd: bytes('l') },
    { roleGet: 'r' },
    'roles',
  ]);
});

test('a grant needs a permission of a known kind', async () => {
  const path = '/etcdserverpb.Auth/RoleGrantPermission';
  const expected = { code: 3, details: 'etcdserver: permission not given' };
  expect(await failure(etcd.unary(path, { name: 'r' }))).toEqual(expected);
  const perm = { permType: 7 as 0, key: bytes('k'), range_end: bytes('') };
  expect(await failure(etcd.unary(path, { name: 'r', perm }))).toEqual(expected);
});

test('a failure carries its text', async () => {
  etcd.backend.failure = new StoreError('root-user-missing');
  expect(await failure(etcd.unary('/etcdserverpb.Auth/AuthEnable', {}))).toEqual({
    code: 9,
    details: 'etcdserver: root user does not exist',
  });
});
