import { type Codec, codec } from '../rpc/codec.ts';
import type * as authpb from '../rpc/generated/authpb/auth.ts';
import type * as pb from '../rpc/generated/etcdserverpb/rpc.ts';
import type { Messages } from '../rpc/generated/messages.ts';
import type * as mvccpb from '../rpc/generated/mvccpb/kv.ts';
import { bytesOf } from './bytes.ts';
import { ClientError, type ClientErrorCode } from './client-error.ts';
import type { Method } from './connection.ts';
import type {
  Compare,
  DeleteAnswer,
  DeleteOptions,
  KeyValue,
  MemberEntry,
  MembersAnswer,
  Permission,
  PutAnswer,
  PutOptions,
  RangeAnswer,
  RangeOptions,
  ResponseHeader,
  StatusAnswer,
  TxnAnswer,
  TxnOp,
  TxnOptions,
  WatchEvent,
  WatchOptions,
} from './types.ts';

/** The client's types as wire messages and back: the only file of the client that knows field names. */

type Prefixed<S extends string> = Extract<keyof Messages, `etcdserverpb.${S}`>;

function method<Req extends Prefixed<string>, Res extends Prefixed<string>>(
  path: string,
  names: { readonly request: Req; readonly response: Res; readonly mutating?: boolean },
): Method<Messages[Req], Messages[Res]> {
  const request: Codec<Messages[Req]> = codec(names.request);
  const response: Codec<Messages[Res]> = codec(names.response);
  return {
    path: `/etcdserverpb.${path}`,
    encode: (message) => request.encode(message),
    decode: (bytes) => response.decode(bytes),
    mutating: names.mutating ?? false,
  };
}

