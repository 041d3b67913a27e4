import { describe, expect, test } from 'vitest';
import { StoreError } from '../../src/lib/errors.ts';
import { Freshness } from '../../src/member/freshness.ts';
import { Reads } from '../../src/member/reads.ts';
import { ManualClock } from './manual-clock.ts';
import { TestNode } from './raft-node.ts';

const TIMEOUT_MS = 1_000;
const RETRY_MS = 100;
const INTERVAL_MS = 40;
const FIRST_CONTEXT = 500;

class Fixture {
  readonly clock = new ManualClock();
  readonly raft: TestNode;
  readonly reads: Reads;
  readonly freshness = new Freshness({
    clock: this.clock,
    probe: () => this.reads.probe(),
    intervalMs: INTERVAL_MS,
  });
  readonly rounds: string[] = [];
  appliedIndex = 1;

  constructor(raft: TestNode) {
    this.raft = raft;
    this.reads = new Reads({
      node: raft.node,
      clock: this.clock,
      firstContext: FIRST_CONTEXT,
      retryMs: RETRY_MS,
      timeoutMs: TIMEOUT_MS,
      applied: () => this.appliedIndex,
      freshness: this.freshness,
      roundEnded: (outcome) => this.rounds.push(outcome),
      schedule: () => {},
    });
  }

  read(signal = new AbortController().signal): { outcome: string } {
    const state = { outcome: 'waiting' };
    this.reads.linearizable(signal).then(
      () => {
        state.outcome = 'served';
      },
      (error: unknown) => {
        state.outcome = error instanceof StoreError ? error.code : 'bug';
      },
    );
    return state;
  }

  /** A turn of the loop. */
  turn(): void {
    this.reads.flush();
    this.raft.settle();
    for (const state of this.raft.readStates.splice(0)) this.reads.readState(state);
  }

  /** Contexts that were sent to the leader, and are taken out. */
  asked(): number[] {
    const sent = this.raft.messages.splice(0);
    return sent.flatMap((message) => (message.type === 'read-index' ? [message.context] : []));
  }

