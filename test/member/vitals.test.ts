import { expect, test } from 'vitest';
import { silentLogger } from '../../src/lib/logger.ts';
import { SILENT_OBSERVER } from '../../src/member/observer.ts';
import { Vitals, type VitalsOptions } from '../../src/member/vitals.ts';
import { ManualClock } from './manual-clock.ts';
import { TestNode } from './raft-node.ts';

const TICK_MS = 100;
const ELECTION_MS = 1_000;
const STALL_MS_MAX = 10_000;

/** A leader with a log write that was begun at 0 and is never heard of again. */
class Fixture {
  readonly clock = new ManualClock();
  readonly raft = TestNode.leader();
  readonly errors: unknown[] = [];
  readonly vitals: Vitals;

  constructor() {
    const { clock, raft } = this;
    const loop = {
      get diskStalledMs() {
        return clock.nowMs();
      },
      get view() {
        return raft.node.leadership;
      },
      node: raft.node,
    } as unknown as VitalsOptions['loop'];
    this.vitals = new Vitals({
      loop,
      clock,
      transport: { roundTrip: () => undefined },
      observer: SILENT_OBSERVER,
      logger: silentLogger,
      tickMs: TICK_MS,
      electionMs: ELECTION_MS,
      stallMsMax: STALL_MS_MAX,
      fatal: (error) => this.errors.push(error),
    });
  }

  tick(forMs: number): void {
    for (let ms = 0; ms < forMs; ms += TICK_MS) {
      this.clock.advance(TICK_MS);
      this.vitals.watchDisk();
    }
  }

  /** The process is stopped for that long, and its timer is due at once when it goes on. */
  stop(forMs: number): void {
    this.clock.advance(forMs);
    this.vitals.watchDisk();
  }

  get role(): string {
    return this.raft.node.leadership.role;
  }
}

test('a leader whose disk does not answer gives leadership up, and ends when it never does', () => {
  const member = new Fixture();
  member.tick(ELECTION_MS);
  expect([member.role, member.vitals.diskAnswers]).toEqual(['leader', true]);
  member.tick(TICK_MS);
  expect(member.role).toBe('follower');
  member.tick(STALL_MS_MAX - ELECTION_MS - TICK_MS);
  expect(member.errors).toEqual([]);
  member.tick(TICK_MS);
  expect(member.errors[0]).toMatchObject({ code: 'storage' });
  expect(member.vitals.diskAnswers).toBe(false);
});

test('time in which the process itself stood still is not held against the disk', () => {
  const member = new Fixture();
  member.stop(10 * STALL_MS_MAX);
  expect([member.role, member.vitals.diskAnswers, member.errors]).toEqual(['leader', true, []]);
  member.tick(STALL_MS_MAX);
  expect(member.errors[0]).toMatchObject({ code: 'storage' });
});