/** Every method the client calls. */
export const METHODS = {
  range: method('KV/Range', { request: 'etcdserverpb.RangeRequest', response: 'etcdserverpb.RangeResponse' }),
  put: method('KV/Put', {
    request: 'etcdserverpb.PutRequest',
    response: 'etcdserverpb.PutResponse',
    mutating: true,
  }),
  deleteRange: method('KV/DeleteRange', {
    request: 'etcdserverpb.DeleteRangeRequest',
    response: 'etcdserverpb.DeleteRangeResponse',
    mutating: true,
  }),
  txn: method('KV/Txn', {
    request: 'etcdserverpb.TxnRequest',
    response: 'etcdserverpb.TxnResponse',
    mutating: true,
  }),
  compact: method('KV/Compact', {
    request: 'etcdserverpb.CompactionRequest',
    response: 'etcdserverpb.CompactionResponse',
    mutating: true,
  }),
  watch: method('Watch/Watch', {
    request: 'etcdserverpb.WatchRequest',
    response: 'etcdserverpb.WatchResponse',
  }),
  leaseGrant: method('Lease/LeaseGrant', {
    request: 'etcdserverpb.LeaseGrantRequest',
    response: 'etcdserverpb.LeaseGrantResponse',
    mutating: true,
  }),
  leaseRevoke: method('Lease/LeaseRevoke', {
    request: 'etcdserverpb.LeaseRevokeRequest',
    response: 'etcdserverpb.LeaseRevokeResponse',
    mutating: true,
  }),
  leaseKeepAlive: method('Lease/LeaseKeepAlive', {
    request: 'etcdserverpb.LeaseKeepAliveRequest',
    response: 'etcdserverpb.LeaseKeepAliveResponse',
  }),
  leaseTimeToLive: method('Lease/LeaseTimeToLive', {
    request: 'etcdserverpb.LeaseTimeToLiveRequest',
    response: 'etcdserverpb.LeaseTimeToLiveResponse',
  }),
  memberList: method('Cluster/MemberList', {
    request: 'etcdserverpb.MemberListRequest',
    response: 'etcdserverpb.MemberListResponse',
  }),
  memberAdd: method('Cluster/MemberAdd', {
    request: 'etcdserverpb.MemberAddRequest',
    response: 'etcdserverpb.MemberAddResponse',
    mutating: true,
  }),
  memberRemove: method('Cluster/MemberRemove', {
    request: 'etcdserverpb.MemberRemoveRequest',
    response: 'etcdserverpb.MemberRemoveResponse',
    mutating: true,
  }),
  memberUpdate: method('Cluster/MemberUpdate', {
    request: 'etcdserverpb.MemberUpdateRequest',
    response: 'etcdserverpb.MemberUpdateResponse',
    mutating: true,
  }),
  memberPromote: method('Cluster/MemberPromote', {
    request: 'etcdserverpb.MemberPromoteRequest',
    response: 'etcdserverpb.MemberPromoteResponse',
    mutating: true,
  }),
  status: method('Maintenance/Status', {
    request: 'etcdserverpb.StatusRequest',
    response: 'etcdserverpb.StatusResponse',
  }),
  snapshot: method('Maintenance/Snapshot', {
    request: 'etcdserverpb.SnapshotRequest',
    response: 'etcdserverpb.SnapshotResponse',
  }),
  authEnable: method('Auth/AuthEnable', {
    request: 'etcdserverpb.AuthEnableRequest',
    response: 'etcdserverpb.AuthEnableResponse',
    mutating: true,
  }),
  authDisable: method('Auth/AuthDisable', {
    request: 'etcdserverpb.AuthDisableRequest',
    response: 'etcdserverpb.AuthDisableResponse',
    mutating: true,
  }),
  authStatus: method('Auth/AuthStatus', {
    request: 'etcdserverpb.AuthStatusRequest',
    response: 'etcdserverpb.AuthStatusResponse',
  }),
  authenticate: method('Auth/Authenticate', {
    request: 'etcdserverpb.AuthenticateRequest',
    response: 'etcdserverpb.AuthenticateResponse',
  }),
  userAdd: method('Auth/UserAdd', {
    request: 'etcdserverpb.AuthUserAddRequest',
    response: 'etcdserverpb.AuthUserAddResponse',
    mutating: true,
  }),
  userGet: method('Auth/UserGet', {
    request: 'etcdserverpb.AuthUserGetRequest',
    response: 'etcdserverpb.AuthUserGetResponse',
  }),
  userList: method('Auth/UserList', {
    request: 'etcdserverpb.AuthUserListRequest',
    response: 'etcdserverpb.AuthUserListResponse',
  }),
  userDelete: method('Auth/UserDelete', {
    request: 'etcdserverpb.AuthUserDeleteRequest',
    response: 'etcdserverpb.AuthUserDeleteResponse',
    mutating: true,
  }),
  userChangePassword: method('Auth/UserChangePassword', {
    request: 'etcdserverpb.AuthUserChangePasswordRequest',
    response: 'etcdserverpb.AuthUserChangePasswordResponse',
    mutating: true,
  }),
  userGrantRole: method('Auth/UserGrantRole', {
    request: 'etcdserverpb.AuthUserGrantRoleRequest',
    response: 'etcdserverpb.AuthUserGrantRoleResponse',
    mutating: true,
  }),
  userRevokeRole: method('Auth/UserRevokeRole', {
    request: 'etcdserverpb.AuthUserRevokeRoleRequest',
    response: 'etcdserverpb.AuthUserRevokeRoleResponse',
    mutating: true,
  }),
  roleAdd: method('Auth/RoleAdd', {
    request: 'etcdserverpb.AuthRoleAddRequest',
    response: 'etcdserverpb.AuthRoleAddResponse',
    mutating: true,
  }),
  roleGet: method('Auth/RoleGet', {
    request: 'etcdserverpb.AuthRoleGetRequest',
    response: 'etcdserverpb.AuthRoleGetResponse',
  }),
  roleList: method('Auth/RoleList', {
    request: 'etcdserverpb.AuthRoleListRequest',
    response: 'etcdserverpb.AuthRoleListResponse',
  }),
  roleDelete: method('Auth/RoleDelete', {
    request: 'etcdserverpb.AuthRoleDeleteRequest',
    response: 'etcdserverpb.AuthRoleDeleteResponse',
    mutating: true,
  }),
  roleGrantPermission: method('Auth/RoleGrantPermission', {
    request: 'etcdserverpb.AuthRoleGrantPermissionRequest',
    response: 'etcdserverpb.AuthRoleGrantPermissionResponse',
    mutating: true,
  }),
  roleRevokePermission: method('Auth/RoleRevokePermission', {
    request: 'etcdserverpb.AuthRoleRevokePermissionRequest',
    response: 'etcdserverpb.AuthRoleRevokePermissionResponse',
    mutating: true,
  }),
} as const;

/** The same method for a call that does no harm when it is performed twice. */
export function repeatable<Req, Res>(once: Method<Req, Res>): Method<Req, Res> {
  return { ...once, mutating: false };
}

const EMPTY = Buffer.alloc(0);
const NO_HEADER: pb.ResponseHeader = { cluster_id: 0, member_id: 0, revision: 0, raft_term: 0 };

// ---- requests -----------------------------------------------------------------------------------------------

