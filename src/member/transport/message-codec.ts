import type { ConfState, Entry, EntryKind, MemberId, Message } from '../../core/raft/messages.ts';
import { assert } from '../../lib/assert.ts';
import { ownCopy } from '../../lib/own-copy.ts';
import { arrayOf, Fields, type Packed, pack, unpack } from '../../lib/packed.ts';
import { COPY_BYTES_MAX, encodeFrame, type Frame, frameKinds, ProtocolError } from './frame.ts';
import { FIELDS_LIMITS, FRAME_BYTES_MAX } from './limits.ts';

/**
 * Raft's messages on the wire. Sender and receiver are those of the handshake and are not repeated.
 *
 * - An append is a frame of its own: term, prevIndex, prevTerm, commit (u64 each), u32 count, then per entry
 *   u64 term, u8 kind, u32 length, data. Indexes follow from prevIndex, so a gap cannot be said.
 * - All other messages are msgpack arrays [tag, term, ...], many in one frame. Tags are never reused.
 */

type Append = Extract<Message, { type: 'append' }>;
type SmallMessage = Exclude<Message, Append>;

const APPEND_HEAD_BYTES = 36;
const ENTRY_HEAD_BYTES = 13;
/** More messages than this in a turn go into further frames; well below the packed array's 16-bit count. */
const MESSAGES_PER_FRAME_MAX = 1024;
/** Longest list of members in a configuration. */
const MEMBERS_MAX = 1024;
const TWO_32 = 0x1_0000_0000;

const entryKindTags: Record<EntryKind, number> = { normal: 0, 'conf-change': 1 };
const entryKinds: readonly EntryKind[] = ['normal', 'conf-change'];

/** Who a decoded message is from and to: the two ends of its connection. */
export interface MessageEnds {
  readonly from: MemberId;
  readonly to: MemberId;
}

/**
 * Remembers the last block of entries, so that the same entries to several followers are encoded once. Lives as
 * long as one turn of sending: it keeps the entries' memory.
 */
export class EntriesEncoder {
  #entries: readonly Entry[] = [];
  #parts: readonly Buffer[] = [];

  encode(entries: readonly Entry[]): readonly Buffer[] {
    if (entries.length === 0) return [];
    if (!this.#same(entries)) {
      this.#parts = encodeEntries(entries);
      this.#entries = entries;
    }
    return this.#parts;
  }

  /** Entries of one log between the same first and last entry are the same (Raft paper 5.3, log matching). */
  #same(entries: readonly Entry[]): boolean {
    const known = this.#entries;
    return known.length === entries.length && known[0] === entries[0] && known.at(-1) === entries.at(-1);
  }
}

function encodeEntries(entries: readonly Entry[]): readonly Buffer[] {
  let blockBytes = 0;
  for (const { data } of entries) {
    blockBytes += ENTRY_HEAD_BYTES + (data.length < COPY_BYTES_MAX ? data.length : 0);
  }
  // Heads and small entries are gathered in one block; what is large goes by reference between its parts.
  const block = Buffer.allocUnsafe(blockBytes);
  const parts: Buffer[] = [];
  let start = 0;
  let offset = 0;
  for (const { term, kind, data } of entries) {
    writeInteger(block, term, offset);
    block[offset + 8] = entryKindTags[kind];
    block.writeUInt32BE(data.length, offset + 9);
    offset += ENTRY_HEAD_BYTES;
    if (data.length < COPY_BYTES_MAX) {
      block.set(data, offset);
      offset += data.length;
    } else {
      parts.push(block.subarray(start, offset), data);
      start = offset;
    }
  }
  if (offset > start) parts.push(block.subarray(start, offset));
  return parts;
}

/**
 * Frames messages in order; neighbours that are not appends share a frame.
 *
 * @param entries shared by all calls of one turn
 * @returns null when an append is longer than a frame may be: it can never be sent
 */
