import { expect, test } from 'vitest';
import {
  appendRequest,
  entriesOf,
  heartbeat,
  lonelyMember,
  sentBy,
  voteRequest,
  voteResponse,
} from './builders.ts';
import { TestCluster } from './test-cluster.ts';
import { bootstrapDisk, encodeConfChange, TestMember, testOptions } from './test-member.ts';

function ticks(member: TestMember, count: number): void {
  for (let at = 0; at < count; at += 1) member.node.tick();
}

test('a follower campaigns after a timeout drawn from [electionTicks, 2 * electionTicks)', () => {
  for (const drawn of [0, 4, 9]) {
    const member = new TestMember(testOptions(1, { random: () => drawn }), bootstrapDisk([1, 2, 3]));
    ticks(member, 10 + drawn - 1);
    expect(member.node.status().role).toBe('follower');
    ticks(member, 1);
    expect(member.node.status().role).toBe('pre-candidate');
  }
});

test('a patient follower leaves whole election timeouts to the others', () => {
  for (const [electionPatience, drawn, after] of [
    [1, 9, 19],
    [1.5, 0, 15],
    [1.5, 9, 24],
    [2, 0, 20],
  ] as const) {
    const options = testOptions(1, { random: () => drawn, electionPatience });
    const member = new TestMember(options, bootstrapDisk([1, 2, 3]));
    ticks(member, after - 1);
    expect(member.node.status().role).toBe('follower');
    ticks(member, 1);
    expect(member.node.status().role).toBe('pre-candidate');
  }
});

test('a patient member grants votes as early as any, and leads as any when it is elected', () => {
  const patient = testOptions(1, { electionPatience: 2 });
  const member = new TestMember(patient, bootstrapDisk([1, 2, 3]));
  member.node.step(heartbeat());
  ticks(member, 9);
  member.processAll();
  member.outbox.splice(0);
  const asked = voteRequest({ from: 3, preVote: true, term: 3 });
  member.node.step(asked);
  expect(sentBy(member)).toEqual([]);
  // It still follows, and would wait for as long again.
  ticks(member, 1);
  expect(member.node.status()).toMatchObject({ role: 'follower', leader: 2 });
  member.node.step(asked);
  expect(sentBy(member)).toMatchObject([{ to: 3, preVote: true, granted: true }]);

  const cluster = TestCluster.of(3, { electionPatience: 2 });
  cluster.elect(1);
  const leader = cluster.member(1);
  cluster.passes = () => false;
  ticks(leader, 10);
  expect(leader.node.status().role).toBe('leader');
  ticks(leader, 10);
  expect(leader.node.status().role).toBe('follower');
});

test('a follower that hears its leader does not campaign', () => {
  const member = lonelyMember();
  for (let at = 0; at < 5; at += 1) {
    ticks(member, 9);
    member.node.step(heartbeat());
  }
  expect(member.node.status()).toMatchObject({ role: 'follower', leader: 2 });
});

test('a pre-vote moves neither term nor vote', () => {
  const member = lonelyMember();
  member.node.campaign();
  expect(sentBy(member)).toHaveLength(2);
  expect(member.node.status()).toMatchObject({ role: 'pre-candidate', term: 1, vote: 0 });
  member.node.step(voteRequest({ preVote: true, term: 5 }));
  expect(member.node.status()).toMatchObject({ term: 1, vote: 0 });
});

test('a member votes at most once in a term, across restarts', () => {
  const member = lonelyMember();
  member.node.step(voteRequest({ from: 2 }));
  expect(sentBy(member)).toMatchObject([{ to: 2, granted: true, term: 2 }]);
  member.node.step(voteRequest({ from: 3 }));
  expect(sentBy(member)).toMatchObject([{ to: 3, granted: false }]);
  member.restart();
  member.node.step(voteRequest({ from: 3 }));
  expect(sentBy(member)).toMatchObject([{ to: 3, granted: false }]);
});

test('a vote is repeated to the same candidate, so that a lost answer stalls nobody', () => {
  const member = lonelyMember();
  for (let at = 0; at < 2; at += 1) {
    member.node.step(voteRequest());
    expect(sentBy(member)).toMatchObject([{ granted: true }]);
  }
});

test('a vote leaves only after it is durable', () => {
  const member = lonelyMember();
  member.node.step(voteRequest());
  const { messages, append } = member.node.ready();
  expect(messages).toEqual([]);
  expect(append).toMatchObject({
    mustSync: true,
    hardState: { term: 2, vote: 2 },
    messages: [{ type: 'vote-response', granted: true }],
  });
});

