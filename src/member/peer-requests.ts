import type { MemberId } from '../core/raft/messages.ts';
import type { CancelSignal } from '../lib/cancellation.ts';
import { StoreError, type StoreErrorCode } from '../lib/errors.ts';
import {
  checkForm,
  Fields,
  int64,
  MalformedError,
  type Packed,
  pack,
  type UnpackLimits,
  unpack,
} from '../lib/packed.ts';
import type { ForwardAnswer } from './proposals.ts';

/** What a member asks of another on the request stream. All but the last two are for the leader. */
export type PeerRequest =
  /** Only for the leader of exactly this term. */
  | { readonly type: 'propose'; readonly term: number; readonly commands: readonly Buffer[] }
  | ({ readonly type: 'lease-renew'; readonly id: bigint } & Caller)
  | { readonly type: 'lease-remaining'; readonly id: bigint }
  | ({
      readonly type: 'member-add';
      readonly peerUrls: readonly string[];
      readonly isLearner: boolean;
    } & Caller)
  | ({ readonly type: 'member-remove'; readonly id: MemberId } & Caller)
  | ({ readonly type: 'member-promote'; readonly id: MemberId } & Caller)
  | { readonly type: 'apply-hash'; readonly index: number }
  | { readonly type: 'tail-check' };

/** On whose behalf it is asked: as a command carries it. */
interface Caller {
  readonly user: string;
  readonly authRevision: number;
}

export interface PeerAnswers {
  readonly propose: ForwardAnswer;
  /** Seconds; 0 when the lease is gone. */
  readonly 'lease-renew': number;
  /** Seconds; -1 when the lease is gone. */
  readonly 'lease-remaining': number;
  /** The new member's id. */
  readonly 'member-add': MemberId;
  readonly 'member-remove': null;
  readonly 'member-promote': null;
  /** The apply hash after that index, or null when it is not remembered. */
  readonly 'apply-hash': { readonly a: number; readonly b: number } | null;
  readonly 'tail-check': {
    /** The highest index that the asker has acknowledged to the answerer, as far as a leader knows; 0 from others. */
    readonly acknowledged: number;
    /** Members whose removal is committed. */
    readonly removed: readonly MemberId[];
  };
}
export type PeerAnswer<T extends PeerRequest['type']> = PeerAnswers[T];
/** Asks another member. @throws StoreError its refusal, and what `Transport.request` fails with */
export type Ask = <T extends PeerRequest>(
  to: MemberId,
  request: T,
  signal: CancelSignal,
) => Promise<PeerAnswer<T['type']>>;

/** Positions are the numbers on the wire: only ever append. */
const REQUEST_TYPES = [
  'propose',
  'lease-renew',
  'lease-remaining',
  'member-add',
  'member-remove',
  'member-promote',
  'apply-hash',
  'tail-check',
] as const satisfies readonly PeerRequest['type'][];
/** Commands are bytes here: the longest list is that of the proposals that one member may have waiting. */
const LIMITS: UnpackLimits = { depthMax: 4, itemsMax: 0xffff, valuesMax: 2 ** 18 };
const FORWARD_ANSWERS = ['accepted', 'refused', 'busy'] as const satisfies readonly ForwardAnswer[];

export function encodePeerRequest(request: PeerRequest): Buffer {
  return pack([REQUEST_TYPES.indexOf(request.type), ...requestFields(request)]);
}

/** @throws StoreError `unimplemented` when the bytes are not a request of this version */
export function decodePeerRequest(bytes: Buffer): PeerRequest {
  return checked(bytes, (fields) => {
    const type = fields.oneOf(REQUEST_TYPES);
    const request = readRequest(type, fields);
    fields.end();
    return request;
  });
}

/** A value, or the code of the StoreError it failed with. Other errors are thrown on: they are bugs. */
export async function encodePeerAnswer<T extends PeerRequest['type']>(
  type: T,
  answer: Promise<PeerAnswer<T>>,
): Promise<Buffer> {
  try {
    return pack([true, answerFields(type, await answer)]);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return pack([false, error.code, detailOf(error)]);
  }
}

