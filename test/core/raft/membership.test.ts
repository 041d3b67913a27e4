import { expect, test } from 'vitest';
import type { ConfChangeStep } from '../../../src/core/raft/messages.ts';
import type { ProposeOutcome } from '../../../src/core/raft/raw-node.ts';
import { TestCluster } from './test-cluster.ts';
import { bootstrapDisk, encodeConfChange, TestMember, testOptions } from './test-member.ts';

function change(member: TestMember, ...steps: readonly ConfChangeStep[]): ProposeOutcome {
  return member.node.proposeConfChange({ steps }, encodeConfChange({ steps }));
}

test('a change takes effect where it is applied, not where it is appended', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  change(leader, { type: 'add-learner', id: 4 });
  leader.processReady();
  leader.processAppend();
  expect(leader.node.status().confState.learners).toEqual([]);
  cluster.join();
  cluster.settle();
  for (const member of cluster.members.values()) {
    expect(member.node.status().confState).toMatchObject({ voters: [1, 2, 3], learners: [4] });
  }
});

test('one change at a time: the next waits until the last is applied', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  expect(change(leader, { type: 'remove', id: 3 })).toMatchObject({ ok: true });
  expect(change(leader, { type: 'add-voter', id: 4 })).toEqual({ ok: false, reason: 'conf-change-pending' });
  cluster.settle();
  expect(change(leader, { type: 'add-voter', id: 4 })).toMatchObject({ ok: true });
});

test('a new leader changes no members before its own no-op is applied', () => {
  const cluster = TestCluster.of(3);
  cluster.passes = (message) => message.type !== 'append';
  const leader = cluster.elect(1);
  expect(leader.node.status().role).toBe('leader');
  expect(change(leader, { type: 'remove', id: 3 })).toEqual({ ok: false, reason: 'conf-change-pending' });
});

test('a change without sense is refused at once', () => {
  const leader = TestCluster.of(3).elect(1);
  expect(change(leader, { type: 'remove', id: 9 })).toEqual({ ok: false, reason: 'conf-change-invalid' });
  expect(change(leader)).toEqual({ ok: false, reason: 'conf-change-invalid' });
});

test('a change that is invalid where it is applied changes nothing', () => {
  const disk = bootstrapDisk([1]);
  const data = encodeConfChange({ steps: [{ type: 'remove', id: 1 }] });
  disk.entries = [{ index: 2, term: 1, kind: 'conf-change', data }];
  const member = new TestMember(testOptions(1), { ...disk, hardState: { term: 1, vote: 0, commit: 2 } });
  member.processAll();
  expect(member.node.status()).toMatchObject({ applied: 2, confState: { voters: [1] } });
});

test('a change that the applier found invalid changes nothing', () => {
  const leader = TestCluster.of(1).elect(1);
  change(leader, { type: 'add-learner', id: 2 });
  leader.processReady();
  leader.processAppend();
  const { entries } = leader.node.ready();
  expect(leader.node.applyConfChange(null)).toMatchObject({ voters: [1], learners: [] });
  leader.node.applied(entries.at(-1)!.index);
});

test('an applier that skips a change, or invents one, is stopped', () => {
  const leader = TestCluster.of(1).elect(1);
  expect(() => leader.node.applyConfChange({ steps: [] })).toThrow('never handed out');
  change(leader, { type: 'add-learner', id: 2 });
  leader.processReady();
  leader.processAppend();
  const { entries } = leader.node.ready();
  expect(() => leader.node.applied(entries.at(-1)!.index)).toThrow('skipped');
});

test('a joint configuration is left once, by whoever leads', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  cluster.join();
  change(leader, { type: 'add-voter', id: 4 }, { type: 'remove', id: 3 });
  cluster.settle();
  expect(leader.node.status().confState).toMatchObject({ voters: [1, 2, 4], votersOutgoing: [] });
  const leaves = leader.disk.entries.filter(
    (entry) => entry.kind === 'conf-change' && entry.data.length === 0,
  );
  expect(leaves).toHaveLength(1);
});