test.each([
  { name: 'an older last term', lastIndex: 9, lastTerm: 2, granted: false },
  { name: 'a shorter log of the same last term', lastIndex: 2, lastTerm: 3, granted: false },
  { name: 'an equal log', lastIndex: 3, lastTerm: 3, granted: true },
  { name: 'a longer log', lastIndex: 4, lastTerm: 3, granted: true },
  { name: 'a shorter log of a newer last term', lastIndex: 2, lastTerm: 4, granted: true },
])('a vote for $name: granted $granted', ({ lastIndex, lastTerm, granted }) => {
  for (const preVote of [false, true]) {
    const member = lonelyMember([2, 3]);
    member.node.step(voteRequest({ term: 5, lastIndex, lastTerm, preVote }));
    expect(sentBy(member)).toMatchObject([{ granted, preVote }]);
  }
});

test('the own vote counts only once it is durable', () => {
  const member = new TestMember(testOptions(1), bootstrapDisk([1]));
  member.node.campaign();
  member.processReady();
  expect(member.node.status().role).toBe('candidate');
  member.processAppend();
  expect(member.node.status().role).toBe('leader');
});

test('a vote is asked for only once the own term, vote and log are durable', () => {
  const cluster = TestCluster.of(3);
  const candidate = cluster.member(1);
  candidate.node.campaign();
  candidate.processReady();
  candidate.outbox.length = 0;
  candidate.node.step(voteResponse());
  const { messages, append } = candidate.node.ready();
  expect(messages).toEqual([]);
  expect(append?.hardState).toMatchObject({ term: 2, vote: 1 });
  expect(append?.messages).toMatchObject([
    { type: 'vote', to: 2 },
    { type: 'vote', to: 3 },
  ]);
});

test('a vote that was on its way to disk is not counted in a later term', () => {
  const member = new TestMember(testOptions(1), bootstrapDisk([1, 2]));
  member.node.campaign();
  member.node.step(voteResponse());
  member.processReady();
  expect(member.node.status()).toMatchObject({ role: 'candidate', term: 2 });
  member.node.step(heartbeat({ term: 3 }));
  member.processAppend();
  expect(member.node.status()).toMatchObject({ role: 'follower', term: 3, vote: 0 });
});

test('a vote stays given when a member steps down in the same term', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  leader.node.abandonLeadership();
  expect(leader.node.status()).toMatchObject({ role: 'follower', term: 2, vote: 1, leader: 0 });
  leader.node.step(voteRequest({ term: 2, lastIndex: 9, lastTerm: 2 }));
  expect(sentBy(leader)).toMatchObject([{ granted: false }]);
});

test('a candidate follows the leader that won its term', () => {
  const cluster = TestCluster.of(3);
  const candidate = cluster.member(1);
  candidate.node.campaign();
  candidate.node.step(voteResponse());
  candidate.processAll();
  expect(candidate.node.status().role).toBe('candidate');
  candidate.node.step(appendRequest());
  expect(candidate.node.status()).toMatchObject({ role: 'follower', leader: 2, term: 2, vote: 1 });
});

test('a campaign that a majority refuses is given up', () => {
  const member = lonelyMember();
  member.node.campaign();
  for (const from of [2, 3]) {
    member.node.step(voteResponse({ from, term: 1, granted: false }));
  }
  expect(member.node.status()).toMatchObject({ role: 'follower', term: 1 });
});

test('votes of strangers and of learners do not count', () => {
  const member = new TestMember(testOptions(1), bootstrapDisk([1, 2, 3], [4]));
  member.node.campaign();
  for (const from of [4, 9]) {
    member.node.step(voteResponse({ from }));
  }
  expect(member.node.status().role).toBe('pre-candidate');
});

test('a pre-vote granted in an earlier campaign does not count in a later one', () => {
  const member = lonelyMember([2]);
  member.node.campaign();
  member.node.step(voteResponse());
  expect(member.node.status().role).toBe('pre-candidate');
});

test.each([
  { name: 'pre-vote', message: voteRequest({ term: 3, preVote: true }) },
  { name: 'vote', message: voteRequest({ term: 3 }) },
  { name: 'append', message: appendRequest({ term: 3 }) },
  { name: 'heartbeat', message: heartbeat({ term: 3 }) },
])('a $name of an older term is answered with the own term, so that its sender steps up', ({ message }) => {
  const member = lonelyMember([7]);
  member.node.step(message);
  expect(sentBy(member)).toMatchObject([{ to: 2, term: 7 }]);
});