/** @throws StoreError with the answerer's code, or `unimplemented` when the bytes are not an answer */
export function decodePeerAnswer<T extends PeerRequest['type']>(type: T, bytes: Buffer): PeerAnswer<T> {
  return checked(bytes, (fields) => {
    if (!fields.boolean()) throw failure({ code: fields.text(), detail: fields.text() });
    const [answer] = fields.list((value) => readAnswer(type, new Fields(value)));
    checkForm(answer !== undefined, 'an answer is missing');
    return answer as PeerAnswer<T>;
  });
}

function requestFields(request: PeerRequest): readonly Packed[] {
  switch (request.type) {
    case 'propose':
      return [request.term, request.commands];
    case 'lease-renew':
      return [int64(request.id), request.user, request.authRevision];
    case 'lease-remaining':
      return [int64(request.id)];
    case 'member-add':
      return [request.peerUrls, request.isLearner, request.user, request.authRevision];
    case 'member-remove':
    case 'member-promote':
      return [request.id, request.user, request.authRevision];
    case 'apply-hash':
      return [request.index];
    case 'tail-check':
      return [];
  }
}

function readRequest(type: PeerRequest['type'], fields: Fields): PeerRequest {
  switch (type) {
    case 'propose':
      return { type, term: fields.natural(), commands: fields.byteStrings() };
    case 'lease-renew':
      return { type, id: fields.int64(), ...readCaller(fields) };
    case 'lease-remaining':
      return { type, id: fields.int64() };
    case 'member-add':
      return { type, peerUrls: fields.texts(), isLearner: fields.boolean(), ...readCaller(fields) };
    case 'member-remove':
    case 'member-promote':
      return { type, id: fields.natural(), ...readCaller(fields) };
    case 'apply-hash':
      return { type, index: fields.natural() };
    case 'tail-check':
      return { type };
  }
}

function readCaller(fields: Fields): Caller {
  return { user: fields.text(), authRevision: fields.natural() };
}

/** The answer as a list of one array, so that null and numbers read alike. */
function answerFields<T extends PeerRequest['type']>(type: T, answer: PeerAnswer<T>): Packed {
  switch (type) {
    case 'propose':
      return [[FORWARD_ANSWERS.indexOf(answer as ForwardAnswer)]];
    case 'apply-hash': {
      const hash = answer as PeerAnswers['apply-hash'];
      return [hash === null ? [false] : [true, hash.a, hash.b]];
    }
    case 'lease-renew':
    case 'lease-remaining':
    case 'member-add':
      return [[answer as number]];
    case 'tail-check': {
      const { acknowledged, removed } = answer as PeerAnswers['tail-check'];
      return [[acknowledged, removed]];
    }
    default:
      return [[]];
  }
}

function readAnswer(type: PeerRequest['type'], fields: Fields): PeerAnswers[keyof PeerAnswers] {
  switch (type) {
    case 'propose':
      return fields.oneOf(FORWARD_ANSWERS);
    case 'apply-hash':
      return fields.boolean() ? { a: fields.natural(), b: fields.natural() } : null;
    case 'lease-renew':
    case 'lease-remaining':
    case 'member-add':
      return fields.integer();
    case 'tail-check':
      return { acknowledged: fields.natural(), removed: fields.naturals() };
    case 'member-remove':
    case 'member-promote':
      return null;
  }
}

/** The message without the code, which a StoreError puts before it. */
function detailOf({ code, message }: StoreError): string {
  return message.slice(code.length + 2);
}

function failure({ code, detail }: { readonly code: string; readonly detail: string }): StoreError {
  return new StoreError(code as StoreErrorCode, detail === '' ? undefined : detail);
}

function checked<T>(bytes: Buffer, read: (fields: Fields) => T): T {
  try {
    return read(new Fields(unpack(bytes, LIMITS)));
  } catch (error) {
    if (error instanceof MalformedError) throw new StoreError('unimplemented', error.message);
    throw error;
  }
}
