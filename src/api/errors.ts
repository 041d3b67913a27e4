import { StoreError, type StoreErrorCode } from '../lib/errors.ts';
import { RpcError, type RpcStatusCode, rpcStatus } from '../rpc/status.ts';

/** What a failure becomes on the wire, the same for every face. */
export interface ErrorMapping {
  readonly status: RpcStatusCode;
  /** Exactly etcd's text where etcd has one: clients match on it. */
  readonly text: string;
  readonly http: number;
  /**
   * `never`: the same request will fail again. `safe`: nothing was done, trying again may succeed. `ambiguous`: a
   * write may or may not have happened.
   */
  readonly retryable: 'never' | 'safe' | 'ambiguous';
}

const { invalidArgument, notFound, failedPrecondition, outOfRange, resourceExhausted, unavailable } =
  rpcStatus;

/** The one table from error code to the wire. Every code has a row: the type says so. */
const TABLE: Readonly<Record<StoreErrorCode, ErrorMapping>> = {
  'empty-key': never(invalidArgument, 'key is not provided', 400),
  'key-not-found': never(invalidArgument, 'key not found', 400),
  'value-provided': never(invalidArgument, 'value is provided', 400),
  'lease-provided': never(invalidArgument, 'lease is provided', 400),
  'too-many-ops': never(invalidArgument, 'too many operations in txn request', 400),
  'duplicate-key': never(invalidArgument, 'duplicate key given in txn request', 400),
  'invalid-sort-option': never(invalidArgument, 'invalid sort option', 400),
  'request-too-large': never(invalidArgument, 'request is too large', 413),
  'member-bad-urls': never(invalidArgument, 'given member URLs are invalid', 400),
  compacted: never(outOfRange, 'mvcc: required revision has been compacted', 410),
  'future-revision': never(outOfRange, 'mvcc: required revision is a future revision', 400),
  'lease-not-found': never(notFound, 'requested lease not found', 404),
  'lease-exists': never(failedPrecondition, 'lease already exists', 409),
  'lease-ttl-too-large': never(outOfRange, 'too large lease TTL', 400),
  'lease-ttl-too-small': never(outOfRange, 'too small lease TTL', 400),
  'member-not-found': never(notFound, 'member not found', 404),
  'member-exists': never(failedPrecondition, 'member ID already exist', 409),
  'peer-url-exists': never(failedPrecondition, 'Peer URLs already exists', 409),
  'member-not-learner': never(failedPrecondition, 'can only promote a learner member', 409),
  'learner-not-ready': safe(
    failedPrecondition,
    'can only promote a learner member which is in sync with leader',
    409,
  ),
  'too-many-learners': never(failedPrecondition, 'too many learner members in cluster', 409),
  'cluster-id-mismatch': never(failedPrecondition, 'cluster ID mismatch', 409),
  unhealthy: safe(unavailable, 'unhealthy cluster', 503),
  'not-enough-started-members': safe(
    failedPrecondition,
    're-configuration failed due to not enough started members',
    409,
  ),
  'bad-leader-transferee': never(failedPrecondition, 'bad leader transferee', 409),
  'not-supported-for-learner': never(failedPrecondition, 'rpc not supported for learner', 409),

  'root-user-missing': never(failedPrecondition, 'root user does not exist', 409),
  'root-role-missing': never(failedPrecondition, 'root user does not have root role', 409),
  'user-exists': never(failedPrecondition, 'user name already exists', 409),
  'user-empty': never(invalidArgument, 'user name is empty', 401),
  'user-not-found': never(failedPrecondition, 'user name not found', 404),
  'role-exists': never(failedPrecondition, 'role name already exists', 409),
  'role-empty': never(invalidArgument, 'role name is empty', 400),
  'role-not-found': never(failedPrecondition, 'role name not found', 404),
  'role-not-granted': never(failedPrecondition, 'role is not granted to the user', 409),
  'auth-failed': never(invalidArgument, 'authentication failed, invalid user ID or password', 401),
  'auth-not-enabled': never(failedPrecondition, 'authentication is not enabled', 409),
  'auth-management-invalid': never(invalidArgument, 'invalid auth management', 400),
  'auth-revision-old': safe(invalidArgument, 'revision of auth store is old', 409),
  'auth-token-invalid': never(rpcStatus.unauthenticated, 'invalid auth token', 401),
  'permission-not-given': never(invalidArgument, 'permission not given', 400),
  'permission-not-granted': never(failedPrecondition, 'permission is not granted to the role', 409),
  'permission-denied': never(rpcStatus.permissionDenied, 'permission denied', 403),

  'no-space': never(resourceExhausted, 'mvcc: database space exceeded', 507),
  corrupt: never(rpcStatus.dataLoss, 'corrupt cluster', 500),
  'too-many-requests': safe(resourceExhausted, 'too many requests', 429),
  'no-leader': safe(unavailable, 'no leader', 503),
  'not-leader': safe(failedPrecondition, 'not leader', 409),
  'leader-changed': ambiguous(unavailable, 'leader changed', 503),
  stopped: ambiguous(unavailable, 'server stopped', 503),
  timeout: ambiguous(unavailable, 'request timed out', 504),
  'timeout-leader-failure': ambiguous(
    unavailable,
    'request timed out, possibly due to previous leader failure',
    504,
  ),
  'timeout-connection-lost': ambiguous(
    unavailable,
    'request timed out, possibly due to connection lost',
    504,
  ),
  'timeout-waiting-applied': ambiguous(
    unavailable,
    'request timed out, waiting for the applied index took too long',
    504,
  ),
  canceled: ambiguous(rpcStatus.canceled, 'request canceled', 499),
  'deadline-exceeded': ambiguous(rpcStatus.deadlineExceeded, 'context deadline exceeded', 504),
  unimplemented: never(rpcStatus.unimplemented, 'not supported by this server', 501),

  storage: ambiguous(rpcStatus.internal, 'storage failure', 500),
  'data-dir-corrupt': never(rpcStatus.dataLoss, 'data directory is corrupt', 500),
  'data-dir-foreign': never(rpcStatus.internal, 'data directory belongs to another member', 500),
  'data-dir-in-use': never(rpcStatus.internal, 'data directory is in use', 500),
  'data-dir-exists': never(rpcStatus.internal, 'data directory already exists', 500),
  'member-data-lost': never(rpcStatus.internal, 'the data of this member is gone', 500),
  'bad-options': never(rpcStatus.internal, 'bad options', 500),
};

/** The row of a code. */
export function errorMapping(code: StoreErrorCode): ErrorMapping {
  // A newer peer may know codes that this release does not.
  return Object.hasOwn(TABLE, code) ? TABLE[code] : TABLE.unhealthy;
}

/** What a handler's rejection becomes for a gRPC client. Bugs become `internal`, without their text. */
export function toRpcError(error: unknown): RpcError {
  if (error instanceof RpcError) return error;
  if (!(error instanceof StoreError)) return new RpcError(rpcStatus.internal, 'etcdserver: internal error');
  const { status, text } = errorMapping(error.code);
  return new RpcError(status, text);
}

function never(status: RpcStatusCode, text: string, http: number): ErrorMapping {
  return { status, text: `etcdserver: ${text}`, http, retryable: 'never' };
}

function safe(status: RpcStatusCode, text: string, http: number): ErrorMapping {
  return { status, text: `etcdserver: ${text}`, http, retryable: 'safe' };
}

function ambiguous(status: RpcStatusCode, text: string, http: number): ErrorMapping {
  return { status, text: `etcdserver: ${text}`, http, retryable: 'ambiguous' };
}
