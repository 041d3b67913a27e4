import { huffmanText } from './huffman.ts';
import { ConnectionError, errorCode, HEADER_TABLE_BYTES_DEFAULT } from './protocol.ts';

/** A header field: a lower-case name and its value, one character a byte. */
export type Field = readonly [name: string, value: string];

/** RFC 7541, appendix A. */
const STATIC_TABLE: readonly Field[] = [
  [':authority', ''],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ['accept-language', ''],
  ['accept-ranges', ''],
  ['accept', ''],
  ['access-control-allow-origin', ''],
  ['age', ''],
  ['allow', ''],
  ['authorization', ''],
  ['cache-control', ''],
  ['content-disposition', ''],
  ['content-encoding', ''],
  ['content-language', ''],
  ['content-length', ''],
  ['content-location', ''],
  ['content-range', ''],
  ['content-type', ''],
  ['cookie', ''],
  ['date', ''],
  ['etag', ''],
  ['expect', ''],
  ['expires', ''],
  ['from', ''],
  ['host', ''],
  ['if-match', ''],
  ['if-modified-since', ''],
  ['if-none-match', ''],
  ['if-range', ''],
  ['if-unmodified-since', ''],
  ['last-modified', ''],
  ['link', ''],
  ['location', ''],
  ['max-forwards', ''],
  ['proxy-authenticate', ''],
  ['proxy-authorization', ''],
  ['range', ''],
  ['referer', ''],
  ['refresh', ''],
  ['retry-after', ''],
  ['server', ''],
  ['set-cookie', ''],
  ['strict-transport-security', ''],
  ['transfer-encoding', ''],
  ['user-agent', ''],
  ['vary', ''],
  ['via', ''],
  ['www-authenticate', ''],
];
/** What an entry of a table counts beyond its texts (RFC 7541, 4.1). */
const ENTRY_OVERHEAD_BYTES = 32;
/** An integer with more continuation bytes is an attack: four hold 28 bits. */
const INTEGER_BYTES_MAX = 4;

/** The decoding half of HPACK (RFC 7541), with the state that one connection's header blocks share. */
export class HpackDecoder {
  readonly #listBytesMax: number;
  /** Newest first. */
  #table: Field[] = [];
  #tableBytes = 0;
  /** The size that the client uses now; never above the limit. */
  #tableBytesMax = HEADER_TABLE_BYTES_DEFAULT;
  #block: Buffer = Buffer.alloc(0);
  #offset = 0;

  /** @param options.listBytesMax size of one decoded block, each field counted as RFC 9113 6.5.2 does */
  constructor(options: { readonly listBytesMax: number }) {
    this.#listBytesMax = options.listBytesMax;
  }

  /** No block depends on any before it: the same bytes mean the same fields. */
  get stateless(): boolean {
    return this.#tableBytesMax === 0;
  }

  /**
   * @throws ConnectionError `compressionError` when the block is malformed, `enhanceYourCalm` when what it holds is
   *   larger than the bound. The connection cannot go on after either.
   */
  decode(block: Buffer): readonly Field[] {
    this.#block = block;
    this.#offset = 0;
    const fields: Field[] = [];
    let listBytes = 0;
    while (this.#offset < block.length) {
      const field = this.#next(fields.length === 0);
      if (field === null) continue;
      listBytes += sizeOf(field);
      if (listBytes > this.#listBytesMax) {
        throw new ConnectionError(errorCode.enhanceYourCalm, 'a header list is too large');
      }
      fields.push(field);
    }
    return fields;
  }

  /** The next field, or null after a change of the table's size. */
  #next(atStart: boolean): Field | null {
    const first = this.#block[this.#offset]!;
    if ((first & 0x80) !== 0) return this.#entry(this.#integer(7));
    if ((first & 0x40) !== 0) {
      const field = this.#literal(6);
      this.#insert(field);
      return field;
    }
    if ((first & 0x20) === 0) return this.#literal(4);
    const bytes = this.#integer(5);
    if (!atStart || bytes > HEADER_TABLE_BYTES_DEFAULT) throw malformed('a change of the table size');
    this.#tableBytesMax = bytes;
    this.#evict(0);
    return null;
  }

  #literal(prefixBits: number): Field {
    const index = this.#integer(prefixBits);
    const name = index === 0 ? this.#string() : this.#entry(index)[0];
    return [name, this.#string()];
  }

  #entry(index: number): Field {
    const field =
      index <= STATIC_TABLE.length ? STATIC_TABLE[index - 1] : this.#table[index - STATIC_TABLE.length - 1];
    if (field === undefined) throw malformed('an index');
    return field;
  }

  #insert(field: Field): void {
    const bytes = sizeOf(field);
    this.#evict(bytes);
    // Larger than the whole table: that has been emptied, and no more (RFC 7541, 4.4).
    if (bytes > this.#tableBytesMax) return;
    this.#table.unshift(field);
    this.#tableBytes += bytes;
  }

  #evict(neededBytes: number): void {
    while (this.#table.length > 0 && this.#tableBytes + neededBytes > this.#tableBytesMax) {
      this.#tableBytes -= sizeOf(this.#table.pop()!);
    }
  }

  /** RFC 7541, 5.1. */
  #integer(prefixBits: number): number {
    const limit = 2 ** prefixBits - 1;
    let value = this.#block[this.#offset]! & limit;
    this.#offset += 1;
    if (value < limit) return value;
    for (let i = 0; i < INTEGER_BYTES_MAX; i++) {
      const byte = this.#block[this.#offset];
      if (byte === undefined) throw malformed('an integer');
      this.#offset += 1;
      value += (byte & 0x7f) * 2 ** (7 * i);
      if (byte < 0x80) return value;
    }
    throw malformed('an integer');
  }

  /** RFC 7541, 5.2. */
  #string(): string {
    const first = this.#block[this.#offset];
    if (first === undefined) throw malformed('a string');
    const bytes = this.#integer(7);
    const start = this.#offset;
    const end = start + bytes;
    if (end > this.#block.length) throw malformed('a string');
    this.#offset = end;
    if ((first & 0x80) === 0) return this.#block.toString('latin1', start, end);
    const text = huffmanText(this.#block, start, end);
    if (text === null) throw malformed('a Huffman code');
    return text;
  }
}

/**
 * A header block that leaves no trace in the client's table: names of the static table by index, all values as
 * plain literals.
 */
export function encodeFields(fields: readonly Field[]): Buffer {
  return Buffer.concat(fields.map(encodeField));
}

function encodeField([name, value]: Field): Buffer {
  const whole = STATIC_TABLE.findIndex((entry) => entry[0] === name && entry[1] === value);
  if (whole !== -1) return Buffer.from([0x80 | (whole + 1)]);
  const named = STATIC_TABLE.findIndex((entry) => entry[0] === name);
  const head = named === -1 ? [Buffer.from([0]), encodeString(name)] : [encodeInteger(named + 1, 4)];
  return Buffer.concat([...head, encodeString(value)]);
}

function encodeString(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  return Buffer.concat([encodeInteger(bytes.length, 7), bytes]);
}

function encodeInteger(value: number, prefixBits: number): Buffer {
  const limit = 2 ** prefixBits - 1;
  if (value < limit) return Buffer.from([value]);
  const bytes = [limit];
  let rest = value - limit;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return Buffer.from([...bytes, rest]);
}

function sizeOf([name, value]: Field): number {
  return name.length + value.length + ENTRY_OVERHEAD_BYTES;
}

function malformed(what: string): ConnectionError {
  return new ConnectionError(errorCode.compressionError, `${what} in a header block is malformed`);
}
