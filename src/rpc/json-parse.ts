import protobuf from 'protobufjs';

/** A text is no such message. */
export class JsonError extends Error {
  override readonly name = 'JsonError';
}

/** Messages within messages beyond this are refused. */
const DEPTH_MAX = 100;
/** Integers with fewer digits are exact as JavaScript's numbers. */
const EXACT_DIGITS_MAX = 15;

/** A parsed JSON value as a message of `type`, for its encoder. @throws JsonError */
export function parseJson(type: protobuf.Type, value: unknown, depth = 0): Record<string, unknown> {
  if (depth > DEPTH_MAX) throw new JsonError('messages are nested too deeply');
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw new JsonError(`a ${type.fullName.slice(1)} must be an object`);
  }
  const message: Record<string, unknown> = {};
  const oneofs = new Set<string>();
  for (const [key, item] of Object.entries(value)) {
    const field = fieldOf(type, key);
    // A null stands for an absent field.
    if (field === undefined || item === null) continue;
    if (Object.hasOwn(message, field.name)) throw new JsonError(`field ${field.name} is given twice`);
    const { partOf } = field;
    if (partOf !== null) {
      if (oneofs.has(partOf.name)) throw new JsonError(`more than one member of ${partOf.name} is given`);
      oneofs.add(partOf.name);
    }
    message[field.name] = field.repeated ? parseList(field, item, depth) : parseValue(field, item, depth);
  }
  return message;
}

/**
 * Makes texts of integers that a number would not hold exactly: a message's reader takes both alike. Everything else
 * stays as it is.
 */
export function quoteLongNumbers(text: string): string {
  if (!LONG_NUMBER.test(text)) return text;
  const parts: string[] = [];
  let done = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '"') at = endOfString(text, at);
    else if (isDigit(text, at)) {
      const start = text[at - 1] === '-' ? at - 1 : at;
      const first = at;
      while (isDigit(text, at)) at += 1;
      const isWhole = !/[.eE]/.test(text[at] ?? '') && !/[.eE+]/.test(text[start - 1] ?? '');
      if (isWhole && at - first > EXACT_DIGITS_MAX) {
        parts.push(text.slice(done, start), '"', text.slice(start, at), '"');
        done = at;
      }
      at -= 1;
    }
  }
  parts.push(text.slice(done));
  return parts.join('');
}

const LONG_NUMBER = /\d{16}/;

function isDigit(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code >= 0x30 && code <= 0x39;
}

/** Where the string that begins at `from` ends. */
function endOfString(text: string, from: number): number {
  let at = from + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at;
}

const fieldsByKey = new WeakMap<protobuf.Type, ReadonlyMap<string, protobuf.Field>>();

function fieldOf(type: protobuf.Type, key: string): protobuf.Field | undefined {
  let fields = fieldsByKey.get(type);
  if (fields === undefined) {
    fields = new Map(
      type.fieldsArray.flatMap((field) => [
        [camelCase(field.name), field] as const,
        [field.name, field] as const,
      ]),
    );
    fieldsByKey.set(type, fields);
  }
  return fields.get(key);
}

/** protoc's JSON name of a field. */
function camelCase(name: string): string {
  return name.replace(/_([a-zA-Z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function parseList(field: protobuf.Field, value: unknown, depth: number): unknown[] {
  if (!Array.isArray(value)) throw wrong(field, 'a list');
  return value.map((item) => parseValue(field, item, depth));
}

function parseValue(field: protobuf.Field, value: unknown, depth: number): unknown {
  const { resolvedType } = field;
  if (resolvedType instanceof protobuf.Type) return parseJson(resolvedType, value, depth + 1);
  if (resolvedType instanceof protobuf.Enum) return parseEnum(field, resolvedType, value);
  switch (field.type) {
    case 'bytes':
      return parseBytes(field, value);
    case 'string':
      if (typeof value !== 'string') throw wrong(field, 'a text');
      return value;
    case 'bool':
      if (typeof value !== 'boolean') throw wrong(field, 'true or false');
      return value;
    case 'int64':
      return parseInteger(field, value, { min: -(2n ** 63n), max: 2n ** 63n - 1n });
    case 'uint64':
      return parseInteger(field, value, { min: 0n, max: 2n ** 64n - 1n });
    case 'int32':
      return parseInteger(field, value, { min: -(2n ** 31n), max: 2n ** 31n - 1n });
    case 'uint32':
      return parseInteger(field, value, { min: 0n, max: 2n ** 32n - 1n });
    default:
      throw wrong(field, 'of a type that this server can read');
  }
}

function parseEnum(field: protobuf.Field, type: protobuf.Enum, value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value)) return value;
  if (typeof value !== 'string') throw wrong(field, 'a name or a number');
  // The table inherits the names by their numbers: "2" would be found there as well, as a name.
  const known = Object.hasOwn(type.values, value) ? type.values[value] : undefined;
  if (known === undefined) {
    throw new JsonError(`unknown value "${value}" for enum ${type.fullName.slice(1)}`);
  }
  return known;
}

/** Either alphabet, with all of its padding or none. Line ends in it are passed over, as etcd does. */
function parseBytes(field: protobuf.Field, value: unknown): Buffer {
  if (typeof value !== 'string') throw wrong(field, 'base64');
  const text = LINE_END.test(value) ? value.replaceAll(/[\r\n]/g, '') : value;
  const padding = BASE64.exec(text)?.[1]?.length;
  // Node would read a text that was cut off as far as it goes.
  const isWhole = padding === 0 ? text.length % 4 !== 1 : text.length % 4 === 0;
  if (padding === undefined || !isWhole) throw wrong(field, 'base64');
  return Buffer.from(text, 'base64');
}

const BASE64 = /^(?:[A-Za-z0-9+/]*|[A-Za-z0-9_-]*)(={0,2})$/;
const LINE_END = /[\r\n]/;

function parseInteger(
  field: protobuf.Field,
  value: unknown,
  bounds: { readonly min: bigint; readonly max: bigint },
): number | bigint {
  const integer = integerOf(value);
  if (integer === null || integer < bounds.min || integer > bounds.max)
    throw wrong(field, `an ${field.type}`);
  const exact = Number(integer);
  return Number.isSafeInteger(exact) ? exact : integer;
}

/** Also `1.0` and `1e3`: what counts is that the number is whole. */
function integerOf(value: unknown): bigint | null {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : null;
  if (typeof value !== 'string') return null;
  if (/^-?\d{1,20}$/.test(value)) return BigInt(value);
  if (!/^-?\d+(\.\d+)?([eE][+-]?\d{1,2})?$/.test(value)) return null;
  return Number.isSafeInteger(Number(value)) ? BigInt(Number(value)) : null;
}

function wrong(field: protobuf.Field, what: string): JsonError {
  return new JsonError(`field ${field.name} is not ${what}`);
}
