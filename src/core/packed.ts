import { Packr } from 'msgpackr';
import { assert } from '../lib/assert.ts';

/** What replicated bytes are made of: msgpack without maps and extensions, so that equal values have equal bytes. */
export type Packed = null | boolean | number | bigint | string | Buffer | readonly Packed[];

/** Arrays within arrays, at most. */
export const PACKED_DEPTH_MAX = 80;

// `copyBuffers`: what is decoded is kept for long and must not hold on to the log entry it came in.
const codec = new Packr({ useRecords: false, mapsAsObjects: true, copyBuffers: true });

export function pack(value: Packed): Buffer {
  return codec.pack(value);
}

/**
 * Decodes what `pack` made. The structure is walked first, so that no bytes whatever can make the decoder recurse,
 * allocate beyond their own size or return anything but `Packed`.
 *
 * @throws AssertionError when the bytes are anything else
 */
export function unpack(bytes: Buffer): Packed {
  assert(isPacked(bytes), 'malformed packed bytes');
  return codec.unpack(bytes) as Packed;
}

/** Reads the elements of a packed array one after another and checks the type of each. */
export class Fields {
  readonly #values: readonly Packed[];
  #next = 0;

  /** @throws AssertionError when `value` is no array */
  constructor(value: Packed) {
    this.#values = arrayOf(value);
  }

  /** An integer within the safe range, negative ones included. */
  integer(): number {
    const value = this.#take();
    assert(typeof value === 'number' && Number.isSafeInteger(value), 'malformed: an integer is expected');
    return value;
  }

  /** An integer of at least 0: indexes, revisions and ids that we make. */
  natural(): number {
    const value = this.integer();
    assert(value >= 0, 'malformed: a natural number is expected');
    return value;
  }

  /** An int64 as `int64` packs it. */
  int64(): bigint {
    return int64Of(this.#take());
  }

  int64s(): readonly bigint[] {
    return this.list(int64Of);
  }

  boolean(): boolean {
    const value = this.#take();
    assert(typeof value === 'boolean', 'malformed: a boolean is expected');
    return value;
  }

  text(): string {
    const value = this.#take();
    assert(typeof value === 'string', 'malformed: a text is expected');
    return value;
  }

  texts(): readonly string[] {
    return this.list((value) => {
      assert(typeof value === 'string', 'malformed: a text is expected');
      return value;
    });
  }

  bytes(): Buffer {
    const value = this.#take();
    assert(Buffer.isBuffer(value), 'malformed: bytes are expected');
    return value;
  }

  /** An index into a fixed list of names. */
  oneOf<T>(names: readonly T[]): T {
    const name = names[this.natural()];
    assert(name !== undefined, 'malformed: an unknown name');
    return name;
  }

  list<T>(read: (value: Packed) => T): readonly T[] {
    return arrayOf(this.#take()).map((value) => read(value));
  }

  /** @throws AssertionError when elements are left */
  end(): void {
    assert(this.#next === this.#values.length, 'malformed: unexpected fields');
  }

  #take(): Packed {
    const value = this.#values[this.#next];
    assert(value !== undefined, 'malformed: a field is missing');
    this.#next += 1;
    return value;
  }
}

/** Packs an int64; 0n, the most frequent, in one byte. */
export function int64(value: bigint): Packed {
  return value === 0n ? 0 : value;
}

function int64Of(value: Packed): bigint {
  if (value === 0) return 0n;
  assert(typeof value === 'bigint', 'malformed: an int64 is expected');
  return value;
}

function arrayOf(value: Packed): readonly Packed[] {
  assert(Array.isArray(value), 'malformed: an array is expected');
  return value as readonly Packed[];
}

/** Whether the bytes are exactly one value made of the types of `Packed`. */
function isPacked(bytes: Buffer): boolean {
  const left: number[] = [];
  let offset = 0;
  let pending = 1;
  while (pending > 0) {
    if (offset >= bytes.length) return false;
    const type = bytes[offset]!;
    const items = arrayLength(bytes, offset);
    pending -= 1;
    if (items < 0) {
      offset += scalarBytes(bytes, offset);
    } else {
      // An element takes a byte at least, so no array is longer than what is left.
      if (items > bytes.length - offset || left.length >= PACKED_DEPTH_MAX) return false;
      offset += type === 0xdc ? 3 : type === 0xdd ? 5 : 1;
      left.push(pending);
      pending = items;
    }
    while (pending === 0 && left.length > 0) pending = left.pop()!;
  }
  return offset === bytes.length;
}

/** The element count of the array that begins at `offset`, or -1 when that is no array. */
function arrayLength(bytes: Buffer, offset: number): number {
  const type = bytes[offset]!;
  if (type >= 0x90 && type <= 0x9f) return type - 0x90;
  if (type === 0xdc) return sizeAt(bytes, offset, 2);
  if (type === 0xdd) return sizeAt(bytes, offset, 4);
  return -1;
}

/** How many bytes the scalar at `offset` takes; Infinity when it is none of ours. */
function scalarBytes(bytes: Buffer, offset: number): number {
  const type = bytes[offset]!;
  if (type <= 0x7f || type >= 0xe0) return 1;
  if (type >= 0xa0 && type <= 0xbf) return 1 + type - 0xa0;
  switch (type) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return 1;
    case 0xc4: // bin 8, str 8
    case 0xd9:
      return 2 + sizeAt(bytes, offset, 1);
    case 0xc5: // bin 16, str 16
    case 0xda:
      return 3 + sizeAt(bytes, offset, 2);
    case 0xc6: // bin 32, str 32
    case 0xdb:
      return 5 + sizeAt(bytes, offset, 4);
    case 0xcc: // uint 8, int 8
    case 0xd0:
      return 2;
    case 0xcd: // uint 16, int 16
    case 0xd1:
      return 3;
    case 0xce: // uint 32, int 32
    case 0xd2:
      return 5;
    case 0xcb: // float 64: integers beyond 32 bits
    case 0xd3: // int 64
      return 9;
    default:
      // Maps, extensions, float 32, uint 64 and 0xc1, which some decoders take for a value.
      return Number.POSITIVE_INFINITY;
  }
}

function sizeAt(bytes: Buffer, offset: number, width: 1 | 2 | 4): number {
  if (offset + 1 + width > bytes.length) return Number.POSITIVE_INFINITY;
  return bytes.readUIntBE(offset + 1, width);
}