const SORT_ORDERS = { none: 0, ascend: 1, descend: 2 } as const;
const SORT_TARGETS = { key: 0, version: 1, create: 2, mod: 3, value: 4 } as const;
const RESULTS = { equal: 0, greater: 1, less: 2, 'not-equal': 3 } as const;

export function rangeRequest(options: RangeOptions): pb.RangeRequest {
  return {
    key: bytesOf(options.key),
    range_end: bytesOf(options.rangeEnd ?? EMPTY),
    limit: options.limit ?? 0,
    revision: options.revision ?? 0,
    sort_order: SORT_ORDERS[options.sortOrder ?? 'none'],
    sort_target: SORT_TARGETS[options.sortTarget ?? 'key'],
    serializable: options.serializable ?? false,
    keys_only: options.keysOnly ?? false,
    count_only: options.countOnly ?? false,
    min_mod_revision: options.minModRevision ?? 0,
    max_mod_revision: options.maxModRevision ?? 0,
    min_create_revision: options.minCreateRevision ?? 0,
    max_create_revision: options.maxCreateRevision ?? 0,
  };
}

export function putRequest(options: PutOptions): pb.PutRequest {
  return {
    key: bytesOf(options.key),
    value: bytesOf(options.value),
    lease: options.lease ?? 0n,
    prev_kv: options.prevKv ?? false,
    ignore_value: options.ignoreValue ?? false,
    ignore_lease: options.ignoreLease ?? false,
  };
}

export function deleteRequest(options: DeleteOptions): pb.DeleteRangeRequest {
  return {
    key: bytesOf(options.key),
    range_end: bytesOf(options.rangeEnd ?? EMPTY),
    prev_kv: options.prevKv ?? false,
  };
}

export function txnRequest(options: TxnOptions): pb.TxnRequest {
  return {
    compare: options.compare.map(compare),
    success: options.success.map(requestOp),
    failure: options.failure.map(requestOp),
  };
}

function requestOp(op: TxnOp): pb.RequestOp {
  switch (op.type) {
    case 'range':
      return { request_range: rangeRequest(op) };
    case 'put':
      return { request_put: putRequest(op) };
    case 'delete':
      return { request_delete_range: deleteRequest(op) };
  }
}

function compare(given: Compare): pb.Compare {
  const base = {
    result: RESULTS[given.result],
    key: bytesOf(given.key),
    range_end: bytesOf(given.rangeEnd ?? EMPTY),
  };
  switch (given.target) {
    case 'version':
      return { ...base, target: 0, version: given.number };
    case 'create':
      return { ...base, target: 1, create_revision: given.number };
    case 'mod':
      return { ...base, target: 2, mod_revision: given.number };
    case 'value':
      return { ...base, target: 3, value: bytesOf(given.value) };
    case 'lease':
      return { ...base, target: 4, lease: given.lease };
  }
}

/** The only watch of its stream: progress is asked for by this id, since 0 would mean the whole stream. */
const WATCH_ID = 1;
const FILTERS = { all: [], puts: [1], deletes: [0] } as const;

export function watchRequest(options: WatchOptions, startRevision: number): Partial<pb.WatchRequest> {
  return {
    create_request: {
      key: bytesOf(options.key),
      range_end: bytesOf(options.rangeEnd ?? EMPTY),
      start_revision: startRevision,
      progress_notify: options.progressNotify ?? false,
      filters: [...FILTERS[options.only ?? 'all']],
      prev_kv: options.prevKv ?? false,
      watch_id: WATCH_ID,
      fragment: true,
      lease: options.lease ?? null,
    },
  };
}

export function progressRequest(request: {
  readonly nonce: number;
  readonly linearizable?: boolean;
}): Partial<pb.WatchRequest> {
  const linearizable = request.linearizable === true ? true : null;
  return { progress_request: { nonce: request.nonce, watch_id: WATCH_ID, linearizable } };
}

// ---- answers ------------------------------------------------------------------------------------------------

export function header(message: pb.ResponseHeader | null): ResponseHeader {
  const { cluster_id, member_id, revision, raft_term } = message ?? NO_HEADER;
  return {
    clusterId: BigInt(cluster_id),
    memberId: BigInt(member_id),
    revision: Number(revision),
    raftTerm: Number(raft_term),
  };
}

function keyValue(message: mvccpb.KeyValue): KeyValue {
  return {
    key: message.key,
    value: message.value,
    createRevision: Number(message.create_revision),
    modRevision: Number(message.mod_revision),
    version: Number(message.version),
    lease: BigInt(message.lease),
  };
}

function maybeKeyValue(message: mvccpb.KeyValue | null): KeyValue | null {
  return message === null ? null : keyValue(message);
}

