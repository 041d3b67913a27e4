import { expect, test } from 'vitest';
import { StoreError } from '../../src/lib/errors.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { AutoCompaction, type AutoCompactionPolicy } from '../../src/member/auto-compaction.ts';
import { ManualClock } from './manual-clock.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** A member whose revision grows by one a minute. */
class Subject {
  readonly clock = new ManualClock();
  readonly compacted: { readonly atMinute: number; readonly revision: number }[] = [];
  leader = true;
  /** The next compaction fails so. */
  failure: StoreError | null = null;
  readonly #compaction: AutoCompaction;

  constructor(policy: AutoCompactionPolicy | null) {
    this.#compaction = new AutoCompaction({
      policy,
      clock: this.clock,
      logger: silentLogger,
      isLeader: () => this.leader,
      currentRevision: () => this.#minute + 1,
      compact: async (revision) => {
        this.compacted.push({ atMinute: this.#minute, revision });
        const failure = this.failure;
        this.failure = null;
        if (failure !== null) throw failure;
      },
    });
  }

  get #minute(): number {
    return Math.floor(this.clock.nowMs() / MINUTE_MS);
  }

  async pass(minutes: number): Promise<void> {
    for (let i = 0; i < minutes; i++) {
      this.#compaction.tick();
      await Promise.resolve();
      await Promise.resolve();
      await Promise.resolve();
      this.clock.advance(MINUTE_MS);
    }
    this.#compaction.tick();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('without a policy nothing is compacted', async () => {
  const subject = new Subject(null);
  await subject.pass(1_000);
  expect(subject.compacted).toEqual([]);
});

test('by revision: every five minutes, so many below the current one', async () => {
  const subject = new Subject({ mode: 'revision', revisions: 8 });
  await subject.pass(21);
  expect(subject.compacted).toEqual([
    { atMinute: 10, revision: 3 },
    { atMinute: 15, revision: 8 },
    { atMinute: 20, revision: 13 },
  ]);
});

test('by time below an hour: after a whole period, then once a period', async () => {
  const subject = new Subject({ mode: 'periodic', periodMs: 20 * MINUTE_MS });
  await subject.pass(61);
  expect(subject.compacted.map(({ atMinute }) => atMinute)).toEqual([20, 40, 60]);
  for (const { atMinute, revision } of subject.compacted) {
    const ageMinutes = atMinute + 1 - revision;
    expect(ageMinutes).toBeGreaterThanOrEqual(20);
    expect(ageMinutes).toBeLessThanOrEqual(22);
  }
});

test('by time above an hour: after a whole period, then once an hour', async () => {
  const subject = new Subject({ mode: 'periodic', periodMs: 3 * HOUR_MS });
  await subject.pass(5 * 60 + 1);
  expect(subject.compacted.map(({ atMinute }) => atMinute)).toEqual([180, 240, 300]);
  for (const { atMinute, revision } of subject.compacted) {
    const ageMinutes = atMinute + 1 - revision;
    expect(ageMinutes).toBeGreaterThanOrEqual(180);
    expect(ageMinutes).toBeLessThanOrEqual(186);
  }
});

test('only the leader compacts, and a new one knows the past', async () => {
  const subject = new Subject({ mode: 'periodic', periodMs: 20 * MINUTE_MS });
  subject.leader = false;
  await subject.pass(50);
  expect(subject.compacted).toEqual([]);
  subject.leader = true;
  await subject.pass(2);
  expect(subject.compacted).toHaveLength(1);
  expect(subject.compacted[0]!.revision).toBeGreaterThan(20);
});

test('a failure is tried again at the next note; what somebody compacted already is done', async () => {
  const subject = new Subject({ mode: 'periodic', periodMs: 20 * MINUTE_MS });
  subject.failure = new StoreError('timeout');
  await subject.pass(23);
  expect(subject.compacted.map(({ atMinute }) => atMinute)).toEqual([20, 22]);
  subject.failure = new StoreError('compacted');
  await subject.pass(20);
  expect(subject.compacted.map(({ atMinute }) => atMinute)).toEqual([20, 22, 42]);
});

test('a member that slept compacts once, not for every time it missed', async () => {
  const subject = new Subject({ mode: 'revision', revisions: 1 });
  await subject.pass(6);
  subject.clock.advance(10 * HOUR_MS);
  await subject.pass(4);
  expect(subject.compacted).toHaveLength(2);
});
