import protobuf from 'protobufjs';
import { codec, messageType } from './codec.ts';
import type { Messages } from './generated/messages.ts';
import { JsonError, parseJson, quoteLongNumbers } from './json-parse.ts';
import { REQUEST_PARTS_MAX } from './message-parts.ts';

/**
 * Wire messages as JSON, in protobuf's own mapping (protobuf.dev, "ProtoJSON format") with the names of the
 * definitions: 64-bit integers are texts, bytes are base64, enumerations names, and what has its default is left out.
 */

/** A message of at most this is turned into text in one go, in bytes. */
const PIECE_BYTES_MAX = 32 * 1024;

/**
 * A message from JSON text, as bytes. Both the definition's names and their camel case are understood, integers as
 * numbers or texts, enumerations by name or number, base64 of either alphabet; unknown fields are ignored.
 *
 * @throws JsonError saying what is wrong with the text
 */
export function encodeJson(name: keyof Messages, text: string): Buffer {
  return codec(name).encode(parseJson(messageType(name), parseText(text)) as never);
}

function parseText(text: string): unknown {
  if (hasTooManyValues(text)) throw new JsonError(`it has more than ${REQUEST_PARTS_MAX} values`);
  try {
    return JSON.parse(quoteLongNumbers(text));
  } catch (error) {
    throw new JsonError(error instanceof Error ? error.message : 'not JSON', { cause: error });
  }
}

/** Each value but the outermost stands after one of three marks. Those in texts count, too: few texts hold many. */
function hasTooManyValues(text: string): boolean {
  if (text.length <= REQUEST_PARTS_MAX) return false;
  let values = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === COMMA || code === OPEN_BRACE || code === OPEN_BRACKET) values += 1;
  }
  return values > REQUEST_PARTS_MAX;
}

const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;

/**
 * A message as JSON text, in pieces small enough that others can have their turn in between. Joined they are one
 * object on one line.
 */
export function* decodeJson(name: keyof Messages, bytes: Buffer): Generator<string> {
  yield* pieces(messageType(name), bytes);
}

function* pieces(type: protobuf.Type, bytes: Buffer): Generator<string> {
  if (bytes.length <= PIECE_BYTES_MAX) {
    yield objectText(type, type.decode(bytes) as unknown as Fields);
    return;
  }
  const { messages, rest } = split(type, bytes);
  let separator = '{';
  for (const field of type.fieldsArray) {
    const inner = field.resolvedType instanceof protobuf.Type ? field.resolvedType : null;
    if (inner === null || field.map) {
      const text = fieldText(field, rest);
      if (text === null) continue;
      yield `${separator}${text}`;
      separator = ',';
      continue;
    }
    const parts = messages.get(field.id);
    if (parts === undefined) continue;
    yield `${separator}"${field.name}":`;
    separator = ',';
    if (field.repeated) yield* list(inner, parts);
    // Parts of one message are merged by putting their bytes together.
    else yield* pieces(inner, parts.length === 1 ? parts[0]! : Buffer.concat(parts));
  }
  yield separator === '{' ? '{}' : '}';
}

function* list(type: protobuf.Type, parts: readonly Buffer[]): Generator<string> {
  let separator = '[';
  for (const part of parts) {
    yield separator;
    yield* pieces(type, part);
    separator = ',';
  }
  yield ']';
}

/** Cuts a message into its inner messages, by field number, and everything else, decoded. */
function split(
  type: protobuf.Type,
  bytes: Buffer,
): { readonly messages: ReadonlyMap<number, readonly Buffer[]>; readonly rest: Fields } {
  const messages = new Map<number, Buffer[]>();
  const others: Buffer[] = [];
  const reader = protobuf.Reader.create(bytes);
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const tag = reader.uint32();
    const field = type.fieldsById[tag >>> 3];
    if (field?.resolvedType instanceof protobuf.Type && !field.map && (tag & 7) === LENGTH_DELIMITED) {
      const inner = reader.bytes() as Buffer;
      const known = messages.get(field.id);
      if (known === undefined) messages.set(field.id, [inner]);
      else known.push(inner);
    } else {
      reader.skipType(tag & 7);
      others.push(bytes.subarray(start, reader.pos));
    }
  }
  return { messages, rest: type.decode(Buffer.concat(others)) as unknown as Fields };
}

const LENGTH_DELIMITED = 2;

type Fields = Readonly<Record<string, unknown>>;

function objectText(type: protobuf.Type, message: Fields): string {
  const texts: string[] = [];
  for (const field of type.fieldsArray) {
    const text = fieldText(field, message);
    if (text !== null) texts.push(text);
  }
  return `{${texts.join(',')}}`;
}

/** `"name":value`, or null when the field is absent or, where presence is not told, has its default. */
function fieldText(field: protobuf.Field, message: Fields): string | null {
  if (!Object.hasOwn(message, field.name)) return null;
  const value = message[field.name];
  if (value === null || value === undefined) return null;
  if (field.map) return mapText(field, value as Fields);
  if (field.repeated) {
    const values = value as readonly unknown[];
    if (values.length === 0) return null;
    return `"${field.name}":[${values.map((item) => valueText(field, item)).join(',')}]`;
  }
  const tellsPresence = field.partOf !== null || field.resolvedType instanceof protobuf.Type;
  if (!tellsPresence && isDefault(value)) return null;
  return `"${field.name}":${valueText(field, value)}`;
}

function mapText(field: protobuf.Field, values: Fields): string | null {
  const entries = Object.entries(values);
  if (entries.length === 0) return null;
  const texts = entries.map(([key, value]) => `${JSON.stringify(key)}:${valueText(field, value)}`);
  return `"${field.name}":{${texts.join(',')}}`;
}

function isDefault(value: unknown): boolean {
  if (Buffer.isBuffer(value)) return value.length === 0;
  return value === 0 || value === 0n || value === false || value === '';
}

function valueText(field: protobuf.Field, value: unknown): string {
  const { resolvedType } = field;
  if (resolvedType instanceof protobuf.Type) return objectText(resolvedType, value as Fields);
  if (resolvedType instanceof protobuf.Enum) {
    const name = resolvedType.valuesById[value as number];
    return name === undefined ? String(value) : `"${name}"`;
  }
  switch (field.type) {
    case 'bytes':
      return `"${(value as Buffer).toString('base64')}"`;
    case 'int64':
    case 'uint64':
    case 'sint64':
    case 'fixed64':
    case 'sfixed64':
      return `"${String(value)}"`;
    default:
      return JSON.stringify(value);
  }
}