test('a leader deposed by a newer term learns it from the answer to its heartbeat', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  const ahead = new TestMember(testOptions(2), {
    ...bootstrapDisk([1, 2, 3]),
    hardState: { term: 9, vote: 0, commit: 1 },
  });
  cluster.members.set(2, ahead);
  leader.node.tick();
  cluster.settle();
  expect(leader.node.status()).toMatchObject({ role: 'follower', term: 9 });
});

test('a member that hears its leader ignores votes and pre-votes, but not those of a transfer', () => {
  const member = lonelyMember();
  member.node.step(heartbeat());
  sentBy(member);
  member.node.step(voteRequest({ from: 3, term: 9 }));
  member.node.step(voteRequest({ from: 3, term: 9, preVote: true }));
  expect(sentBy(member)).toEqual([]);
  expect(member.node.status().term).toBe(2);
  member.node.step(voteRequest({ from: 3, term: 9, transfer: true }));
  expect(sentBy(member)).toMatchObject([{ to: 3, granted: true, term: 9 }]);
});

test('a member that has missed its leader for an election timeout votes again', () => {
  const member = lonelyMember();
  member.node.step(heartbeat());
  ticks(member, 10);
  sentBy(member);
  member.node.step(voteRequest({ from: 3, term: 3, preVote: true }));
  expect(sentBy(member)).toMatchObject([{ to: 3, granted: true }]);
});

test('a leader that hears no quorum for an election timeout steps down', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  cluster.passes = (message) => message.from === 1;
  for (let at = 0; at < 20; at += 1) {
    leader.node.tick();
    cluster.settle();
  }
  expect(leader.node.status()).toMatchObject({ role: 'follower', leader: 0, term: 2 });
});

test('a leader that hears a quorum stays, however long one member is silent', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  cluster.passes = (message) => message.from !== 3 && message.to !== 3;
  for (let at = 0; at < 50; at += 1) {
    leader.node.tick();
    cluster.settle();
  }
  expect(leader.node.status().role).toBe('leader');
});

test('a committed membership change that is not applied yet forbids campaigning', () => {
  const disk = bootstrapDisk([1, 2, 3]);
  const data = encodeConfChange({ steps: [{ type: 'add-voter', id: 4 }] });
  disk.entries = [{ index: 2, term: 1, kind: 'conf-change', data }];
  disk.hardState = { term: 1, vote: 0, commit: 2 };
  const member = new TestMember(testOptions(1), disk);
  member.node.campaign();
  expect(member.node.status().role).toBe('follower');
  member.processAll();
  member.node.campaign();
  expect(member.node.status()).toMatchObject({ role: 'pre-candidate', applied: 2 });
});

test('a learner never campaigns, but votes when asked', () => {
  const member = new TestMember(testOptions(4), bootstrapDisk([1, 2, 3], [4]));
  ticks(member, 50);
  member.node.campaign();
  expect(member.node.status().role).toBe('follower');
  member.node.step(voteRequest({ to: 4 }));
  expect(sentBy(member)).toMatchObject([{ granted: true }]);
});

test('a member that must not vote neither grants anything nor campaigns', () => {
  const member = lonelyMember();
  member.node.setVotingAllowed(false);
  ticks(member, 50);
  expect(member.node.status().role).toBe('follower');
  member.node.step(voteRequest({ preVote: true }));
  member.node.step(voteRequest({ term: 3 }));
  expect(sentBy(member)).toMatchObject([{ granted: false }, { granted: false }]);
  expect(member.node.status()).toMatchObject({ term: 3, vote: 0 });
  member.node.setVotingAllowed(true);
  member.node.step(voteRequest({ term: 3 }));
  expect(sentBy(member)).toMatchObject([{ granted: true }]);
});

test('a leader that must not vote any more steps down', () => {
  const cluster = TestCluster.of(3);
  const leader = cluster.elect(1);
  leader.node.setVotingAllowed(false);
  expect(leader.node.status().role).toBe('follower');
});

test('a second leader in one term is a broken promise', () => {
  const leader = TestCluster.of(3).elect(1);
  expect(() => leader.node.step(heartbeat())).toThrow('two leaders in one term');
  const follower = lonelyMember();
  follower.node.step(appendRequest({ entries: entriesOf(2, [2]) }));
  expect(() => follower.node.step(heartbeat({ from: 3 }))).toThrow('two leaders in one term');
});
