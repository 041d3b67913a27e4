/** Even over [0, 1), the same for the same seed: every contestant is sent the same. */
export type Chance = () => number;

/** A small generator (Marsaglia's xorshift, 32 bits): chance enough for keys and values. */
export function chanceOf(seed: number): Chance {
  // Neighbouring seeds are scattered; zero would stay zero.
  let state = Math.imul(seed + 1, 0x9e3779b1) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}

/** Below `bound`. */
export function wholeBelow(bound: number, chance: Chance): number {
  return Math.floor(chance() * bound);
}

/** Bytes that do not compress. */
export function bytesOf(count: number, chance: Chance): Buffer {
  const bytes = Buffer.alloc(count);
  for (let at = 0; at < count; at++) bytes[at] = wholeBelow(256, chance);
  return bytes;
}
