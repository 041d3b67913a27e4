import type { Methods } from '../../rpc/generated/messages.ts';

/**
 * Where each method is found over HTTP: always POST, the whole body is the request. The paths are etcd's; RangeStream
 * has none there either. `/v3beta` and `/v3alpha` stand for `/v3`.
 */
export const GATEWAY_ROUTES: ReadonlyMap<string, keyof Methods> = new Map([
  ...service('/v3/kv', 'etcdserverpb.KV', {
    range: 'Range',
    put: 'Put',
    deleterange: 'DeleteRange',
    txn: 'Txn',
    compaction: 'Compact',
  }),
  ...service('/v3', 'etcdserverpb.Watch', { watch: 'Watch' }),
  ...service('/v3/lease', 'etcdserverpb.Lease', {
    grant: 'LeaseGrant',
    revoke: 'LeaseRevoke',
    keepalive: 'LeaseKeepAlive',
    timetolive: 'LeaseTimeToLive',
    leases: 'LeaseLeases',
  }),
  ...service('/v3/kv/lease', 'etcdserverpb.Lease', {
    revoke: 'LeaseRevoke',
    timetolive: 'LeaseTimeToLive',
    leases: 'LeaseLeases',
  }),
  ...service('/v3/cluster/member', 'etcdserverpb.Cluster', {
    add: 'MemberAdd',
    remove: 'MemberRemove',
    update: 'MemberUpdate',
    list: 'MemberList',
    promote: 'MemberPromote',
  }),
  ...service('/v3/maintenance', 'etcdserverpb.Maintenance', {
    alarm: 'Alarm',
    status: 'Status',
    defragment: 'Defragment',
    hash: 'Hash',
    hashkv: 'HashKV',
    snapshot: 'Snapshot',
    'transfer-leadership': 'MoveLeader',
    downgrade: 'Downgrade',
  }),
  ...service('/v3/auth', 'etcdserverpb.Auth', {
    enable: 'AuthEnable',
    disable: 'AuthDisable',
    status: 'AuthStatus',
    authenticate: 'Authenticate',
    'user/add': 'UserAdd',
    'user/get': 'UserGet',
    'user/list': 'UserList',
    'user/delete': 'UserDelete',
    'user/changepw': 'UserChangePassword',
    'user/grant': 'UserGrantRole',
    'user/revoke': 'UserRevokeRole',
    'role/add': 'RoleAdd',
    'role/get': 'RoleGet',
    'role/list': 'RoleList',
    'role/delete': 'RoleDelete',
    'role/grant': 'RoleGrantPermission',
    'role/revoke': 'RoleRevokePermission',
  }),
  ...service('/v3/lock', 'v3lockpb.Lock', { lock: 'Lock', unlock: 'Unlock' }),
  ...service('/v3/election', 'v3electionpb.Election', {
    campaign: 'Campaign',
    proclaim: 'Proclaim',
    leader: 'Leader',
    observe: 'Observe',
    resign: 'Resign',
  }),
]);

type MethodOf<Service extends string> = keyof Methods extends infer Path
  ? Path extends `/${Service}/${infer Method}`
    ? Method
    : never
  : never;

function service<Service extends string>(
  base: string,
  name: Service,
  methods: Readonly<Record<string, MethodOf<Service>>>,
): readonly (readonly [string, keyof Methods])[] {
  return Object.entries(methods).map(
    ([path, method]) => [`${base}/${path}`, `/${name}/${method}` as keyof Methods] as const,
  );
}
