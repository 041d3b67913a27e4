import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Message } from '../../../src/core/raft/messages.ts';
import { type RaftInitialState, RawNode } from '../../../src/core/raft/raw-node.ts';
import { appendRequest, entriesOf, heartbeat, lonelyMember } from './builders.ts';
import { TestCluster } from './test-cluster.ts';
import { testOptions } from './test-member.ts';

const START: RaftInitialState = {
  hardState: { term: 2, vote: 0, commit: 2 },
  confState: { voters: [1, 2, 3], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
  applied: 2,
  compacted: { index: 1, term: 1 },
  entries: entriesOf(2, [2, 2]),
};

test.each<{ name: string; state: Partial<RaftInitialState>; text: string }>([
  {
    name: 'commit beyond the log',
    state: { hardState: { term: 2, vote: 0, commit: 9 } },
    text: 'beyond the durable log',
  },
  { name: 'applied beyond commit', state: { applied: 3 }, text: 'applied lies beyond commit' },
  { name: 'compacted beyond applied', state: { applied: 0 }, text: 'compacted beyond' },
  {
    name: 'a log newer than the term',
    state: { entries: entriesOf(2, [2, 7]) },
    text: 'newer than the term',
  },
  { name: 'a gap', state: { entries: entriesOf(3, [2]) }, text: 'gap' },
])('a member does not start from $name', ({ state, text }) => {
  expect(() => new RawNode(testOptions(1), { ...START, ...state })).toThrow(text);
});

test('options that cannot work are refused', () => {
  expect(() => new RawNode(testOptions(1, { electionTicks: 1 }), START)).toThrow('two heartbeats');
  expect(() => new RawNode(testOptions(0), START)).toThrow('positive integer');
});

test('after a start, committed entries beyond the applied state are handed out again', () => {
  const node = new RawNode(testOptions(1), { ...START, hardState: { term: 2, vote: 0, commit: 3 } });
  expect(node.ready().entries).toMatchObject([{ index: 3 }]);
});

test('a ready is taken once', () => {
  const leader = TestCluster.of(3).elect(1);
  leader.node.propose([Buffer.from('a')]);
  expect(leader.node.hasReady()).toBe(true);
  leader.node.ready();
  expect(leader.node.hasReady()).toBe(false);
  expect(leader.node.ready()).toMatchObject({
    messages: [],
    append: null,
    restore: null,
    entries: [],
    readStates: [],
    role: 'leader',
    leader: 1,
    term: 2,
  });
});

test('batches are reported in order, each once', () => {
  const member = lonelyMember();
  member.node.step(appendRequest({ entries: entriesOf(2, [2]) }));
  const first = member.node.ready().append!;
  member.node.step(appendRequest({ prevIndex: 2, prevTerm: 2, entries: entriesOf(3, [2]) }));
  const second = member.node.ready().append!;
  expect(second.seq).toBe(first.seq + 1);
  expect(() => member.node.appended(second.seq)).toThrow('in order');
});

test('applied is reported within what was handed out, and compaction within what is applied', () => {
  const leader = TestCluster.of(1).elect(1);
  expect(() => leader.node.applied(9)).toThrow('not handed out');
  expect(() => leader.node.applied(1)).toThrow('never decreases');
  expect(() => leader.node.compact(9)).toThrow('only applied');
  leader.node.compact(2);
  expect(leader.node.status()).toMatchObject({ firstIndex: 3, lastIndex: 2 });
});

test('stepping down at will leaves no leader behind', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  leader.node.abandonLeadership();
  leader.node.tick();
  expect(leader.node.status()).toMatchObject({ role: 'follower', leader: 0 });
  expect(leader.node.ready().messages).toEqual([]);
});

test('no malformed message stops a member', () => {
  const number = fc.oneof(
    fc.nat({ max: 4 }),
    fc.constantFrom(-1, 0.5, Number.NaN, 2 ** 53, Infinity),
    fc.constant(undefined),
  );
  const type = fc.constantFrom(
    'vote',
    'vote-response',
    'append-response',
    'heartbeat-response',
    'read-index',
    'read-index-response',
    'timeout-now',
    'snapshot',
    'append',
    'nonsense',
  );
  const message = fc.record({
    type,
    from: number,
    to: fc.constantFrom(1, 2),
    term: number,
    preVote: fc.boolean(),
    granted: fc.boolean(),
    lastIndex: number,
    lastTerm: number,
    transfer: fc.boolean(),
    prevIndex: number,
    prevTerm: number,
    commit: number,
    index: number,
    reject: fc.boolean(),
    hintIndex: number,
    hintTerm: number,
    readSeq: number,
    context: number,
    entries: fc.oneof(
      fc.constant(undefined),
      fc.constant('text'),
      fc.constant([null]),
      fc.constant([{ index: 9 }]),
    ),
    snapshot: fc.oneof(fc.constant(undefined), fc.constant({ index: 9, term: 1 }), fc.constant(null)),
  });
  fc.assert(
    fc.property(fc.array(message, { maxLength: 20 }), (messages) => {
      const member = lonelyMember([2]);
      for (const each of messages) member.node.step(each as unknown as Message);
      member.processAll();
      member.node.step(heartbeat({ term: 1 }));
    }),
  );
});
