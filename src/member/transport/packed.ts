import { Packr } from 'msgpackr';
import { ProtocolError } from './frame.ts';
import { REASON_LENGTH_MAX } from './limits.ts';

/**
 * Small payloads as msgpack arrays of integers, booleans and short strings. What comes from outside is scanned
 * before the general decoder sees it: that one would allocate for any announced array length, build objects from
 * maps and extensions, and recurse as deep as the bytes say.
 */

const DEPTH_MAX = 4;

const packr = new Packr({ useRecords: false, mapsAsObjects: true, copyBuffers: true });

export type Packable = number | boolean | string | readonly Packable[];

/** The result is not changed by later calls. */
export function pack(value: readonly Packable[]): Buffer {
  return packr.pack(value);
}

/** @throws ProtocolError unless `bytes` is exactly one array of what `pack` writes */
export function unpack(bytes: Buffer): readonly unknown[] {
  if (scan(bytes, 0, 0) !== bytes.length) throw new ProtocolError('bytes follow a packed value');
  const value: unknown = packr.unpack(bytes);
  if (!Array.isArray(value)) throw new ProtocolError('a packed value is not an array');
  return value;
}

/** Returns the offset behind the value at `offset`. */
function scan(bytes: Buffer, offset: number, depth: number): number {
  const tag = byteAt(bytes, offset);
  if (tag <= 0x7f || tag >= 0xe0) return offset + 1;
  if (tag >= 0x90 && tag <= 0x9f) return scanArray(bytes, { offset: offset + 1, count: tag & 0x0f, depth });
  if (tag >= 0xa0 && tag <= 0xbf) return skip(bytes, offset, 1 + (tag & 0x1f));
  switch (tag) {
    case 0xc2: // false, true
    case 0xc3:
      return offset + 1;
    case 0xcb: // float64: integers above 32 bits
      return skip(bytes, offset, 9);
    case 0xcc: // unsigned, signed of 1, 2, 4 bytes
    case 0xd0:
      return skip(bytes, offset, 2);
    case 0xcd:
    case 0xd1:
      return skip(bytes, offset, 3);
    case 0xce:
    case 0xd2:
      return skip(bytes, offset, 5);
    case 0xd9: // strings with an 8 or 16 bit length
      return skip(bytes, offset, 2 + byteAt(bytes, offset + 1));
    case 0xda:
      return skip(bytes, offset, 3 + shortAt(bytes, offset + 1));
    case 0xdc: // array with a 16 bit count
      return scanArray(bytes, { offset: offset + 3, count: shortAt(bytes, offset + 1), depth });
    default:
      throw new ProtocolError('a packed value has a type that is never sent');
  }
}

function scanArray(
  bytes: Buffer,
  array: { readonly offset: number; readonly count: number; readonly depth: number },
): number {
  if (array.depth === DEPTH_MAX) throw new ProtocolError('a packed value is nested too deep');
  let offset = array.offset;
  for (let index = 0; index < array.count; index++) offset = scan(bytes, offset, array.depth + 1);
  return offset;
}

function skip(bytes: Buffer, offset: number, count: number): number {
  if (offset + count > bytes.length) throw new ProtocolError('a packed value is cut short');
  return offset + count;
}

function byteAt(bytes: Buffer, offset: number): number {
  const byte = bytes[offset];
  if (byte === undefined) throw new ProtocolError('a packed value is cut short');
  return byte;
}

function shortAt(bytes: Buffer, offset: number): number {
  return byteAt(bytes, offset) * 256 + byteAt(bytes, offset + 1);
}

/**
 * Reads the fields of an unpacked array in order. Every method throws ProtocolError on a missing or wrong field.
 */
export class FieldReader {
  readonly #fields: readonly unknown[];
  #next = 0;

  constructor(fields: readonly unknown[]) {
    this.#fields = fields;
  }

  /** An integer in [min, 2^53). */
  integer(min = 0): number {
    const value = this.#fields[this.#next++];
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || Object.is(value, -0)) {
      throw new ProtocolError('a field is not an integer in range');
    }
    return value;
  }

  boolean(): boolean {
    const value = this.#fields[this.#next++];
    if (typeof value !== 'boolean') throw new ProtocolError('a field is not a boolean');
    return value;
  }

  text(): string {
    const value = this.#fields[this.#next++];
    if (typeof value !== 'string') throw new ProtocolError('a field is not a text');
    return value.slice(0, REASON_LENGTH_MAX);
  }

  array(): readonly unknown[] {
    const value: unknown = this.#fields[this.#next++];
    if (!Array.isArray(value)) throw new ProtocolError('a field is not an array');
    return value;
  }

  end(): void {
    if (this.#next !== this.#fields.length)
      throw new ProtocolError('a packed value has more fields than known');
  }
}
