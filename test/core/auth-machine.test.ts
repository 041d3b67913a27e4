import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { type AuthOperation, INTERNAL_USER } from '../../src/core/auth/operations.ts';
import type { PermissionKind } from '../../src/core/auth/permission.ts';
import type { Operation } from '../../src/core/command.ts';
import {
  type Compare,
  type DeleteRangeRequest,
  deleteRequest,
  type PutRequest,
  putRequest,
  type RangeRequest,
  rangeRequest,
} from '../../src/core/mvcc/operations.ts';
import { command, MachineHarness, member } from './machine-fixture.ts';

/** What users may do, decided where commands are applied. */

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const put = (key: string, more: Partial<Omit<PutRequest, 'type'>> = {}): PutRequest =>
  putRequest({ key: bytes(key), value: bytes('v'), ...more });
const del = (key: string, rangeEnd = '', prevKv = false): DeleteRangeRequest =>
  deleteRequest({ key: bytes(key), rangeEnd: bytes(rangeEnd), prevKv });
const get = (key: string, rangeEnd = ''): RangeRequest =>
  rangeRequest({ key: bytes(key), rangeEnd: bytes(rangeEnd) });
const compare = (key: string, rangeEnd = ''): Compare => ({
  target: 'version',
  number: 0,
  result: 'equal',
  key: bytes(key),
  rangeEnd: bytes(rangeEnd),
});
const txn = (parts: Partial<Extract<Operation, { type: 'txn' }>>): Extract<Operation, { type: 'txn' }> => ({
  type: 'txn',
  compare: [],
  success: [],
  failure: [],
  ...parts,
});
const allow = (role: string, kind: PermissionKind, key: string, rangeEnd = ''): AuthOperation => ({
  type: 'role-grant-permission',
  name: role,
  permission: { kind, key: bytes(key), rangeEnd: bytes(rangeEnd) },
});
const SETUP: readonly AuthOperation[] = [
  { type: 'user-add', name: 'root', passwordHash: 'h', noPassword: false },
  { type: 'user-grant-role', name: 'root', role: 'root' },
  { type: 'user-add', name: 'u', passwordHash: 'h', noPassword: false },
  { type: 'role-add', name: 'r' },
  { type: 'user-grant-role', name: 'u', role: 'r' },
  allow('r', 'read-write', 'a', 'b'),
  allow('r', 'read', 'r'),
  allow('r', 'write', 'w'),
];

let harness: MachineHarness;

/** Applies on behalf of a user; the outcome's code, or `ok`. */
function as(user: string, operation: Operation, revision = harness.machine.auth.revision): string {
  const { machine, log } = harness;
  const before = machine.marker();
  const isConf = ['member-add', 'member-promote', 'member-remove'].includes(operation.type);
  const data = command(operation, { user, authRevision: user === '' ? 0 : revision });
  const entry = {
    index: log.entries.length + 1,
    term: log.term,
    kind: isConf ? ('conf-change' as const) : ('normal' as const),
    data,
  };
  log.entries.push(entry);
  const { outcome } = harness.replay(entry);
  if (outcome.ok) return 'ok';
  const { appliedIndex, appliedTerm, applyHash } = machine.marker();
  expect(machine.marker()).toEqual({ ...before, appliedIndex, appliedTerm, applyHash });
  return outcome.code;
}

beforeEach(() => {
  harness = new MachineHarness();
  for (const operation of SETUP) harness.ok(operation);
  harness.ok({ type: 'auth-enable' });
});

test('nobody without a name may do anything; members may', () => {
  const operations: readonly Operation[] = [
    put('a'),
    del('a'),
    txn({ success: [get('a')] }),
    { type: 'lease-grant', id: 5n, ttlSeconds: 10 },
    { type: 'lease-revoke', id: 5n },
    { type: 'compact', revision: 1 },
    { type: 'alarm', action: 'activate', member: 1, alarm: 'no-space' },
    { type: 'member-add', member: member(9), learner: true },
    { type: 'member-update', id: 1, peerUrls: ['http://x:1'] },
    { type: 'auth-disable' },
    { type: 'role-add', name: 'x' },
  ];
  for (const operation of operations) expect(as('', operation)).toBe('user-empty');
  expect(as(INTERNAL_USER, { type: 'alarm', action: 'activate', member: 1, alarm: 'no-space' })).toBe('ok');
  expect(as('', { type: 'lease-expire', term: 1, ids: [] })).toBe('ok');
  expect(as('', { type: 'member-publish', id: 1, name: 'n', clientUrls: [] })).toBe('ok');
});

