import { describe, expect, test } from 'vitest';
import { decodeCommand, encodeCommand, type Operation } from '../../src/core/command.ts';
import type { Applied } from '../../src/core/state-machine.ts';
import { StoreError, type StoreErrorCode } from '../../src/lib/errors.ts';
import { checkPeerUrls, LEARNERS_MAX, type MemberInfo, Membership } from '../../src/member/membership.ts';
import type { Transport } from '../../src/member/ports.ts';
import { ManualClock } from './manual-clock.ts';
import { TestNode } from './raft-node.ts';

const CONTEXT = { signal: new AbortController().signal };

class Fixture {
  readonly raft: TestNode;
  readonly clock = new ManualClock();
  readonly disconnected = new Set<number>();
  readonly proposed: Operation['type'][] = [];
  handedOver = 0;
  outcome: Applied['outcome'] = { ok: true, result: { type: 'none' } };
  readonly members: MemberInfo[];
  readonly membership: Membership;

  constructor(members: readonly MemberInfo[]) {
    this.members = [...members];
    this.raft = TestNode.leader(members.filter(({ isLearner }) => isLearner).map(({ id }) => id));
    this.membership = new Membership({
      self: 1,
      node: this.raft.node,
      clock: this.clock,
      random: { integer: () => 41 },
      transport: { connected: (id: number) => !this.disconnected.has(id) } as unknown as Transport,
      timeoutMs: 1_000,
      members: () => this.members,
      proposeWith: (operation, _context, enter) => this.#propose(operation, enter),
      handOver: async () => {
        this.handedOver += 1;
      },
      schedule: () => {},
    });
  }

  async #propose(operation: Operation, enter: (data: Buffer) => StoreErrorCode | null): Promise<Applied> {
    const data = encodeCommand({ id: null, user: '', authRevision: 0, operation });
    const code = enter(data);
    if (code !== null) throw new StoreError(code);
    this.proposed.push(decodeCommand(data).operation.type);
    return { index: 1, proposal: null, outcome: this.outcome, events: [], revision: 1 };
  }

  /** Another change stands in the way. */
  occupy(): void {
    const change = { steps: [{ type: 'add-learner', id: 60 }] } as const;
    this.raft.confChange = change;
    expect(this.raft.node.proposeConfChange(change, Buffer.from('change'))).toMatchObject({ ok: true });
  }

  /** The change that stood in the way is applied, and whoever waited gets his turn. */
  async giveWay(): Promise<void> {
    await this.clock.untilTimer();
    this.raft.settle();
    this.clock.advance(1_000);
  }

  add(isLearner: boolean, url = 'http://new:2380'): Promise<number> {
    return this.membership.add({ peerUrls: [url], isLearner }, CONTEXT);
  }
}

function members(count: number, changes: Partial<MemberInfo> = {}): MemberInfo[] {
  return Array.from({ length: count }, (_, i) => ({
    id: i + 1,
    name: `n${i + 1}`,
    peerUrls: [`http://n${i + 1}:2380`],
    clientUrls: [],
    isLearner: false,
    ...changes,
  }));
}

describe('adding', () => {
  test('a voter to three that are all well', async () => {
    const fixture = new Fixture(members(3));
    expect(await fixture.add(false)).toBe(42);
    expect(fixture.proposed).toEqual(['member-add']);
  });

  test('a second voter to a single member', async () => {
    const fixture = new Fixture(members(1));
    await fixture.add(false);
    expect(fixture.proposed).toEqual(['member-add']);
  });

  test('a voter is refused while one is away, a learner is not', async () => {
    const fixture = new Fixture(members(3));
    fixture.disconnected.add(3);
    await expect(fixture.add(false)).rejects.toMatchObject({ code: 'not-enough-started-members' });
    await fixture.add(true);
    const five = new Fixture(members(5));
    five.disconnected.add(5);
    await expect(five.add(false)).rejects.toMatchObject({ code: 'unhealthy' });
  });

  test('a voter is refused while an earlier one has not started', async () => {
    const [a, b, c] = members(3);
    const fixture = new Fixture([a!, b!, { ...c!, name: '' }]);
    await expect(fixture.add(false)).rejects.toMatchObject({ code: 'not-enough-started-members' });
  });

  test('an address that a member has is refused, and so are too many learners', async () => {
    const fixture = new Fixture(members(3));
    await expect(fixture.add(true, 'http://n2:2380')).rejects.toMatchObject({ code: 'peer-url-exists' });
    for (let i = 0; i < LEARNERS_MAX; i++) {
      const id = 100 + i;
      fixture.members.push({ ...members(1, { isLearner: true })[0]!, id, peerUrls: [`http://l${i}:2380`] });
    }
    await expect(fixture.add(true)).rejects.toMatchObject({ code: 'too-many-learners' });
  });

  test('an address that somebody else got while this one waited is refused', async () => {
    const fixture = new Fixture(members(3));
    fixture.occupy();
    const refused = expect(fixture.add(true)).rejects.toMatchObject({ code: 'peer-url-exists' });
    fixture.members.push({ ...members(1, { isLearner: true })[0]!, id: 50, peerUrls: ['http://new:2380'] });
    await fixture.giveWay();
    await refused;
    expect(fixture.proposed).toEqual([]);
  });

  test('what the state machine refuses is refused', async () => {
    const fixture = new Fixture(members(3));
    fixture.outcome = { ok: false, code: 'member-exists' };
    await expect(fixture.add(false)).rejects.toMatchObject({ code: 'member-exists' });
  });
});

