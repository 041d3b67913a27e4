import fc from 'fast-check';
import type { PermissionKind } from '../../src/core/auth/permission.ts';
import type { AlarmKind, Command, NewMember, Operation } from '../../src/core/command.ts';
import type {
  Compare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from '../../src/core/mvcc/operations.ts';

/** Any command at all, for the codec: values need not make sense. */

export const bytesOf = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const lease = fc.oneof(fc.constant(0n), int64);
const integer = fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.integer({ min: -40, max: 300 }));
const natural = fc.oneof(fc.maxSafeNat(), fc.nat({ max: 70_000 }));
const member = natural;
const texts = fc.array(fc.string({ unit: 'grapheme' }), { maxLength: 4 });

const put: fc.Arbitrary<PutRequest> = fc.record({
  type: fc.constant('put' as const),
  key: bytesOf(40),
  value: bytesOf(400),
  lease,
  prevKv: fc.boolean(),
  ignoreValue: fc.boolean(),
  ignoreLease: fc.boolean(),
});
const deleteRange: fc.Arbitrary<DeleteRangeRequest> = fc.record({
  type: fc.constant('delete-range' as const),
  key: bytesOf(20),
  rangeEnd: bytesOf(20),
  prevKv: fc.boolean(),
});
const range: fc.Arbitrary<RangeRequest> = fc.record({
  type: fc.constant('range' as const),
  key: bytesOf(20),
  rangeEnd: bytesOf(20),
  limit: integer,
  revision: integer,
  sortOrder: fc.constantFrom('none', 'ascend', 'descend'),
  sortTarget: fc.constantFrom('key', 'version', 'create', 'mod', 'value'),
  keysOnly: fc.boolean(),
  countOnly: fc.boolean(),
  minModRevision: integer,
  maxModRevision: integer,
  minCreateRevision: integer,
  maxCreateRevision: integer,
});
const compareHead = {
  result: fc.constantFrom('equal', 'greater', 'less', 'not-equal'),
  key: bytesOf(20),
  rangeEnd: bytesOf(20),
} as const;
const compare: fc.Arbitrary<Compare> = fc.oneof(
  fc.record({ ...compareHead, target: fc.constantFrom('version', 'create', 'mod'), number: integer }),
  fc.record({ ...compareHead, target: fc.constant('value' as const), value: bytesOf(40) }),
  fc.record({ ...compareHead, target: fc.constant('lease' as const), lease }),
);
const txn: fc.Arbitrary<TxnRequest> = fc.letrec<{ txn: TxnRequest; op: RequestOp }>((tie) => ({
  txn: fc.record({
    type: fc.constant('txn' as const),
    compare: fc.array(compare, { maxLength: 3 }),
    success: fc.array(tie('op'), { maxLength: 3 }),
    failure: fc.array(tie('op'), { maxLength: 3 }),
  }),
  op: fc.oneof({ maxDepth: 3 }, put, deleteRange, range, tie('txn')),
})).txn;
const newMember: fc.Arbitrary<NewMember> = fc.record({
  id: member,
  name: fc.string({ unit: 'grapheme' }),
  peerUrls: texts,
  clientUrls: texts,
});

const operation: fc.Arbitrary<Operation> = fc.oneof(
  put,
  deleteRange,
  txn,
  fc.record({ type: fc.constant('compact' as const), revision: integer }),
  fc.record({ type: fc.constant('lease-grant' as const), id: lease, ttlSeconds: integer }),
  fc.record({ type: fc.constant('lease-revoke' as const), id: lease }),
  fc.record({ type: fc.constant('lease-expire' as const), term: natural, ids: fc.array(int64) }),
  fc.record({
    type: fc.constant('lease-checkpoint' as const),
    checkpoints: fc.array(fc.record({ id: int64, remainingSeconds: natural })),
  }),
  fc.record({
    type: fc.constant('alarm' as const),
    action: fc.constantFrom('activate', 'deactivate'),
    member,
    alarm: fc.constantFrom<AlarmKind[]>('no-space', 'corrupt'),
  }),
  fc.record({ type: fc.constant('member-add' as const), member: newMember, learner: fc.boolean() }),
  fc.record({ type: fc.constantFrom('member-promote', 'member-remove'), id: member }),
  fc.record({ type: fc.constant('member-update' as const), id: member, peerUrls: texts }),
  fc.record(
    {
      type: fc.constant('member-publish' as const),
      id: member,
      name: fc.string(),
      clientUrls: texts,
      region: fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/),
    },
    { requiredKeys: ['type', 'id', 'name', 'clientUrls'] },
  ),
  fc.record({ type: fc.constantFrom('auth-enable' as const, 'auth-disable' as const) }),
  fc.record({
    type: fc.constant('user-add' as const),
    name: fc.string({ unit: 'grapheme' }),
    passwordHash: fc.string(),
    noPassword: fc.boolean(),
  }),
  fc.record({
    type: fc.constant('user-change-password' as const),
    name: fc.string(),
    passwordHash: fc.string(),
  }),
  fc.record({
    type: fc.constantFrom('user-grant-role' as const, 'user-revoke-role' as const),
    name: fc.string(),
    role: fc.string(),
  }),
  fc.record({
    type: fc.constantFrom('user-delete' as const, 'role-add' as const, 'role-delete' as const),
    name: fc.string(),
  }),
  fc.record({
    type: fc.constant('role-grant-permission' as const),
    name: fc.string(),
    permission: fc.record({
      kind: fc.constantFrom<PermissionKind[]>('read', 'write', 'read-write'),
      key: bytesOf(20),
      rangeEnd: bytesOf(20),
    }),
  }),
  fc.record({
    type: fc.constant('role-revoke-permission' as const),
    name: fc.string(),
    key: bytesOf(20),
    rangeEnd: bytesOf(20),
  }),
  fc.record({ type: fc.constant('authenticate' as const), name: fc.string(), tokenDigest: fc.string() }),
);

export const anyCommand: fc.Arbitrary<Command> = fc.record({
  id: fc.option(fc.record({ member: fc.integer({ min: 1 }), incarnation: natural, seq: natural })),
  user: fc.string({ unit: 'grapheme' }),
  authRevision: natural,
  operation,
});
