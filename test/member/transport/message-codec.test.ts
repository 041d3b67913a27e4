import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Message } from '../../../src/core/raft/messages.ts';
import { AssertionError } from '../../../src/lib/assert.ts';
import { MalformedError } from '../../../src/lib/packed.ts';
import { frameKinds } from '../../../src/member/transport/frame.ts';
import {
  decodeMessages,
  EntriesEncoder,
  encodeMessages,
} from '../../../src/member/transport/message-codec.ts';
import { append, bytesOf, entry, heartbeat } from './cast.ts';

const ends = { from: 1, to: 2 };
const safe = fc.oneof(fc.nat(), fc.constantFrom(0, 2 ** 31, 2 ** 32, 2 ** 53 - 1), fc.maxSafeNat());
const ids = fc
  .uniqueArray(safe, { maxLength: 5 })
  .map((list) => list.map((id) => id || 1))
  .map((list) => [...new Set(list)].sort((a, b) => a - b));

const envelope = { from: fc.constant(1), to: fc.constant(2), term: safe };
const appendArbitrary = fc
  .record({
    ...envelope,
    prevIndex: fc.oneof(fc.nat(), fc.constant(2 ** 40)),
    prevTerm: safe,
    commit: safe,
    blocks: fc.array(
      fc.record({
        term: safe,
        kind: fc.constantFrom('normal' as const, 'conf-change' as const),
        data: fc.uint8Array({ maxLength: 64 }),
      }),
      { maxLength: 6 },
    ),
  })
  .map(({ blocks, ...rest }): Message => {
    const entries = blocks.map((block, offset) => ({
      index: rest.prevIndex + 1 + offset,
      term: block.term,
      kind: block.kind,
      data: Buffer.from(block.data),
    }));
    return { type: 'append', ...rest, entries };
  });
const messageArbitrary: fc.Arbitrary<Message> = fc.oneof(
  appendArbitrary,
  fc.record({
    type: fc.constant('vote' as const),
    ...envelope,
    preVote: fc.boolean(),
    lastIndex: safe,
    lastTerm: safe,
    transfer: fc.boolean(),
  }),
  fc.record({
    type: fc.constant('vote-response' as const),
    ...envelope,
    preVote: fc.boolean(),
    granted: fc.boolean(),
    commit: safe,
    commitTerm: safe,
  }),
  fc.record({
    type: fc.constant('append-response' as const),
    ...envelope,
    index: safe,
    reject: fc.boolean(),
    hintIndex: safe,
    hintTerm: safe,
  }),
  fc.record({ type: fc.constant('heartbeat' as const), ...envelope, commit: safe, readSeq: safe }),
  fc.record({ type: fc.constant('heartbeat-response' as const), ...envelope, readSeq: safe }),
  fc.record({ type: fc.constant('read-index' as const), ...envelope, context: safe }),
  fc.record({
    type: fc.constant('read-index-response' as const),
    ...envelope,
    context: safe,
    index: fc.oneof(safe, fc.constant(-1)),
  }),
  fc.record({
    type: fc.constant('snapshot' as const),
    ...envelope,
    snapshot: fc.record({
      index: safe,
      term: safe,
      confState: fc.record({
        voters: ids,
        votersOutgoing: ids,
        learners: ids,
        learnersNext: ids,
        autoLeave: fc.boolean(),
      }),
    }),
  }),
  fc.record({ type: fc.constant('timeout-now' as const), ...envelope }),
);

function decodeFrame(bytes: Buffer): readonly Message[] {
  return decodeMessages({ kind: bytes[4]!, payload: bytes.subarray(5) }, ends);
}

function encode(messages: readonly Message[]): readonly Buffer[] {
  return encodeMessages(messages, new EntriesEncoder())!.map(bytesOf);
}

test('every message comes back equal and in order', () => {
  fc.assert(
    fc.property(fc.array(messageArbitrary, { maxLength: 10 }), (messages) => {
      expect(encode(messages).flatMap(decodeFrame)).toEqual(messages);
    }),
    { numRuns: 300 },
  );
});

test('an announced count takes no memory of its own', () => {
  const head = Buffer.alloc(36);
  head.writeUInt32BE(0xffff_ffff, 32);
  expect(() => decodeMessages({ kind: frameKinds.append, payload: head }, ends)).toThrow(MalformedError);
  for (const bytes of ['ddffffffff', 'dcffff', '91ddffffffff', 'dd00010000' + '90'.repeat(65536)]) {
    const payload = Buffer.from(bytes, 'hex');
    expect(() => decodeMessages({ kind: frameKinds.messages, payload }, ends)).toThrow(MalformedError);
  }
});

