import { assert } from '../lib/assert.ts';

/** ASN.1 in its distinguished encoding (ITU-T X.690), as far as certificates need it. */

const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectId: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Tags that differ in meaning from place to place: `[n]`, and `[n]` around other values. */
const CONTEXT = 0x80;
const CONTEXT_CONSTRUCTED = 0xa0;

export function sequence(...items: readonly Buffer[]): Buffer {
  return wrap(TAG.sequence, Buffer.concat(items));
}

export function setOf(...items: readonly Buffer[]): Buffer {
  return wrap(TAG.set, Buffer.concat(items));
}

/** @param magnitude a natural number, its most significant byte first */
export function natural(magnitude: Buffer): Buffer {
  let bytes = magnitude;
  while (bytes.length > 1 && bytes[0] === 0 && bytes[1]! < 0x80) bytes = bytes.subarray(1);
  return wrap(TAG.integer, bytes[0]! >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes);
}

export function boolean(value: boolean): Buffer {
  return wrap(TAG.boolean, Buffer.of(value ? 0xff : 0));
}

/** @param dotted such as `2.5.4.3` */
export function objectId(dotted: string): Buffer {
  const [first, second, ...rest] = dotted.split('.').map(Number);
  assert(first !== undefined && second !== undefined, 'an object id has two parts at least');
  return wrap(TAG.objectId, Buffer.concat([first * 40 + second, ...rest].map(base128)));
}

export function utf8String(text: string): Buffer {
  return wrap(TAG.utf8String, Buffer.from(text, 'utf8'));
}

export function octetString(bytes: Buffer): Buffer {
  return wrap(TAG.octetString, bytes);
}

/** @param unusedBits how many of the last byte's low bits mean nothing */
export function bitString(bytes: Buffer, unusedBits = 0): Buffer {
  return wrap(TAG.bitString, Buffer.concat([Buffer.of(unusedBits), bytes]));
}

/** A moment to the second; its form depends on the year (RFC 5280, 4.1.2.5). */
export function time(ms: number): Buffer {
  const digits = new Date(ms)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(/[-:T]/g, '');
  const year = Number(digits.slice(0, 4));
  return year < 2050
    ? wrap(TAG.utcTime, Buffer.from(digits.slice(2), 'latin1'))
    : wrap(TAG.generalizedTime, Buffer.from(digits, 'latin1'));
}

/** `[tag]` in the place of the value's own tag. */
export function implicit(tag: number, content: Buffer): Buffer {
  return wrap(CONTEXT | tag, content);
}

/** `[tag]` around whole values. */
export function explicit(tag: number, ...items: readonly Buffer[]): Buffer {
  return wrap(CONTEXT_CONSTRUCTED | tag, Buffer.concat(items));
}

function wrap(tag: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.of(tag), lengthOf(content), content]);
}

function lengthOf(content: Buffer): Buffer {
  if (content.length < 0x80) return Buffer.of(content.length);
  const bytes: number[] = [];
  for (let rest = content.length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.of(0x80 | bytes.length, ...bytes);
}

function base128(value: number): Buffer {
  const bytes = [value % 128];
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) {
    bytes.unshift(0x80 | (rest % 128));
  }
  return Buffer.from(bytes);
}

// ---- reading ------------------------------------------------------------------------------------------------

/** One value as it stands in the bytes read. */
export interface DerValue {
  readonly tag: number;
  readonly content: Buffer;
  /** Tag and length included. */
  readonly whole: Buffer;
}

/** The bytes are not DER, or not of the shape expected. */
export class DerError extends Error {
  override readonly name = 'DerError';
}

/** Values one after the other. Every method throws DerError when the next one is not as expected. */
export class DerReader {
  #rest: Buffer;

  constructor(bytes: Buffer) {
    this.#rest = bytes;
  }

  get atEnd(): boolean {
    return this.#rest.length === 0;
  }

  /** The next value's tag without taking it; undefined at the end. */
  get nextTag(): number | undefined {
    return this.#rest[0];
  }

  /** @param tag what it must be; anything when absent */
  take(tag?: number): DerValue {
    const bytes = this.#rest;
    const first = bytes[1];
    if (first === undefined || (tag !== undefined && bytes[0] !== tag)) {
      throw new DerError('a value of another kind stands there');
    }
    const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
    // Four bytes of length are more than any file read here has; the open form (0) is not DER.
    if (first === 0x80 || lengthBytes > 4 || bytes.length < 2 + lengthBytes)
      throw new DerError('a bad length');
    const length = lengthBytes === 0 ? first : bytes.readUIntBE(2, lengthBytes);
    const start = 2 + lengthBytes;
    if (bytes.length < start + length) throw new DerError('the bytes end within a value');
    this.#rest = bytes.subarray(start + length);
    return {
      tag: bytes[0]!,
      content: bytes.subarray(start, start + length),
      whole: bytes.subarray(0, start + length),
    };
  }

  sequence(): DerReader {
    return new DerReader(this.take(TAG.sequence).content);
  }

  /** A natural number as hexadecimal digits in upper case, without leading zeros: as Node prints serial numbers. */
  integerHex(): string {
    const { content } = this.take(TAG.integer);
    return content
      .toString('hex')
      .toUpperCase()
      .replace(/^0+(?=.)/, '');
  }

  /** Whole bytes only. */
  bitString(): Buffer {
    const { content } = this.take(TAG.bitString);
    if (content[0] !== 0) throw new DerError('bits that are no bytes');
    return content.subarray(1);
  }

  /** Milliseconds since the epoch. */
  time(): number {
    const { tag, content } = this.take();
    const text = content.toString('latin1');
    const pattern = tag === TAG.utcTime ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : GENERALIZED;
    const match = tag === TAG.utcTime || tag === TAG.generalizedTime ? pattern.exec(text) : null;
    if (match === null) throw new DerError('a time of an unknown form');
    const [year, month, day, hour, minute, second] = match.slice(1).map(Number);
    // Two digits mean 1950 to 2049.
    const full = tag === TAG.utcTime ? year! + (year! < 50 ? 2000 : 1900) : year!;
    return Date.UTC(full, month! - 1, day, hour, minute, second);
  }

  get nextIsTime(): boolean {
    return this.nextTag === TAG.utcTime || this.nextTag === TAG.generalizedTime;
  }

  get nextIsSequence(): boolean {
    return this.nextTag === TAG.sequence;
  }

  get nextIsInteger(): boolean {
    return this.nextTag === TAG.integer;
  }
}

const GENERALIZED = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
