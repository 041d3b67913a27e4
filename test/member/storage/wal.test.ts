import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { crc32 } from 'node:zlib';
import { expect, test } from 'vitest';
import type { HardState } from '../../../src/core/raft/messages.ts';
import type { Disk } from '../../../src/member/ports.ts';
import { isDiskFull, NodeDisk } from '../../../src/member/storage/disk.ts';
import { MemoryDisk } from '../../../src/member/storage/memory-disk.ts';
import { SECTOR_BYTES } from '../../../src/member/storage/memory-file.ts';
import { type OpenedLog, openLog } from '../../../src/member/storage/wal.ts';
import { inspectLog } from '../../../src/member/storage/wal-inspect.ts';
import { entry, logRecord, logStoreContract } from '../../contract/log-store.ts';
import { seededRandom } from './seeded-random.ts';

const SEGMENT_BYTES = 4096;
const FIRST_SEGMENT = 'wal/0000000000000001.wal';

logStoreContract('NodeDisk', async () => {
  const root = await fs.mkdtemp(path.join(os.tmpdir(), 'conclave-log-'));
  return { disk: new NodeDisk(root), cleanUp: () => fs.rm(root, { recursive: true }) };
});
logStoreContract('MemoryDisk', () =>
  Promise.resolve({ disk: new MemoryDisk(), cleanUp: () => Promise.resolve() }),
);

function open(disk: Disk, incarnation: number): Promise<OpenedLog> {
  const create = incarnation === 1;
  const random = seededRandom(incarnation);
  return openLog({ disk, directory: 'wal', segmentBytes: SEGMENT_BYTES, create, incarnation, random });
}

/** A closed log with entries 1 to `count`, one record each, of about 100 bytes. */
async function logWith(disk: Disk, count: number): Promise<void> {
  const { log } = await open(disk, 1);
  for (let index = 1; index <= count; index++) {
    await log.append(logRecord({ entries: [entry(index, 1, `entry ${index}`)] }));
  }
  await log.close();
}

/** Where each record of a segment begins, and where the last one ends. */
function recordOffsets(content: Buffer): number[] {
  const offsets = [32];
  for (let size = content.readUInt32LE(36); size > 0; size = content.readUInt32LE(offsets.at(-1)! + 4)) {
    offsets.push(offsets.at(-1)! + size);
  }
  return offsets;
}

async function patch(disk: Disk, offset: number, bytes: Buffer): Promise<void> {
  const file = await disk.open(FIRST_SEGMENT, 'write');
  await file.write(bytes, offset);
  await file.datasync();
  await file.close();
}

test('a flipped bit in any record but the last refuses to start, and changes nothing', async () => {
  const disk = new MemoryDisk();
  await logWith(disk, 5);
  const intact = await disk.readFile(FIRST_SEGMENT);
  const offsets = recordOffsets(intact);
  const lastBegins = offsets.at(-2)!;
  for (let bit = 32 * 8; bit < lastBegins * 8; bit += 11) {
    disk.flipBit(FIRST_SEGMENT, bit);
    const damaged = await disk.readFile(FIRST_SEGMENT);
    await expect(open(disk, 2)).rejects.toMatchObject({ code: 'data-dir-corrupt' });
    expect((await disk.readFile(FIRST_SEGMENT)).equals(damaged)).toBe(true);
    disk.flipBit(FIRST_SEGMENT, bit);
  }
  disk.flipBit(FIRST_SEGMENT, offsets[2]! * 8);
  await expect(open(disk, 2)).rejects.toThrow(`${FIRST_SEGMENT} at ${offsets[2]}`);
});

test('a zeroed record in the middle is damage, not the end', async () => {
  const disk = new MemoryDisk();
  await logWith(disk, 5);
  const [, , begin, end] = recordOffsets(await disk.readFile(FIRST_SEGMENT));
  await patch(disk, begin!, Buffer.alloc(end! - begin!));
  await expect(open(disk, 2)).rejects.toMatchObject({ code: 'data-dir-corrupt' });
});

