import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { expect, test } from 'vitest';
import {
  COMMAND_BYTES_MAX,
  type Command,
  decodeCommand,
  encodeCommand,
  isCommand,
  type Operation,
} from '../../src/core/command.ts';
import { TXN_DEPTH_MAX } from '../../src/core/command-kv.ts';
import { isMembershipOperation } from '../../src/core/membership-change.ts';
import type { TxnRequest } from '../../src/core/mvcc/operations.ts';
import { AssertionError } from '../../src/lib/assert.ts';
import { anyCommand, bytesOf } from './arbitraries.ts';
import { codeOf, compare, put, range, remove, txn } from './mvcc/fixture.ts';

function command(operation: Operation): Command {
  return { id: { member: 3, incarnation: 2, seq: 9 }, user: 'u', authRevision: 4, operation };
}

function hexOf(operation: Operation): string {
  return encodeCommand(command(operation)).toString('hex');
}

test('every command comes back as it went', () => {
  fc.assert(
    fc.property(anyCommand, (each) => {
      const bytes = encodeCommand(each);
      expect(decodeCommand(bytes)).toEqual(each);
      expect(encodeCommand(decodeCommand(bytes)).equals(bytes)).toBe(true);
      expect(isCommand(bytes)).toBe(!isMembershipOperation(each.operation));
    }),
    { numRuns: 400 },
  );
});

test('the bytes in the log are fixed', () => {
  expect(hexOf(put('k', 'v'))).toBe('9b01030209a1750400c4016bc401760000');
  expect(hexOf(put('k', '', { lease: -2n, prevKv: true, ignoreValue: true, ignoreLease: true }))).toBe(
    '9b01030209a1750400c4016bc400d3fffffffffffffffe07',
  );
  expect(hexOf(remove('a', 'b', true))).toBe('9a01030209a1750401c40161c40162c3');
  expect(hexOf({ type: 'compact', revision: 2 ** 40 })).toBe('9801030209a1750403cb4270000000000000');
  expect(hexOf({ type: 'lease-grant', id: 5n, ttlSeconds: 10 })).toBe(
    '9901030209a1750404d300000000000000050a',
  );
  expect(hexOf({ type: 'lease-revoke', id: 5n })).toBe('9801030209a1750405d30000000000000005');
  expect(hexOf({ type: 'lease-expire', term: 7, ids: [1n] })).toBe(
    '9901030209a175040607' + '91d30000000000000001',
  );
  expect(hexOf({ type: 'lease-checkpoint', checkpoints: [{ id: 1n, remainingSeconds: 3 }] })).toBe(
    '9801030209a175040791' + '92d3000000000000000103',
  );
  expect(hexOf({ type: 'alarm', action: 'deactivate', member: 6, alarm: 'corrupt' })).toBe(
    '9a01030209a1750408010601',
  );
  const member = { id: 8, name: 'n', peerUrls: ['p'], clientUrls: [] };
  expect(hexOf({ type: 'member-add', member, learner: true })).toBe('9c01030209a175040908a16e91a17090c3');
  expect(hexOf({ type: 'member-promote', id: 8 })).toBe('9801030209a175040a08');
  expect(hexOf({ type: 'member-remove', id: 8 })).toBe('9801030209a175040b08');
  expect(hexOf({ type: 'member-update', id: 8, peerUrls: ['p'] })).toBe('9901030209a175040c0891a170');
  expect(hexOf({ type: 'member-publish', id: 8, name: 'n', clientUrls: ['c'] })).toBe(
    '9a01030209a175040d08a16e91a163',
  );
  expect(hexOf({ type: 'member-publish', id: 8, name: 'n', clientUrls: ['c'], region: 'eu' })).toBe(
    '9b01030209a175040d08a16e91a163a26575',
  );
  expect(hexOf({ type: 'auth-enable' })).toBe('9701030209a175040e');
  expect(hexOf({ type: 'auth-disable' })).toBe('9701030209a175040f');
  expect(hexOf({ type: 'user-add', name: 'n', passwordHash: 'h', noPassword: true })).toBe(
    '9a01030209a1750410a16ea168c3',
  );
  expect(hexOf({ type: 'user-delete', name: 'n' })).toBe('9801030209a1750411a16e');
  expect(hexOf({ type: 'user-change-password', name: 'n', passwordHash: 'h' })).toBe(
    '9901030209a1750412a16ea168',
  );
  expect(hexOf({ type: 'user-grant-role', name: 'n', role: 'r' })).toBe('9901030209a1750413a16ea172');
  expect(hexOf({ type: 'user-revoke-role', name: 'n', role: 'r' })).toBe('9901030209a1750414a16ea172');
  expect(hexOf({ type: 'role-add', name: 'r' })).toBe('9801030209a1750415a172');
  expect(hexOf({ type: 'role-delete', name: 'r' })).toBe('9801030209a1750416a172');
  const [key, rangeEnd] = [Buffer.from('k'), Buffer.from('l')];
  const permission = { kind: 'read-write', key, rangeEnd } as const;
  expect(hexOf({ type: 'role-grant-permission', name: 'r', permission })).toBe(
    '9901030209a1750417a172919302c4016bc4016c',
  );
  expect(hexOf({ type: 'role-revoke-permission', name: 'r', key, rangeEnd })).toBe(
    '9a01030209a1750418a172c4016bc4016c',
  );
  expect(hexOf({ type: 'authenticate', name: 'n', tokenDigest: 'd' })).toBe('9901030209a1750419a16ea164');
});

