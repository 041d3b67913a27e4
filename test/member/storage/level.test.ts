import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { Level, LevelOp } from '../../../src/member/ports.ts';
import { ClassicLevelOpener } from '../../../src/member/storage/level.ts';
import { MemoryLevelOpener } from '../../../src/member/storage/memory-level.ts';
import { levelContract } from '../../contract/level.ts';
import { seededRandom } from './seeded-random.ts';

const directories: string[] = [];
afterAll(async () => {
  for (const directory of directories) await rm(directory, { recursive: true, force: true });
});

levelContract('classic-level', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'conclave-level-'));
  directories.push(directory);
  return new ClassicLevelOpener(directory);
});
levelContract('memory', async () => new MemoryLevelOpener());

const KEY = (i: number): Buffer => Buffer.from(`k${i}`);
const put = (i: number): LevelOp => ({ type: 'put', key: KEY(i), value: Buffer.alloc(10, i) });

/** Writes 0 to `count` one by one, the last one synced, then loses power; says which are found again. */
async function survivors(seed: number, count: number, writeBufferBytes: number): Promise<number[]> {
  const opener = new MemoryLevelOpener({ writeBufferBytes });
  const level = await opener.open('db', { create: true });
  for (let i = 0; i < count; i++) await level.batch([put(i)], { sync: i === count - 1 });
  opener.crash(seededRandom(seed));
  return presentIn(await opener.open('db', { create: false }), count);
}

function presentIn(level: Level, count: number): number[] {
  return Array.from({ length: count }, (_, i) => i).filter((i) => level.getSync(KEY(i)) !== undefined);
}

test('damage that LevelDB finds in its own files is told from a disk that does not answer', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'conclave-level-'));
  directories.push(directory);
  const opener = new ClassicLevelOpener(directory);
  const level = await opener.open('db', { create: true });
  for (let i = 0; i < 100; i++) await level.batch([put(i)], { sync: false });
  await level.flush();
  await level.close();
  const table = (await readdir(join(directory, 'db'))).find((name) => name.endsWith('.ldb'))!;
  const content = await readFile(join(directory, 'db', table));
  await writeFile(join(directory, 'db', table), content.fill(0, content.length - 8));
  const damaged = await opener.open('db', { create: false });
  await expect(damaged.get(KEY(1))).rejects.toMatchObject({ code: 'data-dir-corrupt' });
  expect(() => damaged.getSync(KEY(1))).toThrow('leveldb get: Corruption');
  await damaged.close();
  await rm(join(directory, 'db', table));
  await expect(opener.open('db', { create: false })).rejects.toMatchObject({ code: 'data-dir-corrupt' });
});

