import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  encodeFrame,
  FRAME_HEADER_BYTES,
  FrameDecoder,
  frameKinds,
  ProtocolError,
} from '../../../src/member/transport/frame.ts';

interface Seen {
  readonly kind: number;
  readonly payload: Buffer;
}

/** Feeds bytes cut into pieces of the given lengths, the rest at once. */
function decode(decoder: FrameDecoder, bytes: Buffer, cuts: readonly number[] = []): readonly Seen[] {
  const seen: Seen[] = [];
  let offset = 0;
  for (const length of [...cuts, bytes.length]) {
    const piece = Buffer.from(bytes.subarray(offset, offset + length));
    offset += piece.length;
    decoder.push(piece, (kind, payload) => seen.push({ kind, payload: Buffer.from(payload) }));
    // What was borrowed is overwritten, as a pooled socket buffer would be.
    piece.fill(0xee);
  }
  return seen;
}

test('a frame is a length, a kind and its payload', () => {
  const frame = encodeFrame(frameKinds.messages, Buffer.from([0xaa]), Buffer.from([0xbb, 0xcc]));
  expect(Buffer.concat(frame.parts).toString('hex')).toBe('0000000304aabbcc');
  expect(frame.sizeBytes).toBe(8);
});

test('large parts are not copied, small ones travel together', () => {
  const large = Buffer.alloc(100_000);
  const frame = encodeFrame(frameKinds.append, Buffer.alloc(10), large, Buffer.alloc(3), Buffer.alloc(4));
  expect(frame.parts.map((part) => part.length)).toEqual([FRAME_HEADER_BYTES + 10, 100_000, 7]);
  expect(frame.parts[1]).toBe(large);
});

test('frames come out as they went in, however the stream is cut', () => {
  const frames = fc.array(fc.tuple(fc.constantFrom(1, 4, 5, 16), fc.uint8Array({ maxLength: 300 })), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 60 }), (sent, cuts) => {
      const bytes = Buffer.concat(
        sent.flatMap(([kind, payload]) => encodeFrame(kind as 1, Buffer.from(payload)).parts),
      );
      const seen = decode(new FrameDecoder(1000), bytes, cuts);
      expect(seen.map(({ kind, payload }) => [kind, [...payload]])).toEqual(
        sent.map(([kind, payload]) => [kind, [...payload]]),
      );
    }),
  );
});

test('a payload far over one read is gathered', () => {
  const payload = Buffer.alloc(1_000_000, 'abcdefg');
  const bytes = Buffer.concat(encodeFrame(frameKinds.append, payload).parts);
  const seen = decode(
    new FrameDecoder(1_000_000),
    bytes,
    Array.from({ length: 15 }, () => 65_536),
  );
  expect(seen.length).toBe(1);
  expect(seen[0]!.payload.equals(payload)).toBe(true);
});

test('a frame announced over the limit is refused by its header alone', () => {
  const decoder = new FrameDecoder(100);
  const header = Buffer.concat(encodeFrame(frameKinds.append, Buffer.alloc(101)).parts).subarray(0, 5);
  expect(() => decoder.push(header, () => {})).toThrow(ProtocolError);
});

test('an announced length takes no memory before its bytes arrive', () => {
  const decoders: FrameDecoder[] = [];
  const header = Buffer.from([0x03, 0xff, 0xff, 0xff, 5, 0]);
  const before = process.memoryUsage().arrayBuffers;
  for (let count = 0; count < 100; count++) {
    const decoder = new FrameDecoder(64 * 1024 * 1024);
    decoder.push(header, () => {});
    decoders.push(decoder);
  }
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 1024 * 1024);
  expect(decoders.length).toBe(100);
});

test('the limit can be raised after a handshake', () => {
  const decoder = new FrameDecoder(10);
  decoder.setPayloadBytesMax(1000);
  const bytes = Buffer.concat(encodeFrame(frameKinds.append, Buffer.alloc(500)).parts);
  expect(decode(decoder, bytes).length).toBe(1);
});
