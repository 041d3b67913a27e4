import { describe, expect, test } from 'vitest';
import { StoreError } from '../../src/lib/errors.ts';
import { Leadership } from '../../src/member/leadership.ts';
import type { PeerRequest } from '../../src/member/peer-requests.ts';
import type { Transport } from '../../src/member/ports.ts';
import type { LeadershipView, ReadyLoop } from '../../src/member/ready-loop.ts';
import { ManualClock } from './manual-clock.ts';

const TIMEOUT_MS = 1_000;
const NOBODY: LeadershipView = { term: 1, role: 'follower', leader: 0 };
const RENEW = { type: 'lease-renew', id: 7n, user: '', authRevision: 0 } as const;
const ADD = {
  type: 'member-add',
  peerUrls: ['http://n4:2380'],
  isLearner: false,
  user: '',
  authRevision: 0,
} as const;

class Fixture {
  readonly clock = new ManualClock();
  readonly asked: number[] = [];
  /** What the leader answers next; an error is thrown, and without an answer it is done. */
  readonly answers: (number | StoreError)[] = [];
  readonly leadership: Leadership;
  #view: LeadershipView = NOBODY;

  constructor() {
    const loop = (): ReadyLoop => ({ view: this.#view }) as unknown as ReadyLoop;
    this.leadership = new Leadership({
      self: 1,
      clock: this.clock,
      transport: { connected: () => true } as unknown as Transport,
      timeoutMs: TIMEOUT_MS,
      electionMs: 100,
      loop,
      members: () => [],
      leaderRegions: [],
      ask: async (to) => {
        this.asked.push(to);
        const answer = this.answers.shift() ?? 60;
        if (answer instanceof StoreError) throw answer;
        return answer as never;
      },
    });
  }

  see(view: Partial<LeadershipView>): void {
    this.#view = { ...this.#view, ...view };
    this.leadership.changed(this.#view);
  }

  atLeader(request: PeerRequest, here = async (): Promise<never> => 1 as never): Promise<unknown> {
    return this.leadership.atLeader(request, here, new AbortController().signal);
  }
}

describe('listeners', () => {
  test('hear when a leader is found or lost, and of nothing else', () => {
    const fixture = new Fixture();
    const heard: boolean[] = [];
    const unlisten = fixture.leadership.listen((hasLeader) => void heard.push(hasLeader));
    fixture.see({ role: 'pre-candidate' });
    fixture.see({ role: 'follower', leader: 2 });
    fixture.see({ term: 2, leader: 3 });
    fixture.see({ leader: 0 });
    fixture.see({ role: 'pre-candidate' });
    fixture.see({ role: 'follower' });
    expect(heard).toEqual([true, false]);
    unlisten();
    fixture.see({ leader: 2 });
    expect(heard).toHaveLength(2);
  });
});

describe('what only the leader can do', () => {
  test('is done here by the leader itself, and asked of another', async () => {
    const fixture = new Fixture();
    fixture.see({ leader: 1, role: 'leader' });
    expect(await fixture.atLeader(RENEW)).toBe(1);
    fixture.see({ leader: 3, role: 'follower' });
    expect(await fixture.atLeader(RENEW)).toBe(60);
    expect(fixture.asked).toEqual([3]);
  });

  test('waits for an election, and leaves nothing behind', async () => {
    const fixture = new Fixture();
    const done = fixture.atLeader(RENEW);
    await fixture.clock.untilTimer();
    fixture.see({ leader: 2 });
    expect(await done).toBe(60);
    expect(fixture.clock.timerCount).toBe(0);
  });

  test('is asked again of the next leader when the asked one is none any more', async () => {
    const fixture = new Fixture();
    fixture.see({ leader: 2 });
    fixture.answers.push(new StoreError('not-leader'));
    const done = fixture.atLeader(ADD);
    await fixture.clock.untilTimer();
    fixture.see({ leader: 3 });
    expect(await done).toBe(60);
    expect(fixture.asked).toEqual([2, 3]);
  });

  test('is asked again after a broken connection only when twice done is as good as once', async () => {
    const fixture = new Fixture();
    fixture.see({ leader: 2 });
    fixture.answers.push(new StoreError('timeout-connection-lost'));
    const renewed = fixture.atLeader(RENEW);
    await fixture.clock.untilTimer();
    fixture.clock.advance(50);
    expect(await renewed).toBe(60);
    fixture.answers.push(new StoreError('timeout-connection-lost'));
    await expect(fixture.atLeader(ADD)).rejects.toMatchObject({ code: 'timeout-connection-lost' });
    expect(fixture.asked).toEqual([2, 2, 2]);
  });

  test('a renewal outlasts a leader that has too much to do', async () => {
    const fixture = new Fixture();
    fixture.see({ leader: 2 });
    fixture.answers.push(new StoreError('too-many-requests'));
    const renewed = fixture.atLeader(RENEW);
    await fixture.clock.untilTimer();
    fixture.clock.advance(50);
    expect(await renewed).toBe(60);
    expect(fixture.clock.timerCount).toBe(0);
  });

  test('fails with the refusal of the leader', async () => {
    const fixture = new Fixture();
    fixture.see({ leader: 2 });
    fixture.answers.push(new StoreError('peer-url-exists'));
    await expect(fixture.atLeader(ADD)).rejects.toMatchObject({ code: 'peer-url-exists' });
  });

  test('times out without a leader', async () => {
    const fixture = new Fixture();
    const done = fixture.atLeader(RENEW);
    done.catch(() => {});
    for (let passed = 0; passed < TIMEOUT_MS; passed += 50) {
      await fixture.clock.untilTimer();
      fixture.clock.advance(50);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    await expect(done).rejects.toMatchObject({ code: 'timeout' });
  });
});

describe('a leader that stops hands over', () => {
  /** Whom leader 1 chooses of voters 2 in b, 3 in a, 4 nowhere and learner 5 in a, by what they hold of 100 entries. */
  function chosen(matches: Readonly<Record<number, number>>, leaderRegions: readonly string[]): number {
    let target = 0;
    let leader = 1;
    const progress = new Map(Object.entries(matches).map(([id, match]) => [Number(id), { match }]));
    const loop = {
      get view(): LeadershipView {
        return { term: 1, role: leader === 1 ? 'leader' : 'follower', leader };
      },
      node: {
        status: () => ({ commit: 100, progress }),
        transferLeadership: (to: number) => {
          [target, leader] = [to, to];
          return 'ok';
        },
      },
      schedule: () => {},
    } as unknown as ReadyLoop;
    const member = (id: number, region?: string) => ({
      id,
      name: `n${id}`,
      peerUrls: [],
      clientUrls: [],
      isLearner: id === 5,
      ...(region !== undefined && { region }),
    });
    const leadership = new Leadership({
      self: 1,
      clock: new ManualClock(),
      transport: { connected: (id: number) => id in matches } as unknown as Transport,
      timeoutMs: TIMEOUT_MS,
      electionMs: 100,
      loop: () => loop,
      members: () => [member(1, 'a'), member(2, 'b'), member(3, 'a'), member(4), member(5, 'a')],
      leaderRegions,
      ask: async () => 0 as never,
    });
    void leadership.handOver();
    return target;
  }

  test('to whoever is furthest', () => {
    expect(chosen({ 2: 90, 3: 80, 4: 95, 5: 100 }, [])).toBe(4);
    expect(chosen({ 2: 90, 3: 80, 5: 100 }, ['a'])).toBe(2);
    expect(chosen({ 5: 100 }, ['a'])).toBe(0);
  });

  test('of those that hold all that is committed, to one where leaders should be', () => {
    expect(chosen({ 2: 104, 3: 100, 4: 105 }, ['a', 'b'])).toBe(3);
    expect(chosen({ 2: 104, 3: 99, 4: 105 }, ['a', 'b'])).toBe(2);
    expect(chosen({ 2: 99, 3: 99, 4: 105 }, ['a', 'b'])).toBe(4);
  });
});
