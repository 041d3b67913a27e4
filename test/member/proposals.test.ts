import { describe, expect, test } from 'vitest';
import { decodeCommand } from '../../src/core/command.ts';
import type { Entry } from '../../src/core/raft/messages.ts';
import type { Applied } from '../../src/core/state-machine.ts';
import { StoreError } from '../../src/lib/errors.ts';
import { type ForwardAnswer, Proposals } from '../../src/member/proposals.ts';
import { voteResponse } from '../core/raft/builders.ts';
import { ManualClock } from './manual-clock.ts';
import { TestNode } from './raft-node.ts';
import { put } from './test-cluster.ts';

const TIMEOUT_MS = 1_000;

interface Forward {
  readonly leader: { readonly id: number; readonly term: number };
  readonly keys: readonly string[];
  answer(answer: ForwardAnswer): void;
  fail(error: StoreError): void;
}

class Fixture {
  readonly clock = new ManualClock();
  readonly forwards: Forward[] = [];
  readonly answered: string[] = [];
  readonly raft: TestNode;
  readonly proposals: Proposals;
  scheduled = 0;

  constructor(raft: TestNode) {
    this.raft = raft;
    this.proposals = new Proposals({
      node: raft.node,
      clock: this.clock,
      member: 1,
      incarnation: 3,
      timeoutMs: TIMEOUT_MS,
      forward: (leader, commands) =>
        new Promise((resolve, reject) => {
          this.forwards.push({ leader, keys: commands.map(keyOf), answer: resolve, fail: reject });
        }),
      answered: (outcome) => this.answered.push(outcome),
      schedule: () => {
        this.scheduled += 1;
      },
    });
  }

  /** Proposes a put; its outcome as text, once there is one. */
  propose(key: string, signal = new AbortController().signal): { outcome: string } {
    const state = { outcome: 'waiting' };
    this.proposals.propose(put(key, 'v'), { signal }).then(
      (applied) => {
        state.outcome = `applied ${applied.index}`;
      },
      (error: unknown) => {
        state.outcome = error instanceof StoreError ? error.code : 'bug';
      },
    );
    return state;
  }

  /** A turn of the loop: hands on what was gathered, applies what was committed. */
  turn(): void {
    this.proposals.flush();
    this.raft.settle();
    for (const entry of this.raft.entries.splice(0)) this.apply(entry);
  }

  apply(entry: Entry): void {
    this.proposals.termApplied(entry.term);
    if (entry.data.length > 0) this.proposals.applied(appliedOf(entry));
  }

  /** What the leader of `term` has committed: only that the term was reached counts. */
  newTerm(term: number): void {
    this.apply({ index: 100 + term, term, kind: 'normal', data: Buffer.alloc(0) });
  }
}

function keyOf(bytes: Buffer): string {
  const { operation } = decodeCommand(bytes);
  return operation.type === 'put' ? operation.key.toString() : operation.type;
}

function appliedOf(entry: Entry): Applied {
  const { id } = decodeCommand(entry.data);
  const outcome = { ok: true, result: { type: 'none' } } as const;
  return { index: entry.index, proposal: id, outcome, events: [], revision: 1 };
}

