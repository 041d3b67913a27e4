import { AssertionError } from '../../src/lib/assert.ts';
import { pause } from './client.ts';
import type { NemesisParts } from './nemesis-parts.ts';
import type { Place } from './place.ts';

/** How long a start may be waited for, in ms. */
const START_MS_MAX = 3_000;
const LOOK_MS = 20;
/** So many in a hundred of the rows that rot are gone altogether. */
const GONE_PERCENT = 20;

/**
 * A row of a member's state rots, or is gone: found by a start, or by reads while the member runs. Clients go on asking
 * it, and must never be answered from such a row (RELIABILITY F18).
 */
export async function rotRows(parts: NemesisParts, place: Place, isStopped: () => boolean): Promise<void> {
  const { cluster, random, scheduler, trace } = parts;
  const name = ['state-1', 'state-2', 'state-3', 'state-4'].findLast((each) => place.levels.exists(each));
  if (name === undefined) return;
  const keys = await keysOf(place, name);
  const isRunning = random.chance(70);
  if (isRunning) {
    cluster.start(place);
    for (let leftMs = START_MS_MAX; leftMs > 0 && place.member === null; leftMs -= LOOK_MS)
      await pause(scheduler, LOOK_MS);
  }
  if (isStopped() || !place.levels.exists(name)) return;
  const rotten = random.shuffle(keys).slice(0, random.between(1, 20));
  trace.line(
    place.name,
    `rots: ${rotten.length} rows of ${name} while it ${isRunning ? 'runs' : 'is stopped'}`,
  );
  for (const key of rotten) {
    const isGone = random.chance(GONE_PERCENT);
    const at = random.fraction();
    try {
      place.levels.rot(name, key, (value) => (isGone ? undefined : flipped(value, at)));
    } catch (error) {
      // What was removed meanwhile cannot rot.
      if (!(error instanceof AssertionError)) throw error;
    }
  }
  if (!isRunning) cluster.start(place);
}

/** Only while no process runs. */
async function keysOf(place: Place, name: string): Promise<readonly Buffer[]> {
  const level = await place.levels.open(name, { create: false });
  const range = { gte: Buffer.alloc(0), lt: Buffer.alloc(64, 0xff), limit: 1e6, keysOnly: true };
  const rows = await level.scan(range);
  await level.close();
  return rows.map(([key]) => key);
}

function flipped(value: Buffer, at: number): Buffer | undefined {
  if (value.length === 0) return undefined;
  const bit = Math.floor(at * 8 * value.length);
  value[bit >> 3]! ^= 1 << (bit & 7);
  return value;
}