  /** The leader's answer to one round. */
  answer(context: number, index: number): void {
    const { term } = this.raft.node.leadership;
    this.raft.node.step({ type: 'read-index-response', from: 2, to: 1, term, context, index });
    this.turn();
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

describe('on the only member', () => {
  test('reads are confirmed within the turn and served once the index is applied', async () => {
    const fixture = new Fixture(TestNode.leader());
    const reads = [fixture.read(), fixture.read()];
    fixture.turn();
    await settled();
    expect(reads.map(({ outcome }) => outcome)).toEqual(['waiting', 'waiting']);
    fixture.appliedIndex = 2;
    fixture.reads.appliedTo(2);
    await settled();
    expect(reads.map(({ outcome }) => outcome)).toEqual(['served', 'served']);
    expect(fixture.rounds).toEqual(['served']);
  });
});

describe('on a follower', () => {
  test('all reads of a turn share one round; a later one never joins it', async () => {
    const fixture = new Fixture(TestNode.follower());
    const early = [fixture.read(), fixture.read()];
    fixture.turn();
    expect(fixture.asked()).toEqual([FIRST_CONTEXT]);
    const late = fixture.read();
    fixture.turn();
    expect(fixture.asked()).toEqual([FIRST_CONTEXT + 1]);
    fixture.answer(FIRST_CONTEXT, 1);
    await settled();
    expect(early.map(({ outcome }) => outcome)).toEqual(['served', 'served']);
    expect(late.outcome).toBe('waiting');
  });

  test('an answer beyond what is applied waits for the apply, or for a state that covers it', async () => {
    const fixture = new Fixture(TestNode.follower());
    const read = fixture.read();
    fixture.turn();
    fixture.answer(FIRST_CONTEXT, 10);
    fixture.reads.appliedTo(9);
    await settled();
    expect(read.outcome).toBe('waiting');
    fixture.reads.appliedTo(25);
    await settled();
    expect(read.outcome).toBe('served');
  });

  test('a refused round is asked again under a new number, and not before the next tick', async () => {
    const fixture = new Fixture(TestNode.follower());
    const read = fixture.read();
    fixture.turn();
    fixture.answer(FIRST_CONTEXT, -1);
    fixture.asked();
    fixture.turn();
    expect(fixture.asked()).toEqual([]);
    fixture.reads.tick();
    fixture.turn();
    expect(fixture.asked()).toEqual([FIRST_CONTEXT + 1]);
    // What the first round is told now is no answer to the second.
    fixture.answer(FIRST_CONTEXT, 1);
    await settled();
    expect(read.outcome).toBe('waiting');
    fixture.answer(FIRST_CONTEXT + 1, 1);
    await settled();
    expect(read.outcome).toBe('served');
    expect(fixture.rounds).toEqual(['failed', 'served']);
  });

  test('an unanswered round is given up after a while and asked anew; its late answer counts for nobody', async () => {
    const fixture = new Fixture(TestNode.follower());
    const read = fixture.read();
    fixture.turn();
    fixture.clock.advance(RETRY_MS);
    fixture.reads.tick();
    fixture.turn();
    expect(fixture.asked()).toEqual([FIRST_CONTEXT, FIRST_CONTEXT + 1]);
    fixture.answer(FIRST_CONTEXT, 1);
    await settled();
    expect(read.outcome).toBe('waiting');
  });

  test('a change of leader lets it ask at once', () => {
    const fixture = new Fixture(new TestNode([1, 2, 3]));
    fixture.read();
    fixture.turn();
    expect(fixture.asked()).toEqual([]);
    fixture.raft.hear({ leader: 2, term: 2 });
    fixture.turn();
    expect(fixture.asked()).toEqual([]);
    fixture.reads.leadershipChanged();
    fixture.turn();
    expect(fixture.asked()).toEqual([FIRST_CONTEXT + 1]);
  });
});

describe('the caller', () => {
  test('hears of a timeout, whether the round or the apply is late', async () => {
    const fixture = new Fixture(TestNode.follower());
    const confirmed = fixture.read();
    fixture.turn();
    fixture.answer(FIRST_CONTEXT, 10);
    const unanswered = fixture.read();
    fixture.turn();
    fixture.clock.advance(TIMEOUT_MS);
    fixture.reads.tick();
    await settled();
    expect([confirmed.outcome, unanswered.outcome]).toEqual(['timeout', 'timeout']);
  });

  test('hears of a cancel with its reason, and no round is begun for it', async () => {
    const fixture = new Fixture(TestNode.follower());
    const abort = new AbortController();
    const read = fixture.read(abort.signal);
    abort.abort(new StoreError('deadline-exceeded'));
    const late = fixture.read(abort.signal);
    fixture.turn();
    await settled();
    expect([read.outcome, late.outcome]).toEqual(['deadline-exceeded', 'deadline-exceeded']);
    expect(fixture.asked()).toEqual([]);
  });

  test('is refused while 100,000 others wait, and not any more once they are served', async () => {
    const fixture = new Fixture(TestNode.follower());
    const first = fixture.read();
    // Real signals, each with its listener, would take most of the time.
    const signal = { addEventListener: () => {}, removeEventListener: () => {} } as unknown as AbortSignal;
    for (let i = 1; i < 100_000; i++) fixture.read(signal);
    const refused = fixture.read();
    fixture.turn();
    const stillRefused = fixture.read();
    await settled();
    expect([first.outcome, refused.outcome, stillRefused.outcome]).toEqual([
      'waiting',
      'too-many-requests',
      'too-many-requests',
    ]);
    fixture.answer(FIRST_CONTEXT, 1);
    const next = fixture.read();
    await settled();
    expect([first.outcome, next.outcome]).toEqual(['served', 'waiting']);
  });

  test('hears that the member stopped, in whatever part of its way the read is', async () => {
    const fixture = new Fixture(TestNode.follower());
    const confirmed = fixture.read();
    fixture.turn();
    fixture.answer(FIRST_CONTEXT, 10);
    const asked = fixture.read();
    fixture.turn();
    const gathered = fixture.read();
    fixture.reads.stop();
    const late = fixture.read();
    await settled();
    for (const { outcome } of [confirmed, asked, gathered, late]) expect(outcome).toBe('stopped');
  });
});
