import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readEtcdSnapshot } from '../../src/cli/etcd-snapshot.ts';
import { parseExported } from '../../src/cli/export.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conclave-import-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

test('lines that are not quite base64 are refused, with their number', () => {
  const line = (key: string, value: string): string => JSON.stringify({ key, value });
  expect(parseExported(`${line('aw==', 'dg==')}\n\n`)).toEqual([
    { key: Buffer.from('k'), value: Buffer.from('v'), lease: 0n },
  ]);
  for (const [key, value] of [
    ['', 'dg=='],
    ['%%%%', 'dg=='],
    ['aw', 'dg=='],
    ['aw==', 'dg=='.slice(0, 3)],
    ['aw==', 'd g=='],
    ['aw==', 'dgdg dgdg'],
  ] as const) {
    expect(() => parseExported(`${line('aw==', 'dg==')}\n${line(key, value)}`)).toThrow(/line 2/);
  }
});

test('a snapshot whose hash is of something else is refused', async () => {
  const path = join(directory, 'etcd.db');
  const bytes = Buffer.alloc(8192, 7);
  const hash = createHash('sha256').update(bytes).digest();
  await writeFile(path, Buffer.concat([bytes, hash]));
  await expect(readEtcdSnapshot(path)).rejects.toThrow(/no bbolt database/);
  bytes[4000] = 8;
  await writeFile(path, Buffer.concat([bytes, hash]));
  await expect(readEtcdSnapshot(path)).rejects.toThrow(/its hash is of something else/);
  // A member's own file has no hash.
  await writeFile(path, bytes);
  await expect(readEtcdSnapshot(path)).rejects.toThrow(/no bbolt database/);
});