export function encodeMessages(
  messages: readonly Message[],
  entries: EntriesEncoder,
): readonly Frame[] | null {
  const frames: Frame[] = [];
  let run: Packed[] = [];
  const closeRun = (): void => {
    if (run.length > 0) frames.push(encodeFrame(frameKinds.messages, pack(run)));
    run = [];
  };
  for (const message of messages) {
    if (message.type === 'append') {
      closeRun();
      const frame = encodeAppend(message, entries);
      if (frame === null) return null;
      frames.push(frame);
    } else {
      run.push(fieldsOf(message));
      if (run.length === MESSAGES_PER_FRAME_MAX) closeRun();
    }
  }
  closeRun();
  return frames;
}

function encodeAppend(message: Append, encoder: EntriesEncoder): Frame | null {
  const { entries } = message;
  assert(
    entries.length === 0 ||
      (entries[0]!.index === message.prevIndex + 1 &&
        entries.at(-1)!.index === message.prevIndex + entries.length),
    'an append carries entries that do not follow prevIndex',
  );
  const head = Buffer.allocUnsafe(APPEND_HEAD_BYTES);
  writeInteger(head, message.term, 0);
  writeInteger(head, message.prevIndex, 8);
  writeInteger(head, message.prevTerm, 16);
  writeInteger(head, message.commit, 24);
  head.writeUInt32BE(entries.length, 32);
  const parts = encoder.encode(entries);
  let payloadBytes = head.length;
  for (const part of parts) payloadBytes += part.length;
  return payloadBytes > FRAME_BYTES_MAX ? null : encodeFrame(frameKinds.append, head, ...parts);
}

function fieldsOf(message: SmallMessage): readonly Packed[] {
  const { term } = message;
  switch (message.type) {
    case 'vote':
      return [1, term, message.preVote, message.lastIndex, message.lastTerm, message.transfer];
    case 'vote-response':
      return [2, term, message.preVote, message.granted, message.commit, message.commitTerm];
    case 'append-response':
      return [3, term, message.index, message.reject, message.hintIndex, message.hintTerm];
    case 'heartbeat':
      return [4, term, message.commit, message.readSeq];
    case 'heartbeat-response':
      return [5, term, message.readSeq];
    case 'read-index':
      return [6, term, message.context];
    case 'read-index-response':
      return [7, term, message.context, message.index];
    case 'snapshot': {
      const { index, term: snapshotTerm, confState } = message.snapshot;
      const { voters, votersOutgoing, learners, learnersNext, autoLeave } = confState;
      return [8, term, index, snapshotTerm, voters, votersOutgoing, learners, learnersNext, autoLeave];
    }
    case 'timeout-now':
      return [9, term];
  }
}

/**
 * The messages of one frame. Entries' data is copied: the payload may be borrowed.
 *
 * @throws MalformedError on a frame that is not of messages, or malformed
 */
export function decodeMessages(
  frame: { readonly kind: number; readonly payload: Buffer },
  ends: MessageEnds,
): readonly Message[] {
  if (frame.kind === frameKinds.append) return [decodeAppend(frame.payload, ends)];
  if (frame.kind !== frameKinds.messages) throw new ProtocolError('a frame of this kind has no place here');
  return arrayOf(unpack(frame.payload, FIELDS_LIMITS)).map((value) => {
    const fields = new Fields(value);
    const message = messageOf(fields, ends);
    fields.end();
    return message;
  });
}

function decodeAppend(payload: Buffer, ends: MessageEnds): Append {
  if (payload.length < APPEND_HEAD_BYTES) throw new ProtocolError('an append is cut short');
  const prevIndex = readInteger(payload, 8);
  return {
    type: 'append',
    ...ends,
    term: readInteger(payload, 0),
    prevIndex,
    prevTerm: readInteger(payload, 16),
    entries: decodeEntries(payload, { count: payload.readUInt32BE(32), prevIndex }),
    commit: readInteger(payload, 24),
  };
}

