import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { StateMarker } from '../../../src/core/state.ts';
import type { LevelOp, LevelOpener } from '../../../src/member/ports.ts';
import { NodeDisk } from '../../../src/member/storage/disk.ts';
import { ClassicLevelOpener } from '../../../src/member/storage/level.ts';
import { MemoryDisk } from '../../../src/member/storage/memory-disk.ts';
import { type LevelFault, MemoryLevelOpener } from '../../../src/member/storage/memory-level.ts';
import { recoverState } from '../../../src/member/storage/recovery.ts';
import {
  barrierKey,
  compareMarkers,
  encodeFormat,
  FORMAT_KEY,
  markerKey,
  rowKey,
  tableKey,
} from '../../../src/member/storage/schema.ts';
import { createStateStore, type LevelStateStore } from '../../../src/member/storage/state-store.ts';
import { stateStoreContract } from '../../contract/state-store.ts';
import { ManualClock, ModelCore, NO_DISK } from './model-core.ts';

stateStoreContract('classic-level', async () => {
  const root = await mkdtemp(join(tmpdir(), 'conclave-state-'));
  return {
    levels: new ClassicLevelOpener(root),
    disk: new NodeDisk(root),
    cleanUp: () => rm(root, { recursive: true, force: true }),
  };
});
stateStoreContract('memory', async () => ({
  levels: new MemoryLevelOpener(),
  disk: new MemoryDisk(),
  cleanUp: async () => {},
}));

const NAME = 'state-1';
const storage = { code: 'storage' };

let levels: MemoryLevelOpener;
let core: ModelCore;
let store: LevelStateStore;
/** Of the last batch. */
let applied: StateMarker;
let fatal: Error[];

beforeEach(async () => {
  levels = new MemoryLevelOpener();
  core = new ModelCore(4);
  fatal = [];
  store = await createStateStore(options(), core.takeBatch());
});

function options() {
  return { name: NAME, levels, disk: NO_DISK, clock: new ManualClock(), onFatal: fatal.push.bind(fatal) };
}
function apply(entries: number): void {
  for (let i = 0; i < entries; i++) core.applyNext();
  const batch = core.takeBatch();
  applied = batch.marker;
  store.apply(batch);
}

describe('applied batches', () => {
  const GATHERED_BYTES_MAX = 256 * 1024;
  let clock: ManualClock;
  let written: LevelOp[][];

  beforeEach(async () => {
    clock = new ManualClock();
    written = [];
    await store.close();
    core = new ModelCore(4);
    const opener = { ...options(), levels: countingOpener(written), clock };
    store = await createStateStore({ ...opener, name: 'state-2' }, core.takeBatch());
    written.length = 0;
  });

  test('are written as one when their time is over, with one marker', async () => {
    for (let i = 0; i < 3; i++) apply(3);
    expect(clock.waiting).toBe(1);
    await Promise.resolve();
    expect(written).toEqual([]);
    clock.fire();
    await store.drained();
    expect(written).toHaveLength(1);
    const markers = written[0]!.filter(({ key }) => key[0] === markerKey(applied)[0]);
    expect(markers.map(({ key }) => key)).toEqual([markerKey(applied)]);
    for (const { main, sub } of core.rows) expect(store.row(main, sub)).toBeDefined();
  });

  test('do not wait once they are large', async () => {
    let heldBytes = 0;
    do {
      heldBytes = store.pendingBytes;
      apply(20);
    } while (clock.waiting > 0 && heldBytes < GATHERED_BYTES_MAX);
    expect(heldBytes).toBeGreaterThan(GATHERED_BYTES_MAX / 2);
    expect(heldBytes).toBeLessThan(GATHERED_BYTES_MAX);
    await store.drained();
    expect(written).toHaveLength(1);
  });

  test('do not wait for whoever asks for a barrier, a stream or the end', async () => {
    apply(3);
    await store.barrier();
    expect(store.durable).toEqual(applied);
    apply(3);
    for await (const _ of store.stream(core.currentRevision));
    const before = written.length;
    apply(3);
    await store.close();
    expect(written).toHaveLength(before + 1);
    expect(clock.waiting).toBe(0);
  });
});

