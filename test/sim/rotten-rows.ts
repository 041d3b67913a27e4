import { AssertionError } from '../../src/lib/assert.ts';
import { ALL_ROWS } from '../../src/member/storage/schema.ts';
import { pause } from './client.ts';
import type { NemesisParts } from './nemesis-parts.ts';
import type { Place } from './place.ts';

/** How long a start may be waited for, in ms. */
const START_MS_MAX = 3_000;
const LOOK_MS = 20;
/** So many keys, the newest rows among them, are where most reads go. */
const NEWEST = 30;

/** What becomes of a row that was stored. */
type Decay = 'rots' | 'is gone' | 'comes back';

/**
 * Rows of a member's state rot, are gone, or come back after they were removed: found by a start, or by reads while the
 * member runs. Clients go on asking it, and must never be answered from such a row (RELIABILITY F18 and 4.1).
 */
export async function rotRows(parts: NemesisParts, place: Place, isStopped: () => boolean): Promise<void> {
  const { cluster, random, scheduler, trace } = parts;
  const name = place.newestState();
  if (name === undefined) return;
  const rows = await rowKeysOf(place, name);
  const isRunning = random.chance(50);
  if (isRunning) {
    cluster.start(place);
    for (let leftMs = START_MS_MAX; leftMs > 0 && place.member === null; leftMs -= LOOK_MS)
      await pause(scheduler, LOOK_MS);
  }
  if (isStopped() || !place.levels.exists(name)) return;
  const removed = removedRows(place);
  const stored = random.chance(50) ? rows.slice(-NEWEST) : rows;
  const lost = random.pick(['rots', 'rots', 'is gone'] as const);
  const decay = removed.length > 0 && random.chance(50) ? 'comes back' : lost;
  const candidates = random.shuffle(decay === 'comes back' ? removed : stored);
  const keys = candidates.slice(0, random.between(1, Math.max(1, candidates.length)));
  trace.line(place.name, `${keys.length} rows of ${name}, each ${decay}`);
  for (const key of keys) befall(place, { name, key, decay, at: random.fraction() });
  if (!isRunning) cluster.start(place);
}

/** Keys that were removed from a member's state, and which no process writes again. */
export function removedRows(place: Place): readonly Buffer[] {
  const name = place.newestState();
  return name === undefined ? [] : place.levels.removedKeys(name);
}

interface Fate {
  readonly name: string;
  readonly key: Buffer;
  readonly decay: Decay;
  /** Where in the value, from 0 to 1. */
  readonly at: number;
}

function befall(place: Place, { name, key, decay, at }: Fate): void {
  if (decay === 'comes back') {
    place.levels.bringBack(name, key);
    return;
  }
  try {
    place.levels.rot(name, key, (value) => (decay === 'is gone' ? undefined : flipped(value, at)));
  } catch (error) {
    // What was removed meanwhile cannot rot.
    if (!(error instanceof AssertionError)) throw error;
  }
}

/** Only while no process runs. */
async function rowKeysOf(place: Place, name: string): Promise<readonly Buffer[]> {
  const level = await place.levels.open(name, { create: false });
  const rows = await level.scan({ ...ALL_ROWS, limit: 1e6, keysOnly: true });
  await level.close();
  return rows.map(([key]) => key);
}

function flipped(value: Buffer, at: number): Buffer | undefined {
  if (value.length === 0) return undefined;
  const bit = Math.floor(at * 8 * value.length);
  value[bit >> 3]! ^= 1 << (bit & 7);
  return value;
}