function decodeEntries(
  payload: Buffer,
  block: { readonly count: number; readonly prevIndex: number },
): readonly Entry[] {
  const { count, prevIndex } = block;
  if (count * ENTRY_HEAD_BYTES > payload.length || prevIndex + count > Number.MAX_SAFE_INTEGER) {
    throw new ProtocolError('an append announces more entries than it can hold');
  }
  const entries: Entry[] = [];
  let offset = APPEND_HEAD_BYTES;
  for (let index = prevIndex + 1; index <= prevIndex + count; index++) {
    if (offset + ENTRY_HEAD_BYTES > payload.length) throw new ProtocolError('an entry is cut short');
    const kind = entryKinds[payload[offset + 8]!];
    if (kind === undefined) throw new ProtocolError('an entry is of an unknown kind');
    const dataStart = offset + ENTRY_HEAD_BYTES;
    const dataEnd = dataStart + payload.readUInt32BE(offset + 9);
    if (dataEnd > payload.length) throw new ProtocolError('an entry is cut short');
    // One copy per entry, not per append: a value that lives long must not keep its neighbours' memory.
    const data = ownCopy(payload.subarray(dataStart, dataEnd));
    entries.push({ index, term: readInteger(payload, offset), kind, data });
    offset = dataEnd;
  }
  if (offset !== payload.length) throw new ProtocolError('bytes follow the entries of an append');
  return entries;
}

function messageOf(fields: Fields, ends: MessageEnds): Message {
  const tag = fields.natural();
  const term = fields.natural();
  switch (tag) {
    case 1: {
      const preVote = fields.boolean();
      const [lastIndex, lastTerm] = [fields.natural(), fields.natural()];
      return { type: 'vote', ...ends, term, preVote, lastIndex, lastTerm, transfer: fields.boolean() };
    }
    case 2: {
      const [preVote, granted] = [fields.boolean(), fields.boolean()];
      const [commit, commitTerm] = [fields.natural(), fields.natural()];
      return { type: 'vote-response', ...ends, term, preVote, granted, commit, commitTerm };
    }
    case 3: {
      const [index, reject] = [fields.natural(), fields.boolean()];
      const [hintIndex, hintTerm] = [fields.natural(), fields.natural()];
      return { type: 'append-response', ...ends, term, index, reject, hintIndex, hintTerm };
    }
    case 4:
      return { type: 'heartbeat', ...ends, term, commit: fields.natural(), readSeq: fields.natural() };
    case 5:
      return { type: 'heartbeat-response', ...ends, term, readSeq: fields.natural() };
    case 6:
      return { type: 'read-index', ...ends, term, context: fields.natural() };
    case 7: {
      const context = fields.natural();
      return { type: 'read-index-response', ...ends, term, context, index: fields.integer(-1) };
    }
    case 8: {
      const [index, snapshotTerm] = [fields.natural(), fields.natural()];
      const confState = confStateOf(fields);
      return { type: 'snapshot', ...ends, term, snapshot: { index, term: snapshotTerm, confState } };
    }
    case 9:
      return { type: 'timeout-now', ...ends, term };
    default:
      throw new ProtocolError('a message is of an unknown type');
  }
}

function confStateOf(fields: Fields): ConfState {
  const voters = memberIds(fields);
  const votersOutgoing = memberIds(fields);
  const learners = memberIds(fields);
  const learnersNext = memberIds(fields);
  return { voters, votersOutgoing, learners, learnersNext, autoLeave: fields.boolean() };
}

function memberIds(fields: Fields): readonly MemberId[] {
  const ids = fields.naturals(1);
  if (ids.length > MEMBERS_MAX) throw new ProtocolError('a list of members is too long');
  if (ids.some((id, index) => index > 0 && id <= ids[index - 1]!)) {
    throw new ProtocolError('a list of members is not sorted');
  }
  return ids;
}

function writeInteger(target: Buffer, value: number, offset: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, 'a number on the wire is not an integer below 2^53');
  target.writeUInt32BE(Math.floor(value / TWO_32), offset);
  target.writeUInt32BE(value % TWO_32, offset + 4);
}

function readInteger(source: Buffer, offset: number): number {
  const value = source.readUInt32BE(offset) * TWO_32 + source.readUInt32BE(offset + 4);
  if (!Number.isSafeInteger(value)) throw new ProtocolError('a number on the wire is not below 2^53');
  return value;
}
