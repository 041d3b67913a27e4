import type { Message } from '../../src/core/raft/messages.ts';
import { StoreError } from '../../src/lib/errors.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { type ClusterAccount, decodeAccount, encodeAccount } from '../../src/member/bootstrap.ts';
import {
  decodePeerAnswer,
  decodePeerRequest,
  encodePeerAnswer,
  encodePeerRequest,
  type PeerAnswers,
  type PeerRequest,
} from '../../src/member/peer-requests.ts';
import type { PeerIdentity, TransportHandlers } from '../../src/member/ports.ts';
import type { Connection } from '../../src/member/transport/connection.ts';
import type { TransportContext } from '../../src/member/transport/context.ts';
import { deflateFrame, type Inflated, inflateFrame } from '../../src/member/transport/deflate.ts';
import {
  encodeFrame,
  type Frame,
  FrameDecoder,
  type FrameKind,
  frameKinds,
} from '../../src/member/transport/frame.ts';
import {
  decodeHello,
  decodeRefusal,
  decodeWelcome,
  encodeHello,
  encodeRefusal,
  encodeWelcome,
  nobody,
} from '../../src/member/transport/handshake.ts';
import { defaultLimits } from '../../src/member/transport/limits.ts';
import { decodeMessages, EntriesEncoder, encodeMessages } from '../../src/member/transport/message-codec.ts';
import { ProbeReceiver } from '../../src/member/transport/probe.ts';
import { RequestReceiver } from '../../src/member/transport/request-stream.ts';
import { SnapshotReceiver } from '../../src/member/transport/snapshot-stream.ts';
import { malformed } from './core-targets.ts';
import type { Target } from './fuzz.ts';

/** What other members send: frames, handshakes, messages, requests and answers. */

const identity: PeerIdentity = {
  clusterId: 2 ** 52 + 1,
  memberId: 77,
  incarnation: 3,
  earlier: [2, 1],
  logSeq: 2 ** 33,
  peerUrls: ['http://n1:2380'],
};
const ends = { from: 1, to: 2 };
const head = { ...ends, term: 7 };
const confState = {
  voters: [1, 2, 3],
  votersOutgoing: [1],
  learners: [4],
  learnersNext: [5],
  autoLeave: true,
};

/** One of each type, and appends of some lengths. */
export const MESSAGES: readonly Message[] = [
  { type: 'vote', ...head, preVote: true, lastIndex: 9, lastTerm: 6, transfer: false },
  { type: 'vote-response', ...head, preVote: false, granted: true, commit: 0, commitTerm: 0 },
  { type: 'append-response', ...head, index: 2 ** 40, reject: true, hintIndex: 3, hintTerm: 2 },
  { type: 'heartbeat', ...head, commit: 5, readSeq: 300 },
  { type: 'heartbeat-response', ...head, readSeq: 70_000 },
  { type: 'read-index', ...head, context: 12 },
  { type: 'read-index-response', ...head, context: 12, index: -1 },
  { type: 'snapshot', ...head, snapshot: { index: 100, term: 6, confState } },
  { type: 'timeout-now', ...head },
  append(0),
  append(1),
  append(5),
];

function append(count: number): Message {
  const entries = Array.from({ length: count }, (_, i) => ({
    index: 11 + i,
    term: 7,
    kind: i % 2 === 0 ? ('normal' as const) : ('conf-change' as const),
    data: Buffer.alloc(i * 30, i),
  }));
  return { type: 'append', ...head, prevIndex: 10, prevTerm: 6, entries, commit: 9 };
}

function bytesOf({ parts }: Frame): Buffer {
  return Buffer.concat(parts);
}

function payloadOf(frame: Frame): Buffer {
  return bytesOf(frame).subarray(5);
}

// ---- frames -------------------------------------------------------------------------------------------------

const PAYLOAD_BYTES_MAX = 16 * 1024;

interface WholeFrame {
  readonly kind: number;
  readonly payload: Buffer;
}

