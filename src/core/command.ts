import { AssertionError } from '../lib/assert.ts';
import { StoreError } from '../lib/errors.ts';
import {
  checkForm,
  DEFAULT_LIMITS,
  Fields,
  int64,
  isPacked,
  MalformedError,
  type Packed,
  pack,
  type UnpackLimits,
  unpack,
} from '../lib/packed.ts';
import type { AuthOperation } from './auth/operations.ts';
import { packAuth, unpackAuth } from './command-auth.ts';
import { packDeleteRange, packPut, packTxn, unpackDeleteRange, unpackPut, unpackTxn } from './command-kv.ts';
import { COMMAND_VERSION, decodePut, encodePut } from './command-put.ts';
import type { LeaseCheckpoint } from './lease/lessor.ts';
import { isMembershipOperation } from './membership-change.ts';
import type { DeleteRangeRequest, PutRequest, TxnRequest } from './mvcc/operations.ts';
import type { MemberId } from './raft/messages.ts';
import { unpackRegion } from './region-field.ts';

/** Names one proposal for the member that waits for it. A repeated id in the log is harmless. */
export interface ProposalId {
  readonly member: MemberId;
  /** Increases with every start of that member. */
  readonly incarnation: number;
  readonly seq: number;
}

/** What a log entry asks of the state machine, on behalf of whom. */
export interface Command {
  /** Null when nobody waits. */
  readonly id: ProposalId | null;
  /** Empty = none. Permission is decided at apply, at this revision of the users and roles. */
  readonly user: string;
  readonly authRevision: number;
  readonly operation: Operation;
}

export type AlarmKind = 'no-space' | 'corrupt';

/** A member as members and clients know it. */
export interface MemberRecord {
  readonly id: MemberId;
  /** Empty until the member has started and published it. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  /** Where it runs, as `isRegion` allows; absent when it does not say. */
  readonly region?: string;
}

/** One that is added: where it runs it says itself. */
export type NewMember = Omit<MemberRecord, 'region'>;

export type Operation =
  | PutRequest
  | DeleteRangeRequest
  | TxnRequest
  | { readonly type: 'compact'; readonly revision: number }
  /** The proposer chose the id if the client did not, and raised the time to live to its minimum. */
  | { readonly type: 'lease-grant'; readonly id: bigint; readonly ttlSeconds: number }
  | { readonly type: 'lease-revoke'; readonly id: bigint }
  /** Takes effect only in an entry of this very term: a deposed leader's clock must not count (RELIABILITY P41). */
  | { readonly type: 'lease-expire'; readonly term: number; readonly ids: readonly bigint[] }
  | { readonly type: 'lease-checkpoint'; readonly checkpoints: readonly LeaseCheckpoint[] }
  | {
      readonly type: 'alarm';
      readonly action: 'activate' | 'deactivate';
      readonly member: MemberId;
      readonly alarm: AlarmKind;
    }
  // In entries of kind conf-change:
  | { readonly type: 'member-add'; readonly member: NewMember; readonly learner: boolean }
  | { readonly type: 'member-promote'; readonly id: MemberId }
  | { readonly type: 'member-remove'; readonly id: MemberId }
  // In normal entries:
  | { readonly type: 'member-update'; readonly id: MemberId; readonly peerUrls: readonly string[] }
  /** What a member says of itself when it starts. */
  | {
      readonly type: 'member-publish';
      readonly id: MemberId;
      readonly name: string;
      readonly clientUrls: readonly string[];
      readonly region?: string;
    }
  | AuthOperation
  /**
   * A user's password fitted, as of the command's auth revision; the user signs in. Of the token only a digest is
   * told to the log: who reads a disk cannot use it.
   */
  | { readonly type: 'authenticate'; readonly name: string; readonly tokenDigest: string };

