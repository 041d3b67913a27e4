import { expect, test } from 'vitest';
import { heartbeat, lonelyMember, sentBy } from './builders.ts';
import { TestCluster } from './test-cluster.ts';
import { encodeConfChange } from './test-member.ts';

test('leadership moves to a member that is up to date', () => {
  const cluster = TestCluster.of(3);
  cluster.elect(1);
  expect(cluster.member(1).node.transferLeadership(3)).toBe('ok');
  cluster.settle();
  expect(cluster.member(3).node.status()).toMatchObject({ role: 'leader', term: 3 });
  expect(cluster.member(1).node.status()).toMatchObject({ role: 'follower', leader: 3, leadTransferee: 0 });
});

test('a target that lags is brought up to date first', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  cluster.passes = ({ to }) => to !== 3;
  leader.node.propose([Buffer.from('a')]);
  cluster.settle();
  cluster.passes = () => true;
  leader.node.transferLeadership(3);
  expect(leader.node.ready().messages.some(({ type }) => type === 'timeout-now')).toBe(false);
  leader.node.tick();
  cluster.settle();
  expect(cluster.member(3).node.status()).toMatchObject({ role: 'leader', lastIndex: 4 });
});

test('targets that cannot lead are refused', () => {
  const cluster = TestCluster.of(3, {}, 1);
  const { node } = cluster.elect(1);
  expect([1, 4, 9].map((to) => node.transferLeadership(to))).toEqual(['self', 'learner', 'unknown-member']);
  expect(cluster.member(2).node.transferLeadership(3)).toBe('not-leader');
});

test('nothing is proposed during a transfer, and it ends after one election timeout', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  cluster.passes = ({ to }) => to !== 3;
  leader.node.transferLeadership(3);
  const steps = [{ type: 'remove', id: 2 }] as const;
  for (let at = 0; at < 10; at += 1) {
    expect(leader.node.status().leadTransferee).toBe(3);
    expect(leader.node.propose([Buffer.from('a')])).toEqual({ ok: false, reason: 'transferring' });
    expect(leader.node.proposeConfChange({ steps }, encodeConfChange({ steps }))).toMatchObject({
      ok: false,
    });
    leader.node.tick();
    cluster.settle();
  }
  expect(leader.node.status()).toMatchObject({ role: 'leader', leadTransferee: 0 });
  expect(leader.node.propose([Buffer.from('a')])).toMatchObject({ ok: true });
});

test('a new target replaces an earlier one', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  cluster.passes = ({ to }) => to !== 3;
  leader.node.transferLeadership(3);
  cluster.settle();
  expect(leader.node.transferLeadership(2)).toBe('ok');
  cluster.settle();
  expect(cluster.member(2).node.status().role).toBe('leader');
});

test('reads are served during a transfer', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  cluster.passes = ({ to }) => to !== 3;
  leader.node.transferLeadership(3);
  leader.node.readIndex(5);
  cluster.settle();
  expect(leader.readStates).toEqual([{ context: 5, index: 2 }]);
});

test('only the leader can tell a member to campaign', () => {
  const member = lonelyMember();
  member.node.step(heartbeat());
  sentBy(member);
  member.node.step({ type: 'timeout-now', from: 3, to: 1, term: 2 });
  expect(member.node.status().role).toBe('follower');
  member.node.step({ type: 'timeout-now', from: 2, to: 1, term: 2 });
  expect(member.node.status()).toMatchObject({ role: 'candidate', term: 3 });
});
