import protobuf from 'protobufjs';
import descriptor from 'protobufjs/ext/descriptor.js';
import { DESCRIPTOR_SET } from './generated/descriptors.ts';
import type { Messages } from './generated/messages.ts';
import { RpcError, rpcStatus } from './status.ts';

/**
 * Wire messages as bytes. Only this file and `json.ts` know protobufjs.
 *
 * Unchanged, protobufjs reads 64-bit integers as Long objects and writes a bigint as 0 without an error. The three
 * lines of `teachBigint` make them exact: reading gives a number when it is safe and a bigint beyond 2^53, writing
 * takes both.
 *
 * A decoded message keeps its defaults on the prototype: never spread or enumerate one. Its bytes are views of the
 * buffer it was decoded from.
 */
export interface Codec<T> {
  /** Fields that are absent, null or the default are not written. Nested messages must be whole. */
  encode(message: Partial<T>): Buffer;
  /** @throws RpcError `internal` when the bytes are no such message */
  decode(bytes: Buffer): T;
}

teachBigint();

const EMPTY = Buffer.alloc(0);

/** `google.protobuf.FileDescriptorSet` of every file in `proto`. */
export const descriptorSet: Buffer = Buffer.from(DESCRIPTOR_SET, 'base64');

const root = protobuf.Root.fromDescriptor(descriptorSet, { keepCase: true });
root.resolveAll();
const codecs = new Map<string, Codec<unknown>>();
const prepared = new Set<protobuf.Type>();

/** The codec of a message by its full name. The same object every time. */
export function codec<N extends keyof Messages>(name: N): Codec<Messages[N]> {
  let found = codecs.get(name);
  if (found === undefined) {
    found = makeCodec(root.lookupType(name));
    codecs.set(name, found);
  }
  return found as Codec<Messages[N]>;
}

/** The definition of a message, resolved and ready to decode. */
export function messageType(name: keyof Messages): protobuf.Type {
  const type = root.lookupType(name);
  prepare(type);
  return type;
}

/** What a service offers, from its definition. */
export interface MethodDescription {
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly kind: 'unary' | 'server-stream' | 'bidi';
  readonly request: keyof Messages;
  readonly response: keyof Messages;
}

/**
 * The methods of a service, in the order of its definition.
 *
 * @param service full name, such as `etcdserverpb.KV`
 */
export function serviceMethods(service: string): readonly MethodDescription[] {
  return root.lookupService(service).methodsArray.map((method) => {
    method.resolve();
    return {
      path: `/${service}/${method.name}`,
      kind: method.requestStream ? 'bidi' : method.responseStream ? 'server-stream' : 'unary',
      request: method.resolvedRequestType!.fullName.slice(1) as keyof Messages,
      response: method.resolvedResponseType!.fullName.slice(1) as keyof Messages,
    };
  });
}

/** One file of `proto`, as reflection hands it out. */
export interface FileDescription {
  readonly name: string;
  readonly dependencies: readonly string[];
  /** Full names of everything the file defines: services, methods, messages, fields, enums. */
  readonly symbols: readonly string[];
  /** A serialized `google.protobuf.FileDescriptorProto`. */
  readonly bytes: Buffer;
}

/** Every file of `proto`, a file's imports before it. */
export function fileDescriptions(): readonly FileDescription[] {
  const set = descriptor.FileDescriptorSet.decode(descriptorSet) as unknown as { file: FileShape[] };
  const bytes = splitSet(descriptorSet);
  return set.file.map((file, index) => {
    const symbols: string[] = [];
    for (const service of file.service) {
      const name = `${file.package}.${service.name}`;
      symbols.push(name, ...service.method.map((method) => `${name}.${method.name}`));
    }
    for (const type of file.enumType) symbols.push(`${file.package}.${type.name}`);
    for (const type of file.messageType) collectSymbols(type, file.package, symbols);
    return { name: file.name, dependencies: file.dependency, symbols, bytes: bytes[index]! };
  });
}