test("root's operations are refused to users", () => {
  const operations: readonly Operation[] = [
    { type: 'compact', revision: 1 },
    { type: 'alarm', action: 'activate', member: 1, alarm: 'no-space' },
    { type: 'member-add', member: member(9), learner: true },
    { type: 'member-promote', id: 2 },
    { type: 'member-remove', id: 2 },
    { type: 'member-update', id: 1, peerUrls: ['http://x:1'] },
    { type: 'auth-enable' },
    { type: 'auth-disable' },
    { type: 'user-add', name: 'x', passwordHash: '', noPassword: false },
    { type: 'user-grant-role', name: 'u', role: 'root' },
    allow('r', 'read', 'z'),
  ];
  for (const operation of operations) expect(as('u', operation)).toBe('permission-denied');
  expect(as('root', { type: 'member-add', member: member(9), learner: true })).toBe('ok');
});

test('keys are within what the roles allow, over the whole range', () => {
  expect(as('u', put('a1'))).toBe('ok');
  expect(as('u', put('b'))).toBe('permission-denied');
  expect(as('u', put('r'))).toBe('permission-denied');
  expect(as('u', put('w'))).toBe('ok');
  expect(as('u', put('w', { prevKv: true }))).toBe('permission-denied');
  expect(as('u', del('a', 'b'))).toBe('ok');
  expect(as('u', del('a', 'b\0'))).toBe('permission-denied');
  expect(as('u', del('a', '\0'))).toBe('permission-denied');
  expect(as('u', del('w', '', true))).toBe('permission-denied');
  expect(as('root', del('\0', '\0', true))).toBe('ok');
});

describe('a transaction', () => {
  test('is refused as a whole for any part, whichever branch runs', () => {
    const forbidden = [
      txn({ compare: [compare('b')], success: [put('a')] }),
      txn({ compare: [compare('a', '\0')], success: [put('a')] }),
      txn({ success: [put('a'), put('b')] }),
      txn({ success: [put('a')], failure: [put('b')] }),
      txn({ success: [put('a'), get('w')] }),
      txn({ success: [put('a'), del('r')] }),
      txn({ success: [put('a'), txn({ failure: [get('b')] })] }),
      txn({ success: [put('a'), txn({ compare: [compare('z')] })] }),
    ];
    for (const operation of forbidden) expect(as('u', operation)).toBe('permission-denied');
    expect(as('u', txn({ compare: [compare('a', 'b')], success: [put('a'), get('r')] }))).toBe('ok');
  });
});

describe('an old auth revision', () => {
  test('is refused, and changes nothing', () => {
    const old = harness.machine.auth.revision;
    expect(as('u', put('a'), old)).toBe('ok');
    harness.apply(null);
    expect(as('root', { type: 'role-add', name: 'other' })).toBe('ok');
    expect(as('u', put('a'), old)).toBe('auth-revision-old');
    expect(as('u', put('a'))).toBe('ok');
  });

  test('a permission revoked before the entry counts, whatever the proposer knew', () => {
    const { revision } = harness.machine.auth;
    const revoke = {
      type: 'role-revoke-permission',
      name: 'r',
      key: bytes('a'),
      rangeEnd: bytes('b'),
    } as const;
    expect(as('root', revoke)).toBe('ok');
    expect(as('u', put('a'), revision)).toBe('auth-revision-old');
    expect(as('u', put('a'))).toBe('permission-denied');
  });

  test('a sign-in is bound to it, as far as the user is concerned', () => {
    const { revision } = harness.machine.auth;
    const signIn = { type: 'authenticate', name: 'u', tokenDigest: 'd' } as const;
    const at = (authRevision: number): string => {
      const entry = harness.log.add(signIn);
      const data = command(signIn, { authRevision });
      harness.log.entries[entry.index - 1] = { ...entry, data };
      const { outcome } = harness.replay({ ...entry, data });
      return outcome.ok ? 'ok' : outcome.code;
    };
    as('root', { type: 'role-add', name: 'other' });
    expect(at(revision)).toBe('ok');
    as('root', { type: 'user-change-password', name: 'u', passwordHash: 'i' });
    expect(at(revision)).toBe('auth-revision-old');
    as('root', { type: 'user-delete', name: 'u' });
    expect(at(harness.machine.auth.revision)).toBe('auth-failed');
    as('root', { type: 'auth-disable' });
    expect(at(harness.machine.auth.revision)).toBe('auth-not-enabled');
  });
});

