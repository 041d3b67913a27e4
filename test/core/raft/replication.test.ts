import { expect, test } from 'vitest';
import type { AppendResponse } from '../../../src/core/raft/messages.ts';
import { appendRequest, entriesOf, heartbeat, lonelyMember, sentBy } from './builders.ts';
import { TestCluster } from './test-cluster.ts';
import { bootstrapDisk, TestMember, testOptions } from './test-member.ts';

function accepted(fields: Partial<AppendResponse> = {}): AppendResponse {
  return {
    type: 'append-response',
    from: 2,
    to: 1,
    term: 2,
    index: 2,
    reject: false,
    hintIndex: 0,
    hintTerm: 0,
    ...fields,
  };
}

test('a new leader appends a no-op and commits it', () => {
  const leader = TestCluster.of(3).elect(1);
  expect(leader.disk.entries).toMatchObject([{ index: 2, term: 2, kind: 'normal', data: Buffer.alloc(0) }]);
  expect(leader.node.status().commit).toBe(2);
});

test('proposals are committed and applied everywhere, in order', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  const applied = new Map([1, 2, 3].map((id) => [id, [] as string[]]));
  for (const [id, texts] of applied) {
    cluster.member(id).onApply = (entry) => texts.push(entry.data.toString());
  }
  expect(leader.node.propose([Buffer.from('a'), Buffer.from('b')])).toEqual({ ok: true, index: 3, term: 2 });
  leader.node.propose([Buffer.from('c')]);
  cluster.settle();
  for (const texts of applied.values()) expect(texts).toEqual(['a', 'b', 'c']);
});

test('a member that does not lead refuses proposals', () => {
  const cluster = TestCluster.of(3);
  cluster.elect(1);
  expect(cluster.member(2).node.propose([Buffer.from('a')])).toEqual({ ok: false, reason: 'not-leader' });
});

test('a leader does not count itself before its own entry is durable', () => {
  const member = new TestMember(testOptions(1), bootstrapDisk([1]));
  member.node.campaign();
  member.processAll();
  member.node.propose([Buffer.from('a')]);
  expect(member.processReady().entries).toEqual([]);
  expect(member.node.status().commit).toBe(2);
  member.processAppend();
  expect(member.node.status().commit).toBe(3);
});

test('followers alone can commit; the leader still applies only what it has on disk', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  leader.node.propose([Buffer.from('a')]);
  leader.processReady();
  for (const from of [2, 3]) leader.node.step(accepted({ from, index: 3 }));
  expect(leader.node.status().commit).toBe(3);
  expect(leader.processReady().entries).toEqual([]);
  leader.processAppend();
  expect(leader.processReady().entries).toMatchObject([{ index: 3 }]);
});

test('a leader sends its entries before they are durable on its own disk', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  leader.node.propose([Buffer.from('a')]);
  expect(leader.node.ready().messages).toMatchObject([
    { type: 'append', to: 2, entries: [{ index: 3 }] },
    { type: 'append', to: 3, entries: [{ index: 3 }] },
  ]);
});

test('all that was proposed since the last ready travels in one append', () => {
  const leader = TestCluster.of(3).elect(1);
  for (let at = 0; at < 10; at += 1) leader.node.propose([Buffer.from('a')]);
  const { messages } = leader.node.ready();
  expect(messages.map((message) => message.type === 'append' && message.entries.length)).toEqual([10, 10]);
});

test('an answer to an append leaves only after the entries are durable, a refusal likewise', () => {
  const member = lonelyMember();
  member.node.step(appendRequest({ entries: entriesOf(2, [2]) }));
  const first = member.node.ready();
  expect(first.messages).toEqual([]);
  expect(first.append).toMatchObject({ mustSync: true, messages: [{ type: 'append-response', index: 2 }] });
  member.node.step(appendRequest({ prevIndex: 9, prevTerm: 2 }));
  const second = member.node.ready();
  expect(second.messages).toEqual([]);
  expect(second.append).toMatchObject({ mustSync: false, messages: [{ reject: true, index: 9 }] });
});

test('a commit index that moves alone is persisted without a sync', () => {
  const member = lonelyMember();
  member.node.step(appendRequest({ entries: entriesOf(2, [2]) }));
  sentBy(member);
  member.node.step(heartbeat({ commit: 2 }));
  expect(member.node.ready().append).toMatchObject({
    mustSync: false,
    hardState: { commit: 2 },
    entries: [],
  });
});

