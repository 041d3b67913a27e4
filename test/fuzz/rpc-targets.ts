import { Duplex } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { UnreadBudget } from '../../src/lib/unread-budget.ts';
import { codec, serviceMethods } from '../../src/rpc/codec.ts';
import type { Messages } from '../../src/rpc/generated/messages.ts';
import { ServerConnection } from '../../src/rpc/http2/connection.ts';
import { HeadCache } from '../../src/rpc/http2/head-cache.ts';
import { HpackDecoder } from '../../src/rpc/http2/hpack.ts';
import { huffmanText } from '../../src/rpc/http2/huffman.ts';
import { MessageReader } from '../../src/rpc/http2/message-reader.ts';
import { ConnectionError } from '../../src/rpc/http2/protocol.ts';
import { Turns } from '../../src/rpc/http2/turns.ts';
import { RpcError } from '../../src/rpc/status.ts';
import { Prng } from '../sim/prng.ts';
import type { Target } from './fuzz.ts';
import { wireNoise } from './wire-noise.ts';

/** What clients send: every message of every method, and the HTTP/2 around them. */

export const SERVICES = [
  'etcdserverpb.KV',
  'etcdserverpb.Watch',
  'etcdserverpb.Lease',
  'etcdserverpb.Cluster',
  'etcdserverpb.Maintenance',
  'etcdserverpb.Auth',
  'v3lockpb.Lock',
  'v3electionpb.Election',
  'grpc.health.v1.Health',
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
] as const;

const METHODS = SERVICES.flatMap((service) => serviceMethods(service));
const NAMES = [...new Set(METHODS.flatMap(({ request, response }) => [request, response]))];
const SEEDS_PER_MESSAGE = 12;

/** A message as plain values: what is absent looks like the default that it is. */
export interface Plain {
  readonly [field: string]: unknown;
}

export function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  const fields: Record<string, unknown> = {};
  // Defaults stand on the prototype, and with them, under names with $, the message's own type.
  for (const name in value) {
    if (name.startsWith('$')) continue;
    const field = (value as Record<string, unknown>)[name];
    if (typeof field !== 'function') fields[name] = plain(field);
  }
  return fields;
}

interface Decoded {
  readonly fields: Plain;
}

/** The message behind each decoded value, for encoding it again. */
const decodedMessages = new WeakMap<Decoded, unknown>();

function messageTarget(name: keyof Messages): Target<Decoded> {
  const prng = new Prng(1, NAMES.indexOf(name));
  const messageCodec = codec(name);
  return {
    name,
    seeds: Array.from({ length: SEEDS_PER_MESSAGE }, () => wireNoise(name, prng)),
    decode(bytes) {
      const message = messageCodec.decode(bytes);
      const decoded = { fields: plain(message) as Plain };
      decodedMessages.set(decoded, message);
      return decoded;
    },
    allows: (error) => error instanceof RpcError,
    encode: (decoded) => messageCodec.encode(decodedMessages.get(decoded) as Partial<Messages[typeof name]>),
    share: 0.3,
  };
}

// ---- HTTP/2 -------------------------------------------------------------------------------------------------

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export function http2Frame(type: number, flags: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(1, 5);
  return Buffer.concat([head, payload]);
}

/**
 * Header blocks: method, scheme and path from the static table, then an authority, plain, coded or indexed; and one
 * of gRPC for a path that no method has.
 */
const BLOCKS = [
  Buffer.concat([Buffer.from('838684', 'hex'), Buffer.of(0x41, 21), Buffer.from('http://127.0.0.1:2379')]),
  Buffer.from('83868441869d29aee30c0f', 'hex'),
  Buffer.concat([
    Buffer.from('82868441', 'hex'),
    Buffer.of(9),
    Buffer.from('127.0.0.1'),
    Buffer.of(0x40, 1, 0x78, 1, 0x2f),
  ]),
  Buffer.from('3fe11f82c1', 'hex'),
  Buffer.concat([
    Buffer.from('8386410161', 'hex'),
    Buffer.from('04052f78ff2579', 'hex'),
    Buffer.of(0x0f, 0x10, 16),
    Buffer.from('application/grpc'),
  ]),
];