/** The largest command, in bytes. Requests are limited far below it. */
export const COMMAND_BYTES_MAX = 16 * 1024 * 1024;
/** Values in a command, lists included: an empty list takes one byte and some forty in memory. */
const COMMAND_VALUES_MAX = 2 ** 20;
const COMMAND_LIMITS: UnpackLimits = { ...DEFAULT_LIMITS, valuesMax: COMMAND_VALUES_MAX };

/** Positions are the numbers in the log: only ever append. */
const OPERATION_TYPES = [
  'put',
  'delete-range',
  'txn',
  'compact',
  'lease-grant',
  'lease-revoke',
  'lease-expire',
  'lease-checkpoint',
  'alarm',
  'member-add',
  'member-promote',
  'member-remove',
  'member-update',
  'member-publish',
  'auth-enable',
  'auth-disable',
  'user-add',
  'user-delete',
  'user-change-password',
  'user-grant-role',
  'user-revoke-role',
  'role-add',
  'role-delete',
  'role-grant-permission',
  'role-revoke-permission',
  'authenticate',
] as const satisfies readonly Operation['type'][];
const TYPE_NUMBERS = new Map<Operation['type'], number>(
  OPERATION_TYPES.map((type, number) => [type, number]),
);
const ALARM_ACTIONS = ['activate', 'deactivate'] as const;
const ALARM_KINDS = ['no-space', 'corrupt'] as const satisfies readonly AlarmKind[];

/**
 * A command as log bytes: version, proposal, user, auth revision, type number, then the operation's fields. Equal
 * commands have equal bytes.
 *
 * @throws StoreError `too-many-ops` when transactions nest deeper than `TXN_DEPTH_MAX` or hold more than
 *   `COMMAND_VALUES_MAX`, `request-too-large` above `COMMAND_BYTES_MAX`
 */
export function encodeCommand(command: Command): Buffer {
  const { id, user, authRevision, operation } = command;
  const put = operation.type === 'put' ? encodePut(command, operation) : null;
  const bytes =
    put ??
    pack([
      COMMAND_VERSION,
      id?.member ?? 0,
      id?.incarnation ?? 0,
      id?.seq ?? 0,
      user,
      authRevision,
      TYPE_NUMBERS.get(operation.type)!,
      ...packOperation(operation),
    ]);
  if (bytes.length > COMMAND_BYTES_MAX) throw new StoreError('request-too-large');
  // A value takes a byte at least: hardly any command needs to be counted.
  if (put === null && bytes.length > COMMAND_VALUES_MAX && !isPacked(bytes, COMMAND_LIMITS)) {
    throw new StoreError('too-many-ops', 'a command of too many values');
  }
  return bytes;
}

/**
 * The command in a committed entry. Its buffers are copies of their own, or those of a put views of `bytes`, when
 * nothing else is in the memory that these are in: they must not change.
 *
 * @throws AssertionError when the bytes are not a command of this version: nothing else may be in the log
 */
export function decodeCommand(bytes: Buffer): Command {
  try {
    return readCommand(bytes);
  } catch (error) {
    if (error instanceof MalformedError) throw new AssertionError(`not a command: ${error.message}`);
    throw error;
  }
}

/**
 * Whether bytes from another member may be proposed as a normal entry: `decodeCommand` takes them, and they are no
 * membership change, which in such an entry would stop every member that applies it. Nothing that `encodeCommand` would
 * not have made is taken apart.
 */
export function isCommand(bytes: Buffer): boolean {
  try {
    return !isMembershipOperation(readCommand(bytes, COMMAND_LIMITS).operation);
  } catch (error) {
    if (error instanceof MalformedError) return false;
    throw error;
  }
}

/** @throws MalformedError when the bytes are not a command of this version */
function readCommand(bytes: Buffer, limits: UnpackLimits = DEFAULT_LIMITS): Command {
  checkForm(bytes.length <= COMMAND_BYTES_MAX, 'a command is too large');
  const put = decodePut(bytes);
  if (put !== null) return put;
  const fields = new Fields(unpack(bytes, limits));
  checkForm(fields.natural() === COMMAND_VERSION, 'a command is of an unknown version');
  const member = fields.natural();
  const incarnation = fields.natural();
  const seq = fields.natural();
  const user = fields.text();
  const authRevision = fields.natural();
  const operation = unpackOperation(fields.oneOf(OPERATION_TYPES), fields);
  fields.end();
  return { id: member === 0 ? null : { member, incarnation, seq }, user, authRevision, operation };
}

