import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { expect, test } from 'vitest';
import { StoreError } from '../../../src/lib/errors.ts';
import { isDiskFull, NodeDisk, storageError } from '../../../src/member/storage/disk.ts';
import { MemoryDisk } from '../../../src/member/storage/memory-disk.ts';
import { diskContract } from '../../contract/disk.ts';

diskContract('NodeDisk', async () => {
  const root = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-disk-'));
  return { disk: new NodeDisk(root), cleanUp: () => fs.rm(root, { recursive: true }) };
});
diskContract('MemoryDisk', () =>
  Promise.resolve({ disk: new MemoryDisk(), cleanUp: () => Promise.resolve() }),
);
diskContract('a session of MemoryDisk', () =>
  Promise.resolve({ disk: new MemoryDisk().session(), cleanUp: () => Promise.resolve() }),
);

test('the root itself is made on demand, for its owner only', async () => {
  const parent = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-disk-'));
  const disk = new NodeDisk(path.join(parent, 'data'));
  await disk.makeDirectory('');
  const file = await disk.open('f', 'create');
  await file.close();
  expect((await fs.stat(disk.root)).mode & 0o777).toBe(0o700);
  expect((await fs.stat(path.join(disk.root, 'f'))).mode & 0o777).toBe(0o600);
  await fs.rm(parent, { recursive: true });
});

test('paths do not leave the root', async () => {
  await expect(new NodeDisk(os.tmpdir()).exists('../etc')).rejects.toThrow('below the root');
  await expect(new MemoryDisk().makeDirectory('../etc')).rejects.toThrow('below the root');
});

test('a full disk is recognized through the wrapping', () => {
  const full = Object.assign(new Error('no space left'), { code: 'ENOSPC' });
  expect(isDiskFull(storageError('write', 'wal/x', full))).toBe(true);
  expect(isDiskFull(new StoreError('storage', 'stopped', { cause: storageError('write', 'x', full) }))).toBe(
    true,
  );
  expect(isDiskFull(storageError('write', 'x', new Error('EIO')))).toBe(false);
});
