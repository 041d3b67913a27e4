import { expect, test } from 'vitest';
import type { MemberInfo } from '../../src/member/membership.ts';
import { TimerCheck } from '../../src/member/timer-check.ts';
import { ManualClock } from './manual-clock.ts';

const LOOK_MS = 10_000;

function member(id: number, isLearner = false): MemberInfo {
  return { id, name: `n${id}`, peerUrls: [], clientUrls: [], isLearner };
}

/** Member 1 of voters 1, 2, 3 and learner 4, with the timers of a local network. */
class Fixture {
  readonly clock = new ManualClock();
  readonly logged: { readonly level: string; readonly fields: object }[] = [];
  readonly roundTripsMs = new Map<number, number>();
  members = [member(1), member(2), member(3), member(4, true)];
  readonly check: TimerCheck;

  constructor({ heartbeatMs = 100, electionMs = 1_000 } = {}) {
    const log = (level: string) => (fields: object) => void this.logged.push({ level, fields });
    this.check = new TimerCheck({
      self: 1,
      heartbeatMs,
      electionMs,
      clock: this.clock,
      logger: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
      transport: {
        roundTrip: (id) => {
          const ms = this.roundTripsMs.get(id);
          return ms === undefined ? undefined : { lastMs: 9_999, smoothedMs: ms, maxMs: 9_999 };
        },
      },
      members: () => this.members,
    });
  }

  look(times = 1): void {
    for (let i = 0; i < times; i++) {
      this.check.tick();
      this.clock.advance(LOOK_MS);
    }
  }

  get advices(): unknown[] {
    return this.logged.map(({ level, fields }) => ('advice' in fields ? fields.advice : level));
  }
}

test('timers that fit the furthest voter are not spoken of', () => {
  const fixture = new Fixture();
  fixture.look();
  fixture.roundTripsMs.set(2, 1.5).set(3, 100).set(4, 400);
  fixture.look(20);
  expect([fixture.logged, fixture.check.advice]).toEqual([[], null]);
});

test('an election timeout under ten round trips is warned of with what to set, once', () => {
  const fixture = new Fixture();
  fixture.roundTripsMs.set(2, 65).set(3, 141);
  fixture.look();
  expect(fixture.logged).toEqual([]);
  fixture.look(100);
  expect(fixture.logged).toEqual([
    {
      level: 'warn',
      fields: {
        heartbeatMs: 100,
        electionMs: 1_000,
        peer: '3',
        roundTripMs: 141,
        advice: '--heartbeat-interval 100 --election-timeout 1500',
      },
    },
  ]);
  expect(fixture.check.advice).toMatchObject({ to: 3, electionMs: 1_500 });
});

test('a heartbeat interval under half a round trip is too short, too', () => {
  const fixture = new Fixture({ heartbeatMs: 100, electionMs: 10_000 });
  fixture.roundTripsMs.set(2, 201);
  fixture.look(2);
  expect(fixture.advices).toEqual(['--heartbeat-interval 210 --election-timeout 10000']);
});

test('it warns again when the round trip has changed much, but seldom, and says when all is well', () => {
  const fixture = new Fixture();
  fixture.roundTripsMs.set(2, 140);
  fixture.look(2);
  fixture.roundTripsMs.set(2, 170);
  fixture.look(20);
  expect(fixture.advices).toHaveLength(1);
  for (const ms of [300, 140, 300, 140, 300]) {
    fixture.roundTripsMs.set(2, ms);
    fixture.look();
  }
  expect(fixture.advices.length).toBeLessThanOrEqual(2);
  fixture.roundTripsMs.set(2, 300);
  fixture.look(10);
  expect(fixture.advices.at(-1)).toBe('--heartbeat-interval 300 --election-timeout 3000');
  fixture.roundTripsMs.set(2, 20);
  fixture.look(5);
  expect(fixture.advices.at(-1)).toBe('info');
  const before = fixture.advices.length;
  fixture.roundTripsMs.set(2, 300);
  fixture.look(10);
  expect(fixture.advices).toHaveLength(before + 1);
});

test('a learner, and a member that was removed, do not warn', () => {
  const fixture = new Fixture();
  fixture.roundTripsMs.set(2, 300);
  fixture.members = [member(1, true), member(2), member(3)];
  fixture.look(5);
  fixture.members = [member(2), member(3)];
  fixture.look(5);
  expect(fixture.logged).toEqual([]);
});
