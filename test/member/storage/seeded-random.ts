import type { Random } from '../../../src/member/ports.ts';

/** A small generator (mulberry32): the same seed gives the same faults. */
export function seededRandom(seed: number): Random {
  let state = seed | 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return { integer: (bound) => Math.floor((next() / 0x1_0000_0000) * bound) };
}