test('a damaged final record is cut, and that is remembered until peers confirm', async () => {
  const disk = new MemoryDisk();
  await logWith(disk, 5);
  const offsets = recordOffsets(await disk.readFile(FIRST_SEGMENT));
  disk.flipBit(FIRST_SEGMENT, (offsets.at(-2)! + 40) * 8);
  expect(await inspectLog({ disk, directory: 'wal' })).toMatchObject({ ok: true, torn: true });

  const first = await open(disk, 2);
  expect(first.recovered.droppedTail).toBe(true);
  expect(first.recovered.entries).toHaveLength(4);
  expect(first.recovered.lastSeq).toBe(5);
  await first.log.append(logRecord({ entries: [entry(5, 2, 'again')] }));
  await first.log.close();

  const second = await open(disk, 3);
  expect(second.recovered.droppedTail).toBe(true);
  expect(second.recovered.entries.at(-1)).toEqual(entry(5, 2, 'again'));
  await second.log.confirmTail();
  expect(second.log.droppedTail).toBe(false);
  await second.log.close();
  expect((await open(disk, 4)).recovered.droppedTail).toBe(false);
});

test('garbage behind the last record is a torn tail and leaves no trace', async () => {
  const disk = new MemoryDisk();
  await logWith(disk, 3);
  const end = recordOffsets(await disk.readFile(FIRST_SEGMENT)).at(-1)!;
  await patch(disk, end + 100, Buffer.from('garbage'));
  const { log, recovered } = await open(disk, 2);
  expect(recovered.droppedTail).toBe(true);
  expect(recovered.entries).toHaveLength(3);
  await log.close();
  expect((await disk.readFile(FIRST_SEGMENT)).includes('garbage')).toBe(false);
});

test('a file that ends within its last record has a torn tail', async () => {
  const disk = new MemoryDisk();
  await logWith(disk, 3);
  const offsets = recordOffsets(await disk.readFile(FIRST_SEGMENT));
  const file = await disk.open(FIRST_SEGMENT, 'write');
  await file.truncate(offsets.at(-1)! - 9);
  const { recovered } = await open(disk, 2);
  expect(recovered).toMatchObject({ droppedTail: true, lastSeq: 3 });
});

test('records lost before any later one knew them durable are torn, even with valid ones behind', async () => {
  const disk = new MemoryDisk();
  const { log } = await open(disk, 1);
  for (let commit = 1; commit <= 3; commit++) {
    await log.append(logRecord({ hardState: { term: 1, vote: 1, commit }, sync: false }));
  }
  disk.killProcess();
  const [, begin, end] = recordOffsets(await disk.readFile(FIRST_SEGMENT));
  await patch(disk, begin!, Buffer.alloc(end! - begin!));
  const { recovered } = await open(disk, 2);
  expect(recovered).toMatchObject({ droppedTail: true, lastSeq: 1, hardState: { commit: 0 } });
});

test('a value that looks like a record of some log proves nothing', async () => {
  const disk = new MemoryDisk();
  await logWith(disk, 9);
  const foreign = (await disk.readFile(FIRST_SEGMENT)).subarray(32, 2048);
  const target = new MemoryDisk();
  const { log } = await openLog({
    disk: target,
    directory: 'wal',
    segmentBytes: 8192,
    create: true,
    incarnation: 1,
    random: seededRandom(99),
  });
  await log.append(logRecord({ entries: [{ index: 1, term: 1, kind: 'normal', data: foreign }] }));
  const at = (await target.readFile(FIRST_SEGMENT)).indexOf(foreign);
  await log.close();
  target.flipBit(FIRST_SEGMENT, (at - 4) * 8);
  expect((await open(target, 2)).recovered).toMatchObject({ droppedTail: true, lastSeq: 1 });
});

test('missing segments are damage: the oldest that is needed, and one in the middle', async () => {
  for (const missing of [0, 1, 2]) {
    const disk = new MemoryDisk();
    await logWith(disk, 160);
    const names = await disk.list('wal');
    expect(names.length).toBeGreaterThan(3);
    await disk.remove(`wal/${names[missing]}`);
    await expect(open(disk, 2)).rejects.toMatchObject({ code: 'data-dir-corrupt' });
  }
});

