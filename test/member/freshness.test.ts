import { describe, expect, test } from 'vitest';
import { Freshness, UPTIME_STEP_MS, UPTIME_STEP_MS_MAX } from '../../src/member/freshness.ts';
import { Reads } from '../../src/member/reads.ts';
import { ManualClock } from './manual-clock.ts';
import { TestNode } from './raft-node.ts';

const INTERVAL_MS = 100;
const RETRY_MS = 500;
const DEMAND_MS = 10_000;
const LEADER = 2;

/** A follower whose rounds the test answers. */
class Fixture {
  readonly clock: ManualClock;
  readonly raft = TestNode.follower();
  readonly reads: Reads;
  readonly freshness: Freshness;
  applied = 10;

  constructor(clock = new ManualClock()) {
    this.clock = clock;
    this.freshness = new Freshness({
      clock,
      probe: () => this.reads.probe(),
      intervalMs: INTERVAL_MS,
    });
    this.reads = new Reads({
      node: this.raft.node,
      clock: this.clock,
      freshness: this.freshness,
      firstContext: 1,
      retryMs: RETRY_MS,
      timeoutMs: 5_000,
      applied: () => this.applied,
      roundEnded: () => {},
      schedule: () => {},
    });
  }

  /** The age without what every age has more than its measure. */
  get age(): number {
    return this.freshness.ageMs() - UPTIME_STEP_MS;
  }

  /** A turn of the loop. @returns the contexts of the rounds that were asked in it */
  turn(): number[] {
    this.reads.flush();
    this.raft.settle();
    for (const state of this.raft.readStates.splice(0)) this.reads.readState(state);
    const sent = this.raft.messages.splice(0);
    return sent.flatMap((message) => (message.type === 'read-index' ? [message.context] : []));
  }

  /** Asks for one round. */
  ask(): number {
    this.reads.probe();
    const [context] = this.turn();
    if (context === undefined) throw new Error('no round was asked');
    return context;
  }

  answer(context: number, index = this.applied): void {
    const { term } = this.raft.node.leadership;
    this.raft.node.step({ type: 'read-index-response', from: LEADER, to: 1, term, context, index });
    this.turn();
  }

  apply(index: number): void {
    this.applied = index;
    this.reads.appliedTo(index);
  }
}

describe('the age', () => {
  test('is unknown before anything is proven', () => {
    const fixture = new Fixture();
    expect(fixture.freshness.ageMs()).toBe(Number.POSITIVE_INFINITY);
    expect(fixture.freshness.proof).toBeNull();
    const context = fixture.ask();
    expect(fixture.freshness.proof).toBeNull();
    fixture.answer(context);
    expect(fixture.age).toBe(0);
  });

  test('counts from when the round was asked, not from when it was answered or applied', () => {
    const fixture = new Fixture();
    const context = fixture.ask();
    fixture.clock.advance(70);
    fixture.answer(context, 12);
    expect(fixture.freshness.ageMs()).toBe(Number.POSITIVE_INFINITY);
    fixture.clock.advance(30);
    fixture.apply(11);
    expect(fixture.freshness.ageMs()).toBe(Number.POSITIVE_INFINITY);
    fixture.apply(12);
    expect(fixture.age).toBe(100);
  });

  test('grows without end while nothing is proven anew', () => {
    const fixture = new Fixture();
    fixture.answer(fixture.ask());
    fixture.clock.advance(3_600_000);
    expect(fixture.age).toBe(3_600_000);
  });

  test('is renewed by reads, in whatever order their rounds come back', async () => {
    const fixture = new Fixture();
    const served = fixture.reads.linearizable(new AbortController().signal);
    const [early] = fixture.turn();
    fixture.clock.advance(20);
    const late = fixture.ask();
    fixture.clock.advance(20);
    fixture.answer(late);
    expect(fixture.age).toBe(20);
    fixture.answer(early!);
    await served;
    expect(fixture.age).toBe(20);
  });

  test('of a round asked again counts from then, and the late answer of the first proves nothing', async () => {
    const fixture = new Fixture();
    const served = fixture.reads.linearizable(new AbortController().signal);
    const [first] = fixture.turn();
    fixture.clock.advance(RETRY_MS);
    fixture.reads.tick();
    const [second] = fixture.turn();
    fixture.answer(first!);
    expect(fixture.freshness.proof).toBeNull();
    fixture.clock.advance(5);
    fixture.answer(second!);
    await served;
    expect(fixture.age).toBe(5);
  });

  test('of what was read is that of the proof there was then', () => {
    const fixture = new Fixture();
    fixture.answer(fixture.ask());
    const { proof } = fixture.freshness;
    fixture.clock.advance(300);
    fixture.answer(fixture.ask());
    expect(fixture.age).toBe(0);
    expect(fixture.freshness.ageMs(proof)).toBe(300 + UPTIME_STEP_MS);
  });

  test('survives the taking over of a whole state, which covers a round that waits for it', () => {
    const fixture = new Fixture();
    const context = fixture.ask();
    fixture.clock.advance(40);
    fixture.answer(context, 500);
    // A snapshot's index goes past those of entries that were never applied one by one.
    fixture.apply(9_000);
    expect(fixture.age).toBe(40);
  });
});