export function rangeAnswer(message: pb.RangeResponse): RangeAnswer {
  const { more, count } = message;
  return {
    type: 'range',
    header: header(message.header),
    kvs: message.kvs.map(keyValue),
    more,
    count: Number(count),
  };
}

export function putAnswer(message: pb.PutResponse): PutAnswer {
  return { type: 'put', header: header(message.header), prevKv: maybeKeyValue(message.prev_kv) };
}

export function deleteAnswer(message: pb.DeleteRangeResponse): DeleteAnswer {
  const prevKvs = message.prev_kvs.map(keyValue);
  return { type: 'delete', header: header(message.header), deleted: Number(message.deleted), prevKvs };
}

export function txnAnswer(message: pb.TxnResponse): TxnAnswer {
  const { succeeded } = message;
  return {
    type: 'txn',
    header: header(message.header),
    succeeded,
    responses: message.responses.map(responseOp),
  };
}

function responseOp(op: pb.ResponseOp): TxnAnswer['responses'][number] {
  if (op.response_range) return rangeAnswer(op.response_range);
  if (op.response_put) return putAnswer(op.response_put);
  if (op.response_delete_range) return deleteAnswer(op.response_delete_range);
  if (op.response_txn) return txnAnswer(op.response_txn);
  throw new TypeError('a transaction answered an operation of no known kind');
}

export function watchEvent(message: mvccpb.Event): WatchEvent {
  if (message.kv === null) throw new TypeError('a watch told an event without a key');
  return {
    type: message.type === 0 ? 'put' : 'delete',
    kv: keyValue(message.kv),
    prevKv: maybeKeyValue(message.prev_kv),
  };
}

const REFUSALS: Readonly<Record<string, ClientErrorCode>> = {
  PermissionDenied: 'permission-denied',
  Unauthenticated: 'unauthenticated',
  InvalidArgument: 'invalid-argument',
  NotFound: 'not-found',
};

/** Why the server ended a watch. */
export function watchCancellation(response: pb.WatchResponse): ClientError {
  const compactRevision = Number(response.compact_revision);
  if (compactRevision > 0) {
    const text = 'etcdserver: mvcc: required revision has been compacted';
    return new ClientError('out-of-range', response.cancel_reason || text, { compactRevision });
  }
  const reason = response.cancel_reason || 'etcdserver: watch canceled';
  // A refusal comes as the text of a gRPC status.
  const refusal = /^rpc error: code = (\w+) desc = (.*)$/s.exec(reason);
  const code = REFUSALS[refusal?.[1] ?? ''];
  if (code !== undefined) return new ClientError(code, refusal![2]!);
  return new ClientError(reason.endsWith(LEASE_IS_GONE) ? 'not-found' : 'failed-precondition', reason);
}

const LEASE_IS_GONE = 'requested lease not found';

export function memberEntry(message: pb.Member): MemberEntry {
  return {
    id: BigInt(message.ID),
    name: message.name,
    peerUrls: message.peerURLs,
    clientUrls: message.clientURLs,
    isLearner: message.isLearner,
    ...(message.region && { region: message.region }),
  };
}

export function membersAnswer(message: pb.MemberListResponse): MembersAnswer {
  return { header: header(message.header), members: message.members.map(memberEntry) };
}

const PERMISSIONS = { read: 0, write: 1, 'read-write': 2 } as const;

export function permissionMessage({ type, key, rangeEnd }: Permission): authpb.Permission {
  return { permType: PERMISSIONS[type], key: bytesOf(key), range_end: bytesOf(rangeEnd ?? EMPTY) };
}

export function permission({ permType, key, range_end }: authpb.Permission): Permission {
  const types = ['read', 'write', 'read-write'] as const;
  return { type: types[permType], key, rangeEnd: range_end };
}

export function statusAnswer(message: pb.StatusResponse): StatusAnswer {
  return {
    header: header(message.header),
    version: message.version,
    leader: BigInt(message.leader),
    raftTerm: Number(message.raftTerm),
    raftIndex: Number(message.raftIndex),
    raftAppliedIndex: Number(message.raftAppliedIndex),
    dbSizeBytes: Number(message.dbSize),
    dbSizeInUseBytes: Number(message.dbSizeInUse),
    isLearner: message.isLearner,
    errors: message.errors,
    ...(message.region && { region: message.region }),
    roundTrips: message.roundTrips.map(({ memberID, micros }) => ({
      memberId: BigInt(memberID),
      micros: Number(micros),
    })),
    ...((message.ageMs ?? null) !== null && { ageMs: Number(message.ageMs) }),
  };
}