describe('a lease', () => {
  test('is revoked, and lent a key, only by who may write all its keys', () => {
    expect(as('u', { type: 'lease-grant', id: 7n, ttlSeconds: 60 })).toBe('ok');
    expect(as('u', put('a', { lease: 7n }))).toBe('ok');
    expect(as('root', put('z', { lease: 7n }))).toBe('ok');
    expect(as('u', { type: 'lease-revoke', id: 7n })).toBe('permission-denied');
    expect(as('u', put('a2', { lease: 7n }))).toBe('permission-denied');
    expect(as('u', txn({ failure: [put('a2', { lease: 7n })] }))).toBe('permission-denied');
    expect(as('root', del('z'))).toBe('ok');
    expect(as('u', { type: 'lease-revoke', id: 7n })).toBe('ok');
  });
});

test('a disk and a snapshot bring back the same users, roles, revision and decisions', () => {
  expect(as('u', put('a'))).toBe('ok');
  harness.flush();
  const again = harness.restart();
  expect(again.machine.marker()).toEqual(harness.machine.marker());
  expect(again.machine.tableRows()).toEqual(harness.machine.tableRows());
  const entry = {
    index: harness.machine.appliedIndex + 1,
    term: 1,
    kind: 'normal' as const,
    data: command(put('b'), { user: 'u', authRevision: harness.machine.auth.revision }),
  };
  expect(again.machine.apply(entry)).toEqual(harness.machine.apply(entry));
  expect(again.machine.marker()).toEqual(harness.machine.marker());
});

const name = fc.constantFrom('root', 'u', 'v', '');
const role = fc.constantFrom('root', 'r', 's', '');
const key = fc.constantFrom('a', 'b', 'c', '', '\0').map(bytes);
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.constantFrom<Operation[]>({ type: 'auth-enable' }, { type: 'auth-disable' }),
  fc.record({
    type: fc.constant('user-add' as const),
    name,
    passwordHash: fc.string(),
    noPassword: fc.boolean(),
  }),
  fc.record({ type: fc.constant('user-change-password' as const), name, passwordHash: fc.string() }),
  fc.record({
    type: fc.constantFrom('user-delete' as const, 'role-add', 'role-delete'),
    name: fc.oneof(name, role),
  }),
  fc.record({ type: fc.constantFrom('user-grant-role' as const, 'user-revoke-role' as const), name, role }),
  fc.record({
    type: fc.constant('role-grant-permission' as const),
    name: role,
    permission: fc.record({
      kind: fc.constantFrom<PermissionKind[]>('read', 'write', 'read-write'),
      key,
      rangeEnd: key,
    }),
  }),
  fc.record({ type: fc.constant('role-revoke-permission' as const), name: role, key, rangeEnd: key }),
  fc.record({ type: fc.constant('authenticate' as const), name, tokenDigest: fc.string() }),
  fc.constantFrom('a', 'b', 'c').map((each) => put(each)),
);

test('members agree on every outcome and hash, across restarts, whoever asks (etcd #14571)', () => {
  const step = fc.record({ operation, user: name, lag: fc.nat({ max: 1 }), restart: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const one = new MachineHarness();
      let two = new MachineHarness();
      for (const setup of [...SETUP, { type: 'auth-enable' } as const]) {
        one.ok(setup);
        two.ok(setup);
      }
      for (const { operation: each, user, lag, restart } of steps) {
        const authRevision = Math.max(0, one.machine.auth.revision - lag);
        const data = command(each, { user, authRevision });
        const entry = { index: one.machine.appliedIndex + 1, term: 1, kind: 'normal' as const, data };
        expect(two.replay(entry)).toEqual(one.replay(entry));
        if (restart) {
          two.flush();
          two = two.restart();
        }
        expect(two.machine.marker()).toEqual(one.machine.marker());
      }
      expect(two.machine.tableRows()).toEqual(one.machine.tableRows());
    }),
    { numRuns: 150 },
  );
});