describe('a sleep of the machine counts', () => {
  test('after a proof', () => {
    const fixture = new Fixture();
    expect(fixture.freshness.atLeastMs()).toBe(Number.POSITIVE_INFINITY);
    fixture.answer(fixture.ask());
    fixture.clock.sleep(60_000);
    fixture.clock.advance(7);
    expect(fixture.age).toBe(60_007);
    expect(fixture.freshness.atLeastMs()).toBe(7);
  });

  test('between a question and its answer, noticed by a tick in between or not', () => {
    for (const isNoticed of [true, false]) {
      const fixture = new Fixture();
      const context = fixture.ask();
      fixture.clock.sleep(60_000);
      if (isNoticed) fixture.freshness.tick();
      fixture.answer(context);
      expect(fixture.age).toBe(60_000);
    }
  });

  test('no more for a round that was asked after it was noticed', () => {
    const fixture = new Fixture();
    fixture.clock.sleep(60_000);
    fixture.answer(fixture.ask());
    expect(fixture.age).toBe(60_000);
    fixture.freshness.tick();
    fixture.answer(fixture.ask());
    expect(fixture.age).toBe(60_000);
    fixture.clock.advance(1);
    fixture.answer(fixture.ask());
    expect(fixture.age).toBe(0);
  });

  test('where the uptime comes in whole seconds, however little is left of one', () => {
    for (let startMs = 0; startMs < 1_000; startMs += 7) {
      const clock = new ManualClock();
      clock.inWholeSeconds = true;
      clock.advance(startMs);
      const fixture = new Fixture(clock);
      fixture.answer(fixture.ask());
      expect(fixture.freshness.ageMs()).toBeGreaterThanOrEqual(0);
      clock.sleep(930);
      clock.advance(40);
      const ageMs = fixture.freshness.ageMs();
      expect(ageMs).toBeGreaterThanOrEqual(970);
      expect(ageMs).toBeLessThan(970 + 2 * UPTIME_STEP_MS_MAX);
    }
  });

  test('once an uptime was no whole second', () => {
    const clock = new ManualClock();
    // Whole seconds by chance: 2,000 ms.
    clock.advance(766);
    const fixture = new Fixture(clock);
    fixture.answer(fixture.ask());
    expect(fixture.freshness.ageMs()).toBe(UPTIME_STEP_MS_MAX);
    clock.advance(10);
    expect(fixture.freshness.ageMs()).toBe(10 + UPTIME_STEP_MS);
  });

  test('an uptime that stands still never makes an age less than what the clock says', () => {
    const fixture = new Fixture();
    fixture.answer(fixture.ask());
    fixture.clock.advance(5_000);
    fixture.clock.sleep(-5_000);
    expect(fixture.freshness.ageMs()).toBe(5_000);
  });
});

describe('probes', () => {
  test('are none without demand', () => {
    const fixture = new Fixture();
    expect(fixture.clock.timerCount).toBe(0);
    fixture.clock.advance(DEMAND_MS);
    expect(fixture.turn()).toEqual([]);
  });

  test('come at once and every interval while there was demand, pipelined, and end by themselves', () => {
    const fixture = new Fixture();
    fixture.freshness.demand();
    let asked = fixture.turn().length;
    expect(asked).toBe(1);
    for (let at = INTERVAL_MS; at < DEMAND_MS; at += INTERVAL_MS) {
      fixture.clock.advance(INTERVAL_MS);
      asked += fixture.turn().length;
    }
    expect(asked).toBe(DEMAND_MS / INTERVAL_MS);
    fixture.clock.advance(INTERVAL_MS);
    expect(fixture.turn()).toEqual([]);
    expect(fixture.clock.timerCount).toBe(0);
  });

  test('leave out what other rounds prove', () => {
    const fixture = new Fixture();
    fixture.freshness.demand();
    fixture.turn();
    fixture.clock.advance(60);
    fixture.ask();
    fixture.clock.advance(40);
    expect(fixture.turn()).toEqual([]);
    fixture.clock.advance(60);
    expect(fixture.turn().length).toBe(1);
  });

  test('that are refused or lost are not asked again, and keep nobody waiting', () => {
    const fixture = new Fixture();
    fixture.answer(fixture.ask(), -1);
    fixture.reads.tick();
    expect(fixture.turn()).toEqual([]);
    fixture.ask();
    fixture.clock.advance(RETRY_MS);
    fixture.reads.tick();
    expect(fixture.turn()).toEqual([]);
  });

  test('end with the member', () => {
    const fixture = new Fixture();
    fixture.freshness.demand();
    fixture.freshness.stop();
    expect(fixture.clock.timerCount).toBe(0);
    fixture.freshness.demand();
    expect(fixture.clock.timerCount).toBe(0);
  });

  test('that are confirmed and wait for apply are 1,000 at most', () => {
    const fixture = new Fixture();
    for (let i = 0; i < 1_200; i += 1) {
      fixture.clock.advance(1);
      fixture.answer(fixture.ask(), 99);
    }
    fixture.apply(99);
    expect(fixture.age).toBe(200);
  });
});