describe('removing', () => {
  test('nobody whom the rest could not do without', async () => {
    const fixture = new Fixture(members(3));
    fixture.disconnected.add(2);
    await expect(fixture.membership.remove(3, CONTEXT)).rejects.toMatchObject({
      code: 'not-enough-started-members',
    });
  });

  test('the last voter stays', async () => {
    const fixture = new Fixture(members(1));
    await expect(fixture.membership.remove(1, CONTEXT)).rejects.toMatchObject({
      code: 'not-enough-started-members',
    });
  });

  test('a leader gives leadership away before it goes, and leaves the rest to its successor', async () => {
    const fixture = new Fixture(members(3));
    await expect(fixture.membership.remove(1, CONTEXT)).rejects.toMatchObject({ code: 'not-leader' });
    expect(fixture.handedOver).toBe(1);
    expect(fixture.proposed).toEqual([]);
  });

  test('nobody whom the rest can no longer do without when his turn comes', async () => {
    const fixture = new Fixture([...members(3), { ...members(1)[0]!, id: 50 }]);
    fixture.disconnected.add(3);
    fixture.occupy();
    const refused = expect(fixture.membership.remove(50, CONTEXT)).rejects.toMatchObject({
      code: 'not-enough-started-members',
    });
    // Another operator was first: of the two that would be left one is away.
    fixture.members.splice(1, 1);
    await fixture.giveWay();
    await refused;
    expect(fixture.proposed).toEqual([]);
  });

  test('somebody who waits for his turn goes when it comes', async () => {
    const fixture = new Fixture([...members(3), { ...members(1)[0]!, id: 50, isLearner: true }]);
    fixture.occupy();
    const removed = fixture.membership.remove(50, CONTEXT);
    await fixture.giveWay();
    await removed;
    expect(fixture.proposed).toEqual(['member-remove']);
  });

  test('an unknown member is not found', async () => {
    const fixture = new Fixture(members(3));
    await expect(fixture.membership.remove(9, CONTEXT)).rejects.toMatchObject({ code: 'member-not-found' });
  });
});

describe('promoting', () => {
  const LEARNER = 2;
  const learner = { ...members(2)[1]!, isLearner: true };

  /** A leader with a learner that has acknowledged everything, and then so many entries more. */
  function withLearner(lag: number): Fixture {
    const fixture = new Fixture([...members(1), learner]);
    const { node } = fixture.raft;
    const index = node.status().lastIndex;
    const answer = { reject: false, hintIndex: 0, hintTerm: 0 };
    const envelope = { from: LEARNER, to: 1, term: node.status().term };
    node.step({ type: 'append-response', ...envelope, ...answer, index });
    fixture.raft.settle();
    for (let i = 0; i < lag; i++) {
      expect(node.propose([Buffer.from('x')]).ok).toBe(true);
      fixture.raft.settle();
    }
    return fixture;
  }
  const promote = (fixture: Fixture): Promise<void> => fixture.membership.promote(LEARNER, CONTEXT);

  test('a learner that has caught up, or nearly', async () => {
    for (const lag of [0, 1_000]) {
      const fixture = withLearner(lag);
      await promote(fixture);
      expect(fixture.proposed).toEqual(['member-promote']);
    }
  });

  test('nobody who lags behind', async () => {
    const fixture = withLearner(1_001);
    await expect(promote(fixture)).rejects.toMatchObject({ code: 'learner-not-ready' });
    expect(fixture.proposed).toEqual([]);
  });

  test('nobody who was not heard for an election timeout, or is not connected', async () => {
    const silent = withLearner(0);
    for (let ticks = 0; ticks < 10; ticks++) silent.raft.node.tick();
    await expect(promote(silent)).rejects.toMatchObject({ code: 'learner-not-ready' });
    const gone = withLearner(0);
    gone.disconnected.add(LEARNER);
    await expect(promote(gone)).rejects.toMatchObject({ code: 'learner-not-ready' });
    expect([...silent.proposed, ...gone.proposed]).toEqual([]);
  });

  test('a voter, or nobody, is not found among the learners', async () => {
    const fixture = withLearner(0);
    await expect(fixture.membership.promote(1, CONTEXT)).rejects.toMatchObject({
      code: 'member-not-learner',
    });
    await expect(fixture.membership.promote(9, CONTEXT)).rejects.toMatchObject({ code: 'member-not-found' });
  });
});

describe('peer addresses', () => {
  test.each([['http://a:2380'], ['https://10.0.0.1:2380'], ['http://[::1]:2380'], ['http://a:2380/']])(
    '%s is one',
    (url) => checkPeerUrls([url]),
  );

  test.each([['a:2380'], ['http://a'], ['ftp://a:2380'], ['http://a:2380/path'], ['http://:2380'], ['']])(
    '%s is none',
    (url) => {
      expect(() => checkPeerUrls([url])).toThrow('member-bad-urls');
    },
  );

  test('one at least is needed', () => {
    expect(() => checkPeerUrls([])).toThrow('member-bad-urls');
  });
});