test('while a write is under way everything else gathers into the next one', () => {
  const member = new TestMember(testOptions(1, { maxAppendBatches: 1 }), bootstrapDisk([1, 2, 3]));
  member.node.step(appendRequest({ entries: entriesOf(2, [2]) }));
  const first = member.node.ready().append;
  member.node.step(appendRequest({ prevIndex: 2, prevTerm: 2, entries: entriesOf(3, [2]) }));
  member.node.step(appendRequest({ prevIndex: 3, prevTerm: 2, entries: entriesOf(4, [2]) }));
  expect(member.node.hasReady()).toBe(false);
  member.node.appended(first!.seq);
  expect(member.node.ready().append).toMatchObject({
    entries: [{ index: 3 }, { index: 4 }],
    messages: [{ type: 'append-response', index: 4 }],
  });
});

test('a follower commits no further than the append it verified', () => {
  const member = lonelyMember([2, 2, 2]);
  member.node.step(appendRequest({ term: 3, entries: entriesOf(2, [2]), commit: 4 }));
  expect(member.node.status().commit).toBe(2);
});

test('a heartbeat commits nothing that this leader has not verified', () => {
  const member = lonelyMember([2, 2, 2]);
  member.node.step(heartbeat({ term: 3, commit: 4 }));
  expect(member.node.status().commit).toBe(1);
  member.node.step(appendRequest({ term: 3, prevIndex: 3, prevTerm: 2, commit: 1 }));
  member.node.step(heartbeat({ term: 3, commit: 4 }));
  expect(member.node.status().commit).toBe(3);
  member.node.step(heartbeat({ from: 3, term: 4, commit: 4 }));
  expect(member.node.status().commit).toBe(3);
});

test('a heartbeat carries min(match, commit)', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  cluster.passes = (message) => message.to !== 3;
  leader.node.propose([Buffer.from('a')]);
  cluster.settle();
  leader.node.tick();
  const heartbeats = leader.node.ready().messages.filter((message) => message.type === 'heartbeat');
  expect(heartbeats).toMatchObject([
    { to: 2, commit: 3 },
    { to: 3, commit: 2 },
  ]);
});

test('a conflict truncates, what agrees stays, and an old append takes nothing away', () => {
  const member = lonelyMember([2, 2, 2]);
  member.node.step(appendRequest({ term: 3, prevIndex: 2, prevTerm: 2, entries: entriesOf(3, [3]) }));
  member.processAll();
  expect(member.disk.entries.map(({ term }) => term)).toEqual([2, 3]);
  member.node.step(appendRequest({ term: 3, entries: entriesOf(2, [2]) }));
  member.processAll();
  expect(member.disk.entries.map(({ term }) => term)).toEqual([2, 3]);
});

test('a leader that would replace a committed entry is a broken promise', () => {
  for (const prevIndex of [1, 2, 3]) {
    const member = lonelyMember();
    member.node.step(appendRequest({ entries: entriesOf(2, [2, 2]), commit: 3 }));
    const prevTerm = prevIndex === 1 ? 1 : 3;
    const entries = entriesOf(prevIndex + 1, [3, 3]);
    const replacing = appendRequest({ term: 3, prevIndex, prevTerm, entries });
    expect(() => member.node.step(replacing)).toThrow('a leader lacks a committed entry');
  }
});

test('an append behind the commit index is answered with the commit index', () => {
  const member = lonelyMember();
  member.node.step(appendRequest({ entries: entriesOf(2, [2, 2]), commit: 3 }));
  sentBy(member);
  member.node.step(appendRequest({ entries: entriesOf(2, [2]) }));
  expect(sentBy(member)).toMatchObject([{ reject: false, index: 3 }]);
});

test('a refusal at or below what is known to match is stale and changes nothing', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  const before = leader.node.status().progress.get(2);
  leader.node.step(accepted({ reject: true, index: 2 }));
  leader.node.step(accepted({ reject: true, index: 1 }));
  expect(leader.node.status().progress.get(2)).toEqual(before);
});

test('an acceptance beyond the log, which nobody can have given, is ignored', () => {
  const leader = TestCluster.of(3).elect(1);
  leader.node.step(accepted({ index: 99 }));
  expect(leader.node.status().progress.get(2)).toMatchObject({ match: 2 });
});