test('a large frame of nothing but empty lists is refused before it takes forty times its size', () => {
  const lists = Buffer.concat([Buffer.from('dcffff', 'hex'), Buffer.alloc(0xffff, 0x90)]);
  const payload = Buffer.concat([Buffer.of(0x9f), ...Array.from({ length: 15 }, () => lists)]);
  const before = process.memoryUsage().heapUsed;
  expect(() => decodeMessages({ kind: frameKinds.messages, payload }, ends)).toThrow(/too many parts/);
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(8 * 1024 * 1024);
});

test('deep nesting is refused before it can exhaust the stack', () => {
  const payload = Buffer.alloc(1_000_000, 0x91);
  expect(() => decodeMessages({ kind: frameKinds.messages, payload }, ends)).toThrow(/nested/);
});

test('the sender and receiver of a message are those of the connection', () => {
  const [bytes] = encode([heartbeat(1, 2)]);
  const decoded = decodeMessages({ kind: bytes![4]!, payload: bytes!.subarray(5) }, { from: 8, to: 9 });
  expect(decoded).toEqual([heartbeat(8, 9)]);
});

test('decoded entries keep nothing of the borrowed payload', () => {
  const [bytes] = encode([append(1, 2, { entries: [entry(11, 'kept'), entry(12, Buffer.alloc(9000, 7))] })]);
  const [decoded] = decodeFrame(bytes!);
  bytes!.fill(0xee);
  expect(decoded).toEqual(append(1, 2, { entries: [entry(11, 'kept'), entry(12, Buffer.alloc(9000, 7))] }));
});

test('entries for several followers are encoded once', () => {
  const encoder = new EntriesEncoder();
  const entries = [entry(11, 'a'), entry(12, 'b'), entry(13, 'c')];
  const first = encoder.encode(entries);
  expect(encoder.encode([...entries])).toBe(first);
  expect(encoder.encode(entries.slice(1))).not.toBe(first);
});

test('neighbouring small messages share a frame; an append keeps its place among them', () => {
  const messages = [heartbeat(1, 2, 1), heartbeat(1, 2, 2), append(1, 2), heartbeat(1, 2, 3)];
  const frames = encode(messages);
  expect(frames.map((bytes) => bytes[4])).toEqual([
    frameKinds.messages,
    frameKinds.append,
    frameKinds.messages,
  ]);
  expect(frames.flatMap(decodeFrame)).toEqual(messages);
  const many = Array.from({ length: 3000 }, (_, seq) => heartbeat(1, 2, seq));
  expect(encode(many).flatMap(decodeFrame)).toEqual(many);
});

test('an append longer than a frame cannot be sent', () => {
  const entries = [entry(11, Buffer.alloc(64 * 1024 * 1024))];
  expect(encodeMessages([append(1, 2, { entries })], new EntriesEncoder())).toBeNull();
});

test('an append with a gap is a bug of the sender', () => {
  expect(() => encode([append(1, 2, { entries: [entry(12, 'x')] })])).toThrow(AssertionError);
});

test('the bytes of format version 3 do not change', () => {
  const confState = { voters: [1, 2], votersOutgoing: [], learners: [3], learnersNext: [], autoLeave: true };
  const hex = (message: Message): string => encode([message])[0]!.toString('hex');
  const all: readonly Message[] = [
    { type: 'vote', ...ends, term: 5, preVote: true, lastIndex: 300, lastTerm: 4, transfer: false },
    { type: 'vote-response', ...ends, term: 5, preVote: false, granted: true, commit: 0, commitTerm: 0 },
    { type: 'append-response', ...ends, term: 5, index: 70000, reject: true, hintIndex: 3, hintTerm: 2 },
    { type: 'heartbeat', ...ends, term: 5, commit: 2 ** 40, readSeq: 1 },
    { type: 'heartbeat-response', ...ends, term: 5, readSeq: 1 },
    { type: 'read-index', ...ends, term: 5, context: 9 },
    { type: 'read-index-response', ...ends, term: 5, context: 9, index: -1 },
    { type: 'snapshot', ...ends, term: 5, snapshot: { index: 8, term: 4, confState } },
    { type: 'timeout-now', ...ends, term: 5 },
    append(1, 2, { entries: [entry(11, 'ab'), { ...entry(12, ''), kind: 'conf-change' }] }),
  ];
  expect(all.map(hex)).toMatchInlineSnapshot(`
    [
      "0000000a0491960105c3cd012c04c2",
      "000000080491960205c2c30000",
      "0000000c0491960305ce00011170c30302",
      "0000000e0491940405cb427000000000000001",
      "00000005049193050501",
      "00000005049193060509",
      "00000006049194070509ff",
      "0000000e0491990805080492010290910390c3",
      "000000040491920905",
      "00000040050000000000000003000000000000000a000000000000000200000000000000090000000200000000000000030000000002616200000000000000030100000000",
    ]
  `);
});