interface Named {
  readonly name: string;
}
/** The part of `google.protobuf.FileDescriptorProto` that is read here. */
interface FileShape extends Named {
  readonly package: string;
  readonly dependency: readonly string[];
  readonly service: readonly (Named & { readonly method: readonly Named[] })[];
  readonly enumType: readonly Named[];
  readonly messageType: readonly MessageShape[];
}
interface MessageShape extends Named {
  readonly field: readonly Named[];
  readonly nestedType: readonly MessageShape[];
  readonly enumType: readonly Named[];
}

function collectSymbols(type: MessageShape, scope: string, symbols: string[]): void {
  const name = `${scope}.${type.name}`;
  symbols.push(name);
  for (const part of [...type.field, ...type.enumType]) symbols.push(`${name}.${part.name}`);
  for (const nested of type.nestedType) collectSymbols(nested, name, symbols);
}

/** The set is a sequence of field 1, length-delimited: each file's bytes as the compiler wrote them. */
function splitSet(set: Buffer): Buffer[] {
  const reader = protobuf.Reader.create(set);
  const files: Buffer[] = [];
  while (reader.pos < reader.len) {
    reader.uint32();
    files.push(reader.bytes() as Buffer);
  }
  return files;
}

/** It is prepared by its first use: a start would wait for the readers and writers of two hundred messages. */
function makeCodec(type: protobuf.Type): Codec<unknown> {
  let isPrepared = false;
  const prepareOnce = (): void => {
    prepare(type);
    isPrepared = true;
  };
  return {
    encode: (message) => {
      if (!isPrepared) prepareOnce();
      return type.encode(message as protobuf.Message).finish() as Buffer;
    },
    decode: (bytes) => {
      if (!isPrepared) prepareOnce();
      try {
        return type.decode(bytes);
      } catch {
        throw new RpcError(rpcStatus.internal, `bytes are not a ${type.fullName.slice(1)}`);
      }
    },
  };
}

/**
 * Absent bytes are an empty Buffer (protobufjs: an empty array), absent members of a oneof null (protobufjs: their
 * type's default), here and in nested messages.
 */
function prepare(type: protobuf.Type): void {
  if (prepared.has(type)) return;
  prepared.add(type);
  type.setup();
  const prototype = type.ctor.prototype as unknown as Record<string, unknown>;
  for (const field of type.fieldsArray) {
    if (field.resolvedType instanceof protobuf.Type) prepare(field.resolvedType);
    if (field.partOf !== null) prototype[field.name] = null;
    else if (field.type === 'bytes' && !field.repeated) prototype[field.name] = EMPTY;
  }
}

interface LongBits {
  readonly lo: number;
  readonly hi: number;
}
interface LongBitsClass {
  new (lo: number, hi: number): LongBits;
  from(value: unknown): LongBits;
  readonly prototype: { toNumber(unsigned: boolean): unknown };
}

/** Must run before the first message type is built: its readers and defaults depend on it. */
function teachBigint(): void {
  (protobuf.util as { Long: unknown }).Long = null;
  protobuf.configure();
  const bits = protobuf.util.LongBits as unknown as LongBitsClass;
  const fromNumber = bits.from.bind(bits);
  bits.from = (value) => {
    if (typeof value !== 'bigint') return fromNumber(value);
    return new bits(Number(value & 0xffff_ffffn), Number((value >> 32n) & 0xffff_ffffn));
  };
  bits.prototype.toNumber = function toNumber(this: LongBits, unsigned: boolean): number | bigint {
    const hi = unsigned ? this.hi : this.hi | 0;
    // Beyond this high word the number is at least 2^53 away from zero.
    if (hi >= -0x20_0000 && hi < 0x20_0000) {
      const value = hi * 0x1_0000_0000 + this.lo;
      if (Number.isSafeInteger(value)) return value;
    }
    return (BigInt(hi) << 32n) | BigInt(this.lo);
  };
}