function packOperation(operation: Operation): readonly Packed[] {
  switch (operation.type) {
    case 'put':
      return packPut(operation);
    case 'delete-range':
      return packDeleteRange(operation);
    case 'txn':
      return packTxn(operation);
    case 'compact':
      return [operation.revision];
    case 'lease-grant':
      return [int64(operation.id), operation.ttlSeconds];
    case 'lease-revoke':
      return [int64(operation.id)];
    case 'lease-expire':
      return [operation.term, operation.ids.map(int64)];
    case 'lease-checkpoint':
      return [operation.checkpoints.map(({ id, remainingSeconds }) => [int64(id), remainingSeconds])];
    case 'alarm':
      return [
        ALARM_ACTIONS.indexOf(operation.action),
        operation.member,
        ALARM_KINDS.indexOf(operation.alarm),
      ];
    case 'member-add':
      return [...packMember(operation.member), operation.learner];
    case 'member-promote':
    case 'member-remove':
      return [operation.id];
    case 'member-update':
      return [operation.id, operation.peerUrls];
    case 'member-publish':
      return [operation.id, operation.name, operation.clientUrls, ...packRegion(operation)];
    case 'authenticate':
      return [operation.name, operation.tokenDigest];
    default:
      return packAuth(operation);
  }
}

function packMember({ id, name, peerUrls, clientUrls }: NewMember): readonly Packed[] {
  return [id, name, peerUrls, clientUrls];
}

/** A field that is there only when it says something: without regions commands are what they always were. */
function packRegion({ region }: { readonly region?: string }): readonly Packed[] {
  return region === undefined ? [] : [region];
}

function unpackOperation(type: Operation['type'], fields: Fields): Operation {
  switch (type) {
    case 'put':
      return unpackPut(fields);
    case 'delete-range':
      return unpackDeleteRange(fields);
    case 'txn':
      return unpackTxn(fields);
    case 'compact':
      return { type, revision: fields.integer() };
    case 'lease-grant':
      return { type, id: fields.int64(), ttlSeconds: fields.integer() };
    case 'lease-revoke':
      return { type, id: fields.int64() };
    case 'lease-expire':
      return { type, term: fields.natural(), ids: fields.int64s() };
    case 'lease-checkpoint':
      return { type, checkpoints: fields.list(unpackCheckpoint) };
    case 'alarm':
      return {
        type,
        action: fields.oneOf(ALARM_ACTIONS),
        member: fields.natural(),
        alarm: fields.oneOf(ALARM_KINDS),
      };
    case 'member-add':
      return { type, member: unpackMember(fields), learner: fields.boolean() };
    case 'member-promote':
    case 'member-remove':
      return { type, id: fields.natural() };
    case 'member-update':
      return { type, id: fields.natural(), peerUrls: fields.texts() };
    case 'member-publish':
      return {
        type,
        id: fields.natural(),
        name: fields.text(),
        clientUrls: fields.texts(),
        ...(fields.more && { region: unpackRegion(fields) }),
      };
    case 'authenticate':
      return { type, name: fields.text(), tokenDigest: fields.text() };
    default:
      return unpackAuth(type, fields);
  }
}

function unpackCheckpoint(value: Packed): LeaseCheckpoint {
  const fields = new Fields(value);
  const checkpoint = { id: fields.int64(), remainingSeconds: fields.natural() };
  fields.end();
  return checkpoint;
}

function unpackMember(fields: Fields): NewMember {
  return {
    id: fields.natural(),
    name: fields.text(),
    peerUrls: fields.texts(),
    clientUrls: fields.texts(),
  };
}