test('damage behind the last record of an older segment, and a segment of another log, are refused', async () => {
  const disk = new MemoryDisk();
  await logWith(disk, 120);
  disk.flipBit(FIRST_SEGMENT, (SEGMENT_BYTES - 1) * 8);
  await expect(open(disk, 2)).rejects.toMatchObject({ code: 'data-dir-corrupt' });
  disk.flipBit(FIRST_SEGMENT, (SEGMENT_BYTES - 1) * 8);

  const last = `wal/${(await disk.list('wal')).at(-1)}`;
  const file = await disk.open(last, 'write');
  const header = await file.read({ offset: 0, length: 32 });
  header.writeUInt32LE((header.readUInt32LE(12) ^ 1) >>> 0, 12);
  header.writeUInt32LE(crc32(header.subarray(0, 28)), 28);
  await file.write(header, 0);
  await expect(open(disk, 2)).rejects.toThrow('another log');
});

test('a newer format is foreign', async () => {
  const disk = new MemoryDisk();
  await logWith(disk, 1);
  const header = (await disk.readFile(FIRST_SEGMENT)).subarray(0, 32);
  header.writeUInt32LE(2, 8);
  header.writeUInt32LE(crc32(header.subarray(0, 28)), 28);
  await patch(disk, 0, header);
  await expect(open(disk, 2)).rejects.toMatchObject({ code: 'data-dir-foreign' });
  expect(await inspectLog({ disk, directory: 'wal' })).toMatchObject({ ok: false, code: 'data-dir-foreign' });
});

test('a synced record makes those durable that were written before it without a sync', async () => {
  const hardState = (commit: number): HardState => ({ term: 1, vote: 0, commit });
  for (let seed = 0; seed < 6; seed++) {
    const calls: string[] = [];
    const disk = new MemoryDisk({ onOperation: ({ operation }) => void calls.push(operation) });
    const options = { directory: 'wal', segmentBytes: 64 * 1024 * 1024, random: seededRandom(7) };
    const { log } = await openLog({ ...options, disk: disk.session(), create: true, incarnation: 1 });
    // Those before it in one case fit in what is written at once, in the other they do not, and a record is large.
    const large = entry(1, 1, 'x'.repeat(seed % 2 === 0 ? 100 : 5_000_000));
    for (const commit of [1, 2, 3])
      await log.append(logRecord({ hardState: hardState(commit), sync: false }));
    await log.append(logRecord({ entries: [large] }));
    calls.length = 0;
    await log.append(logRecord({ hardState: hardState(4), sync: false }));
    await log.append(logRecord({ entries: [entry(2, 1)] }));
    expect(calls).toEqual(['write', 'write', 'datasync']);
    disk.crash(seededRandom(seed));
    const { recovered } = await openLog({ ...options, disk, create: false, incarnation: 2 });
    expect(recovered.entries.map(({ index }) => index)).toEqual([1, 2]);
    expect(recovered.hardState.commit).toBe(4);
  }
});

test('a failed sync stops the log for good', async () => {
  const disk = new MemoryDisk();
  const { log } = await open(disk, 1);
  disk.failNext('datasync');
  await expect(log.append(logRecord({ entries: [entry(1, 1)] }))).rejects.toMatchObject({ code: 'storage' });
  await expect(log.append(logRecord({ entries: [entry(1, 1)] }))).rejects.toMatchObject({ code: 'storage' });
  await expect(log.release({ index: 0, term: 0 })).rejects.toMatchObject({ code: 'storage' });
  await log.close();
});

test('what a failed sync left in the page cache is durable once the next start has served it', async () => {
  // Larger than a sector: those that the next boot record shares are written again anyway.
  const large = entry(1, 1, 'l'.repeat(4 * SECTOR_BYTES));
  for (let seed = 0; seed < 20; seed++) {
    const disk = new MemoryDisk();
    const { log } = await open(disk, 1);
    disk.failNext('datasync');
    await expect(log.append(logRecord({ entries: [large] }))).rejects.toMatchObject({
      code: 'storage',
    });
    disk.killProcess();
    expect((await open(disk, 2)).recovered.entries).toEqual([large]);
    disk.crash(seededRandom(seed));
    expect((await open(disk, 3)).recovered.entries).toEqual([large]);
  }
});