export const HTTP2_STREAMS: readonly Buffer[] = BLOCKS.map((block) =>
  Buffer.concat([
    PREFACE,
    http2Frame(4, 0, Buffer.alloc(0)),
    http2Frame(1, 0x4, block),
    http2Frame(1, 0x24, Buffer.concat([Buffer.alloc(5), block])),
    http2Frame(0, 0x1, Buffer.from('000000000a0a036b65791203766131', 'hex')),
  ]),
);

/** A message that says it is compressed. */
const GZIPPED = compressed(Buffer.alloc(500, 'squeeze'));

function compressed(message: Buffer): Buffer {
  const body = gzipSync(message);
  const head = Buffer.of(1, 0, 0, 0, 0);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

/** What a connection makes of bytes that come in pieces of a size: requests, bodies, ends. */
function heard(bytes: Buffer, pieceBytes: number): string {
  const log: string[] = [];
  const socket = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
  const connection = new ServerConnection(socket, {
    heads: new HeadCache(),
    turns: new Turns(),
    unread: new UnreadBudget(),
    limits: { streamsMax: 100, headerListBytesMax: 16_384 },
    open: (stream, head) => {
      log.push(`${stream.id} ${head.method} ${head.path} ${JSON.stringify([...head.fields])}`);
      const body: Buffer[] = [];
      return {
        data: (data) => {
          body.push(Buffer.from(data));
          stream.consumed(data.length);
        },
        end: () => log.push(`${stream.id} ends: ${Buffer.concat(body).toString('hex')}`),
        cancel: () => log.push(`${stream.id} is canceled`),
        sent: () => {},
      };
    },
    closed: () => log.push('closed'),
    onBug: (error) => {
      throw error;
    },
  });
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    socket.emit('data', bytes.subarray(at, at + pieceBytes));
  }
  connection.destroy();
  return log.join('\n');
}

const connection: Target<string> = {
  name: 'http2 connection',
  seeds: HTTP2_STREAMS,
  decode(bytes) {
    const whole = heard(bytes, bytes.length);
    if (heard(bytes, 1 + (bytes.length % 30)) !== whole) throw new Error('pieces make a difference');
    return whole;
  },
  allows: () => false,
  allocationFactor: 400,
};

const headerBlock: Target<string> = {
  name: 'http2 header block',
  // The fourth names an entry of a table that is empty.
  seeds: BLOCKS.filter((_, at) => at !== 3),
  decode: (bytes) => JSON.stringify(new HpackDecoder({ listBytesMax: 16_384 }).decode(bytes)),
  allows: (error) => error instanceof ConnectionError,
};

const messages: Target<string> = {
  name: 'grpc messages',
  seeds: [Buffer.from('0000000003616263000000000161', 'hex'), GZIPPED],
  decode(bytes) {
    const taken: string[] = [];
    const reader = new MessageReader({
      bytesMax: 4_096,
      compressed: true,
      admit: () => undefined,
      take: (message) => taken.push(message.toString('hex')),
    });
    const pieceBytes = 1 + (bytes.length % 7);
    for (let at = 0; at < bytes.length; at += pieceBytes) reader.push(bytes.subarray(at, at + pieceBytes));
    return taken.join(' ');
  },
  allows: (error) => error instanceof RpcError,
  allocationFactor: 1_000,
};

const huffman: Target<string> = {
  name: 'huffman code',
  seeds: [Buffer.from('9d29aee30c0f', 'hex'), Buffer.from('f1e3c2e5f23a6ba0ab90f4ff', 'hex')],
  decode(bytes) {
    const text = huffmanText(bytes);
    // The shortest code has five bits.
    if (text !== null && text.length * 5 > bytes.length * 8)
      throw new Error('a text is longer than its code');
    return text ?? '';
  },
  allows: () => false,
};

export const RPC_TARGETS: readonly Target<unknown>[] = [
  connection,
  headerBlock,
  messages,
  huffman,
  ...NAMES.map(messageTarget),
] as readonly Target<unknown>[];
