import { describe, expect, test } from 'vitest';
import type { Operation } from '../../src/core/command.ts';
import type { SetHash } from '../../src/core/mvcc/row.ts';
import { StateMachine } from '../../src/core/state-machine.ts';
import { StoreError } from '../../src/lib/errors.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { ApplyHashes, outsideMajority } from '../../src/member/apply-hashes.ts';
import type { MemberInfo } from '../../src/member/membership.ts';
import { ManualClock } from './manual-clock.ts';

const EVERY = 1_024;
const INTERVAL_MS = 10_000;

class Fixture {
  readonly clock = new ManualClock();
  readonly machine = new StateMachine({
    source: { row: () => undefined },
    cacheBytesMax: 0,
    bootstrapMembers: [],
  });
  /** What the others answer; undefined: nothing. */
  readonly peers = new Map<number, ((index: number) => SetHash | null) | undefined>();
  readonly asked: number[] = [];
  readonly proposed: Operation[] = [];
  readonly hashes: ApplyHashes;
  isLeader = true;

  constructor(others: number) {
    const members: MemberInfo[] = Array.from({ length: others + 1 }, (_, i) => ({
      id: i + 1,
      name: '',
      peerUrls: [],
      clientUrls: [],
      isLearner: false,
    }));
    for (const { id } of members.slice(1)) this.peers.set(id, (index) => this.hashes.at(index));
    this.hashes = new ApplyHashes({
      self: 1,
      clock: this.clock,
      logger: silentLogger,
      isLeader: () => this.isLeader,
      members: () => members,
      ask: async (to, request) => {
        const answer = this.peers.get(to);
        if (answer === undefined) throw new StoreError('no-leader');
        const index = request.type === 'apply-hash' ? request.index : 0;
        this.asked.push(index);
        return answer(index) as never;
      },
      propose: async (operation) => {
        this.proposed.push(operation);
      },
    });
  }

  /** Applies no-ops up to an index. */
  applyTo(index: number): void {
    for (let next = this.machine.appliedIndex + 1; next <= index; next++) {
      this.machine.apply({ index: next, term: 1, kind: 'normal', data: Buffer.alloc(0) });
      this.hashes.applied(next, this.machine);
    }
  }

  async check(): Promise<void> {
    this.clock.advance(INTERVAL_MS);
    this.hashes.tick();
    await new Promise<void>((resolve) => setImmediate(resolve));
  }

  get accused(): number[] {
    return this.proposed.map((operation) => (operation.type === 'alarm' ? operation.member : 0));
  }
}

const DIVERGED = (): SetHash => ({ a: 1, b: 2 });

describe('what is remembered', () => {
  test('is the hash at every 1,024th index, the newest 64 of them', () => {
    const fixture = new Fixture(0);
    fixture.applyTo(66 * EVERY);
    expect(fixture.hashes.at(EVERY)).toBeNull();
    expect(fixture.hashes.at(2 * EVERY)).toBeNull();
    expect(fixture.hashes.at(3 * EVERY)).not.toBeNull();
    expect(fixture.hashes.at(66 * EVERY)).toEqual(fixture.machine.marker().applyHash);
    expect(fixture.hashes.at(66 * EVERY - 1)).toBeNull();
  });
});

describe('the comparison', () => {
  test('is made by the leader only, at an index that the others have most likely reached', async () => {
    const fixture = new Fixture(2);
    fixture.applyTo(EVERY);
    await fixture.check();
    expect(fixture.asked).toEqual([]);
    fixture.applyTo(2 * EVERY);
    fixture.isLeader = false;
    await fixture.check();
    expect(fixture.asked).toEqual([]);
    fixture.isLeader = true;
    await fixture.check();
    expect(fixture.asked).toEqual([EVERY, EVERY]);
    fixture.hashes.tick();
    expect(fixture.asked).toHaveLength(2);
    expect(fixture.proposed).toEqual([]);
  });

  test('accuses the member outside the majority', async () => {
    const fixture = new Fixture(2);
    fixture.peers.set(3, DIVERGED);
    fixture.applyTo(2 * EVERY);
    await fixture.check();
    expect(fixture.proposed).toEqual([{ type: 'alarm', action: 'activate', member: 3, alarm: 'corrupt' }]);
  });

  test('accuses the leader itself when the others agree', async () => {
    const fixture = new Fixture(2);
    fixture.peers.set(2, DIVERGED);
    fixture.peers.set(3, DIVERGED);
    fixture.applyTo(2 * EVERY);
    await fixture.check();
    expect(fixture.accused).toEqual([1]);
  });

  test('leaves out who does not answer or does not remember', async () => {
    const fixture = new Fixture(3);
    fixture.peers.set(2, undefined);
    fixture.peers.set(3, () => null);
    fixture.applyTo(2 * EVERY);
    await fixture.check();
    expect(fixture.proposed).toEqual([]);
    fixture.peers.set(4, DIVERGED);
    await fixture.check();
    // One against one of four: nobody knows who is right.
    expect(fixture.accused).toEqual([1, 4]);
  });
});

describe('outsideMajority', () => {
  test.each([
    { answers: ['x', 'x', 'x'], of: 3, outside: [] },
    { answers: ['x'], of: 3, outside: [] },
    { answers: ['x', 'x', 'y'], of: 3, outside: [3] },
    { answers: ['x', 'y'], of: 3, outside: [1, 2] },
    { answers: ['x', 'y', 'z'], of: 3, outside: [1, 2, 3] },
    { answers: ['x', 'x', 'y', 'y'], of: 5, outside: [1, 2, 3, 4] },
    { answers: ['x', 'y', 'y', 'y', 'x'], of: 5, outside: [1, 5] },
  ])('of $answers among $of: $outside', ({ answers, of, outside }) => {
    expect(outsideMajority(new Map(answers.map((answer, i) => [i + 1, answer])), of)).toEqual(outside);
  });
});
