import { expect, test } from 'vitest';
import { EMPTY_CONF } from '../../../src/core/raft/conf-change.ts';
import type { InstallSnapshot } from '../../../src/core/raft/messages.ts';
import { appendRequest, entriesOf, lonelyMember, sentBy } from './builders.ts';
import { TestCluster } from './test-cluster.ts';

function snapshotMessage(index: number, term: number): InstallSnapshot {
  const confState = { ...EMPTY_CONF, voters: [1, 2, 3, 4] };
  return { type: 'snapshot', from: 2, to: 1, term: 5, snapshot: { index, term, confState } };
}

test('a snapshot replaces a log that does not contain its position', () => {
  const member = lonelyMember([2, 2, 2]);
  member.node.step(snapshotMessage(3, 4));
  const { append, restore } = member.processReady();
  expect(append).toMatchObject({ mustSync: true, entries: [], snapshot: { index: 3, term: 4 } });
  expect(append?.messages).toMatchObject([{ type: 'append-response', index: 3, reject: false }]);
  expect(restore).toBeNull();
  member.processAppend();
  expect(member.processReady().restore).toMatchObject({ index: 3 });
  expect(member.node.status().confState.voters).toEqual([1, 2, 3]);
  member.processApply();
  expect(member.node.status()).toMatchObject({
    applied: 3,
    firstIndex: 4,
    confState: { voters: [1, 2, 3, 4] },
  });
});

test('a snapshot of a position that the log contains keeps the log and only commits', () => {
  const member = lonelyMember([2, 2, 2]);
  member.node.step(snapshotMessage(3, 2));
  expect(member.node.status()).toMatchObject({ commit: 3, lastIndex: 4, firstIndex: 2 });
  expect(sentBy(member)).toMatchObject([{ type: 'append-response', index: 3, reject: false }]);
});

test('a snapshot at or below commit is ignored and answered with commit', () => {
  const member = lonelyMember([2, 2]);
  member.node.step(appendRequest({ term: 5, prevIndex: 3, prevTerm: 2, commit: 3 }));
  sentBy(member);
  member.node.step(snapshotMessage(2, 4));
  expect(member.node.status()).toMatchObject({ commit: 3, lastIndex: 3 });
  expect(sentBy(member)).toMatchObject([{ index: 3, reject: false }]);
});

test('while a snapshot is being restored, no second one is taken and nothing is applied', () => {
  const member = lonelyMember();
  member.node.step(snapshotMessage(5, 4));
  member.node.step(snapshotMessage(9, 4));
  member.node.step(
    appendRequest({ term: 5, prevIndex: 5, prevTerm: 4, entries: entriesOf(6, [5]), commit: 6 }),
  );
  const first = member.processReady();
  expect(first.append).toMatchObject({ snapshot: { index: 5 }, entries: [{ index: 6 }] });
  member.processAppend();
  expect(member.processReady()).toMatchObject({ restore: { index: 5 }, entries: [] });
  member.processApply();
  expect(member.processReady()).toMatchObject({ restore: null, entries: [{ index: 6 }] });
});

test('a member does not campaign before its snapshot is restored', () => {
  const member = lonelyMember();
  member.node.step(snapshotMessage(5, 4));
  for (let at = 0; at < 50; at += 1) member.node.tick();
  expect(member.node.status().role).toBe('follower');
  member.processAll();
  member.node.campaign();
  expect(member.node.status().role).toBe('pre-candidate');
});

test('a restart after a snapshot became durable starts from it', () => {
  const member = lonelyMember([2, 2]);
  member.node.step(snapshotMessage(5, 4));
  member.processReady();
  member.processAppend();
  member.restart();
  expect(member.node.status()).toMatchObject({ applied: 5, commit: 5, firstIndex: 6, term: 5 });
});

test('the state of a follower is not sent while it is silent, and once at a time', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  cluster.passes = ({ to, from }) => to !== 3 && from !== 3;
  for (let at = 0; at < 20; at += 1) {
    leader.node.propose([Buffer.from('a')]);
    leader.node.tick();
    cluster.settle();
  }
  leader.writeBarrier();
  leader.compact(leader.applied);
  leader.node.reportUnreachable(3);
  expect(leader.node.status().progress.get(3)).toMatchObject({ recentActive: false });
  leader.node.propose([Buffer.from('a')]);
  cluster.settle();
  expect(leader.node.status().progress.get(3)?.state).not.toBe('snapshot');
  leader.node.step({ type: 'heartbeat-response', from: 3, to: 1, term: 2, readSeq: 0 });
  const sent = leader.node.ready().messages;
  expect(sent.filter(({ type }) => type === 'snapshot')).toHaveLength(1);
  leader.node.step({ type: 'heartbeat-response', from: 3, to: 1, term: 2, readSeq: 0 });
  expect(leader.node.ready().messages).toEqual([]);
});

test('a follower that came forward by other means leaves the snapshot state', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  cluster.passes = ({ to }) => to !== 3;
  for (let at = 0; at < 5; at += 1) leader.node.propose([Buffer.from('a')]);
  cluster.settle();
  leader.writeBarrier();
  leader.compact(4);
  leader.node.reportUnreachable(3);
  leader.node.ready();
  expect(leader.node.status().progress.get(3)).toMatchObject({ state: 'snapshot', pendingSnapshot: 7 });
  leader.node.step({
    type: 'append-response',
    from: 3,
    to: 1,
    term: 2,
    index: 4,
    reject: false,
    hintIndex: 0,
    hintTerm: 0,
  });
  expect(leader.node.status().progress.get(3)).toMatchObject({ state: 'replicate', match: 4, next: 5 });
  leader.node.reportSnapshot(3, true);
  expect(leader.node.status().progress.get(3)).toMatchObject({ state: 'replicate' });
});
