import { open, readdir, readFile, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { LOG_DIRECTORY, readActive } from '../../src/member/storage/data-dir.ts';
import { NodeDisk } from '../../src/member/storage/disk.ts';
import { inspectLog } from '../../src/member/storage/wal-inspect.ts';
import type { Prng } from '../core/raft/prng.ts';

/** The key of a barrier begins with it, and a barrier is the last thing the state makes durable. */
const BARRIER_KEY_START = Buffer.concat([Buffer.from('b'), Buffer.alloc(2)]);
/** More than a barrier takes in LevelDB's log. */
const BARRIER_BYTES_MAX = 4096;
const TORN_BYTES_MAX = 2048;

/** What was done to the copy. */
export interface CrashImage {
  readonly tornBytes: number;
  /** Unsynced bytes of the state that the image has lost. */
  readonly stateBytesLost: number;
}

/**
 * Makes the copied data of a killed member look as after a power cut. Of the log, all that was acknowledged is
 * there, followed by the torn rest of a record that never was; of the state, an end of what was written after the
 * last barrier is gone.
 */
export async function makeCrashImage(dataDir: string, random: Prng): Promise<CrashImage> {
  const tornBytes = await tearLog(dataDir, random);
  const stateBytesLost = await cutState(dataDir, random);
  return { tornBytes, stateBytesLost };
}

/** Leaves the torn rest of a record behind the log of a stopped member. @returns its bytes */
export async function tearLog(dataDir: string, random: Prng): Promise<number> {
  const inspected = await inspectLog({ disk: new NodeDisk(dataDir), directory: LOG_DIRECTORY });
  if (!inspected.ok) throw new Error(`the log of a killed member is damaged: ${inspected.problem}`);
  const last = inspected.segments.at(-1)!;
  const bytes = Buffer.from(
    Array.from({ length: 1 + random.below(TORN_BYTES_MAX) }, () => 1 + random.below(255)),
  );
  const file = await open(join(dataDir, LOG_DIRECTORY, last.name), 'r+');
  try {
    await file.write(bytes, 0, bytes.length, last.endBytes);
  } finally {
    await file.close();
  }
  return bytes.length;
}

async function cutState(dataDir: string, random: Prng): Promise<number> {
  const active = await readActive(new NodeDisk(dataDir));
  if (active === null) throw new Error('a killed member has a state');
  const directory = join(dataDir, active);
  const logs = (await readdir(directory)).filter((name) => name.endsWith('.log')).toSorted();
  const path = join(directory, logs.at(-1)!);
  const content = await readFile(path);
  const barrier = content.lastIndexOf(BARRIER_KEY_START);
  // Without a barrier in it this log began after the last one: all of it may be lost.
  const durableBytes = barrier < 0 ? 0 : Math.min(content.length, barrier + BARRIER_BYTES_MAX);
  const { size } = await stat(path);
  const kept = durableBytes + random.below(size - durableBytes + 1);
  await truncate(path, kept);
  return size - kept;
}
