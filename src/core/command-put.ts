import { assert } from '../lib/assert.ts';
import { ownCopy } from '../lib/own-copy.ts';
import type { Command } from './command.ts';
import type { PutRequest } from './mvcc/operations.ts';

/**
 * The bytes of a command that puts one key, the same as of every command, but written and read in place: nearly all of
 * a busy log is puts, and the general codec makes a list of values and a walk over the bytes of each. What is out of
 * the ordinary is left to it.
 */

/** The first byte of meaning in every command; a change is an upgrade step (see UPGRADING). */
export const COMMAND_VERSION = 1;
/** A put's position in the list of operations. */
const PUT_NUMBER = 0;

// msgpack, as far as a put needs it.
const ELEVEN_VALUES = 0x9b;
const SHORT_TEXT = 0xa0;
const SHORT_TEXT_BYTES_MAX = 31;
const BIN_8 = 0xc4;
const BIN_16 = 0xc5;
const BIN_32 = 0xc6;
const UINT_8 = 0xcc;
const UINT_16 = 0xcd;
const UINT_32 = 0xce;
const FLOAT_64 = 0xcb;
const INT_64 = 0xd3;
const ONE_BYTE_MAX = 0x7f;
const ASCII_MAX = 0x7f;
const UINT_8_MAX = 0xff;
const UINT_16_MAX = 0xffff;
const UINT_32_MAX = 0xffff_ffff;
const INT_64_BYTES = 9;

const PREV_KV = 1;
const IGNORE_VALUE = 2;
const IGNORE_LEASE = 4;
const FLAGS_MAX = 7;
const EMPTY = Buffer.alloc(0);

/** A put as log bytes in memory of their own, or null when it is for the general codec. */
export function encodePut({ id, user, authRevision }: Command, put: PutRequest): Buffer | null {
  if (!isShortAscii(user)) return null;
  const member = id?.member ?? 0;
  const incarnation = id?.incarnation ?? 0;
  const seq = id?.seq ?? 0;
  const bytes = Buffer.allocUnsafeSlow(
    3 +
      naturalBytes(member) +
      naturalBytes(incarnation) +
      naturalBytes(seq) +
      naturalBytes(authRevision) +
      (1 + user.length) +
      binBytes(put.key) +
      binBytes(put.value) +
      (put.lease === 0n ? 1 : INT_64_BYTES) +
      1,
  );
  bytes[0] = ELEVEN_VALUES;
  bytes[1] = COMMAND_VERSION;
  let at = writeNatural(bytes, member, 2);
  at = writeNatural(bytes, incarnation, at);
  at = writeNatural(bytes, seq, at);
  bytes[at++] = SHORT_TEXT | user.length;
  for (let i = 0; i < user.length; i++) bytes[at++] = user.charCodeAt(i);
  at = writeNatural(bytes, authRevision, at);
  bytes[at++] = PUT_NUMBER;
  at = writeBin(bytes, put.key, at);
  at = writeBin(bytes, put.value, at);
  at = writeLease(bytes, put.lease, at);
  bytes[at] =
    (put.prevKv ? PREV_KV : 0) | (put.ignoreValue ? IGNORE_VALUE : 0) | (put.ignoreLease ? IGNORE_LEASE : 0);
  return bytes;
}

/**
 * The put in log bytes, or null when they are to be read by the general codec: they are no put, or not as one is
 * written. Its key and value are views of `bytes` where those have their memory to themselves, else copies.
 */
export function decodePut(bytes: Buffer): Command | null {
  if (bytes[0] !== ELEVEN_VALUES || bytes[1] !== COMMAND_VERSION) return null;
  const cursor = new Cursor(bytes, 2);
  const member = cursor.natural();
  const incarnation = cursor.natural();
  const seq = cursor.natural();
  const user = cursor.shortText();
  const authRevision = cursor.natural();
  if (cursor.natural() !== PUT_NUMBER) return null;
  const key = cursor.bin();
  const value = cursor.bin();
  const lease = cursor.lease();
  const flags = cursor.natural();
  if (!cursor.isThrough || flags > FLAGS_MAX) return null;
  const operation: PutRequest = {
    type: 'put',
    key,
    value,
    lease,
    prevKv: (flags & PREV_KV) !== 0,
    ignoreValue: (flags & IGNORE_VALUE) !== 0,
    ignoreLease: (flags & IGNORE_LEASE) !== 0,
  };
  return { id: member === 0 ? null : { member, incarnation, seq }, user, authRevision, operation };
}

