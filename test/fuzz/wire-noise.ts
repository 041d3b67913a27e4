import descriptor from 'protobufjs/ext/descriptor.js';
import { descriptorSet } from '../../src/rpc/codec.ts';
import type { Prng } from '../sim/prng.ts';

/**
 * Well-formed bytes of any gRPC message, written from its definition and without the codec that reads them: fields
 * in any order, repeated, packed or not, with the values at which integers and lengths change their form.
 */

interface Field {
  readonly name: string;
  readonly number: number;
  readonly type: number | string;
  readonly typeName: string;
}
interface MessageType {
  readonly name: string;
  readonly field: readonly Field[];
  readonly nestedType: readonly MessageType[];
}
interface FileType {
  readonly package: string;
  readonly messageType: readonly MessageType[];
}

const DEPTH_MAX = 4;
const FIELDS_MAX = 6;
/** Of google.protobuf.FieldDescriptorProto.Type: length-delimited ones; all others in our files are varints. */
const TYPE_STRING = 9;
const TYPE_MESSAGE = 11;
const TYPE_BYTES = 12;

const types = new Map<string, MessageType>();
const files = descriptor.FileDescriptorSet.decode(descriptorSet) as unknown as {
  readonly file: readonly FileType[];
};
for (const file of files.file) for (const type of file.messageType) collect(type, `.${file.package}`);

function collect(type: MessageType, scope: string): void {
  const name = `${scope}.${type.name}`;
  types.set(name, type);
  for (const nested of type.nestedType) collect(nested, name);
}

/** @param name full name, such as `etcdserverpb.PutRequest` */
export function wireNoise(name: string, prng: Prng, depth = 0): Buffer {
  const type = types.get(`.${name}`);
  if (type === undefined) throw new Error(`there is no message ${name}`);
  if (type.field.length === 0) return Buffer.alloc(0);
  const parts: Buffer[] = [];
  for (let count = prng.integer(FIELDS_MAX + 1); count > 0; count--) {
    parts.push(fieldBytes(prng.pick(type.field), prng, depth));
  }
  return Buffer.concat(parts);
}

function fieldBytes(field: Field, prng: Prng, depth: number): Buffer {
  const { number, typeName } = field;
  switch (field.type) {
    case TYPE_MESSAGE: {
      const body = depth < DEPTH_MAX ? wireNoise(typeName.slice(1), prng, depth + 1) : Buffer.alloc(0);
      return delimited(number, body);
    }
    case TYPE_STRING:
      return delimited(number, Buffer.from(prng.pick(['', 'n1', 'http://127.0.0.1:1', 'ü\0x'])));
    case TYPE_BYTES:
      return delimited(number, Buffer.from(prng.pick(['', '\0', 'k', 'key/a', 'key/b', 'x'.repeat(200)])));
    default:
      return Buffer.concat([varint(BigInt(number) << 3n), varint(integer(prng))]);
  }
}

function integer(prng: Prng): bigint {
  const edges = [
    0n,
    1n,
    2n,
    5n,
    127n,
    128n,
    -1n,
    2n ** 31n,
    2n ** 32n,
    2n ** 53n,
    2n ** 53n - 1n,
    2n ** 63n - 1n,
    -(2n ** 63n),
  ];
  return prng.pick(edges);
}

function delimited(number: number, body: Buffer): Buffer {
  return Buffer.concat([varint((BigInt(number) << 3n) | 2n), varint(BigInt(body.length)), body]);
}

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}