test('an acceptance of an earlier term does not count', () => {
  const cluster = TestCluster.of(3);
  cluster.elect(1);
  cluster.passes = (message) => message.to === 1 || message.from === 1;
  const leader = cluster.member(1);
  leader.node.propose([Buffer.from('a')]);
  leader.processReady();
  leader.node.step(accepted({ term: 1, index: 3 }));
  leader.node.step(accepted({ from: 3, term: 1, index: 3 }));
  expect(leader.node.status().commit).toBe(2);
});

test('proposals beyond the limit of uncommitted bytes are refused until some are committed', () => {
  const cluster = TestCluster.of(3, { maxUncommittedBytes: 100 });
  const leader = cluster.elect(1);
  expect(leader.node.propose([Buffer.alloc(500)])).toMatchObject({ ok: true });
  expect(leader.node.propose([Buffer.alloc(1)])).toEqual({ ok: false, reason: 'busy' });
  expect(leader.node.propose([Buffer.alloc(0)])).toMatchObject({ ok: true });
  cluster.settle();
  expect(leader.node.propose([Buffer.alloc(60)])).toMatchObject({ ok: true });
  expect(leader.node.propose([Buffer.alloc(60)])).toEqual({ ok: false, reason: 'busy' });
});

test('a new leader counts the uncommitted tail it inherited', () => {
  const disk = bootstrapDisk([1, 2, 3]);
  disk.entries = [{ index: 2, term: 1, kind: 'normal', data: Buffer.alloc(90) }];
  const cluster = new TestCluster([disk, bootstrapDisk([1, 2, 3]), bootstrapDisk([1, 2, 3])], {
    maxUncommittedBytes: 100,
  });
  cluster.passes = (message) => message.type !== 'append';
  const leader = cluster.elect(1);
  expect(leader.node.status().role).toBe('leader');
  expect(leader.node.propose([Buffer.alloc(20)])).toEqual({ ok: false, reason: 'busy' });
});

test('what is handed out to be applied is bounded until it is applied', () => {
  const cluster = TestCluster.of(1, { maxApplyBytes: 200 });
  const leader = cluster.elect(1);
  leader.node.propose(Array.from({ length: 10 }, () => Buffer.alloc(76)));
  leader.processReady();
  leader.processAppend();
  const first = leader.processReady();
  expect(first.entries).toHaveLength(2);
  expect(leader.processReady().entries).toEqual([]);
  leader.processApply();
  expect(leader.processReady().entries).toHaveLength(2);
});

test('a message carries a bounded number of bytes, and one larger entry alone', () => {
  const leader = TestCluster.of(2, { maxEntriesPerMessageBytes: 250 }).elect(1);
  leader.node.propose([Buffer.alloc(76), Buffer.alloc(76), Buffer.alloc(1000), Buffer.alloc(1)]);
  const { messages } = leader.node.ready();
  expect(messages.map((message) => message.type === 'append' && message.entries.length)).toEqual([2, 1, 1]);
});

test('a full window stops appends by bytes as well as by count', () => {
  const leader = TestCluster.of(2, { maxEntriesPerMessageBytes: 120, maxInflightBytes: 250 }).elect(1);
  leader.node.propose(Array.from({ length: 8 }, () => Buffer.alloc(76)));
  expect(leader.node.ready().messages).toHaveLength(3);
});

test('a broken connection is probed before anything is pipelined again', () => {
  const cluster = TestCluster.of(2);
  const leader = cluster.elect(1);
  leader.node.propose([Buffer.from('a')]);
  leader.processReady();
  leader.outbox.length = 0;
  leader.node.reportUnreachable(2);
  expect(leader.node.ready().messages).toMatchObject([{ type: 'append', prevIndex: 2 }]);
  leader.node.propose([Buffer.from('b')]);
  expect(leader.node.ready().messages).toEqual([]);
});

test('malformed appends are counted and ignored', () => {
  const member = lonelyMember();
  const [second, third] = entriesOf(2, [2, 2]);
  member.node.step(appendRequest({ entries: [third!] }));
  member.node.step(appendRequest({ entries: [third!, second!] }));
  member.node.step(appendRequest({ entries: entriesOf(2, [2, 1]) }));
  member.node.step(appendRequest({ entries: entriesOf(2, [9]) }));
  member.node.step(appendRequest({ to: 3 }));
  member.node.step(appendRequest({ from: 1 }));
  member.node.step(appendRequest({ commit: -1 }));
  member.node.step(appendRequest({ term: Number.NaN }));
  expect(member.node.hasReady()).toBe(false);
  expect(member.node.status()).toMatchObject({ malformedCount: 8, lastIndex: 1, term: 1 });
});