/** Lets settled promises reach those who wait for them. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe('on the leader', () => {
  test('what gathers before a turn goes into the log as one batch, and each caller hears of its own', async () => {
    const fixture = new Fixture(TestNode.leader());
    const [a, b] = [fixture.propose('a'), fixture.propose('b')];
    expect(fixture.scheduled).toBe(2);
    fixture.turn();
    await settled();
    expect([a.outcome, b.outcome]).toEqual(['applied 3', 'applied 4']);
    expect(fixture.proposals.pendingCount).toBe(0);
    expect(fixture.answered).toEqual(['applied', 'applied']);
  });

  test('an entry of another member or of an earlier start resolves nobody', async () => {
    const fixture = new Fixture(TestNode.leader());
    const mine = fixture.propose('a');
    const foreign = { member: 2, incarnation: 3, seq: 1 };
    const old = { member: 1, incarnation: 2, seq: 1 };
    for (const proposal of [foreign, old, null]) {
      const outcome = { ok: true, result: { type: 'none' } } as const;
      fixture.proposals.applied({ index: 9, proposal, outcome, events: [], revision: 1 });
    }
    await settled();
    expect(mine.outcome).toBe('waiting');
  });

  test('more than may be uncommitted is refused as busy, and nothing of it happens', async () => {
    const fixture = new Fixture(new TestNode([1, 2, 3]));
    lead(fixture.raft);
    const first = fixture.propose('a'.repeat(900));
    fixture.proposals.flush();
    const second = fixture.propose('b'.repeat(900));
    fixture.proposals.flush();
    await settled();
    expect([first.outcome, second.outcome]).toEqual(['waiting', 'too-many-requests']);
  });

  test('a membership change that is refused is not waited for', async () => {
    const fixture = new Fixture(TestNode.leader());
    const { signal } = new AbortController();
    const change = fixture.proposals.proposeWith(
      { type: 'member-remove', id: 1 },
      { signal },
      () => 'unhealthy',
    );
    await expect(change).rejects.toMatchObject({ code: 'unhealthy' });
    expect(fixture.proposals.pendingCount).toBe(0);
  });

  test('a membership change that is lost with its leader is not made anew', async () => {
    const fixture = new Fixture(TestNode.leader());
    const { signal } = new AbortController();
    const change = fixture.proposals.proposeWith({ type: 'member-remove', id: 7 }, { signal }, () => null);
    fixture.newTerm(fixture.raft.node.leadership.term + 1);
    await expect(change).rejects.toMatchObject({ code: 'leader-changed' });
  });
});

describe('on a follower', () => {
  test('a batch is forwarded once and resolves with its own apply, not with the answer', async () => {
    const fixture = new Fixture(TestNode.follower());
    const mine = fixture.propose('a');
    fixture.turn();
    fixture.turn();
    expect(fixture.forwards.map(({ leader, keys }) => [leader, keys])).toEqual([[{ id: 2, term: 2 }, ['a']]]);
    fixture.forwards[0]!.answer('accepted');
    await settled();
    expect(mine.outcome).toBe('waiting');
    fixture.proposals.applied({
      index: 5,
      proposal: { member: 1, incarnation: 3, seq: 1 },
      outcome: { ok: true, result: { type: 'none' } },
      events: [],
      revision: 1,
    });
    await settled();
    expect(mine.outcome).toBe('applied 5');
  });

  test('without a leader it waits, and goes to the first that there is', () => {
    const fixture = new Fixture(new TestNode([1, 2, 3]));
    fixture.propose('a');
    fixture.turn();
    expect(fixture.forwards).toEqual([]);
    fixture.raft.hear({ leader: 3, term: 2 });
    fixture.turn();
    expect(fixture.forwards[0]!.leader).toEqual({ id: 3, term: 2 });
  });

  test.each(['refused', 'no-leader', 'too-many-requests'] as const)(
    'what was %s is handed on again',
    async (how) => {
      const fixture = new Fixture(TestNode.follower());
      fixture.propose('a');
      fixture.turn();
      if (how === 'refused') fixture.forwards[0]!.answer('refused');
      else fixture.forwards[0]!.fail(new StoreError(how));
      await settled();
      fixture.turn();
      expect(fixture.forwards.map(({ keys }) => keys)).toEqual([['a'], ['a']]);
    },
  );

  test('what the leader is too busy for is told to the caller', async () => {
    const fixture = new Fixture(TestNode.follower());
    const mine = fixture.propose('a');
    fixture.turn();
    fixture.forwards[0]!.answer('busy');
    await settled();
    fixture.turn();
    expect(mine.outcome).toBe('too-many-requests');
    expect(fixture.forwards).toHaveLength(1);
  });

  test.each(['request-too-large', 'unimplemented'] as const)(
    'what is %s for the leader fails',
    async (code) => {
      const fixture = new Fixture(TestNode.follower());
      const mine = fixture.propose('a');
      fixture.turn();
      fixture.forwards[0]!.fail(new StoreError(code));
      await settled();
      expect(mine.outcome).toBe(code);
    },
  );

  test('after a broken connection nothing is sent again, and the timeout says what is known', async () => {
    const fixture = new Fixture(TestNode.follower());
    const mine = fixture.propose('a');
    fixture.turn();
    fixture.forwards[0]!.fail(new StoreError('timeout-connection-lost'));
    await settled();
    fixture.turn();
    expect(fixture.forwards).toHaveLength(1);
    fixture.clock.advance(TIMEOUT_MS);
    fixture.proposals.tick();
    await settled();
    expect(mine.outcome).toBe('timeout-connection-lost');
  });

  test('what is surely lost with its leader goes to the next, once', async () => {
    const fixture = new Fixture(TestNode.follower(2));
    fixture.propose('a');
    fixture.turn();
    fixture.raft.hear({ leader: 3, term: 4 });
    fixture.turn();
    expect(fixture.forwards).toHaveLength(1);
    // An entry of term 4 is applied: whatever of term 2 is not, never will be.
    fixture.newTerm(4);
    fixture.turn();
    expect(fixture.forwards.map(({ leader }) => leader.term)).toEqual([2, 4]);
    // The late answer of the first leader is about a proposal that is no longer its.
    fixture.forwards[0]!.answer('refused');
    await settled();
    fixture.turn();
    expect(fixture.forwards).toHaveLength(2);
  });

  test('an entry of the very term it was handed to in does not make it lost', () => {
    const fixture = new Fixture(TestNode.follower(2));
    fixture.propose('a');
    fixture.turn();
    fixture.newTerm(2);
    fixture.turn();
    expect(fixture.forwards).toHaveLength(1);
  });

  test('a whole state from the leader leaves what was handed on in doubt, and the rest waiting', async () => {
    const fixture = new Fixture(TestNode.follower());
    const handed = fixture.propose('a');
    fixture.turn();
    const gathered = fixture.propose('b');
    fixture.proposals.restored();
    await settled();
    expect([handed.outcome, gathered.outcome]).toEqual(['timeout-connection-lost', 'waiting']);
  });

  test('large batches are cut, and no more than so many wait for a leader; its successor starts afresh', () => {
    const fixture = new Fixture(TestNode.follower(2));
    const key = 'x'.repeat(700_000);
    for (let i = 0; i < 20; i++) fixture.propose(`${i}${key}`);
    fixture.turn();
    expect(fixture.forwards).toHaveLength(16);
    expect(fixture.forwards.every(({ keys }) => keys.length === 1)).toBe(true);
    fixture.turn();
    expect(fixture.forwards).toHaveLength(16);
    fixture.raft.hear({ leader: 3, term: 3 });
    fixture.turn();
    expect(fixture.forwards.slice(16).map(({ leader }) => leader)).toEqual(
      Array.from({ length: 4 }, () => ({ id: 3, term: 3 })),
    );
  });
});

describe('the caller', () => {
  test('hears of a cancel at once, and nothing is handed on for it', async () => {
    const fixture = new Fixture(TestNode.follower());
    const abort = new AbortController();
    const mine = fixture.propose('a', abort.signal);
    abort.abort(new StoreError('deadline-exceeded'));
    fixture.turn();
    await settled();
    expect(mine.outcome).toBe('deadline-exceeded');
    expect(fixture.forwards).toEqual([]);
    expect(fixture.propose('b', abort.signal)).toBeDefined();
    expect(fixture.proposals.pendingCount).toBe(0);
  });

  test('hears of a timeout after its time, the oldest first; a lost leader is named as the reason', async () => {
    const fixture = new Fixture(new TestNode([1, 2, 3]));
    const first = fixture.propose('a');
    fixture.clock.advance(TIMEOUT_MS / 2);
    const second = fixture.propose('b');
    fixture.clock.advance(TIMEOUT_MS / 2);
    fixture.proposals.tick();
    await settled();
    expect([first.outcome, second.outcome]).toEqual(['timeout', 'waiting']);
    fixture.proposals.leadershipChanged();
    fixture.clock.advance(TIMEOUT_MS / 2);
    fixture.proposals.tick();
    await settled();
    expect(second.outcome).toBe('timeout-leader-failure');
  });

  test('is refused beyond the bounds of count and of bytes', async () => {
    const fixture = new Fixture(new TestNode([1, 2, 3]));
    const value = Buffer.alloc(15 * 1024 * 1024);
    const large = Array.from({ length: 18 }, () =>
      fixture.proposals.propose({ ...put('k', ''), value }, { signal: new AbortController().signal }),
    );
    const refused = fixture.propose('a');
    await settled();
    expect(refused.outcome).toBe('too-many-requests');
    fixture.proposals.stop();
    await Promise.allSettled(large);

    const many = new Fixture(new TestNode([1, 2, 3]));
    for (let i = 0; i < 50_000; i++) many.propose('a');
    const over = many.propose('a');
    await settled();
    expect(over.outcome).toBe('too-many-requests');
    expect(many.proposals.pendingCount).toBe(50_000);
  });

  test('is refused while this member has more than 5,000 committed entries to apply', async () => {
    const fixture = new Fixture(new TestNode());
    const { node } = fixture.raft;
    node.campaign();
    const commit = (count: number): void => {
      for (let i = 0; i < count; i++) {
        node.propose([Buffer.alloc(0)]);
        while (node.hasReady()) {
          const ready = node.ready();
          if (ready.append !== null) node.appended(ready.append.seq);
          else break;
        }
      }
    };
    commit(1);
    commit(5_000 - node.applyLagEntries);
    expect(node.applyLagEntries).toBe(5_000);
    const taken = fixture.propose('a');
    commit(1);
    const refused = fixture.propose('b');
    await settled();
    expect([taken.outcome, refused.outcome]).toEqual(['waiting', 'too-many-requests']);
    fixture.proposals.stop();
  });

  test('hears that the member stopped, also when it asks later', async () => {
    const fixture = new Fixture(TestNode.follower());
    const before = fixture.propose('a');
    fixture.proposals.stop();
    const after = fixture.propose('b');
    await settled();
    expect([before.outcome, after.outcome]).toEqual(['stopped', 'stopped']);
    expect(fixture.answered).toEqual(['failed']);
  });
});

/** Makes member 1 of three the leader, its no-op not committed. */
function lead(raft: TestNode): void {
  raft.node.campaign();
  raft.settle();
  for (const preVote of [true, false]) {
    raft.node.step(voteResponse({ preVote }));
    raft.settle();
  }
  expect(raft.node.leadership.role).toBe('leader');
}
