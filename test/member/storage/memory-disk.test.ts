import { expect, test } from 'vitest';
import type { DiskFile } from '../../../src/member/ports.ts';
import { isDiskFull } from '../../../src/member/storage/disk.ts';
import { MemoryDisk } from '../../../src/member/storage/memory-disk.ts';
import { SECTOR_BYTES } from '../../../src/member/storage/memory-file.ts';
import { seededRandom } from './seeded-random.ts';

async function create(disk: MemoryDisk, path: string): Promise<DiskFile> {
  const file = await disk.open(path, 'create');
  await disk.syncDirectory('');
  return file;
}

test('a crash keeps what was synced, whatever it does to the rest', async () => {
  for (let seed = 0; seed < 50; seed++) {
    const disk = new MemoryDisk();
    const file = await create(disk, 'f');
    await file.write(Buffer.from('durable'), 0);
    await file.datasync();
    await file.write(Buffer.alloc(3 * SECTOR_BYTES, 'x'), SECTOR_BYTES);
    disk.crash(seededRandom(seed));
    expect((await disk.readFile('f')).subarray(0, 7).toString()).toBe('durable');
  }
});

test('of unsynced sectors a crash loses some, keeps some, and leaves garbage in some', async () => {
  const outcomes = new Set<string>();
  for (let seed = 0; seed < 100; seed++) {
    const disk = new MemoryDisk();
    const file = await create(disk, 'f');
    await file.write(Buffer.alloc(8 * SECTOR_BYTES), 0);
    await file.datasync();
    await file.write(Buffer.alloc(8 * SECTOR_BYTES, 'x'), 0);
    disk.crash(seededRandom(seed));
    const content = await disk.readFile('f');
    for (let sector = 0; sector < 8; sector++) {
      const bytes = content.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
      if (bytes.equals(Buffer.alloc(SECTOR_BYTES))) outcomes.add('lost');
      else if (bytes.equals(Buffer.alloc(SECTOR_BYTES, 'x'))) outcomes.add('kept');
      else outcomes.add('garbage');
    }
  }
  expect([...outcomes].toSorted((a, b) => a.localeCompare(b))).toEqual(['garbage', 'kept', 'lost']);
});

test('a sector that held durable data becomes old or new, never garbage', async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 100; seed++) {
    const disk = new MemoryDisk();
    const file = await create(disk, 'f');
    await file.write(Buffer.from('old'), 0);
    await file.datasync();
    await file.write(Buffer.from('mid'), 0);
    await file.write(Buffer.from('new'), 0);
    disk.crash(seededRandom(seed));
    seen.add((await disk.readFile('f')).toString());
  }
  expect(seen).toEqual(new Set(['old', 'mid', 'new']));
});

test('a name survives for sure only once its directory was synced', async () => {
  const survived = { unsynced: 0, synced: 0, renamed: 0 };
  for (let seed = 0; seed < 40; seed++) {
    const disk = new MemoryDisk();
    await create(disk, 'synced');
    await disk.open('unsynced', 'create');
    await disk.rename({ from: 'synced', to: 'renamed' });
    disk.crash(seededRandom(seed));
    if (await disk.exists('unsynced')) survived.unsynced++;
    if (await disk.exists('renamed')) survived.renamed++;
    if (await disk.exists('synced')) survived.synced++;
  }
  expect(survived.renamed + survived.synced).toBe(40);
  for (const count of Object.values(survived)) expect(count).toBeGreaterThan(0);
  expect(survived.unsynced).toBeLessThan(40);
});

test('files of before a crash are dead', async () => {
  const disk = new MemoryDisk();
  const file = await create(disk, 'f');
  disk.crash(seededRandom(1));
  await expect(file.write(Buffer.from('late'), 0)).rejects.toMatchObject({ code: 'storage' });
  expect(await disk.readFile('f')).toHaveLength(0);
});

test('a session dies with its process; the disk and later sessions go on', async () => {
  const disk = new MemoryDisk();
  const before = disk.session();
  await before.makeDirectory('d');
  disk.killProcess();
  await expect(before.remove('d')).rejects.toMatchObject({ code: 'storage' });
  await expect(before.syncDirectory('')).rejects.toMatchObject({ code: 'storage' });
  expect(await disk.session().list('')).toEqual(['d']);
});

