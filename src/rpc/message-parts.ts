import protobuf from 'protobufjs';

/**
 * Fields of all messages in one request, repeated ones as often as they come. An empty message in a message takes two
 * bytes, and a hundred once it is decoded; the largest transaction that options allow has fewer.
 */
export const REQUEST_PARTS_MAX = 2 ** 18;

/**
 * Whether a message of `type` has more parts than that, found without decoding it. Of bytes that are no such message it
 * may be told either way: the decoder finds those.
 */
export function hasTooManyParts(type: protobuf.Type, bytes: Buffer): boolean {
  // A part takes two bytes at least: hardly any request needs to be looked at.
  if (bytes.length <= 2 * REQUEST_PARTS_MAX) return false;
  /** The messages around the present one, outermost first. */
  const outer: Inside[] = [];
  let inside: Inside = { type, end: bytes.length };
  let parts = 0;
  for (let at = 0; at < bytes.length; ) {
    while (at >= inside.end) inside = outer.pop() ?? { type, end: bytes.length };
    const tag = varint(bytes, at);
    at = tag.end;
    parts += 1;
    switch (tag.value & 7) {
      case WIRE.varint:
        at = varint(bytes, at).end;
        break;
      case WIRE.fixed64:
        at += 8;
        break;
      case WIRE.fixed32:
        at += 4;
        break;
      case WIRE.lengthDelimited: {
        const length = varint(bytes, at);
        const field = inside.type.fieldsById[tag.value >>> 3];
        at = length.end;
        const within = field === undefined ? null : messageIn(field);
        if (within !== null) {
          outer.push(inside);
          inside = { type: within, end: at + length.value };
          break;
        }
        at += length.value;
        // Packed numbers take a byte at least.
        if (field?.repeated === true && field.type !== 'string' && field.type !== 'bytes')
          parts += length.value;
        break;
      }
      default:
      // The ends of a group: what is within counts by itself.
    }
    if (parts > REQUEST_PARTS_MAX) return true;
  }
  return false;
}

type Field = Pick<protobuf.Field, 'resolvedType' | 'repeated' | 'type'>;
interface Inside {
  readonly type: { readonly fieldsById: { readonly [id: number]: Field } };
  readonly end: number;
}

/** The message that a field holds, or null. An entry of a map is one, with the key as field 1 and the value as field 2. */
function messageIn(field: Field): Inside['type'] | null {
  const { resolvedType, type } = field;
  if (field instanceof protobuf.MapField)
    return { fieldsById: { 2: { resolvedType, type, repeated: false } } };
  return resolvedType instanceof protobuf.Type ? resolvedType : null;
}

const WIRE = { varint: 0, fixed64: 1, lengthDelimited: 2, fixed32: 5 } as const;

/** Its low 32 bits, and where it ends. */
function varint(bytes: Buffer, start: number): { readonly value: number; readonly end: number } {
  let value = 0;
  let at = start;
  for (let shift = 0; at < bytes.length; shift += 7) {
    const byte = bytes[at++]!;
    if (shift < 32) value |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return { value: value >>> 0, end: at };
}
