/** What a load wants to know of a `WatchResponse`, read without decoding the rest. */
export interface WatchMessage {
  readonly created: boolean;
  readonly canceled: boolean;
  /** Of each event, in order; views of the message. */
  readonly values: readonly Buffer[];
}

/** Field numbers of etcdserverpb.WatchResponse, mvccpb.Event and mvccpb.KeyValue. */
const CREATED = 3;
const CANCELED = 4;
const EVENTS = 11;
const EVENT_KV = 2;
const KV_VALUE = 5;

const VARINT = 0;
const FIXED_64 = 1;
const BYTES = 2;
const FIXED_32 = 5;
const EMPTY = Buffer.alloc(0);

/** Where in a message a reader is. */
interface Cursor {
  readonly message: Buffer;
  at: number;
}

/**
 * Ten thousand watchers hear of each change: a whole decoder, or a view of every field, would be what is measured.
 *
 * @throws Error when the message is malformed
 */
export function readWatchMessage(message: Buffer): WatchMessage {
  const cursor = { message, at: 0 };
  let created = false;
  let canceled = false;
  const values: Buffer[] = [];
  while (cursor.at < message.length) {
    const key = varint(cursor);
    if (key === EVENTS * 8 + BYTES) values.push(valueOf(cursor, varint(cursor)));
    else if (key === CREATED * 8 + VARINT) created = varint(cursor) === 1;
    else if (key === CANCELED * 8 + VARINT) canceled = varint(cursor) === 1;
    else skip(cursor, key & 7);
  }
  if (cursor.at > message.length) throw new Error('a message ends within a field');
  return { created, canceled, values };
}

/** The value in an event, or in the key with its value that stands in one, of so many bytes; empty when none is set. */
function valueOf(cursor: Cursor, bytes: number, field = EVENT_KV): Buffer {
  const end = cursor.at + bytes;
  if (end > cursor.message.length) throw new Error('a message ends within a field');
  let value: Buffer = EMPTY;
  while (cursor.at < end) {
    const key = varint(cursor);
    if (key !== field * 8 + BYTES) skip(cursor, key & 7);
    else if (field === EVENT_KV) value = valueOf(cursor, varint(cursor), KV_VALUE);
    else {
      const length = varint(cursor);
      value = cursor.message.subarray(cursor.at, cursor.at + length);
      cursor.at += length;
    }
  }
  if (cursor.at > end) throw new Error('a message ends within a field');
  return value;
}

function varint(cursor: Cursor): number {
  let value = 0;
  for (let factor = 1; ; factor *= 128) {
    const byte = cursor.message[cursor.at];
    if (byte === undefined) throw new Error('a message ends within a number');
    cursor.at += 1;
    value += (byte & 0x7f) * factor;
    if (byte < 128) return value;
  }
}

function skip(cursor: Cursor, type: number): void {
  if (type === VARINT) varint(cursor);
  else if (type === BYTES) {
    const bytes = varint(cursor);
    cursor.at += bytes;
  } else if (type === FIXED_64) cursor.at += 8;
  else if (type === FIXED_32) cursor.at += 4;
  else throw new Error('a field of an unknown kind');
}