test('an operation that a crash overtakes has no effect', async () => {
  let release = (): void => undefined;
  const disk = new MemoryDisk({
    onOperation: ({ operation }) =>
      operation === 'write'
        ? new Promise((resolve) => {
            release = resolve;
          })
        : undefined,
  });
  const file = await create(disk, 'f');
  const writing = file.write(Buffer.from('late'), 0);
  disk.crash(seededRandom(1));
  release();
  await expect(writing).rejects.toMatchObject({ code: 'storage' });
  expect(await disk.readFile('f')).toHaveLength(0);
});

test('a durable write covers its own bytes and nothing else', async () => {
  let lost = 0;
  for (let seed = 0; seed < 20; seed++) {
    const disk = new MemoryDisk();
    const file = await create(disk, 'f');
    await file.write(Buffer.from('elsewhere'), 0);
    await file.writeDurably(Buffer.from('sure'), 1000);
    disk.crash(seededRandom(seed));
    const content = (await disk.readFile('f')).toString('latin1');
    expect(content.slice(1000)).toBe('sure');
    if (!content.startsWith('elsewhere')) lost++;
  }
  expect(lost).toBeGreaterThan(0);
});

test('a durable write that fails may have left any part of itself', async () => {
  const outcomes = new Set<string>();
  for (let seed = 0; seed < 60; seed++) {
    const disk = new MemoryDisk();
    const file = await create(disk, 'f');
    await file.write(Buffer.alloc(1024, 'o'), 0);
    await file.datasync();
    disk.failNext('datasync', 'f');
    const writing = file.writeDurably(Buffer.alloc(1024, 'n'), 0);
    await expect(writing).rejects.toMatchObject({ code: 'storage' });
    expect((await disk.readFile('f')).toString()).toBe('n'.repeat(1024));
    disk.crash(seededRandom(seed));
    const content = await disk.readFile('f');
    outcomes.add(content.toString('latin1', 511, 513));
  }
  expect(outcomes).toEqual(new Set(['oo', 'on', 'no', 'nn']));
});

test('after a failed sync the data reads well, and no later sync makes it durable', async () => {
  let lost = 0;
  for (let seed = 0; seed < 20; seed++) {
    const disk = new MemoryDisk();
    const file = await create(disk, 'f');
    await file.write(Buffer.from('gone'), 0);
    disk.failNext('datasync', 'f');
    await expect(file.datasync()).rejects.toMatchObject({ code: 'storage' });
    await file.datasync();
    expect((await disk.readFile('f')).toString()).toBe('gone');
    disk.crash(seededRandom(seed));
    if ((await disk.readFile('f')).toString() !== 'gone') lost++;
  }
  expect(lost).toBeGreaterThan(0);
});

test('a full disk cuts a write short and refuses; removing makes room', async () => {
  const disk = new MemoryDisk();
  disk.capacityBytes = 1000;
  const file = await create(disk, 'f');
  await file.write(Buffer.alloc(600, 'a'), 0);
  const failure: unknown = await file.write(Buffer.alloc(600, 'b'), 600).catch((error: unknown) => error);
  expect(isDiskFull(failure)).toBe(true);
  expect((await disk.readFile('f')).toString()).toBe('a'.repeat(600) + 'b'.repeat(400));
  expect(await disk.space()).toEqual({ freeBytes: 0, totalBytes: 1000 });
  await file.write(Buffer.alloc(600, 'c'), 0);
  await disk.remove('f');
  expect((await disk.space()).freeBytes).toBe(1000);
});

test('a flipped bit is there for every reader, and after a crash', async () => {
  const disk = new MemoryDisk();
  const file = await create(disk, 'f');
  await file.write(Buffer.from([0, 0, 0]), 0);
  await file.datasync();
  disk.flipBit('f', 8 + 3);
  expect([...(await disk.readFile('f'))]).toEqual([0, 8, 0]);
  disk.crash(seededRandom(1));
  expect([...(await disk.readFile('f'))]).toEqual([0, 8, 0]);
});
