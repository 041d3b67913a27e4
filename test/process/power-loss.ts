import { existsSync } from 'node:fs';
import { copyFile, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Prng } from '../core/raft/prng.ts';
import type { CrashJournal, OpenChange, OpenWrite } from './crash-journal.ts';

/** What a disk writes as one. */
const SECTOR_BYTES = 512;
/** How much of what may be lost is lost. */
export type Loss = 'all' | 'some';

/** What a power loss took from one image. */
export interface Lost {
  readonly logBytes: number;
  readonly stateBytes: number;
  readonly changes: number;
}

/**
 * Makes the copy of a data directory look as after a power loss at the moment at which its process stood still. What
 * was synced stays. Of everything else any part may be gone: writes of the log and of small files sector by sector,
 * what LevelDB has in its logs behind the last sync, and the youngest changes of a directory.
 */
export async function losePower(
  dataDir: string,
  journal: CrashJournal,
  how: { readonly random: Prng; readonly loss: Loss },
): Promise<Lost> {
  let logBytes = 0;
  for (const [path, writes] of journal.openWrites()) {
    if (!existsSync(join(dataDir, path))) continue;
    for (const write of writes) logBytes += await loseWrite(join(dataDir, path), write, how);
  }
  const stateBytes = await loseOfStates(dataDir, journal, how);
  let changes = 0;
  for (const list of journal.openChanges()) {
    const lost = how.loss === 'all' ? list.length : how.random.below(list.length + 1);
    for (const change of list.toReversed().slice(0, lost)) await undo(dataDir, change);
    changes += lost;
  }
  return { logBytes, stateBytes, changes };
}

interface How {
  readonly random: Prng;
  readonly loss: Loss;
}

/** Before such a write there were zeros: segments are filled in advance, and small files are written once. */
async function loseWrite(path: string, write: OpenWrite, { random, loss }: How): Promise<number> {
  const { size } = await stat(path);
  const end = Math.min(size, write.offset + write.length);
  const pattern =
    loss === 'all' ? 'all' : random.pick(['none', 'all', 'tail', 'sectors', 'garbage'] as const);
  const keptEnd = pattern === 'tail' ? write.offset + random.below(write.length + 1) : write.offset;
  let lost = 0;
  const file = await open(path, 'r+');
  try {
    for (
      let at = write.offset;
      at < end;
      at = Math.min(end, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES)
    ) {
      const sectorEnd = Math.min(end, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES);
      if (pattern === 'none' || sectorEnd <= keptEnd) continue;
      if ((pattern === 'sectors' || pattern === 'garbage') && random.chance(50)) continue;
      const from = Math.max(at, keptEnd);
      const bytes = Buffer.alloc(sectorEnd - from);
      if (pattern === 'garbage') for (let i = 0; i < bytes.length; i++) bytes[i] = random.below(256);
      await file.write(bytes, 0, bytes.length, from);
      lost += bytes.length;
    }
  } finally {
    await file.close();
  }
  return lost;
}

async function loseOfStates(dataDir: string, journal: CrashJournal, how: How): Promise<number> {
  let lost = 0;
  for (const state of await readdir(dataDir)) {
    if (!state.startsWith('state-')) continue;
    const logs = (await readdir(join(dataDir, state))).filter((name) => name.endsWith('.log')).toSorted();
    for (const name of logs) lost += await loseOfLog(dataDir, journal, { ...how, state, name });
    lost += await loseNewestLog(dataDir, journal, { ...how, state, logs });
  }
  return lost;
}

/** The bytes behind the last sync of one of LevelDB's logs: an end of them, or any sectors, or both. */
async function loseOfLog(
  dataDir: string,
  journal: CrashJournal,
  { random, loss, state, name }: How & { readonly state: string; readonly name: string },
): Promise<number> {
  const path = join(dataDir, state, name);
  const { size } = await stat(path);
  const durable = Math.min(size, journal.syncedLogBytes(state, name));
  const kept = loss === 'all' ? durable : durable + random.below(size - durable + 1);
  const file = await open(path, 'r+');
  try {
    await file.truncate(kept);
    if (loss === 'all' || random.chance(50)) return size - kept;
    let holes = 0;
    for (
      let at = Math.ceil(durable / SECTOR_BYTES) * SECTOR_BYTES;
      at + SECTOR_BYTES <= kept;
      at += SECTOR_BYTES
    ) {
      if (!random.chance(20)) continue;
      await file.write(Buffer.alloc(SECTOR_BYTES), 0, SECTOR_BYTES, at);
      holes += SECTOR_BYTES;
    }
    return size - kept + holes;
  } finally {
    await file.close();
  }
}

/**
 * A log that LevelDB has just begun may be missing. Once the one before it is gone, LevelDB has synced the directory
 * itself.
 */
async function loseNewestLog(
  dataDir: string,
  journal: CrashJournal,
  { random, loss, state, logs }: How & { readonly state: string; readonly logs: readonly string[] },
): Promise<number> {
  const newest = logs.at(-1);
  if (newest === undefined || logs.length < 2 || journal.isNamed(state, newest)) return 0;
  if (loss === 'some' && random.chance(50)) return 0;
  const path = join(dataDir, state, newest);
  const { size } = await stat(path);
  await rm(path);
  return size;
}

async function undo(dataDir: string, change: OpenChange): Promise<void> {
  const at = (path: string): string => join(dataDir, path);
  if (change.type === 'create') return rm(at(change.path), { force: true });
  if (change.type === 'remove') return copyFile(change.kept, at(change.path));
  if (existsSync(at(change.to))) await rename(at(change.to), at(change.from));
  if (change.kept !== null) await copyFile(change.kept, at(change.to));
}