test('in a joint configuration nothing commits without both majorities', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  for (let at = 0; at < 3; at += 1) cluster.join();
  change(leader, { type: 'add-voter', id: 4 }, { type: 'add-voter', id: 5 }, { type: 'add-voter', id: 6 });
  cluster.passes = (message) => message.to <= 3 && message.from <= 3;
  cluster.settle();
  expect(leader.node.status().confState.votersOutgoing).toEqual([1, 2, 3]);
  const { commit } = leader.node.status();
  leader.node.propose([Buffer.from('a')]);
  cluster.settle();
  expect(leader.node.status().commit).toBe(commit);
  cluster.passes = () => true;
  leader.node.tick();
  cluster.settle();
  expect(leader.node.status().confState).toMatchObject({ voters: [1, 2, 3, 4, 5, 6], votersOutgoing: [] });
});

test('a learner that acknowledges does not help to commit', () => {
  const cluster = TestCluster.of(3, {}, 2);
  const leader = cluster.elect(1);
  cluster.passes = ({ to, from }) => to !== 2 && to !== 3 && from !== 2 && from !== 3;
  leader.node.propose([Buffer.from('a')]);
  cluster.settle();
  expect(leader.node.status()).toMatchObject({ commit: 2, lastIndex: 3 });
});

test('a leader steps down where it applies its removal or demotion', () => {
  for (const type of ['remove', 'add-learner'] as const) {
    const cluster = TestCluster.of(3);
    const leader = cluster.elect(1);
    change(leader, { type, id: 1 });
    expect(leader.node.status().role).toBe('leader');
    cluster.settle();
    expect(leader.node.status().role).toBe('follower');
    for (let at = 0; at < 50; at += 1) leader.node.tick();
    expect(leader.node.status().role).toBe('follower');
    expect(cluster.member(2).node.status().confState.voters).toEqual([2, 3]);
  }
});

test('removing a silent voter commits what waited for it', () => {
  const cluster = TestCluster.of(2);
  const leader = cluster.elect(1);
  change(leader, { type: 'remove', id: 2 });
  leader.node.propose([Buffer.from('a')]);
  leader.processReady();
  leader.processAppend();
  leader.node.step({
    type: 'append-response',
    from: 2,
    to: 1,
    term: 2,
    index: 3,
    reject: false,
    hintIndex: 0,
    hintTerm: 0,
  });
  expect(leader.node.status().commit).toBe(3);
  leader.processAll();
  expect(leader.node.status()).toMatchObject({ commit: 4, applied: 4 });
});

test('a leader that is no voter any more, with a longer log, tells the others that the change is over', () => {
  const cluster = TestCluster.of(2, {}, 1);
  const leader = cluster.elect(1);
  const leave = leader.node.status().lastIndex + 2;
  change(leader, { type: 'add-voter', id: 3 }, { type: 'add-learner', id: 1 });
  let isLeaving = false;
  cluster.passes = (message) => {
    if (message.type !== 'append') return message.type !== 'heartbeat';
    if (!isLeaving && message.entries.some(({ index }) => index === leave)) {
      isLeaving = true;
      leader.node.propose([Buffer.from('only the leader has this')]);
    }
    return message.commit < leave && message.entries.every(({ index }) => index <= leave);
  };
  cluster.settle();
  expect(leader.node.status()).toMatchObject({ role: 'follower', commit: leave, lastIndex: leave + 1 });
  expect(cluster.member(2).node.status()).toMatchObject({ commit: leave - 1, lastIndex: leave });
  cluster.passes = () => true;
  for (let at = 0; at < 10; at += 1) cluster.member(3).node.tick();
  cluster.elect(2);
  expect(cluster.elect(2).node.status()).toMatchObject({ role: 'leader', confState: { voters: [2, 3] } });
});
