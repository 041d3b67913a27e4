import { expect, test } from 'vitest';
import { Housekeeping } from '../../src/member/housekeeping.ts';
import type { LogStore } from '../../src/member/ports.ts';
import type { Replica } from '../../src/member/replica.ts';
import { ManualClock } from './manual-clock.ts';
import { TestNode } from './raft-node.ts';

const LOG_BYTES_MAX = 512 * 1024 * 1024;
const MIB = 1024 * 1024;
const SNAPSHOT_COUNT = 100;
const CATCH_UP_ENTRIES = 50;

/** A log that takes up as much as it is told to, and the index it was cut at. */
class SizedLog implements LogStore {
  readonly lastSeq = 0;
  sizeBytes = 0;
  readonly releases: number[] = [];

  async append(): Promise<void> {}
  async release({ index }: { readonly index: number }): Promise<void> {
    this.releases.push(index);
  }
  async close(): Promise<void> {}
}

class Fixture {
  readonly log = new SizedLog();
  readonly raft: TestNode;
  readonly clock = new ManualClock();
  pinnedIndex = Number.POSITIVE_INFINITY;
  readonly housekeeping: Housekeeping;
  #barrierIndex = 0;

  constructor(learners: readonly number[] = []) {
    this.raft = TestNode.leader(learners);
    const marker = (): { readonly appliedIndex: number } => ({ appliedIndex: this.#barrierIndex });
    const store = {
      get durable() {
        return marker();
      },
      barrier: async () => marker(),
    };
    const replica = { store } as unknown as Replica;
    this.housekeeping = new Housekeeping({
      node: this.raft.node,
      log: this.log,
      clock: this.clock,
      replica: () => replica,
      snapshotCount: SNAPSHOT_COUNT,
      catchUpEntries: CATCH_UP_ENTRIES,
      pinnedIndex: () => this.pinnedIndex,
      barrierSeconds: () => {},
      fatal: (error) => expect.unreachable(String(error)),
    });
  }

  /** Applies entries of so many bytes until the last has this index, then makes a barrier there. */
  async barrierAt(index: number, entryBytes = 1): Promise<void> {
    this.writtenTo(index, entryBytes);
    this.#barrierIndex = index;
    await this.housekeeping.barrier();
  }

  writtenTo(index: number, entryBytes: number): void {
    while (this.raft.node.status().commit < index) {
      this.raft.node.propose([Buffer.alloc(entryBytes)]);
      this.raft.settle();
    }
  }

  /** The learner has everything up to here. */
  acknowledged(learner: number, index: number): void {
    const { term } = this.raft.node.status();
    const reject = { reject: false, hintIndex: 0, hintTerm: 0 };
    this.raft.node.step({ type: 'append-response', from: learner, to: 1, term, index, ...reject });
    this.raft.settle();
  }

  get firstIndex(): number {
    return this.raft.node.status().firstIndex;
  }
}

test('a log within its bound is cut when enough has gathered, and keeps what slow members may need', async () => {
  const fixture = new Fixture();
  fixture.log.sizeBytes = LOG_BYTES_MAX;
  await fixture.barrierAt(SNAPSHOT_COUNT);
  expect(fixture.log.releases).toEqual([]);
  await fixture.barrierAt(200);
  expect(fixture.log.releases).toEqual([200 - CATCH_UP_ENTRIES]);
  expect(fixture.firstIndex).toBe(200 - CATCH_UP_ENTRIES + 1);
});

test('a snapshot in flight keeps what it needs of a log within its bound', async () => {
  const fixture = new Fixture();
  fixture.pinnedIndex = 120;
  await fixture.barrierAt(300);
  expect(fixture.log.releases).toEqual([120]);
});

test('a log beyond 512 MiB is cut down to the barrier, whoever may need it', async () => {
  const fixture = new Fixture();
  fixture.pinnedIndex = 5;
  fixture.log.sizeBytes = LOG_BYTES_MAX + 1;
  await fixture.barrierAt(20);
  expect(fixture.log.releases).toEqual([20]);
  expect(fixture.firstIndex).toBe(21);
  // Nothing was added: there is nothing to cut.
  await fixture.barrierAt(20);
  expect(fixture.log.releases).toEqual([20]);
});

test('a log of few but large entries is cut by their bytes, and keeps 16 MiB of them', async () => {
  const fixture = new Fixture();
  await fixture.barrierAt(30, MIB);
  expect(fixture.log.releases).toEqual([]);
  await fixture.barrierAt(40, MIB);
  // Each takes a little more than its data: 15 of them fit.
  expect(fixture.log.releases).toEqual([40 - 15]);
  fixture.pinnedIndex = 50;
  await fixture.barrierAt(80, MIB);
  expect(fixture.log.releases).toEqual([40 - 15, 50]);
});

test('what is above the barrier stays, however large', async () => {
  const fixture = new Fixture();
  await fixture.barrierAt(10, MIB);
  fixture.writtenTo(60, MIB);
  await fixture.housekeeping.barrier();
  expect(fixture.log.releases).toEqual([10]);
});

test('entries are kept for a member that comes forward, and not for one that stands still or cannot be reached', async () => {
  const fixture = new Fixture([2]);
  fixture.acknowledged(2, 3);
  await fixture.barrierAt(300);
  expect(fixture.log.releases).toEqual([]);
  fixture.acknowledged(2, 120);
  await fixture.barrierAt(400);
  expect(fixture.log.releases).toEqual([120]);
  fixture.clock.advance(29_999);
  await fixture.barrierAt(500);
  expect(fixture.log.releases).toEqual([120]);
  fixture.clock.advance(1);
  await fixture.barrierAt(600);
  expect(fixture.log.releases).toEqual([120, 600 - CATCH_UP_ENTRIES]);

  fixture.writtenTo(680, 1);
  fixture.acknowledged(2, 680);
  await fixture.barrierAt(800);
  expect(fixture.firstIndex).toBe(681);
  fixture.raft.node.reportUnreachable(2);
  await fixture.barrierAt(900);
  expect(fixture.firstIndex).toBe(900 - CATCH_UP_ENTRIES + 1);
});

test('no more than 128 MiB are kept for a member that comes forward, or for a snapshot', async () => {
  const fixture = new Fixture([2]);
  fixture.acknowledged(2, 2);
  fixture.pinnedIndex = 2;
  await fixture.barrierAt(140, MIB);
  expect(fixture.log.releases).toEqual([140 - 127]);
});
