import { Packr } from 'msgpackr';
import { assert } from './assert.ts';

/**
 * The codec of small structures, in the log, on the disk and between members: msgpack without maps and extensions,
 * so that equal values have equal bytes. What comes from outside is scanned before the general decoder sees it:
 * that one would allocate for any announced length, build objects from maps and extensions, and recurse as deep as
 * the bytes say.
 */
export type Packed = null | boolean | number | bigint | string | Buffer | readonly Packed[];

/** Bytes that are not what they should be. Whether that is a bug, a damaged disk or a bad peer, the caller knows. */
export class MalformedError extends Error {
  override readonly name: string = 'MalformedError';
}

/**
 * Checks what bytes say.
 *
 * @param message static text, so that a passing check costs nothing
 * @throws MalformedError when the condition does not hold
 */
export function checkForm(condition: boolean, message: string): asserts condition {
  if (!condition) throw new MalformedError(message);
}

/** What `unpack` accepts. */
export interface UnpackLimits {
  /** Arrays within arrays, the outermost included. */
  readonly depthMax: number;
  /** Items of any one array. */
  readonly itemsMax: number;
  /**
   * Values altogether, arrays included; default: as many as there are bytes. An empty array takes one byte packed and
   * some forty unpacked.
   */
  readonly valuesMax?: number;
}

/** Fits the deepest transaction; the bytes themselves bound the items. */
export const DEFAULT_LIMITS: UnpackLimits = { depthMax: 80, itemsMax: Number.POSITIVE_INFINITY };

// `copyBuffers`: what is decoded is kept for long and must not hold on to the bytes it came in.
const codec = new Packr({ useRecords: false, mapsAsObjects: true, copyBuffers: true });

/** The result is not changed by later calls. */
export function pack(value: Packed): Buffer {
  return codec.pack(value);
}

/**
 * Decodes what `pack` made. The structure is walked first, so that no bytes whatever can make the decoder recurse,
 * allocate beyond their own size or return anything but `Packed`.
 *
 * @throws MalformedError unless the bytes are exactly one value within the limits
 */
export function unpack(bytes: Buffer, limits: UnpackLimits = DEFAULT_LIMITS): Packed {
  scan(bytes, limits);
  return codec.unpack(bytes) as Packed;
}

/** Whether bytes are one value within the limits, without decoding it. */
export function isPacked(bytes: Buffer, limits: UnpackLimits): boolean {
  try {
    scan(bytes, limits);
    return true;
  } catch (error) {
    if (error instanceof MalformedError) return false;
    throw error;
  }
}

/** Packs an int64; 0n, the most frequent, in one byte. */
export function int64(value: bigint): Packed {
  assert(BigInt.asIntN(64, value) === value, 'an int64 is within its range');
  return value === 0n ? 0 : value;
}

/** @throws MalformedError when `value` is no array */
export function arrayOf(value: Packed): readonly Packed[] {
  checkForm(Array.isArray(value), 'a field is not an array');
  return value as readonly Packed[];
}

/**
 * Reads the elements of a packed array one after another. Every method throws a MalformedError when the element is
 * missing or of another type.
 */
export class Fields {
  readonly #values: readonly Packed[];
  #next = 0;

  /** @throws MalformedError when `value` is no array */
  constructor(value: Packed) {
    this.#values = arrayOf(value);
  }

