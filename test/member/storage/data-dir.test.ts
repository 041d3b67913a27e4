import { crc32 } from 'node:zlib';
import { expect, test } from 'vitest';
import {
  ACTIVE_FILE,
  BALLAST_FILE,
  dropBallast,
  ensureBallast,
  IDENTITY_FILE,
  nextIncarnation,
  PEERS_FILE,
  QUARANTINE_FILE,
  readActive,
  readIdentity,
  readPeersSeen,
  readQuarantine,
  writeActive,
  writeIdentity,
  writePeersSeen,
  writeQuarantine,
} from '../../../src/member/storage/data-dir.ts';
import { MemoryDisk } from '../../../src/member/storage/memory-disk.ts';
import { decodeSmallFile, encodeSmallFile, writeSmallFile } from '../../../src/member/storage/small-file.ts';
import { seededRandom } from './seeded-random.ts';

const IDENTITY = { clusterId: 2 ** 53 - 1, memberId: 42, name: 'n1', incarnation: 7, earlier: [5, 1] };

async function textOf(disk: MemoryDisk, file: string): Promise<string> {
  return (await disk.readFile(file)).toString();
}

test('an empty directory has nothing', async () => {
  const disk = new MemoryDisk();
  expect(await readIdentity(disk)).toBeNull();
  expect(await readActive(disk)).toBeNull();
  expect(await readPeersSeen(disk)).toEqual(new Map());
  expect(await readQuarantine(disk)).toBeNull();
});

test('golden bytes of the small files', async () => {
  const disk = new MemoryDisk();
  await writeIdentity(disk, IDENTITY);
  await writeActive(disk, 'state-3');
  await writePeersSeen(
    disk,
    new Map([
      [9, { incarnation: 1, logSeq: 20 }],
      [3, { incarnation: 4, logSeq: 5 }],
    ]),
  );
  await writeQuarantine(disk, 'data-dir-corrupt: wal at 4');
  expect(await textOf(disk, IDENTITY_FILE)).toBe(
    '{"version":1,"clusterId":9007199254740991,"memberId":42,"name":"n1","incarnation":7,"earlier":[5,1]}\ncrc32 63a8841d\n',
  );
  expect(await textOf(disk, ACTIVE_FILE)).toBe('{"version":1,"state":"state-3"}\ncrc32 d685e6f0\n');
  expect(await textOf(disk, PEERS_FILE)).toBe(
    '{"version":1,"peers":[{"id":3,"incarnation":4,"logSeq":5},{"id":9,"incarnation":1,"logSeq":20}]}\ncrc32 8fbe05f3\n',
  );
  expect(await textOf(disk, QUARANTINE_FILE)).toBe(
    '{"version":1,"reason":"data-dir-corrupt: wal at 4"}\ncrc32 89d4f5a8\n',
  );
});

test('what is written is read, and replaced as a whole', async () => {
  const disk = new MemoryDisk();
  await writeIdentity(disk, IDENTITY);
  expect(await readIdentity(disk)).toEqual(IDENTITY);
  const next = await nextIncarnation(disk, IDENTITY, seededRandom(1));
  expect(next).toEqual({ ...IDENTITY, incarnation: expect.any(Number) as number, earlier: [7, 5, 1] });
  expect(next.incarnation).toBeGreaterThan(IDENTITY.incarnation);
  expect(await readIdentity(disk)).toEqual(next);
  const seen = new Map([[3, { incarnation: 4, logSeq: 5 }]]);
  await writePeersSeen(disk, seen);
  expect(await readPeersSeen(disk)).toEqual(seen);
  await writeActive(disk, 'state-1');
  await writeActive(disk, 'state-2');
  expect(await readActive(disk)).toBe('state-2');
  expect((await disk.list('')).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});

test('the first quarantine reason stays', async () => {
  const disk = new MemoryDisk();
  await writeQuarantine(disk, 'first');
  await writeQuarantine(disk, 'second');
  expect(await readQuarantine(disk)).toBe('first');
});

test('after a crash at any operation there is the old file or the new one, and the new one once acknowledged', async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 200; seed++) {
    const random = seededRandom(seed);
    let crashAt = Number.POSITIVE_INFINITY;
    const disk: MemoryDisk = new MemoryDisk({
      onOperation: () => {
        if (disk.operationCount === crashAt) disk.crash(random);
      },
    });
    await writeActive(disk, 'old');
    crashAt = disk.operationCount + 1 + random.integer(8);
    const acknowledged = await writeActive(disk, 'new').then(
      () => true,
      () => false,
    );
    crashAt = Number.POSITIVE_INFINITY;
    disk.crash(random);
    const active = await readActive(disk);
    if (acknowledged) expect(active).toBe('new');
    else expect(['old', 'new']).toContain(active);
    seen.add(`${active} ${acknowledged}`);
  }
  expect(seen).toEqual(new Set(['old false', 'new false', 'new true']));
});