/** Frames in pieces of a size that follows from the bytes. */
function framesIn(bytes: Buffer): WholeFrame[] {
  const decoder = new FrameDecoder(PAYLOAD_BYTES_MAX);
  const found: WholeFrame[] = [];
  const pieceBytes = 1 + ((bytes[0] ?? 0) % 50);
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    decoder.push(bytes.subarray(at, at + pieceBytes), (kind, payload) => {
      found.push({ kind, payload: Buffer.from(payload) });
    });
  }
  return found;
}

function streamOf(...frames: readonly Frame[]): Buffer {
  return Buffer.concat(frames.map(bytesOf));
}

function numbered(kind: FrameKind, seq: number, body: Buffer): Frame {
  const number = Buffer.alloc(6);
  number.writeUIntBE(seq, 0, 6);
  return encodeFrame(kind, number, body);
}

const frames: Target<WholeFrame[]> = {
  name: 'frames',
  seeds: [
    streamOf(encodeFrame(frameKinds.ping), encodeFrame(frameKinds.append, Buffer.alloc(500, 3))),
    streamOf(
      encodeFrame(frameKinds.messages, Buffer.alloc(70)),
      encodeFrame(frameKinds.alive),
      encodeFrame(frameKinds.pong, Buffer.of(1, 2)),
    ),
    streamOf(encodeFrame(frameKinds.snapshotChunk, Buffer.alloc(PAYLOAD_BYTES_MAX, 9))),
  ],
  decode: framesIn,
  allows: malformed,
  encode: (value) => streamOf(...value.map(({ kind, payload }) => encodeFrame(kind as FrameKind, payload))),
  // A frame that comes in pieces begins with 64 KiB of memory.
  allocationFactor: 64,
  share: 0.4,
};

// ---- handshakes ---------------------------------------------------------------------------------------------

const hello: Target<ReturnType<typeof decodeHello>> = {
  name: 'hello',
  seeds: [
    ...(['append', 'heartbeat', 'request', 'snapshot'] as const).map((stream) =>
      payloadOf(encodeHello({ stream, sender: identity, to: 5 })),
    ),
    payloadOf(encodeHello({ stream: 'probe', sender: nobody, to: 0 })),
  ],
  decode: decodeHello,
  allows: malformed,
  encode: (decoded) =>
    'hello' in decoded ? payloadOf(encodeHello(decoded.hello)) : otherVersion(decoded.refusal),
};

/** The hello that gets this refusal. */
function otherVersion(refusal: string): Buffer {
  const payload = payloadOf(encodeHello({ stream: 'append', sender: identity, to: 5 }));
  payload.writeUInt16BE(Number(/\d+/.exec(refusal)?.[0]), 8);
  return payload;
}

const welcome: Target<PeerIdentity> = {
  name: 'welcome',
  seeds: [payloadOf(encodeWelcome(identity)), payloadOf(encodeWelcome({ ...identity, clusterId: 9 }))],
  decode: decodeWelcome,
  allows: malformed,
  encode: (value) => payloadOf(encodeWelcome(value)),
};

const refusal: Target<string> = {
  name: 'refusal',
  seeds: ['', 'removed', 'ü'.repeat(600)].map((reason) => payloadOf(encodeRefusal(reason))),
  decode: decodeRefusal,
  allows: malformed,
  encode: (value) => payloadOf(encodeRefusal(value)),
};

const account: Target<ClusterAccount> = {
  name: 'account of a cluster',
  seeds: [
    encodeAccount({ clusterId: 5, members: [], met: [], removed: [] }),
    encodeAccount({
      clusterId: 2 ** 50,
      members: [
        { id: 1, name: 'n1', peerUrls: ['http://n1:2380'], clientUrls: [], isLearner: false },
        {
          id: 2,
          name: '',
          peerUrls: ['http://n2:2380', 'http://n3:2380'],
          clientUrls: ['http://n2'],
          isLearner: true,
        },
      ],
      met: [1, 2],
      removed: [9],
    }),
  ],
  decode: decodeAccount,
  allows: (error) => error instanceof StoreError && error.code === 'cluster-id-mismatch',
  encode: encodeAccount,
};

