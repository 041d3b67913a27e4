import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { MessageReader } from '../../../src/rpc/http2/message-reader.ts';
import { prefixed } from './raw-client.ts';

const MIB = 1024 * 1024;

function reader(options: { readonly admit?: (bytes: number) => void; readonly compressed?: boolean } = {}): {
  readonly read: MessageReader;
  readonly messages: Buffer[];
} {
  const messages: Buffer[] = [];
  const read = new MessageReader({
    bytesMax: 2 * MIB,
    compressed: options.compressed ?? false,
    admit: options.admit ?? (() => undefined),
    take: (message) => messages.push(message),
  });
  return { read, messages };
}

test.each([1, 2, 5, 7, 100, 16_384, 1_000_000])('messages come whole out of pieces of %i', (step) => {
  const texts = ['', 'a', 'bc'.repeat(10), 'd'.repeat(70_000), '', 'e'.repeat(300)];
  const bytes = Buffer.concat(texts.map((text) => prefixed(Buffer.from(text))));
  const { read, messages } = reader();
  for (let at = 0; at < bytes.length; at += step) read.push(Buffer.from(bytes.subarray(at, at + step)));
  expect(messages.map(String)).toEqual(texts);
  expect(read.isPartial).toBe(false);
});

test('a message in the smallest of pieces takes little more memory than in one', () => {
  const { read, messages } = reader();
  const bytes = prefixed(Buffer.alloc(1_500_000, 'x'));
  const before = process.memoryUsage();
  for (let at = 0; at < bytes.length - 1; at++) read.push(bytes.subarray(at, at + 1));
  const after = process.memoryUsage();
  expect(read.isPartial).toBe(true);
  const taken = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers;
  expect(taken).toBeLessThan(64 * MIB);
  read.push(bytes.subarray(-1));
  expect(messages[0]).toHaveLength(1_500_000);
});

test('a short message does not keep the whole read of the socket that it came with', () => {
  const { read, messages } = reader();
  const chunk = Buffer.alloc(65_536);
  prefixed(Buffer.from('short')).copy(chunk);
  read.push(chunk.subarray(0, 10));
  expect(String(messages[0])).toBe('short');
  expect(messages[0]!.buffer.byteLength).toBeLessThanOrEqual(8 * 1024);
});

test('what a compressed message is larger than it came is asked for', () => {
  const asked: number[] = [];
  const { read, messages } = reader({ compressed: true, admit: (bytes) => asked.push(bytes) });
  const compressed = gzipSync(Buffer.alloc(MIB));
  const bytes = prefixed(compressed);
  bytes[0] = 1;
  read.push(Buffer.concat([bytes, prefixed(Buffer.from('plain'))]));
  expect(messages.map((message) => message.length)).toEqual([MIB, 5]);
  expect(asked).toEqual([MIB - compressed.length]);
});
