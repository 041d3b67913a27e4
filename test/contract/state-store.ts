import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Row } from '../../src/core/mvcc/row.ts';
import type { StateBatch, StateMarker } from '../../src/core/state.ts';
import { AssertionError } from '../../src/lib/assert.ts';
import type { Disk, Level, LevelOpener } from '../../src/member/ports.ts';
import { type RecoveredState, recoverState } from '../../src/member/storage/recovery.ts';
import { ALL_BARRIERS, ALL_MARKERS, ALL_TABLE_ROWS, type KeyRange } from '../../src/member/storage/schema.ts';
import {
  createStateStore,
  type LevelStateStore,
  type StateStoreOptions,
} from '../../src/member/storage/state-store.ts';
import { ManualClock, ModelCore } from '../member/storage/model-core.ts';

const SEED = 4;
const POLL = { interval: 2, timeout: 60_000 };

/** The two lower ports, on an empty root. */
export interface StatePorts {
  readonly levels: LevelOpener;
  readonly disk: Pick<Disk, 'makeDirectory' | 'syncDirectory' | 'remove'>;
  readonly cleanUp: () => Promise<void>;
}

/** What the state store does on every implementation of its lower ports. */
export function stateStoreContract(name: string, make: () => Promise<StatePorts>): void {
  describe(`state store contract: ${name}`, () => {
    let ports: StatePorts;
    let clock: ManualClock;
    let core: ModelCore;
    let store: LevelStateStore;
    let fatal: Error[];
    let level: Level;

    const options = (): StateStoreOptions => ({
      name: 'state-1',
      levels: {
        open: async (path, how) => {
          level = await ports.levels.open(path, how);
          return level;
        },
        destroy: (path) => ports.levels.destroy(path),
      },
      disk: ports.disk,
      clock,
      onFatal: (error) => fatal.push(error),
      garbageBatchMax: 7,
    });
    const apply = (entries: number): StateMarker => {
      for (let i = 0; i < entries; i++) core.applyNext();
      const batch = core.takeBatch();
      store.apply(batch);
      return batch.marker;
    };
    const reopen = async (): Promise<RecoveredState> => {
      await store.close();
      core = new ModelCore(SEED);
      const recovered = await recoverState(options(), core);
      store = recovered.store;
      return recovered;
    };
    const collectAll = async (): Promise<void> => {
      // The collector rests on the clock between batches; without work it waits for nothing.
      await vi.waitFor(async () => {
        clock.fire();
        expect(await leftOnDisk(store, core)).toEqual([]);
      }, POLL);
    };
    const readAll = async (rows: AsyncIterable<readonly Row[]>): Promise<Row[]> => {
      const found: Row[] = [];
      for await (const slice of rows) found.push(...slice);
      return found;
    };

    beforeEach(async () => {
      ports = await make();
      clock = new ManualClock();
      core = new ModelCore(SEED);
      fatal = [];
      store = await createStateStore(options(), core.takeBatch());
    });
    afterEach(async () => {
      await store.close();
      await ports.cleanUp();
      expect(fatal).toEqual([]);
    });

    test('a new store recovers to what it was made with', async () => {
      const { marker, newestAppliedIndex, leftoverRows } = await reopen();
      expect(marker).toEqual(new ModelCore(SEED).marker());
      expect([newestAppliedIndex, leftoverRows]).toEqual([0, 0]);
      expect(store.durable).toEqual(marker);
    });

    test('rows are seen at once, and the same once they are written', async () => {
      apply(20);
      expect(store.pendingBytes).toBeGreaterThan(0);
      const queued = core.rows.map((row) => store.row(row.main, row.sub));
      expect(queued).toEqual(core.rows);
      await store.drained();
      expect(store.pendingBytes).toBe(0);
      expect(core.rows.map((row) => store.row(row.main, row.sub))).toEqual(core.rows);
      expect(store.row(core.currentRevision + 1, 0)).toBeUndefined();
      expect(store.row(core.currentRevision, 99)).toBeUndefined();
    });

    test('a barrier covers everything applied before it, and a restart returns there', async () => {
      apply(10);
      const marker = apply(10);
      expect(await store.barrier()).toEqual(marker);
      expect(store.durable).toEqual(marker);
      const before = core.contents();
      const later = apply(10);
      const recovered = await reopen();
      expect(recovered.marker).toEqual(marker);
      expect(recovered.newestAppliedIndex).toBe(later.appliedIndex);
      expect(core.contents()).toEqual(before);
    });

    test('what lay above the barrier is redone in other batches and recovers the same', async () => {
      apply(10);
      await store.barrier();
      apply(30);
      await reopen();
      for (let i = 0; i < 25; i++) apply(1);
      const marker = await store.barrier();
      expect((await reopen()).marker).toEqual(marker);
      expect(core.contents()).toEqual(ModelCore.at(SEED, marker).contents());
    });

    test('barriers asked for together are shared, and without news none is written', async () => {
      apply(5);
      const first = store.barrier();
      const newest = apply(5);
      const [, second, third] = await Promise.all([first, store.barrier(), store.barrier()]);
      expect(second).toEqual(newest);
      expect(third).toBe(second);
      expect(await store.barrier()).toBe(store.durable);
    });

    test('a stream gives all rows up to its revision in order, though some are still queued', async () => {
      apply(40);
      await store.barrier();
      apply(40);
      const revision = core.currentRevision - 5;
      const expected = core.rows.filter((row) => row.main <= revision);
      const stream = store.stream(revision);
      apply(10);
      expect(await readAll(stream)).toEqual(expected);
    });

    test('dropped rows go only after a barrier that reflects the compaction, and not under a stream', async () => {
      apply(60);
      const stream = store.stream(core.currentRevision);
      const physical = core.rows.length;
      const dropped = core.finishCompaction();
      expect(dropped.length).toBeGreaterThan(7);
      store.discard(dropped);
      apply(10);
      await store.drained();
      clock.fire();
      expect(store.row(dropped[0]!.main, dropped[0]!.sub)).toEqual(dropped[0]);
      await store.barrier();
      clock.fire();
      expect(await readAll(stream)).toHaveLength(physical);
      await collectAll();
      expect(store.row(dropped[0]!.main, dropped[0]!.sub)).toBeUndefined();
    });

    test('after a restart nothing is collected until the leftovers are handed over', async () => {
      apply(60);
      core.finishCompaction();
      store.apply(core.takeBatch());
      await store.barrier();
      const { leftoverRows } = await reopen();
      expect(leftoverRows).toBe(core.leftovers.length);
      expect(leftoverRows).toBeGreaterThan(0);
      apply(10);
      await store.barrier();
      clock.fire();
      const [first] = core.leftovers;
      expect(store.row(first!.main, first!.sub)).toEqual(first);
      store.discard(core.leftovers);
      apply(1);
      await store.barrier();
      await collectAll();
      expect(store.row(first!.main, first!.sub)).toBeUndefined();
    });

    test('two barriers are kept, with the newest version of each small-table row and no removed ones', async () => {
      for (let i = 0; i < 6; i++) {
        apply(15);
        await store.barrier();
      }
      // Two more without changes, so that both kept barriers need the same.
      for (let i = 1; i <= 2; i++) {
        store.apply({
          rows: [],
          tables: [],
          marker: { ...core.marker(), appliedIndex: core.appliedIndex + i },
        });
        await store.barrier();
      }
      await vi.waitFor(async () => {
        clock.fire();
        expect(await countKeys(level, ALL_BARRIERS)).toBe(2);
        expect(await countKeys(level, ALL_MARKERS)).toBe(2);
        expect(await countKeys(level, ALL_TABLE_ROWS)).toBe(core.tables.size);
      }, POLL);
    });

    test('defragmenting changes no row', async () => {
      apply(50);
      await store.barrier();
      await store.defragment();
      expect(await store.sizeBytes()).toBeGreaterThan(0);
      expect(await readAll(store.stream(core.currentRevision))).toEqual(core.rows);
    });

    test('batches that go back, repeat an index or leave gaps in a revision are bugs', async () => {
      const marker = apply(20);
      const batch = (rows: readonly Row[], changes: Partial<StateMarker>): StateBatch => ({
        rows,
        tables: [],
        marker: { ...marker, ...changes },
      });
      const row: Row = { ...core.rows.at(-1)!, main: marker.currentRevision + 1, sub: 0 };
      const next = { appliedIndex: marker.appliedIndex + 1, currentRevision: row.main };
      expect(() => store.apply(batch([], { appliedIndex: 1 }))).toThrow(AssertionError);
      expect(() => store.apply(batch([row], { currentRevision: row.main }))).toThrow(AssertionError);
      expect(() => store.apply(batch([{ ...row, sub: 1 }], next))).toThrow(AssertionError);
      expect(() => store.apply(batch([{ ...row, main: 1 }], next))).toThrow(AssertionError);
      expect(() => store.apply(batch([row], { ...next, currentRevision: 1 }))).toThrow(AssertionError);
    });

    test('a closed store gives nothing', async () => {
      apply(5);
      const stream = store.stream(core.currentRevision);
      await store.close();
      expect(() => store.row(2, 0)).toThrow(expect.objectContaining({ code: 'stopped' }));
      await expect(stream.next()).rejects.toMatchObject({ code: 'stopped' });
      await expect(store.sizeBytes()).rejects.toMatchObject({ code: 'stopped' });
    });
  });
}

/** Rows that are on disk although the core no longer counts them. */
async function leftOnDisk(store: LevelStateStore, core: ModelCore): Promise<string[]> {
  const counted = new Set(core.rows.map((row) => `${row.main}.${row.sub}`));
  const left: string[] = [];
  for await (const slice of store.stream(core.currentRevision)) {
    for (const row of slice) if (!counted.has(`${row.main}.${row.sub}`)) left.push(`${row.main}.${row.sub}`);
  }
  return left;
}

async function countKeys(level: Level, range: KeyRange): Promise<number> {
  return (await level.scan({ ...range, limit: 10_000, keysOnly: true })).length;
}
