import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Row } from '../../../src/core/mvcc/row.ts';
import type { TableRow } from '../../../src/core/state.ts';
import { NodeDisk } from '../../../src/member/storage/disk.ts';
import { ClassicLevelOpener } from '../../../src/member/storage/level.ts';
import { MemoryLevelOpener } from '../../../src/member/storage/memory-level.ts';
import { recoverState } from '../../../src/member/storage/recovery.ts';
import {
  encodeSnapshot,
  type InstallOptions,
  installState,
  readSnapshot,
  readSnapshotFile,
  sealSnapshotFile,
} from '../../../src/member/storage/snapshot-file.ts';
import type { SnapshotHeader, SnapshotReceiver } from '../../../src/member/storage/snapshot-format.ts';
import { createStateStore } from '../../../src/member/storage/state-store.ts';
import { ManualClock, ModelCore, NO_DISK } from './model-core.ts';

const CLUSTER = 4242;
const SEED = 4;
const corrupt = { code: 'data-dir-corrupt' };
const onFatal = (error: Error): void => expect.unreachable(error.message);

class Collector implements SnapshotReceiver {
  readonly headers: unknown[] = [];
  readonly rows: Row[] = [];
  readonly tables: TableRow[] = [];

  header(header: unknown): void {
    this.headers.push(header);
  }
  row(row: Row): void {
    this.rows.push(row);
  }
  table(row: TableRow): void {
    this.tables.push(row);
  }
}

let core: ModelCore;
let header: SnapshotHeader;
/** The snapshot of `core`, a Buffer a frame. */
let frames: Buffer[];

beforeEach(async () => {
  core = new ModelCore(SEED);
  for (let i = 0; i < 60; i++) core.applyNext();
  header = { clusterId: CLUSTER, marker: core.marker(), tables: [...core.tables.values()] };
  frames = await gather(encodeSnapshot(header, from([core.rows.slice(0, 10), core.rows.slice(10)])));
});