test('the bytes of a transaction are fixed', () => {
  const request = txn(
    [
      compare('k', 'greater', { target: 'mod', number: 1 }),
      compare('k', 'equal', { target: 'lease', lease: 0n }),
    ],
    [put('k', 'v'), txn([], [remove('d')])],
    [range('k', '', { limit: 2, sortOrder: 'descend', sortTarget: 'value', countOnly: true })],
  );
  expect(hexOf(request)).toBe(
    '9a01030209a1750402' +
      '92' +
      '950201c4016bc40001' +
      '950400c4016bc40000' +
      '92' +
      '9500c4016bc401760000' +
      '94029091' +
      '9401c40164c400c290' +
      '91' +
      '9c03c4016bc400020002040200000000',
  );
});

test('a command without a waiting member has no proposal id', () => {
  const anonymous = { ...command(put('k')), id: null };
  expect(decodeCommand(encodeCommand(anonymous)).id).toBeNull();
});

test('decoded buffers are copies', () => {
  const request = txn([], [put('key', 'value')]);
  const bytes = encodeCommand(command(request));
  const { operation } = decodeCommand(bytes);
  bytes.fill(0);
  expect(operation).toEqual(request);
});

test('damaged bytes are refused, never misread into a crash', () => {
  fc.assert(
    fc.property(anyCommand, fc.nat(), fc.nat({ max: 255 }), (each, at, byte) => {
      const bytes = encodeCommand(each);
      expect(isCommand(bytes.subarray(0, at % bytes.length))).toBe(false);
      expect(isCommand(Buffer.concat([bytes, Buffer.of(byte)]))).toBe(false);
      const damaged = Buffer.from(bytes);
      damaged[at % bytes.length] = byte;
      // Some damage makes another command; the point is that only two answers exist.
      expect(typeof isCommand(damaged)).toBe('boolean');
    }),
    { numRuns: 300 },
  );
  fc.assert(fc.property(bytesOf(64), (bytes) => !isCommand(bytes)));
});

test.each([
  ['nothing', ''],
  ['what is never packed', '9b01030209a175040080c401760000'],
  ['an unknown version', '9b02030209a1750400c4016bc401760000'],
  ['an unknown operation', '9801030209a175040e08'],
  ['a missing field', '9a01030209a1750400c4016bc4017600'],
  ['an additional field', '9c01030209a1750400c4016bc40176000000'],
  ['a flag that does not exist', '9b01030209a1750400c4016bc401760008'],
  ['a fraction', '9801030209a1750403cb3ff8000000000000'],
  ['a text for a buffer', '9b01030209a1750400a16bc401760000'],
])('refuses %s', (_, hex) => {
  const bytes = Buffer.from(hex, 'hex');
  expect(isCommand(bytes)).toBe(false);
  expect(() => decodeCommand(bytes)).toThrow(AssertionError);
});

test('deep nesting is refused before it is followed', () => {
  expect(isCommand(Buffer.concat([Buffer.alloc(1_000_000, 0x91), Buffer.of(0xc0)]))).toBe(false);
  let nested: unknown = [];
  for (let depth = 0; depth < 60; depth++) nested = [2, [], [nested], []];
  const head = [1, 3, 2, 9, 'u', 4, 2, [], [nested], []];
  expect(isCommand(new Packr({ useRecords: false }).pack(head))).toBe(false);
});

test('transactions nest up to a bound', () => {
  let nested: TxnRequest = txn([], [put('k')]);
  for (let depth = 1; depth < TXN_DEPTH_MAX; depth++) nested = txn([], [nested]);
  expect(decodeCommand(encodeCommand(command(nested))).operation).toEqual(nested);
  expect(codeOf(() => encodeCommand(command(txn([], [nested]))))).toBe('too-many-ops');
});

test('a command has a greatest number of values, whoever made it', () => {
  const startedMs = performance.now();
  const empty = Buffer.alloc(15 * 1024 * 1024, 0x90);
  empty[0] = 0xdd;
  empty.writeUInt32BE(empty.length - 5, 1);
  expect(isCommand(empty)).toBe(false);
  expect(performance.now() - startedMs).toBeLessThan(2_000);
  const op = { type: 'delete-range', key: Buffer.of(1), rangeEnd: Buffer.alloc(0), prevKv: false } as const;
  const txn = (ops: number): Command => ({
    id: null,
    user: '',
    authRevision: 0,
    operation: { type: 'txn', compare: [], success: Array<typeof op>(ops).fill(op), failure: [] },
  });
  expect(() => encodeCommand(txn(250_000))).toThrow(/too-many-ops/);
  expect(isCommand(encodeCommand(txn(200_000)))).toBe(true);
});

test('a command has a greatest size', () => {
  const value = Buffer.alloc(COMMAND_BYTES_MAX);
  expect(codeOf(() => encodeCommand(command(put('k', '', { value }))))).toBe('request-too-large');
});