test('any flipped bit is noticed', async () => {
  const disk = new MemoryDisk();
  await writeIdentity(disk, IDENTITY);
  const bits = (await disk.readFile(IDENTITY_FILE)).length * 8;
  for (let bit = 0; bit < bits; bit++) {
    disk.flipBit(IDENTITY_FILE, bit);
    await expect(readIdentity(disk)).rejects.toMatchObject({ code: 'data-dir-corrupt' });
    disk.flipBit(IDENTITY_FILE, bit);
  }
});

test('a newer version is foreign; wrong fields are damage', async () => {
  const disk = new MemoryDisk();
  await writeSmallFile(disk, ACTIVE_FILE, { version: 2, fields: { state: 'x' } });
  await expect(readActive(disk)).rejects.toMatchObject({ code: 'data-dir-foreign' });
  await writeSmallFile(disk, ACTIVE_FILE, { version: 1, fields: { state: 7 } });
  await expect(readActive(disk)).rejects.toMatchObject({ code: 'data-dir-corrupt' });
  await writeSmallFile(disk, PEERS_FILE, { version: 1, fields: { peers: [{ id: -1 }] } });
  await expect(readPeersSeen(disk)).rejects.toMatchObject({ code: 'data-dir-corrupt' });
  expect(encodeSmallFile({ version: 1, fields: {} }).toString()).toMatch(
    /^\{"version":1\}\ncrc32 [0-9a-f]{8}\n$/,
  );
});

test.each(['', 'version 1', '{"version":1', '[]', 'null', '{"version":1e999}', '{"version":"1"}'])(
  'a line that is no small file is damage, whatever its checksum: %s',
  (line) => {
    const sum = crc32(`${line}\n`).toString(16).padStart(8, '0');
    const content = Buffer.from(`${line}\ncrc32 ${sum}\n`);
    expect(() => decodeSmallFile(content, 'FILE')).toThrow(/^data-dir-corrupt: FILE/);
  },
);

test('the ballast is reserved when there is room, and given back on a full disk', async () => {
  const disk = new MemoryDisk();
  disk.capacityBytes = 10_000;
  expect(await ensureBallast(disk, { sizeBytes: 4000, freeBytesMin: 7000 })).toBe(false);
  expect(await ensureBallast(disk, { sizeBytes: 4000, freeBytesMin: 5000 })).toBe(true);
  expect(await ensureBallast(disk, { sizeBytes: 4000, freeBytesMin: 5000 })).toBe(true);
  expect(await disk.space()).toEqual({ freeBytes: 6000, totalBytes: 10_000 });

  expect(await dropBallast(disk, { freeBytesMin: 5000 })).toBe(false);
  expect(await disk.exists(BALLAST_FILE)).toBe(true);
  expect(await dropBallast(disk, { freeBytesMin: 7000 })).toBe(true);
  expect((await disk.space()).freeBytes).toBe(10_000);
  expect(await dropBallast(disk, { freeBytesMin: 20_000 })).toBe(false);
});

test('no ballast is wanted with size 0, and a disk that fills up meanwhile leaves none', async () => {
  const disk: MemoryDisk = new MemoryDisk({
    onOperation: ({ operation }) => {
      if (operation === 'write') disk.capacityBytes = 100;
    },
  });
  expect(await ensureBallast(disk, { sizeBytes: 4000, freeBytesMin: 0 })).toBe(false);
  expect(await disk.list('')).toEqual([]);
  const roomy = new MemoryDisk();
  expect(await ensureBallast(roomy, { sizeBytes: 4000, freeBytesMin: 0 })).toBe(true);
  expect(await ensureBallast(roomy, { sizeBytes: 0, freeBytesMin: 0 })).toBe(false);
  expect(await roomy.list('')).toEqual([]);
});