describe('a streamed snapshot', () => {
  test('comes back whole, cut into pieces of any size', async () => {
    const bytes = Buffer.concat(frames);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 3, max: bytes.length }), async (size) => {
        const collector = new Collector();
        const summary = await readSnapshot(from(cut(bytes, size)), collector);
        expect(summary).toEqual({
          clusterId: CLUSTER,
          marker: core.marker(),
          tableCount: core.tables.size,
          rowCount: core.rows.length,
        });
        expect(collector.rows).toEqual(core.rows);
        expect(collector.tables).toEqual(header.tables);
        expect(collector.headers).toEqual([{ clusterId: CLUSTER, marker: core.marker() }]);
      }),
      { numRuns: 20 },
    );
  });

  test('an empty state is a snapshot too', async () => {
    const empty = { clusterId: 1, marker: new ModelCore(1).marker(), tables: [] };
    const summary = await readSnapshot(encodeSnapshot(empty, from<Row[]>([])), new Collector());
    expect(summary).toMatchObject({ tableCount: 0, rowCount: 0 });
  });

  test('has frames of about 256 KiB, except around a larger row', async () => {
    const row = (main: number, bytes: number): Row => ({
      ...core.rows[0]!,
      main,
      sub: 0,
      value: Buffer.alloc(bytes),
    });
    const marker = { ...core.marker(), currentRevision: 200 };
    const rows = [...Array.from({ length: 100 }, (_, i) => row(i + 1, 10_000)), row(101, 2_000_000)];
    const large = await gather(encodeSnapshot({ ...header, marker }, from([rows])));
    const sizes = large.slice(3, -1).map((frame) => frame.length);
    expect(sizes.slice(0, -1).every((size) => size >= 256 * 1024 && size < 280 * 1024)).toBe(true);
    expect(sizes.at(-1)).toBeGreaterThan(2_000_000);
    const collector = new Collector();
    await readSnapshot(from(large), collector);
    expect(isDeepStrictEqual(collector.rows, rows)).toBe(true);
  });

  test('begins with bytes that are a contract', () => {
    expect(frames[0]?.toString('hex')).toBe(`${Buffer.from('CONCLAVE').toString('hex')}00000001`);
    expect(frames[1]?.subarray(4, 17).toString('hex')).toBe('01000000000000000000001092');
    expect(frames[2]?.[4]).toBe(2);
    expect(frames[3]?.[4]).toBe(3);
    const last = frames.at(-1)!;
    expect(last.subarray(0, 5).toString('hex')).toBe('0000003004');
    expect(last.readUInt32BE(last.length - 4)).toBe(crc32(last.subarray(0, -4)));
    const before = createHash('sha256')
      .update(Buffer.concat(frames.slice(0, -1)))
      .digest();
    expect(last.subarray(25, 57)).toEqual(before);
  });

  test('any flipped bit is refused, and any cut', async () => {
    const bytes = Buffer.concat(frames);
    for (let i = 0; i < bytes.length; i += 29) {
      const flipped = Buffer.from(bytes);
      flipped[i]! ^= 1 << (i % 8);
      const code = await refusal(readSnapshot(from([flipped]), new Collector()));
      expect(['data-dir-corrupt', 'data-dir-foreign']).toContain(code);
    }
    for (let end = 0; end < bytes.length; end += 397) {
      expect(await refusal(readSnapshot(from([bytes.subarray(0, end)]), new Collector()))).toBe(
        'data-dir-corrupt',
      );
    }
  });

  test('missing, repeated, exchanged and trailing frames are refused', async () => {
    const [preamble, head, tables, rows, trailer] = frames as [Buffer, Buffer, Buffer, Buffer, Buffer];
    expect(frames).toHaveLength(5);
    for (const order of [
      [preamble, head, tables, trailer],
      [preamble, head, rows, tables, trailer],
      [preamble, tables, rows, trailer],
      [preamble, head, head, tables, rows, trailer],
      [preamble, head, tables, rows, rows, trailer],
      [preamble, head, tables, rows],
      [preamble, head, tables, rows, trailer, Buffer.from([0])],
      [head, tables, rows, trailer],
      [],
    ]) {
      expect(await refusal(readSnapshot(from(order), new Collector()))).toBe('data-dir-corrupt');
    }
  });

  test('a frame that claims to be huge is refused before it is read', async () => {
    const head = Buffer.alloc(9);
    head.writeUInt32BE(0xfffffff0);
    let pulled = 0;
    const endless = async function* (): AsyncGenerator<Buffer> {
      yield frames[0]!;
      yield head;
      for (;;) {
        pulled += 1;
        yield Buffer.alloc(1024);
      }
    };
    await expect(readSnapshot(endless(), new Collector())).rejects.toThrow(/too large/);
    expect(pulled).toBe(0);
  });

  test('rows out of order or above the marker are refused, though every checksum holds', async () => {
    const refused = async (rows: Row[]): Promise<void> => {
      const snapshot = await gather(encodeSnapshot(header, from([rows])));
      expect(await refusal(readSnapshot(from(snapshot), new Collector()))).toBe('data-dir-corrupt');
    };
    await refused([core.rows[1]!, core.rows[0]!]);
    await refused([core.rows[0]!, core.rows[0]!]);
    await refused([{ ...core.rows[0]!, main: core.currentRevision + 1 }]);
  });

  test('an unknown format is told apart from damage', async () => {
    const bytes = Buffer.concat(frames);
    bytes[11] = 9;
    await expect(readSnapshot(from([bytes]), new Collector())).rejects.toMatchObject({
      code: 'data-dir-foreign',
    });
  });

  test('dropping the frames or the file, begun or not, ends the stream of rows', async () => {
    for (const steps of [0, 1, 5]) {
      let ended = 0;
      const rows: AsyncIterable<Row[]> = {
        [Symbol.asyncIterator]: () => ({
          next: async () => ({ done: false, value: [] }),
          return: async () => {
            ended += 1;
            return { done: true, value: undefined };
          },
        }),
      };
      const stream = sealSnapshotFile(encodeSnapshot({ ...header, tables: [] }, rows));
      for (let i = 0; i < Math.min(steps, 2); i++) await stream.next();
      await stream.return?.();
      expect(ended).toBeGreaterThan(0);
    }
  });
});

describe('a backup file', () => {
  test('is a multiple of 512 bytes and the sha256 of them', async () => {
    const file = Buffer.concat(await gather(sealSnapshotFile(from(frames))));
    expect(file.length % 512).toBe(32);
    const sha256 = createHash('sha256').update(file.subarray(0, -32)).digest();
    expect(file.subarray(-32)).toEqual(sha256);
    for (const size of [1, 31, 33, 512, 5000, file.length]) {
      const collector = new Collector();
      const summary = await readSnapshotFile(from(cut(file, size)), collector);
      expect(summary).toMatchObject({
        clusterId: CLUSTER,
        sizeBytes: file.length,
        sha256,
        rowCount: core.rows.length,
      });
      expect(collector.rows).toEqual(core.rows);
    }
  });

  test('is refused when cut, padded, flipped or not a backup', async () => {
    const file = Buffer.concat(await gather(sealSnapshotFile(from(frames))));
    const bodyBytes = Buffer.concat(frames).length;
    const flipped = [20, bodyBytes - 1, file.length - 40, file.length - 1].map((at) => {
      const copy = Buffer.from(file);
      copy[at]! ^= 0x10;
      return copy;
    });
    const padded = Buffer.concat([file.subarray(0, -32), Buffer.alloc(512)]);
    const wrong = [
      ...flipped,
      file.subarray(0, -1),
      file.subarray(0, -32),
      file.subarray(0, bodyBytes),
      Buffer.concat([file, Buffer.alloc(512)]),
      Buffer.concat([padded, createHash('sha256').update(padded).digest(), Buffer.alloc(1)]),
      Buffer.from('bolt'),
      Buffer.alloc(0),
    ];
    for (const bytes of wrong) {
      expect(await refusal(readSnapshotFile(from([bytes]), new Collector()))).toBe('data-dir-corrupt');
    }
  });
});

