import type { Permission, PermissionKind } from '../../core/auth/permission.ts';
import { StoreError } from '../../lib/errors.ts';
import type { ClientContext } from '../../member/auth/access.ts';
import type { Answer } from '../../member/client-calls.ts';
import type * as authpb from '../../rpc/generated/authpb/auth.ts';
import { Permission_Type as WireKind } from '../../rpc/generated/authpb/auth.ts';
import type * as wire from '../../rpc/generated/etcdserverpb/rpc.ts';
import type { RpcCall, RpcServer } from '../../rpc/server.ts';
import { unary } from '../../rpc/service.ts';
import type { EtcdBackend } from './backend.ts';
import { addressOf, contextOf } from './credentials.ts';
import { requireLeader } from './leader.ts';
import { wireHeader } from './translate.ts';

/** Registers `etcdserverpb.Auth`. */
export function registerAuth(server: RpcServer, backend: EtcdBackend): void {
  registerSwitch(server, backend);
  registerUsers(server, backend);
  registerRoles(server, backend);
}

function registerSwitch(server: RpcServer, backend: EtcdBackend): void {
  const { accounts } = backend;

  unary(server, '/etcdserverpb.Auth/AuthEnable', (_request, call) =>
    headerOf(backend, call, (context) => accounts.enable(context)),
  );

  unary(server, '/etcdserverpb.Auth/AuthDisable', (_request, call) =>
    headerOf(backend, call, (context) => accounts.disable(context)),
  );

  unary(server, '/etcdserverpb.Auth/AuthStatus', async (_request, call) => {
    requireLeader(call, backend);
    const { header, result } = await accounts.status(contextOf(call));
    return { header: wireHeader(header), enabled: result.enabled, authRevision: result.revision };
  });

  unary(server, '/etcdserverpb.Auth/Authenticate', async ({ name, password }, call) => {
    requireLeader(call, backend);
    const request = { name, password, address: addressOf(call) };
    const { header, result } = await accounts.authenticate(request, contextOf(call));
    return { header: wireHeader(header), token: result };
  });
}

function registerUsers(server: RpcServer, backend: EtcdBackend): void {
  const { accounts } = backend;

  // A hash that a client made itself is not taken: it could be of any strength.
  unary(server, '/etcdserverpb.Auth/UserAdd', ({ name, password, options }, call) => {
    const noPassword = options?.no_password === true;
    return headerOf(backend, call, (context) => accounts.userAdd({ name, password, noPassword }, context));
  });

  unary(server, '/etcdserverpb.Auth/UserGet', async ({ name }, call) => {
    requireLeader(call, backend);
    const { header, result } = await accounts.userGet(name, contextOf(call));
    return { header: wireHeader(header), roles: [...result] };
  });

  unary(server, '/etcdserverpb.Auth/UserList', async (_request, call) => {
    requireLeader(call, backend);
    const { header, result } = await accounts.userList(contextOf(call));
    return { header: wireHeader(header), users: [...result] };
  });

  unary(server, '/etcdserverpb.Auth/UserDelete', ({ name }, call) =>
    headerOf(backend, call, (context) => accounts.userDelete(name, context)),
  );

  unary(server, '/etcdserverpb.Auth/UserChangePassword', ({ name, password }, call) =>
    headerOf(backend, call, (context) => accounts.userChangePassword({ name, password }, context)),
  );

  unary(server, '/etcdserverpb.Auth/UserGrantRole', ({ user, role }, call) =>
    headerOf(backend, call, (context) => accounts.userGrantRole({ name: user, role }, context)),
  );

  unary(server, '/etcdserverpb.Auth/UserRevokeRole', ({ name, role }, call) =>
    headerOf(backend, call, (context) => accounts.userRevokeRole({ name, role }, context)),
  );
}

function registerRoles(server: RpcServer, backend: EtcdBackend): void {
  const { accounts } = backend;

  unary(server, '/etcdserverpb.Auth/RoleAdd', ({ name }, call) =>
    headerOf(backend, call, (context) => accounts.roleAdd(name, context)),
  );

  unary(server, '/etcdserverpb.Auth/RoleGet', async ({ role }, call) => {
    requireLeader(call, backend);
    const { header, result } = await accounts.roleGet(role, contextOf(call));
    return { header: wireHeader(header), perm: result.permissions.map(wirePermission) };
  });

  unary(server, '/etcdserverpb.Auth/RoleList', async (_request, call) => {
    requireLeader(call, backend);
    const { header, result } = await accounts.roleList(contextOf(call));
    return { header: wireHeader(header), roles: [...result] };
  });

  unary(server, '/etcdserverpb.Auth/RoleDelete', ({ role }, call) =>
    headerOf(backend, call, (context) => accounts.roleDelete(role, context)),
  );

  unary(server, '/etcdserverpb.Auth/RoleGrantPermission', async ({ name, perm }, call) => {
    if (perm === null) throw new StoreError('permission-not-given');
    const request = { name, permission: permissionOf(perm) };
    return headerOf(backend, call, (context) => accounts.roleGrantPermission(request, context));
  });

  unary(server, '/etcdserverpb.Auth/RoleRevokePermission', ({ role, key, range_end }, call) => {
    const request = { name: role, key, rangeEnd: range_end };
    return headerOf(backend, call, (context) => accounts.roleRevokePermission(request, context));
  });
}

/** For methods that answer nothing else. */
async function headerOf(
  backend: EtcdBackend,
  call: RpcCall,
  change: (context: ClientContext) => Promise<Answer<null>>,
): Promise<{ header: wire.ResponseHeader }> {
  requireLeader(call, backend);
  const { header } = await change(contextOf(call));
  return { header: wireHeader(header) };
}

const KINDS: readonly (readonly [number, PermissionKind])[] = [
  [WireKind.READ, 'read'],
  [WireKind.WRITE, 'write'],
  [WireKind.READWRITE, 'read-write'],
];

/** @throws StoreError `permission-not-given` for a kind that is none */
function permissionOf({ permType, key, range_end }: authpb.Permission): Permission {
  const kind = KINDS.find(([number]) => number === permType)?.[1];
  if (kind === undefined) throw new StoreError('permission-not-given');
  return { kind, key, rangeEnd: range_end };
}

function wirePermission({ kind, key, rangeEnd }: Permission): authpb.Permission {
  const permType = KINDS.find(([, name]) => name === kind)![0] as authpb.Permission_Type;
  return { permType, key, range_end: rangeEnd };
}