// ---- messages -----------------------------------------------------------------------------------------------

function messageBytes(messages: readonly Message[]): Buffer {
  const encoded = encodeMessages(messages, new EntriesEncoder());
  if (encoded?.length !== 1) throw new Error('the messages are not one frame');
  return bytesOf(encoded[0]!).subarray(4);
}

const small = MESSAGES.filter(({ type }) => type !== 'append');

/** A frame's kind and payload. */
const messages: Target<readonly Message[]> = {
  name: 'messages',
  seeds: [...MESSAGES.map((message) => messageBytes([message])), messageBytes(small)],
  decode: (bytes) => decodeMessages({ kind: bytes[0] ?? 0, payload: bytes.subarray(1) }, ends),
  allows: malformed,
  encode: (value) => (value.length === 0 ? Buffer.of(frameKinds.messages, 0x90) : messageBytes(value)),
};

// ---- deflated frames ----------------------------------------------------------------------------------------

async function deflatedBytes(kind: FrameKind, payload: Buffer): Promise<Buffer> {
  const frame = await deflateFrame(encodeFrame(kind, payload));
  if (frame === null) throw new Error('the payload is not worth deflating');
  return payloadOf(frame);
}

const deflatedFrame: Target<Inflated> = {
  name: 'deflated frame',
  seeds: await Promise.all([
    deflatedBytes(frameKinds.append, Buffer.alloc(5_000, 'three regions ')),
    deflatedBytes(frameKinds.snapshotChunk, Buffer.from(Array.from({ length: 9_000 }, (_, i) => i % 251))),
  ]),
  decode: inflateFrame,
  allows: malformed,
  // Deflate makes at most some 1,030 bytes of one; they are gathered in pieces and then joined.
  allocationFactor: 2_200,
  share: 0.2,
};

// ---- receiving ends -----------------------------------------------------------------------------------------

/** A connection that takes everything. */
const connection = {
  paused: false,
  pendingBytes: 0,
  pause: () => {},
  resume: () => {},
  write: () => {},
  close: () => {},
  closeAfterFlush: () => {},
} as unknown as Connection;

const handlers: Partial<TransportHandlers> = {
  request: async (_from, body) => encodeAnswerTo(body),
  probe: async (body) => body,
  snapshot: async (_from, chunks) => {
    for await (const chunk of chunks) chunk.fill(0);
  },
};

async function encodeAnswerTo(body: Buffer): Promise<Buffer> {
  const { type } = decodePeerRequest(body);
  return encodePeerAnswer(type, Promise.reject(new StoreError('not-leader')));
}

const context = { handlers, limits: defaultLimits, logger: silentLogger } as unknown as TransportContext;
const common = { context, connection, from: 1 };

/** A stream of frames for one of the receiving ends; it ends with the connection. */
function receiverTarget(
  name: string,
  seeds: readonly Buffer[],
  open: () => {
    readonly take: (kind: number, payload: Buffer) => void;
    readonly end: () => Promise<void> | void;
  },
): Target<number> {
  return {
    name,
    seeds,
    async decode(bytes) {
      const { take, end } = open();
      const found = framesIn(bytes);
      try {
        for (const { kind, payload } of found) take(kind, payload);
      } finally {
        await end();
      }
      return found.length;
    },
    allows: malformed,
  };
}

const requestStream = receiverTarget(
  'request stream',
  [
    streamOf(
      numbered(frameKinds.request, 1, encodePeerRequest({ type: 'apply-hash', index: 3 })),
      numbered(frameKinds.request, 2, encodePeerRequest({ type: 'tail-check' })),
      numbered(
        frameKinds.request,
        3,
        encodePeerRequest({ type: 'lease-renew', id: 9n, user: '', authRevision: 0 }),
      ),
    ),
  ],
  () => {
    const receiver = new RequestReceiver(common);
    return { take: (kind, payload) => receiver.take(kind, payload), end: () => {} };
  },
);

