import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bucketOf, hashAfter, hashPrefix } from '../../src/evaluation/murmur.ts';

/** By the reference implementation of MurmurHash3_x86_32 with seed 0. */
const VECTORS: readonly (readonly [string, number])[] = [
  ['', 0],
  ['a', 0x3c2569b2],
  ['test', 0xba6bd213],
  ['Hello, world!', 0xc0363e43],
  ['The quick brown fox jumps over the lazy dog', 0x2e4ff723],
];

test.each(VECTORS)('the hash of %j is that of the reference', (text, hash) => {
  expect(hashAfter(hashPrefix(''), text)).toBe(hash);
});

test.each([
  ['jack', 'hearts'],
  ['queen', 'spades'],
  ['ten', 'clubs'],
  ['nine', 'diamonds'],
  ['3', 'clubs'],
])('flagd: of four equal variants %s gets %s', (name, suit) => {
  const suits = ['clubs', 'diamonds', 'hearts', 'spades'];
  expect(suits[bucketOf(hashAfter(hashPrefix('fractional-flag'), name), 4)]).toBe(suit);
});

test('a hash does not depend on where the prefix ends', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (prefix, text) => {
      expect(hashAfter(hashPrefix(prefix), text)).toBe(byBytes(Buffer.from(prefix + text)));
    }),
  );
});

test('a lone surrogate is hashed as the replacement character', () => {
  for (const text of ['a\ud800', '\udc00b', '\ud800\ud800\udc00']) {
    expect(hashAfter(hashPrefix(''), text)).toBe(byBytes(Buffer.from(text)));
  }
});

test('a bucket is the exact product shifted, as with integers of any size', () => {
  const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
  fc.assert(
    fc.property(uint32, fc.integer({ min: 1, max: 2_147_483_647 }), (hash, total) => {
      expect(bucketOf(hash, total)).toBe(Number((BigInt(hash) * BigInt(total)) >> 32n));
    }),
    { examples: [[0xffff_ffff, 2_147_483_647]], numRuns: 2_000 },
  );
});

/** The definition, word by word, over the bytes. */
function byBytes(bytes: Buffer): number {
  const padded = Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
  const whole = bytes.length & ~3;
  let hash = 0;
  const scramble = (word: number): number => {
    const mixed = Math.imul(word, 0xcc9e2d51);
    return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
  };
  for (let at = 0; at < whole; at += 4) {
    hash ^= scramble(padded.readInt32LE(at));
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  if (whole < bytes.length) hash ^= scramble(padded.readInt32LE(whole));
  hash ^= bytes.length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