describe('the first storage error stops everything', () => {
  test.each<LevelFault>(['no-space', 'flush-error', 'sync-error'])(
    'a barrier fails on %s and reports it once; nothing is written after it',
    async (fault) => {
      apply(5);
      await store.barrier();
      const durable = store.durable;
      apply(5);
      await store.drained();
      levels.inject(NAME, fault);
      await expect(store.barrier()).rejects.toMatchObject(storage);
      expect(store.durable).toEqual(durable);
      apply(5);
      expect(store.pendingBytes).toBe(0);
      await expect(store.drained()).rejects.toMatchObject(storage);
      await expect(store.barrier()).rejects.toMatchObject(storage);
      expect(() => store.row(2, 0)).toThrow(expect.objectContaining(storage));
      expect(fatal).toEqual([expect.objectContaining(storage)]);
      await store.close();
      const again = new ModelCore(4);
      // The barrier whose sync failed may be found on the disk, or may not: it was not promised.
      const { marker } = await recoverState(options(), again);
      expect(compareMarkers(marker, durable)).toBeGreaterThanOrEqual(0);
      if (fault !== 'sync-error') expect(marker).toEqual(durable);
    },
  );

  test('a failed background write rejects whoever waits', async () => {
    levels.inject(NAME, 'no-space');
    apply(3);
    apply(3);
    const waiting = [store.drained(), store.barrier()];
    for (const wait of waiting) await expect(wait).rejects.toMatchObject(storage);
    expect(fatal).toHaveLength(1);
  });

  test('an unreadable row, in a point read or a stream', async () => {
    apply(20);
    await store.drained();
    levels.inject(NAME, 'read-error');
    await expect(store.stream(core.currentRevision).next()).rejects.toMatchObject(storage);
    expect(() => store.row(2, 0)).toThrow(expect.objectContaining(storage));
    expect(fatal).toHaveLength(1);
  });

  test('a rotten row is an error, never an answer', async () => {
    apply(20);
    await store.drained();
    const [row] = core.rows;
    levels.rot(NAME, rowKey(row!.main, row!.sub), flipLastBit);
    expect(() => store.row(row!.main, row!.sub)).toThrow(expect.objectContaining(storage));
    expect(fatal).toEqual([expect.objectContaining(storage)]);
  });

  test('a directory sync that fails leaves the barrier unreported', async () => {
    const durable = store.durable;
    await store.close();
    const failing = { ...NO_DISK, syncDirectory: async () => Promise.reject(new Error('EIO')) };
    core = new ModelCore(4);
    store = (await recoverState({ ...options(), disk: failing }, core)).store;
    apply(5);
    await expect(store.barrier()).rejects.toThrow('EIO');
    expect(store.durable).toEqual(durable);
    expect(fatal).toHaveLength(1);
  });
});

describe('recovery refuses', () => {
  beforeEach(async () => {
    apply(40);
    await store.barrier();
    apply(5);
    await store.close();
  });
  const refuses = async (code: string): Promise<void> => {
    await expect(recoverState(options(), new ModelCore(4))).rejects.toMatchObject({ code });
    // The refused directory is not left open.
    await expect(recoverState(options(), new ModelCore(4))).rejects.toMatchObject({ code });
  };

  test('a rotten row', async () => {
    levels.rot(NAME, rowKey(core.rows[3]!.main, core.rows[3]!.sub), flipLastBit);
    await refuses('data-dir-corrupt');
  });

  test('a missing row', async () => {
    levels.rot(NAME, rowKey(core.rows[3]!.main, core.rows[3]!.sub), () => undefined);
    await refuses('data-dir-corrupt');
  });

  test('a rotten or missing small-table row', async () => {
    const [row] = core.tables.values();
    // Written by the one batch of forty entries or by the one of five.
    const key = [40, 45]
      .map((appliedIndex) => tableKey({ ...row!, appliedIndex }))
      .find((candidate) => isStored(candidate));
    levels.rot(NAME, key!, flipLastBit);
    await refuses('data-dir-corrupt');
  });

  test('a rotten newest barrier, although an older one is whole', async () => {
    levels.rot(NAME, barrierKey(store.durable), flipLastBit);
    await refuses('data-dir-corrupt');
  });

  test('a store without barriers', async () => {
    levels.rot(NAME, barrierKey(store.durable), () => undefined);
    levels.rot(NAME, barrierKey({ appliedIndex: 0, hashCompactRevision: 0 }), () => undefined);
    await refuses('data-dir-corrupt');
  });

  test('a missing or damaged format record', async () => {
    levels.rot(NAME, FORMAT_KEY, () => undefined);
    await refuses('data-dir-corrupt');
  });

  test('a directory that does not exist', async () => {
    await levels.destroy(NAME);
    await refuses('storage');
  });

  test('but not a marker above the barrier that vanished, nor rotten rows above it', async () => {
    levels.rot(NAME, markerKey(core.marker()), () => undefined);
    const above = core.rows.findLast((row) => row.main > store.durable.currentRevision);
    levels.rot(NAME, rowKey(above!.main, above!.sub), flipLastBit);
    const again = new ModelCore(4);
    const { marker, store: recovered } = await recoverState(options(), again);
    expect(marker.appliedIndex).toBe(40);
    // Redoing the log replaces what was lost.
    store = recovered;
    core = again;
    apply(5);
    expect(await store.barrier()).toEqual(core.marker());
    await store.close();
    expect((await recoverState(options(), new ModelCore(4))).marker.appliedIndex).toBe(45);
  });

  function isStored(key: Buffer): boolean {
    try {
      levels.rot(NAME, key, (value) => value);
      return true;
    } catch {
      return false;
    }
  }
});

test('a store is created once', async () => {
  await store.close();
  await expect(createStateStore(options(), core.takeBatch())).rejects.toMatchObject(storage);
  expect(encodeFormat()).toHaveLength(8);
});

/** Notes the batches that reach the level. */
function countingOpener(written: LevelOp[][]): LevelOpener {
  const memory = new MemoryLevelOpener();
  return {
    open: async (path, how) => {
      const level = await memory.open(path, how);
      const batch = level.batch.bind(level);
      level.batch = (ops, how) => {
        written.push([...ops]);
        return batch(ops, how);
      };
      return level;
    },
    destroy: (path) => memory.destroy(path),
  };
}

function flipLastBit(value: Buffer): Buffer {
  value[value.length - 1]! ^= 1;
  return value;
}