test('a full disk stops the log; with room again everything acknowledged is there', async () => {
  const disk = new MemoryDisk();
  const { log } = await open(disk, 1);
  disk.capacityBytes = 3 * SEGMENT_BYTES;
  let acknowledged = 0;
  let failure: unknown = null;
  while (failure === null) {
    await log
      .append(logRecord({ entries: [entry(acknowledged + 1, 1, 'z'.repeat(300))] }))
      .then(() => acknowledged++)
      .catch((error: unknown) => {
        failure = error;
      });
  }
  expect(isDiskFull(failure)).toBe(true);
  expect(acknowledged).toBeGreaterThan(10);
  await expect(log.append(logRecord({ entries: [entry(acknowledged + 1, 1)] }))).rejects.toMatchObject({
    code: 'storage',
  });
  await log.close();
  disk.capacityBytes = 100 * SEGMENT_BYTES;
  const { recovered } = await open(disk, 2);
  expect(recovered.entries.length).toBeGreaterThanOrEqual(acknowledged);
});

test('segments whose entries only an unsynced record replaced are not deleted before it is durable', async () => {
  for (let seed = 0; seed < 20; seed++) {
    const disk = new MemoryDisk();
    const { log } = await open(disk.session(), 1);
    for (let index = 1; index <= 40; index++) {
      await log.append(logRecord({ entries: [entry(index, 1, 'x'.repeat(500))] }));
    }
    await log.release({ index: 2, term: 1 });
    await log.append(logRecord({ entries: [entry(3, 2, 'replaces all')], sync: false }));
    await log.release({ index: 2, term: 1 });
    disk.crash(seededRandom(seed));
    const { recovered } = await open(disk, 2);
    expect([1, 38]).toContain(recovered.entries.length);
  }
});

test('the next segment is zero-filled before it is needed', async () => {
  const opened: string[] = [];
  const disk = new MemoryDisk({
    onOperation: ({ operation, path: file }) => {
      if (operation === 'open') opened.push(file);
    },
  });
  const { log } = await open(disk, 1);
  let index = 0;
  const fillUntil = async (reached: () => Promise<boolean>): Promise<void> => {
    while (!(await reached())) await log.append(logRecord({ entries: [entry(++index, 1)] }));
  };
  expect(await disk.exists('wal/spare')).toBe(false);
  await fillUntil(() => disk.exists('wal/spare'));
  expect((await disk.list('wal')).filter((name) => name.endsWith('.wal'))).toHaveLength(1);
  await fillUntil(async () => (await disk.list('wal')).filter((name) => name.endsWith('.wal')).length === 2);
  const second = `wal/${(await disk.list('wal'))[1]}`;
  expect(opened).not.toContain(second);
  expect(await disk.readFile(second)).toHaveLength(SEGMENT_BYTES);
  await fillUntil(() => disk.exists('wal/spare'));
  await log.close();
  expect(await disk.list('wal')).not.toContain('spare');
});

test('an inspection describes the segments and reports damage with file and offset', async () => {
  const disk = new MemoryDisk();
  await logWith(disk, 120);
  const before = await disk.list('wal');
  const report = await inspectLog({ disk, directory: 'wal' });
  if (!report.ok) throw new Error(report.problem);
  expect(report.segments.map(({ name }) => name)).toEqual(before);
  expect(report.segments.reduce((sum, { records }) => sum + records, 0)).toBe(121);
  expect(report).toMatchObject({ torn: false, incarnation: 1 });
  expect(report.recovered.entries).toHaveLength(120);
  expect(report.segments.map(({ indexMax }) => indexMax).at(-1)).toBe(120);

  disk.flipBit(FIRST_SEGMENT, SECTOR_BYTES * 8);
  const damaged = await inspectLog({ disk, directory: 'wal' });
  expect(damaged).toMatchObject({ ok: false, code: 'data-dir-corrupt' });
  expect(damaged.ok ? '' : damaged.problem).toContain(FIRST_SEGMENT);
});
