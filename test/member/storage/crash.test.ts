import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Row } from '../../../src/core/mvcc/row.ts';
import type { StateMarker, TableRow } from '../../../src/core/state.ts';
import { MemoryLevelOpener } from '../../../src/member/storage/memory-level.ts';
import { recoverState } from '../../../src/member/storage/recovery.ts';
import { compareMarkers } from '../../../src/member/storage/schema.ts';
import {
  createStateStore,
  type LevelStateStore,
  type RowStream,
  type StateStoreOptions,
} from '../../../src/member/storage/state-store.ts';
import { ManualClock, ModelCore, NO_DISK } from './model-core.ts';
import { seededRandom } from './seeded-random.ts';

type Step =
  | { readonly type: 'apply'; readonly entries: number; readonly wait: boolean }
  | { readonly type: 'finish-compaction'; readonly applyFirst: boolean }
  | { readonly type: 'barrier'; readonly wait: boolean }
  | { readonly type: 'collect'; readonly rounds: number }
  | { readonly type: 'stream'; readonly slices: number }
  | { readonly type: 'end-stream' }
  | { readonly type: 'restart'; readonly power: boolean; readonly turns: number; readonly seed: number };

const STEPS: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('apply' as const),
      entries: fc.integer({ min: 1, max: 6 }),
      wait: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant('finish-compaction' as const), applyFirst: fc.boolean() }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('barrier' as const), wait: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant('collect' as const), rounds: fc.integer({ min: 1, max: 60 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('stream' as const), slices: fc.integer({ min: 0, max: 2 }) }),
  },
  { weight: 2, arbitrary: fc.constant({ type: 'end-stream' as const }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('restart' as const),
      power: fc.boolean(),
      turns: fc.integer({ min: 0, max: 30 }),
      seed: fc.nat(),
    }),
  },
);

interface LifeOptions {
  readonly seed: number;
  readonly writeBufferBytes: number;
  readonly garbageBatchMax: number;
}

/** One member's state over many lives. */
class Life {
  readonly #seed: number;
  readonly #garbageBatchMax: number;
  readonly #levels: MemoryLevelOpener;
  #clock = new ManualClock();
  #core: ModelCore;
  #store: LevelStateStore | null = null;
  #stream: Streamed | null = null;
  /** The newest barrier that was reported durable, over all lives. */
  #promised: StateMarker | null = null;
  fatal: Error[] = [];
  restarts = 0;

  constructor({ seed, writeBufferBytes, garbageBatchMax }: LifeOptions) {
    this.#seed = seed;
    this.#garbageBatchMax = garbageBatchMax;
    this.#core = new ModelCore(seed);
    this.#levels = new MemoryLevelOpener({ writeBufferBytes });
  }

  get #open(): LevelStateStore {
    expect(this.#store).not.toBeNull();
    return this.#store!;
  }

  async start(): Promise<void> {
    const batch = this.#core.takeBatch();
    this.#store = await createStateStore(this.#options(), batch);
    this.#promised = batch.marker;
  }