  /** An integer of at least `min`, within the safe range. */
  integer(min = Number.MIN_SAFE_INTEGER): number {
    return integerOf(this.#take(), min);
  }

  /** An integer of at least 0: indexes, revisions and ids that we make. */
  natural(): number {
    return integerOf(this.#take(), 0);
  }

  naturals(min = 0): readonly number[] {
    return this.list((value) => integerOf(value, min));
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
    checkForm(typeof value === 'boolean', 'a field is not a boolean');
    return value;
  }

  text(): string {
    return textOf(this.#take());
  }

  texts(): readonly string[] {
    return this.list(textOf);
  }

  bytes(): Buffer {
    return bytesOf(this.#take());
  }

  byteStrings(): readonly Buffer[] {
    return this.list(bytesOf);
  }

  /** An index into a fixed list of names. */
  oneOf<T>(names: readonly T[]): T {
    const name = names[this.natural()];
    checkForm(name !== undefined, 'a field is an unknown name');
    return name;
  }

  list<T>(read: (value: Packed) => T): readonly T[] {
    return arrayOf(this.#take()).map((value) => read(value));
  }

  /** Whether elements are left: fields that later versions append. */
  get more(): boolean {
    return this.#next < this.#values.length;
  }

  /** @throws MalformedError when elements are left */
  end(): void {
    checkForm(this.#next === this.#values.length, 'a packed value has more fields than known');
  }

  #take(): Packed {
    const value = this.#values[this.#next];
    checkForm(value !== undefined, 'a field is missing');
    this.#next += 1;
    return value;
  }
}

/** Refuses -0, which `pack` never writes: it would come back as other bytes. */
function integerOf(value: Packed, min: number): number {
  checkForm(
    typeof value === 'number' && Number.isSafeInteger(value) && value >= min && !Object.is(value, -0),
    'a field is not an integer in range',
  );
  return value;
}

function int64Of(value: Packed): bigint {
  if (value === 0) return 0n;
  checkForm(typeof value === 'bigint', 'a field is not an int64');
  return value;
}

function textOf(value: Packed): string {
  checkForm(typeof value === 'string', 'a field is not a text');
  return value;
}

function bytesOf(value: Packed): Buffer {
  checkForm(Buffer.isBuffer(value), 'a field is not bytes');
  return value;
}

const CUT_SHORT = 'a packed value is cut short';

/** Checks that the bytes are exactly one value made of the types of `Packed`. Takes no stack, whatever they say. */
function scan(bytes: Buffer, { depthMax, itemsMax, valuesMax = bytes.length }: UnpackLimits): void {
  /** Per enclosing array, the items still to come. */
  const outer: number[] = [];
  let offset = 0;
  let pending = 1;
  let values = 0;
  while (pending > 0) {
    checkForm(offset < bytes.length, CUT_SHORT);
    values += 1;
    checkForm(values <= valuesMax, 'a packed value has too many parts');
    const headBytes = arrayHeadBytes(bytes[offset]!);
    pending -= 1;
    if (headBytes === 0) {
      offset += scalarBytes(bytes, offset);
      checkForm(offset <= bytes.length, CUT_SHORT);
    } else {
      const items = headBytes === 1 ? bytes[offset]! & 0x0f : sizeAt(bytes, offset, headBytes === 3 ? 2 : 4);
      offset += headBytes;
      // An item takes a byte at least, so no array is longer than what is left.
      checkForm(items <= bytes.length - offset, CUT_SHORT);
      checkForm(items <= itemsMax, 'a packed array is too long');
      checkForm(outer.length < depthMax, 'a packed value is nested too deep');
      outer.push(pending);
      pending = items;
    }
    while (pending === 0 && outer.length > 0) pending = outer.pop()!;
  }
  checkForm(offset === bytes.length, 'bytes follow a packed value');
}

/** The length of the array head that begins with `type`; 0 when that is no array. */
function arrayHeadBytes(type: number): 0 | 1 | 3 | 5 {
  if (type >= 0x90 && type <= 0x9f) return 1;
  if (type === 0xdc) return 3;
  return type === 0xdd ? 5 : 0;
}

/** How many bytes the scalar at `offset` takes. @throws MalformedError when it is none of ours */
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
      throw new MalformedError('a packed value has a type that is never written');
  }
}

function sizeAt(bytes: Buffer, offset: number, width: 1 | 2 | 4): number {
  checkForm(offset + 1 + width <= bytes.length, CUT_SHORT);
  return bytes.readUIntBE(offset + 1, width);
}