describe('the memory level loses what LevelDB 1.20 loses', () => {
  test('a killed process loses nothing', async () => {
    const opener = new MemoryLevelOpener();
    const level = await opener.open('db', { create: true });
    await level.batch([put(1)], { sync: false });
    opener.kill();
    await expect(level.batch([put(2)], { sync: false })).rejects.toMatchObject({ code: 'storage' });
    expect(presentIn(await opener.open('db', { create: false }), 3)).toEqual([1]);
  });

  test('a synced write keeps everything before it in the same log', async () => {
    for (let seed = 0; seed < 50; seed++) expect(await survivors(seed, 10, 1_000_000)).toHaveLength(10);
  });

  test('a synced write does not keep the tail of an older log: there are holes below it', async () => {
    const found = await Promise.all(Array.from({ length: 50 }, (_, seed) => survivors(seed, 10, 100)));
    expect(found.every((present) => present.includes(9))).toBe(true);
    expect(found.some((present) => present.length < 10)).toBe(true);
    expect(found.some((present) => !present.every((value, i) => value === i))).toBe(true);
  });

  test('a batch survives whole or not at all', async () => {
    let lost = 0;
    for (let seed = 0; seed < 50; seed++) {
      const opener = new MemoryLevelOpener();
      const level = await opener.open('db', { create: true });
      await level.batch([put(0), put(1)], { sync: false });
      opener.crash(seededRandom(seed));
      const present = presentIn(await opener.open('db', { create: false }), 2);
      expect([0, 2]).toContain(present.length);
      if (present.length === 0) lost += 1;
    }
    expect(lost).toBeGreaterThan(0);
  });

  test('after a full disk, synced writes are acknowledged and lost', async () => {
    const opener = new MemoryLevelOpener();
    const level = await opener.open('db', { create: true });
    await level.batch([put(0)], { sync: true });
    opener.inject('db', 'no-space');
    await expect(level.batch([put(1)], { sync: true })).rejects.toMatchObject({ code: 'storage' });
    await level.batch([put(2)], { sync: true });
    expect(level.getSync(KEY(2))).toBeDefined();
    opener.kill();
    expect(presentIn(await opener.open('db', { create: false }), 3)).toEqual([0]);
  });

  test('a failed flush shows on the next write only, and stays', async () => {
    const opener = new MemoryLevelOpener();
    const level = await opener.open('db', { create: true });
    await level.batch([put(0)], { sync: false });
    opener.inject('db', 'flush-error');
    await level.flush();
    await expect(level.batch([put(1)], { sync: true })).rejects.toMatchObject({ code: 'storage' });
    await expect(level.batch([put(2)], { sync: true })).rejects.toMatchObject({ code: 'storage' });
  });

  test('a flush keeps everything', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const opener = new MemoryLevelOpener();
      const level = await opener.open('db', { create: true });
      await level.batch([put(0)], { sync: false });
      await level.flush();
      opener.crash(seededRandom(seed));
      expect(presentIn(await opener.open('db', { create: false }), 1)).toEqual([0]);
    }
  });

  /** Of 40 power failures after `prepare`, what each left of keys 0 to 2; null where nothing can be opened. */
  async function afterPowerLosses(
    prepare: (opener: MemoryLevelOpener, level: Level) => Promise<void>,
  ): Promise<readonly (readonly number[] | null)[]> {
    const left: (readonly number[] | null)[] = [];
    for (let seed = 0; seed < 40; seed++) {
      const opener = new MemoryLevelOpener({ writeBufferBytes: 20 });
      await prepare(opener, await opener.open('db', { create: true }));
      opener.crash(seededRandom(seed), seededRandom(1_000 + seed));
      left.push(opener.exists('db') ? presentIn(await opener.open('db', { create: false }), 3) : null);
    }
    return left;
  }
  const named = (opener: MemoryLevelOpener): void => {
    for (const path of ['db', '']) opener.directorySynced(path);
  };

  test('a new database whose name was not synced may be gone, one that was stays', async () => {
    const write = async (_: MemoryLevelOpener, level: Level): Promise<void> =>
      level.batch([put(0)], { sync: true });
    const left = await afterPowerLosses(write);
    expect(left).toContain(null);
    expect(left).toContainEqual([0]);
    const kept = await afterPowerLosses(async (opener, level) => {
      await write(opener, level);
      named(opener);
    });
    expect(kept.every((found) => found?.length === 1)).toBe(true);
  });

  test('a new database without a synced MANIFEST cannot be opened, only destroyed', async () => {
    let damaged = 0;
    for (let seed = 0; seed < 20; seed++) {
      const opener = new MemoryLevelOpener();
      await opener.open('db', { create: true });
      opener.directorySynced('');
      opener.crash(seededRandom(seed), seededRandom(1_000 + seed));
      if (opener.exists('db')) continue;
      damaged += 1;
      await expect(opener.open('db', { create: false })).rejects.toMatchObject({ code: 'data-dir-corrupt' });
      await opener.destroy('db');
      await opener.open('db', { create: true });
    }
    expect(damaged).toBeGreaterThan(0);
  });

  test('a destroyed database may come back until its directory is synced', async () => {
    const destroyed = async (opener: MemoryLevelOpener, level: Level): Promise<void> => {
      await level.batch([put(0)], { sync: true });
      named(opener);
      await level.close();
      await opener.destroy('db');
    };
    const left = await afterPowerLosses(destroyed);
    expect(left).toContain(null);
    expect(left).toContainEqual([0]);
    const gone = await afterPowerLosses(async (opener, level) => {
      await destroyed(opener, level);
      opener.directorySynced('');
    });
    expect(gone.every((found) => found === null)).toBe(true);
  });

  test('the file of a new log may be gone with what was synced in it', async () => {
    const rotate = async (opener: MemoryLevelOpener, level: Level): Promise<void> => {
      named(opener);
      for (let i = 0; i < 3; i++) await level.batch([put(i)], { sync: true });
    };
    const left = await afterPowerLosses(rotate);
    expect(left).toContainEqual([0, 1]);
    expect(left).toContainEqual([0, 1, 2]);
    const kept = await afterPowerLosses(async (opener, level) => {
      await rotate(opener, level);
      opener.directorySynced('db');
    });
    expect(kept.every((found) => found?.length === 3)).toBe(true);
  });

  test('what an open has recovered may be lost again until the directory is synced', async () => {
    const reopened = async (opener: MemoryLevelOpener, level: Level): Promise<Level> => {
      await level.batch([put(0)], { sync: false });
      named(opener);
      opener.kill();
      const again = await opener.open('db', { create: false });
      expect(presentIn(again, 3)).toEqual([0]);
      await again.batch([put(1)], { sync: true });
      return again;
    };
    const left = await afterPowerLosses(async (opener, level) => void (await reopened(opener, level)));
    expect(left).toContainEqual([0, 1]);
    expect(left).toContainEqual([1]);
    const kept = await afterPowerLosses(async (opener, level) => {
      await (await reopened(opener, level)).flush();
    });
    expect(kept.every((found) => found?.length === 2)).toBe(true);
  });

  test('reads take a rotten value for good', async () => {
    const opener = new MemoryLevelOpener();
    const level = await opener.open('db', { create: true });
    await level.batch([put(7)], { sync: true });
    opener.rot('db', KEY(7), (value) => value.fill(1));
    expect(level.getSync(KEY(7))).toEqual(Buffer.alloc(10, 1));
  });
});
