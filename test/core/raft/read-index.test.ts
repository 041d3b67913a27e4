import { expect, test } from 'vitest';
import {
  FORWARDED_READS_MAX,
  ForwardedReads,
  READ_REQUESTS_MAX,
  ReadRounds,
} from '../../../src/core/raft/read-rounds.ts';
import { heartbeat, lonelyMember, sentBy, voteRequest } from './builders.ts';
import { TestCluster } from './test-cluster.ts';

test('a leader answers with its commit index once a quorum has acknowledged it', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  leader.node.readIndex(7);
  expect(leader.node.ready().readStates).toEqual([]);
  leader.node.step({ type: 'heartbeat-response', from: 2, to: 1, term: 2, readSeq: 1 });
  expect(leader.node.ready().readStates).toEqual([{ context: 7, index: 2 }]);
});

test('acknowledgements of strangers, learners and rounds to come confirm nothing', () => {
  const cluster = TestCluster.of(3, {}, 1);
  const leader = cluster.elect(1);
  leader.node.readIndex(7);
  leader.node.ready();
  leader.node.step({ type: 'heartbeat-response', from: 4, to: 1, term: 2, readSeq: 1 });
  leader.node.step({ type: 'heartbeat-response', from: 9, to: 1, term: 2, readSeq: 1 });
  leader.node.step({ type: 'heartbeat-response', from: 2, to: 1, term: 2, readSeq: 99 });
  leader.node.readIndex(8);
  expect(leader.node.ready().readStates).toEqual([]);
});

test('a leader that is the only voter answers at once', () => {
  const leader = TestCluster.of(1, {}, 1).elect(1);
  leader.node.readIndex(7);
  expect(leader.node.ready()).toMatchObject({ readStates: [{ context: 7, index: 2 }], messages: [] });
});

test('all reads that wait share the next round', () => {
  const leader = TestCluster.of(3).elect(1);
  for (const context of [1, 2, 3]) leader.node.readIndex(context);
  expect(leader.node.ready().messages).toHaveLength(2);
  leader.node.readIndex(4);
  expect(leader.node.ready().messages).toEqual([]);
});

test('a follower gets its index from the leader', () => {
  const cluster = TestCluster.of(3);
  cluster.elect(1);
  cluster.member(2).node.readIndex(5);
  cluster.settle();
  expect(cluster.member(2).readStates).toEqual([{ context: 5, index: 2 }]);
});

test('without a leader a read is refused at once', () => {
  const member = lonelyMember();
  member.node.readIndex(5);
  expect(member.node.ready().readStates).toEqual([{ context: 5, index: -1 }]);
});

test('a member that does not lead refuses the reads of others', () => {
  const member = lonelyMember([2]);
  member.node.step({ type: 'read-index', from: 3, to: 1, term: 2, context: 5 });
  expect(sentBy(member)).toMatchObject([{ type: 'read-index-response', to: 3, context: 5, index: -1 }]);
});

test('a leader that loses office refuses its own reads and those of others', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  leader.node.readIndex(5);
  leader.node.step({ type: 'read-index', from: 3, to: 1, term: 2, context: 6 });
  leader.node.ready();
  leader.node.readIndex(7);
  leader.node.step(voteRequest({ term: 9, transfer: true }));
  const { readStates, messages } = leader.node.ready();
  expect(readStates).toEqual([
    { context: 5, index: -1 },
    { context: 7, index: -1 },
  ]);
  expect(messages).toMatchObject([{ type: 'read-index-response', to: 3, context: 6, index: -1 }]);
});

test('a follower whose leader changes, or stays silent, refuses its reads', () => {
  const member = lonelyMember();
  member.node.step(heartbeat());
  member.node.readIndex(5);
  member.node.step(heartbeat({ from: 3, term: 3 }));
  expect(member.node.ready().readStates).toEqual([{ context: 5, index: -1 }]);
  member.node.readIndex(6);
  for (let at = 0; at < 10; at += 1) {
    member.node.tick();
    member.node.step(heartbeat({ from: 3, term: 3 }));
  }
  expect(member.node.ready().readStates).toEqual([{ context: 6, index: -1 }]);
  member.node.step({ type: 'read-index-response', from: 3, to: 1, term: 3, context: 6, index: 9 });
  expect(member.node.ready().readStates).toEqual([]);
});

test('a delayed acknowledgement of an earlier round never confirms a later one', () => {
  const rounds = new ReadRounds(1);
  rounds.add({ from: 1, context: 1 });
  const first = rounds.begin(10);
  expect(rounds.confirmTo(first.seq)).toBe(first);
  rounds.add({ from: 1, context: 2 });
  const second = rounds.begin(20);
  expect(rounds.confirmTo(first.seq)).toBeNull();
  expect(rounds.confirmTo(second.seq)).toBe(second);
});

test('with several rounds under way a read waits for no other, and beyond them for the oldest', () => {
  const leader = TestCluster.of(3, { maxReadRounds: 2 }).elect(1);
  leader.node.readIndex(1);
  expect(leader.node.ready().messages).toMatchObject([{ readSeq: 1 }, { readSeq: 1 }]);
  leader.node.readIndex(2);
  expect(leader.node.ready().messages).toMatchObject([{ readSeq: 2 }, { readSeq: 2 }]);
  leader.node.readIndex(3);
  expect(leader.node.ready().messages).toEqual([]);
  leader.node.step({ type: 'heartbeat-response', from: 2, to: 1, term: 2, readSeq: 1 });
  const { readStates, messages } = leader.node.ready();
  expect(readStates).toEqual([{ context: 1, index: 2 }]);
  expect(messages).toMatchObject([{ readSeq: 3 }, { readSeq: 3 }]);
  leader.node.step({ type: 'heartbeat-response', from: 3, to: 1, term: 2, readSeq: 3 });
  expect(leader.node.ready().readStates).toEqual([
    { context: 2, index: 2 },
    { context: 3, index: 2 },
  ]);
});

test('an acknowledgement confirms the rounds before the one that it names, and none after it', () => {
  const rounds = new ReadRounds(3);
  const begun = [1, 2, 3].map((context) => {
    rounds.add({ from: 1, context });
    return rounds.begin(10 * context);
  });
  expect(rounds.mayBegin).toBe(false);
  expect(rounds.confirmTo(2)).toBe(begun[0]);
  expect(rounds.confirmTo(2)).toBe(begun[1]);
  expect(rounds.confirmTo(2)).toBeNull();
  expect(rounds.hasInFlight).toBe(true);
  rounds.add({ from: 2, context: 4 });
  expect(rounds.clear()).toEqual([
    { from: 1, context: 3 },
    { from: 2, context: 4 },
  ]);
  expect([rounds.hasInFlight, rounds.mayBegin, rounds.seq]).toEqual([false, false, 0]);
});

test('reads beyond the limits are refused', () => {
  const rounds = new ReadRounds(2);
  for (let context = 0; context < READ_REQUESTS_MAX; context += 1)
    expect(rounds.add({ from: 1, context })).toBe(true);
  rounds.begin(1);
  expect(rounds.add({ from: 1, context: -1 })).toBe(false);
  const forwarded = new ForwardedReads();
  for (let context = 0; context < FORWARDED_READS_MAX; context += 1) {
    expect(forwarded.add({ context, ticksMax: 1 })).toBe(true);
  }
  expect(forwarded.add({ context: -1, ticksMax: 1 })).toBe(false);
  expect(forwarded.tick()).toHaveLength(FORWARDED_READS_MAX);
});