/** Reads values that a put is made of. After one that is not as it should be it stands beyond the end for good. */
class Cursor {
  readonly #bytes: Buffer;
  /** Nothing else is in the memory that these bytes are in, so that a view of them keeps nothing else alive. */
  readonly #isAlone: boolean;
  #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#isAlone = bytes.buffer.byteLength === bytes.length;
    this.#at = at;
  }

  /** Every byte was read, and was as it should be. */
  get isThrough(): boolean {
    return this.#at === this.#bytes.length;
  }

  natural(): number {
    const bytes = this.#bytes;
    const at = this.#at;
    const type = bytes[at]!;
    if (type <= ONE_BYTE_MAX) {
      this.#at = at + 1;
      return type;
    }
    const end = at + 1 + naturalWidth(type);
    if (end === at + 1 || end > bytes.length) return this.#fail();
    this.#at = end;
    switch (type) {
      case UINT_8:
        return bytes[at + 1]!;
      case UINT_16:
        return bytes.readUInt16BE(at + 1);
      case UINT_32:
        return bytes.readUInt32BE(at + 1);
      default: {
        const value = bytes.readDoubleBE(at + 1);
        return Number.isSafeInteger(value) && value > UINT_32_MAX ? value : this.#fail();
      }
    }
  }

  shortText(): string {
    const length = this.#bytes[this.#at]! ^ SHORT_TEXT;
    const start = this.#at + 1;
    // Beyond the end there is no number that could be small enough.
    if (!(length <= SHORT_TEXT_BYTES_MAX) || start + length > this.#bytes.length) {
      this.#fail();
      return '';
    }
    this.#at = start + length;
    const text = length === 0 ? '' : this.#bytes.toString('latin1', start, this.#at);
    if (!isShortAscii(text)) this.#fail();
    return text;
  }

  bin(): Buffer {
    const bytes = this.#bytes;
    const width = binWidth(bytes[this.#at]!);
    const start = this.#at + 1 + width;
    const end =
      width === 0 || start > bytes.length ? Infinity : start + bytes.readUIntBE(start - width, width);
    if (end > bytes.length) {
      this.#fail();
      return EMPTY;
    }
    this.#at = end;
    return this.#isAlone ? bytes.subarray(start, end) : ownCopy(bytes.subarray(start, end));
  }

  lease(): bigint {
    const bytes = this.#bytes;
    const at = this.#at;
    if (bytes[at] === 0) {
      this.#at = at + 1;
      return 0n;
    }
    if (bytes[at] !== INT_64 || at + INT_64_BYTES > bytes.length) return BigInt(this.#fail());
    this.#at = at + INT_64_BYTES;
    return bytes.readBigInt64BE(at + 1);
  }

  #fail(): number {
    this.#at = this.#bytes.length + 1;
    return 0;
  }
}

function isShortAscii(text: string): boolean {
  if (text.length > SHORT_TEXT_BYTES_MAX) return false;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > ASCII_MAX) return false;
  return true;
}

/** The bytes of a natural number behind its type; 0 for a type that is none. */
function naturalWidth(type: number): number {
  switch (type) {
    case UINT_8:
      return 1;
    case UINT_16:
      return 2;
    case UINT_32:
      return 4;
    case FLOAT_64:
      return 8;
    default:
      return 0;
  }
}

/** The bytes of the length of binary data; 0 for a type that is none. */
function binWidth(type: number): number {
  switch (type) {
    case BIN_8:
      return 1;
    case BIN_16:
      return 2;
    case BIN_32:
      return 4;
    default:
      return 0;
  }
}

function naturalBytes(value: number): number {
  if (value <= ONE_BYTE_MAX) return 1;
  if (value <= UINT_8_MAX) return 2;
  if (value <= UINT_16_MAX) return 3;
  return value <= UINT_32_MAX ? 5 : 9;
}

function writeNatural(target: Buffer, value: number, at: number): number {
  assert(Number.isSafeInteger(value) && value >= 0, 'a number in a command is natural');
  if (value <= ONE_BYTE_MAX) {
    target[at] = value;
    return at + 1;
  }
  if (value <= UINT_8_MAX) {
    target[at] = UINT_8;
    return target.writeUInt8(value, at + 1);
  }
  if (value <= UINT_16_MAX) {
    target[at] = UINT_16;
    return target.writeUInt16BE(value, at + 1);
  }
  if (value <= UINT_32_MAX) {
    target[at] = UINT_32;
    return target.writeUInt32BE(value, at + 1);
  }
  target[at] = FLOAT_64;
  return target.writeDoubleBE(value, at + 1);
}

function binBytes({ length }: Buffer): number {
  if (length <= UINT_8_MAX) return 2 + length;
  return (length <= UINT_16_MAX ? 3 : 5) + length;
}

function writeBin(target: Buffer, value: Buffer, at: number): number {
  const { length } = value;
  let start: number;
  if (length <= UINT_8_MAX) {
    target[at] = BIN_8;
    start = target.writeUInt8(length, at + 1);
  } else if (length <= UINT_16_MAX) {
    target[at] = BIN_16;
    start = target.writeUInt16BE(length, at + 1);
  } else {
    target[at] = BIN_32;
    start = target.writeUInt32BE(length, at + 1);
  }
  target.set(value, start);
  return start + length;
}

function writeLease(target: Buffer, lease: bigint, at: number): number {
  if (lease === 0n) {
    target[at] = 0;
    return at + 1;
  }
  target[at] = INT_64;
  return target.writeBigInt64BE(lease, at + 1);
}
