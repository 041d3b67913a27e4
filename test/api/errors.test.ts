import { expect, test } from 'vitest';
import { errorMapping, toRpcError } from '../../src/api/errors.ts';
import { StoreError, type StoreErrorCode } from '../../src/lib/errors.ts';
import { RpcError, rpcStatus } from '../../src/rpc/status.ts';

/** The texts clients match on, from the published table of etcd's errors. */
const ETCD: readonly (readonly [StoreErrorCode, number, string])[] = [
  ['empty-key', 3, 'etcdserver: key is not provided'],
  ['key-not-found', 3, 'etcdserver: key not found'],
  ['value-provided', 3, 'etcdserver: value is provided'],
  ['lease-provided', 3, 'etcdserver: lease is provided'],
  ['too-many-ops', 3, 'etcdserver: too many operations in txn request'],
  ['duplicate-key', 3, 'etcdserver: duplicate key given in txn request'],
  ['invalid-sort-option', 3, 'etcdserver: invalid sort option'],
  ['request-too-large', 3, 'etcdserver: request is too large'],
  ['member-bad-urls', 3, 'etcdserver: given member URLs are invalid'],
  ['compacted', 11, 'etcdserver: mvcc: required revision has been compacted'],
  ['future-revision', 11, 'etcdserver: mvcc: required revision is a future revision'],
  ['lease-ttl-too-large', 11, 'etcdserver: too large lease TTL'],
  ['no-space', 8, 'etcdserver: mvcc: database space exceeded'],
  ['too-many-requests', 8, 'etcdserver: too many requests'],
  ['lease-not-found', 5, 'etcdserver: requested lease not found'],
  ['member-not-found', 5, 'etcdserver: member not found'],
  ['lease-exists', 9, 'etcdserver: lease already exists'],
  ['member-exists', 9, 'etcdserver: member ID already exist'],
  ['peer-url-exists', 9, 'etcdserver: Peer URLs already exists'],
  ['member-not-learner', 9, 'etcdserver: can only promote a learner member'],
  ['learner-not-ready', 9, 'etcdserver: can only promote a learner member which is in sync with leader'],
  ['too-many-learners', 9, 'etcdserver: too many learner members in cluster'],
  ['cluster-id-mismatch', 9, 'etcdserver: cluster ID mismatch'],
  ['not-enough-started-members', 9, 'etcdserver: re-configuration failed due to not enough started members'],
  ['not-leader', 9, 'etcdserver: not leader'],
  ['not-supported-for-learner', 9, 'etcdserver: rpc not supported for learner'],
  ['bad-leader-transferee', 9, 'etcdserver: bad leader transferee'],
  ['root-user-missing', 9, 'etcdserver: root user does not exist'],
  ['root-role-missing', 9, 'etcdserver: root user does not have root role'],
  ['user-exists', 9, 'etcdserver: user name already exists'],
  ['user-empty', 3, 'etcdserver: user name is empty'],
  ['user-not-found', 9, 'etcdserver: user name not found'],
  ['role-exists', 9, 'etcdserver: role name already exists'],
  ['role-empty', 3, 'etcdserver: role name is empty'],
  ['role-not-found', 9, 'etcdserver: role name not found'],
  ['role-not-granted', 9, 'etcdserver: role is not granted to the user'],
  ['auth-failed', 3, 'etcdserver: authentication failed, invalid user ID or password'],
  ['auth-not-enabled', 9, 'etcdserver: authentication is not enabled'],
  ['auth-management-invalid', 3, 'etcdserver: invalid auth management'],
  ['auth-revision-old', 3, 'etcdserver: revision of auth store is old'],
  ['auth-token-invalid', 16, 'etcdserver: invalid auth token'],
  ['permission-not-given', 3, 'etcdserver: permission not given'],
  ['permission-not-granted', 9, 'etcdserver: permission is not granted to the role'],
  ['permission-denied', 7, 'etcdserver: permission denied'],
  ['no-leader', 14, 'etcdserver: no leader'],
  ['leader-changed', 14, 'etcdserver: leader changed'],
  ['stopped', 14, 'etcdserver: server stopped'],
  ['timeout', 14, 'etcdserver: request timed out'],
  ['timeout-leader-failure', 14, 'etcdserver: request timed out, possibly due to previous leader failure'],
  ['timeout-connection-lost', 14, 'etcdserver: request timed out, possibly due to connection lost'],
  [
    'timeout-waiting-applied',
    14,
    'etcdserver: request timed out, waiting for the applied index took too long',
  ],
  ['unhealthy', 14, 'etcdserver: unhealthy cluster'],
  ['corrupt', 15, 'etcdserver: corrupt cluster'],
  ['canceled', 1, 'etcdserver: request canceled'],
  ['deadline-exceeded', 4, 'etcdserver: context deadline exceeded'],
];

test.each(ETCD)('%s is %i "%s"', (code, status, text) => {
  expect(errorMapping(code)).toMatchObject({ status, text });
  expect(toRpcError(new StoreError(code, 'a detail for people'))).toMatchObject({
    code: status,
    message: text,
  });
});

test('a write that may have happened is never called safe to repeat', () => {
  for (const code of ['timeout', 'timeout-leader-failure', 'timeout-connection-lost', 'stopped'] as const) {
    expect(errorMapping(code).retryable).toBe('ambiguous');
  }
  expect(errorMapping('no-leader').retryable).toBe('safe');
  expect(errorMapping('compacted').retryable).toBe('never');
});

test('what is no StoreError: an RpcError stays, a bug tells nothing', () => {
  const own = new RpcError(rpcStatus.notFound, 'x');
  expect(toRpcError(own)).toBe(own);
  expect(toRpcError(new TypeError('secret'))).toMatchObject({
    code: 13,
    message: 'etcdserver: internal error',
  });
});

test.each(['not-yet-known', 'constructor', '__proto__'])(
  'a code that only a newer peer knows is a failure to try again: %s',
  (code) => {
    expect(errorMapping(code as StoreErrorCode)).toEqual(errorMapping('unhealthy'));
  },
);