  async take(step: Step): Promise<void> {
    const store = this.#open;
    switch (step.type) {
      case 'apply':
        for (let i = 0; i < step.entries; i++) this.#core.applyNext();
        store.apply(this.#core.takeBatch());
        if (step.wait) await store.drained();
        return;
      case 'finish-compaction': {
        const dropped = this.#core.finishCompaction();
        if (step.applyFirst) store.apply(this.#core.takeBatch());
        store.discard(dropped);
        if (!step.applyFirst) store.apply(this.#core.takeBatch());
        return;
      }
      case 'barrier': {
        const barrier = this.#barrier(store);
        if (step.wait) await barrier;
        return;
      }
      case 'collect':
        for (let i = 0; i < step.rounds; i++) {
          await turns(20);
          this.#clock.fire();
        }
        return;
      case 'stream':
        this.#stream ??= this.#openStream(store);
        for (let i = 0; i < step.slices; i++) await readSlice(this.#stream);
        return;
      case 'end-stream':
        if (this.#stream !== null) await this.#verifyStream(this.#stream);
        this.#stream = null;
        return;
      case 'restart':
        await turns(step.turns);
        this.#end(step);
        await this.recover();
    }
  }

  async #barrier(store: LevelStateStore): Promise<void> {
    try {
      const marker = await store.barrier();
      if (store === this.#store) this.#promised = marker;
    } catch (error) {
      // The life that asked for it has ended.
      if (store === this.#store) throw error;
    }
  }

  /** What a snapshot captures: the state of this moment, whose rows are read later. */
  #openStream(store: LevelStateStore): Streamed {
    const tables = [...this.#core.tables.values()];
    const rows = store.stream(this.#core.currentRevision);
    return { marker: this.#core.marker(), tables, rows, read: [] };
  }

  /** Whatever was collected meanwhile, the receiver must arrive at the captured state. */
  async #verifyStream(streamed: Streamed): Promise<void> {
    while (await readSlice(streamed));
    const receiver = new ModelCore(this.#seed);
    for (const row of streamed.read) receiver.row(row);
    for (const row of streamed.tables) receiver.table(row);
    receiver.finish(streamed.marker);
    expect(receiver.contents()).toEqual(ModelCore.at(this.#seed, streamed.marker).contents());
  }

  #end({ power, seed }: { readonly power: boolean; readonly seed: number }): void {
    this.#store = null;
    this.#stream = null;
    this.restarts += 1;
    if (power) this.#levels.crash(seededRandom(seed), seededRandom(seed + 1));
    else this.#levels.kill();
  }

  /** Recovery must verify, return to a promised barrier or a later one, and give exactly what a replay gives. */
  async recover(): Promise<void> {
    this.#clock = new ManualClock();
    this.#core = new ModelCore(this.#seed);
    const { store, marker, leftoverRows } = await recoverState(this.#options(), this.#core);
    expect(compareMarkers(marker, this.#promised!)).toBeGreaterThanOrEqual(0);
    expect(this.#core.contents()).toEqual(ModelCore.at(this.#seed, marker).contents());
    expect(this.#core.leftovers.length).toBe(leftoverRows);
    this.#promised = marker;
    this.#store = store;
    store.discard(this.#core.leftovers);
  }

  #options(): StateStoreOptions {
    const clock = this.#clock;
    const report = (error: Error): void => {
      if (this.#clock === clock && this.#store !== null) this.fatal.push(error);
    };
    return {
      name: 'state-1',
      levels: this.#levels,
      disk: { ...NO_DISK, syncDirectory: async (path) => this.#levels.directorySynced(path) },
      clock,
      onFatal: report,
      garbageBatchMax: this.#garbageBatchMax,
    };
  }
}

interface Streamed {
  readonly marker: StateMarker;
  readonly tables: readonly TableRow[];
  readonly rows: RowStream;
  readonly read: Row[];
}

async function readSlice({ rows, read }: Streamed): Promise<boolean> {
  const slice = await rows.next();
  if (slice.done === true) return false;
  read.push(...slice.value);
  return true;
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}

test('whatever a power failure takes, recovery returns exactly the state at a durable barrier', async () => {
  let restarts = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        seed: fc.nat(),
        writeBufferBytes: fc.integer({ min: 100, max: 3_000 }),
        garbageBatchMax: fc.integer({ min: 1, max: 5 }),
      }),
      fc.array(STEPS, { minLength: 10, maxLength: 100 }),
      async (options, steps) => {
        const life = new Life(options);
        await life.start();
        for (const step of steps) await life.take(step);
        await life.take({ type: 'restart', power: true, turns: 0, seed: options.seed });
        expect(life.fatal).toEqual([]);
        restarts += life.restarts;
      },
    ),
    { numRuns: 400 },
  );
  expect(restarts).toBeGreaterThan(400);
});

test('deletes reach the disk oldest first: no power failure leaves an old row without its tombstone', async () => {
  for (let seed = 0; seed < 40; seed++) {
    const life = new Life({ seed, writeBufferBytes: 1_000_000, garbageBatchMax: 1 });
    await life.start();
    await life.take({ type: 'apply', entries: 60, wait: true });
    await life.take({ type: 'finish-compaction', applyFirst: false });
    await life.take({ type: 'barrier', wait: true });
    await life.take({ type: 'collect', rounds: 5 + 2 * seed });
    await life.take({ type: 'restart', power: true, turns: 0, seed });
    expect(life.fatal).toEqual([]);
  }
});