const probeStream = receiverTarget(
  'probe stream',
  [streamOf(encodeFrame(frameKinds.probe, Buffer.alloc(20)))],
  () => {
    const receiver = new ProbeReceiver(common);
    return { take: (kind, payload) => receiver.take(kind, payload), end: () => {} };
  },
);

const snapshotStream = receiverTarget(
  'snapshot stream',
  [
    streamOf(
      encodeFrame(frameKinds.snapshotChunk, Buffer.alloc(300)),
      encodeFrame(frameKinds.alive),
      encodeFrame(frameKinds.snapshotChunk, Buffer.alloc(10)),
      encodeFrame(frameKinds.snapshotEnd),
    ),
  ],
  () => {
    const receiver = new SnapshotReceiver(common);
    const done = receiver.run();
    return {
      take: (kind, payload) => receiver.take(kind, payload),
      end: () => {
        receiver.fail('the connection ended');
        return done;
      },
    };
  },
);

// ---- requests and answers -----------------------------------------------------------------------------------

const CALLER = { user: 'root', authRevision: 2 ** 40 } as const;

const REQUESTS: readonly PeerRequest[] = [
  { type: 'propose', term: 4, commands: [Buffer.alloc(40, 1), Buffer.alloc(0), Buffer.alloc(300, 2)] },
  { type: 'lease-renew', id: -(2n ** 63n), ...CALLER },
  { type: 'lease-remaining', id: 0n },
  { type: 'member-add', peerUrls: ['http://a:1', 'http://b:2'], isLearner: true, ...CALLER },
  { type: 'member-remove', id: 7, ...CALLER },
  { type: 'member-promote', id: 2 ** 50, ...CALLER },
  { type: 'apply-hash', index: 2 ** 33 },
  { type: 'tail-check' },
];

const peerRequest: Target<PeerRequest> = {
  name: 'request of a member',
  seeds: REQUESTS.map(encodePeerRequest),
  decode: decodePeerRequest,
  allows: (error) => error instanceof StoreError && error.code === 'unimplemented',
  encode: encodePeerRequest,
};

const ANSWERS: { readonly [T in keyof PeerAnswers]: readonly PeerAnswers[T][] } = {
  propose: ['accepted', 'refused', 'busy'],
  'lease-renew': [0, 60],
  'lease-remaining': [-1, 9_000_000_000],
  'member-add': [77],
  'member-remove': [null],
  'member-promote': [null],
  'apply-hash': [null, { a: 1, b: 2 ** 32 - 1 }],
  'tail-check': [
    { acknowledged: 0, removed: [] },
    { acknowledged: 2 ** 40, removed: [1, 2 ** 50] },
  ],
};

async function peerAnswer<T extends keyof PeerAnswers>(type: T): Promise<Target<PeerAnswers[T]>> {
  const encoded = ANSWERS[type].map((answer) => encodePeerAnswer(type, Promise.resolve(answer)));
  return {
    name: `answer to ${type}`,
    seeds: await Promise.all(encoded),
    decode: (bytes) => decodePeerAnswer(type, bytes),
    // A failure is an answer, too: whatever its code is, it comes out as a StoreError.
    allows: (error) => error instanceof StoreError,
    encode: (answer) => encodePeerAnswer(type, Promise.resolve(answer)),
    share: 0.3,
  };
}

export const TRANSPORT_TARGETS: readonly Target<unknown>[] = [
  frames,
  hello,
  welcome,
  refusal,
  account,
  messages,
  deflatedFrame,
  requestStream,
  probeStream,
  snapshotStream,
  peerRequest,
  ...(await Promise.all((Object.keys(ANSWERS) as (keyof PeerAnswers)[]).map((type) => peerAnswer(type)))),
] as readonly Target<unknown>[];

/** Frames that belong on one stream or another of a connection between members, in whole sequences. */
export const LIVE_STREAMS: readonly Buffer[] = [frames, requestStream, probeStream, snapshotStream].flatMap(
  ({ seeds }) => seeds,
);
