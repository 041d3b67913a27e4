/**
 * MurmurHash3, x86, 32 bits, seed 0, over UTF-8 without making the bytes: the texts are hashed character by character as
 * they are. A lone surrogate counts as U+FFFD, as encoders write it.
 */

/** What has been hashed so far: whole words in `hash`, up to three bytes in `tail`. */
export interface HashState {
  readonly hash: number;
  readonly tail: number;
  readonly tailBytes: number;
  readonly bytes: number;
}

const START: HashState = { hash: 0, tail: 0, tailBytes: 0, bytes: 0 };
const REPLACEMENT = 0xfffd;

// One evaluation at a time is hashed: the state of the one that is going on.
let hash = 0;
let tail = 0;
let tailBytes = 0;
let bytes = 0;

/** The state after `text`, to go on from with many others. */
export function hashPrefix(text: string): HashState {
  resume(START);
  feed(text);
  return { hash, tail, tailBytes, bytes };
}

/** The hash of the prefix and `text`, unsigned. The usual case has all of its state in registers, and is ASCII. */
export function hashAfter(prefix: HashState, text: string): number {
  let mixed = prefix.hash;
  let word = prefix.tail;
  let shift = prefix.tailBytes * 8;
  let seen = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    seen |= code;
    word |= code << shift;
    shift += 8;
    if (shift < 32) continue;
    mixed ^= scramble(word);
    mixed = (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
    word = 0;
    shift = 0;
  }
  if (seen >= 0x80) return hashWide(prefix, text);
  if (shift > 0) mixed ^= scramble(word);
  return finish(mixed ^ (prefix.bytes + text.length));
}

function hashWide(prefix: HashState, text: string): number {
  resume(prefix);
  feed(text);
  if (tailBytes > 0) hash ^= scramble(tail);
  return finish(hash ^ bytes);
}

/**
 * The bucket, 0 to total - 1: `hash * total` shifted right by 32, exact. The product of 32 and 31 bits has no place in a
 * double, those of its halves have.
 */
export function bucketOf(hash32: number, total: number): number {
  const low = (hash32 & 0xffff) * total;
  const high = (hash32 >>> 16) * total;
  return Math.floor((high + Math.floor(low / 0x10000)) / 0x10000);
}

function resume(state: HashState): void {
  hash = state.hash;
  tail = state.tail;
  tailBytes = state.tailBytes;
  bytes = state.bytes;
}

function feed(text: string): void {
  for (let at = 0; at < text.length; at += 1) {
    let code = text.charCodeAt(at);
    if (code < 0x80) {
      push(code);
      continue;
    }
    if (code >= 0xd800 && code <= 0xdfff) {
      code = text.codePointAt(at)!;
      if (code > 0xffff) at += 1;
      else code = REPLACEMENT;
    }
    feedWide(code);
  }
}

function feedWide(code: number): void {
  if (code < 0x800) {
    push(0xc0 | (code >> 6));
  } else {
    if (code < 0x10000) {
      push(0xe0 | (code >> 12));
    } else {
      push(0xf0 | (code >> 18));
      push(0x80 | ((code >> 12) & 0x3f));
    }
    push(0x80 | ((code >> 6) & 0x3f));
  }
  push(0x80 | (code & 0x3f));
}

function push(byte: number): void {
  tail |= byte << (tailBytes * 8);
  tailBytes += 1;
  bytes += 1;
  if (tailBytes < 4) return;
  hash ^= scramble(tail);
  hash = (hash << 13) | (hash >>> 19);
  hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  tail = 0;
  tailBytes = 0;
}

function scramble(word: number): number {
  const mixed = Math.imul(word, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}

function finish(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