describe('installing', () => {
  const installAnd = async (ports: InstallOptions): Promise<ModelCore> => {
    const marker = await installState({ ...ports, clusterId: CLUSTER }, from(frames));
    expect(marker).toEqual(core.marker());
    const installed = new ModelCore(SEED);
    const clock = new ManualClock();
    const { store } = await recoverState({ ...ports, clock, onFatal }, installed);
    expect(store.durable).toEqual(marker);
    await store.close();
    return installed;
  };

  test('makes a directory that recovers to the same state, on a real disk', async () => {
    const root = await mkdtemp(join(tmpdir(), 'conclave-install-'));
    const ports = { name: 'state-2', levels: new ClassicLevelOpener(root), disk: new NodeDisk(root) };
    expect((await installAnd(ports)).contents()).toEqual(core.contents());
    // Once more over the finished directory: the newer snapshot replaces it.
    expect((await installAnd(ports)).contents()).toEqual(core.contents());
    await rm(root, { recursive: true });
  });

  test('from a running store, with rows still queued and compacted ones on disk', async () => {
    const levels = new MemoryLevelOpener();
    const ports = { levels, disk: NO_DISK, clock: new ManualClock(), onFatal };
    core = new ModelCore(SEED);
    const store = await createStateStore({ ...ports, name: 'state-1' }, core.takeBatch());
    for (let i = 0; i < 80; i++) core.applyNext();
    expect(core.finishCompaction().length).toBeGreaterThan(0);
    store.apply(core.takeBatch());
    const tables = [...core.tables.values()];
    const stream = store.stream(core.currentRevision);
    frames = await gather(encodeSnapshot({ clusterId: CLUSTER, marker: core.marker(), tables }, stream));
    const installed = await installAnd({ name: 'state-2', levels, disk: NO_DISK });
    expect(installed.contents()).toEqual(core.contents());
    expect(installed.leftovers.length).toBeGreaterThan(0);
    await store.close();
  });

  test('survives a power failure right after, and leaves nothing when it fails', async () => {
    const levels = new MemoryLevelOpener();
    const ports = { name: 'state-2', levels, disk: NO_DISK };
    const broken = frames.slice(0, -1);
    await expect(installState({ ...ports, clusterId: CLUSTER }, from(broken))).rejects.toMatchObject(corrupt);
    expect(levels.exists('state-2')).toBe(false);
    await installState({ ...ports, clusterId: CLUSTER }, from(frames));
    levels.crash({ integer: () => 1 });
    const installed = new ModelCore(SEED);
    await recoverState({ ...ports, clock: new ManualClock(), onFatal }, installed);
    expect(installed.contents()).toEqual(core.contents());
  });

  test('refuses another cluster, a directory in use and a failing source', async () => {
    const levels = new MemoryLevelOpener();
    const ports = { name: 'state-2', levels, disk: NO_DISK };
    await expect(installState({ ...ports, clusterId: 1 }, from(frames))).rejects.toMatchObject({
      code: 'cluster-id-mismatch',
    });
    const failing = async function* (): AsyncGenerator<Buffer> {
      yield* frames.slice(0, 2);
      throw new Error('connection lost');
    };
    await expect(installState({ ...ports, clusterId: CLUSTER }, failing())).rejects.toThrow(
      'connection lost',
    );
    expect(levels.exists('state-2')).toBe(false);
    const held = await levels.open('state-2', { create: true });
    await expect(installState({ ...ports, clusterId: CLUSTER }, from(frames))).rejects.toMatchObject({
      code: 'data-dir-in-use',
    });
    await held.close();
  });
});

async function refusal(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 'accepted',
    (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
  );
}

async function* from<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

async function gather(chunks: AsyncIterable<Buffer>): Promise<Buffer[]> {
  const all: Buffer[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return all;
}

function cut(bytes: Buffer, size: number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return pieces;
}
