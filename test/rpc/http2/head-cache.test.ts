import { expect, test } from 'vitest';
import { HeadCache } from '../../../src/rpc/http2/head-cache.ts';

const HEAD = { method: 'POST', path: '/', fields: new Map(), bytes: 10 };

test('blocks are known by their bytes, malformed ones included', () => {
  const cache = new HeadCache();
  const key = cache.keyOf(Buffer.of(0x82, 0xff))!;
  expect(cache.get(key)).toBeUndefined();
  cache.put(key, HEAD);
  cache.put(cache.keyOf(Buffer.of(1))!, null);
  expect(cache.get(cache.keyOf(Buffer.of(0x82, 0xff))!)).toBe(HEAD);
  expect(cache.get(cache.keyOf(Buffer.of(1))!)).toBeNull();
});

test('however many blocks there are, and however long, few are kept', () => {
  const cache = new HeadCache();
  for (let i = 0; i < 20_000; i++) cache.put(cache.keyOf(Buffer.from(`${i}`))!, HEAD);
  expect(cache.size).toBeLessThanOrEqual(4_096);
  expect(cache.keyOf(Buffer.alloc(513))).toBeNull();
});
