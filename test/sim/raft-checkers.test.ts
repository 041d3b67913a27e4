import { describe, expect, test } from 'vitest';
import type { AppendRequest, Entry, VoteRequest } from '../../src/core/raft/messages.ts';
import { Raft } from '../../src/core/raft/raft.ts';
import type { LogRecord } from '../../src/member/ports.ts';
import { LOG_DIRECTORY } from '../../src/member/storage/data-dir.ts';
import { MemoryDisk } from '../../src/member/storage/memory-disk.ts';
import { openLog } from '../../src/member/storage/wal.ts';
import { voteResponse } from '../core/raft/builders.ts';
import { Campaigns } from './checkers/campaigns.ts';
import { Commits } from './checkers/commits.ts';
import { Configurations } from './checkers/configurations.ts';
import { DurablePromises } from './checkers/durable-promises.ts';
import { LogMatching } from './checkers/log-matching.ts';
import { OlderTerms } from './checkers/older-terms.ts';
import { RottenLog } from './checkers/rotten-log.ts';
import { Prng } from './prng.ts';
import { SimProcess } from './process.ts';
import { DurableLog, type RaftRun, RaftRuns } from './raft-runs.ts';
import { Scheduler } from './scheduler.ts';
import type { Violation } from './violation.ts';

const SEGMENT_BYTES = 4096;

const entry = (index: number, term: number, kind: Entry['kind'] = 'normal'): Entry => ({
  index,
  term,
  kind,
  data: Buffer.from(`${index}.${term}`),
});

const record = (part: Partial<LogRecord>): LogRecord => ({
  hardState: null,
  entries: [],
  snapshot: null,
  sync: true,
  ...part,
});

/** Three members whose logs end at index 1, term 1, and the checkers that look at them. */
function setUp() {
  const scheduler = new Scheduler(new Prng(1));
  const found: Violation[] = [];
  const report = (violation: Violation): void => void found.push(violation);
  const runs = new RaftRuns(() => false);
  const commits = new Commits(runs, report);
  const promises = new DurablePromises(runs, commits, report);
  const confState = {
    voters: [1, 2, 3],
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
  };
  const start = (id: number): RaftRun => {
    const process = new SimProcess({
      name: `n${id}.1`,
      number: id,
      scheduler,
      random: new Prng(id),
      rate: 1,
      timerLagMsMax: 0,
      uncaught: () => {},
    });
    const limits = { maxEntriesPerMessageBytes: 100, maxInflightMessages: 10, maxInflightBytes: 1000 };
    const bounds = { maxUncommittedBytes: 1000, maxApplyBytes: 1000, electionTicks: 10, heartbeatTicks: 1 };
    const raft = new Raft(
      { id, ...limits, ...bounds, random: () => 0 },
      {
        hardState: { term: 1, vote: 0, commit: 1 },
        confState,
        applied: 1,
        compacted: { index: 1, term: 1 },
        entries: [],
      },
    );
    const run = runs.created(raft, process);
    commits.created(run);
    return run;
  };
  return { found, report, commits, promises, members: [start(1), start(2), start(3)] as const };
}

function lead({ raft }: RaftRun): void {
  raft.becomePreCandidate();
  raft.becomeCandidate();
  raft.becomeLeader();
}

describe('what is durable', () => {
  test('a record written without a sync counts once a later one was synced', () => {
    const disk = new DurableLog();
    disk.recorded(record({ entries: [entry(1, 1)] }));
    disk.recorded(record({ hardState: { term: 2, vote: 3, commit: 0 }, sync: false }));
    expect(disk.term).toBe(0);
    disk.recorded(record({ entries: [entry(2, 2), entry(3, 2)] }));
    expect([disk.term, disk.vote, disk.last]).toEqual([2, 3, 3]);
  });

  test('entries replace those at and behind their index, a snapshot replaces all', () => {
    const disk = new DurableLog();
    disk.recorded(record({ entries: [entry(1, 1), entry(2, 1), entry(3, 1)] }));
    disk.recorded(record({ entries: [entry(2, 2)] }));
    expect([disk.last, disk.termAt(2), disk.covers(2, 1), disk.covers(1, 1)]).toEqual([2, 2, false, true]);
    const confState = {
      voters: [1],
      votersOutgoing: [],
      learners: [],
      learnersNext: [],
      autoLeave: false,
    };
    disk.recorded(record({ snapshot: { index: 9, term: 2, confState, stateName: 'state-2' } }));
    expect([disk.last, disk.compacted, disk.covers(5, 7)]).toEqual([9, 9, true]);
  });
});

describe('configurations', () => {
  const request: VoteRequest = {
    type: 'vote',
    from: 2,
    to: 1,
    term: 2,
    preVote: false,
    lastIndex: 1,
    lastTerm: 1,
    transfer: false,
  };

  test('a leader has one change at most that it has not applied', () => {
    const { found, report, members } = setUp();
    const [run] = members;
    const checker = new Configurations(report);
    const propose = (): void => {
      const index = run.raft.appendOwn('conf-change', [Buffer.from('change')]);
      checker.appended(run, run.raft.log.slice({ from: index, to: index, bytesMax: Infinity }));
    };
    lead(run);
    checker.becameLeader(run);
    propose();
    run.raft.confIndex = 3;
    propose();
    expect(found).toEqual([]);
    propose();
    expect(found.map(({ message }) => message)).toEqual([
      'configuration: n1.1 (leader, term 2) has applied 3, its log has changes of members at 4 and 5',
    ]);
  });

  test('a member has one change at most that it does not know as committed', () => {
    const { found, report, members } = setUp();
    const [run] = members;
    const checker = new Configurations(report);
    const take = (entries: readonly Entry[], commit: number): void => {
      checker.stepping(run, request);
      run.raft.log.append(entries);
      checker.appended(run, entries);
      run.raft.log.commitTo(commit);
      checker.stepped(run, { ...request, type: 'heartbeat', commit, readSeq: 0 });
    };
    take([entry(2, 1, 'conf-change'), entry(3, 1)], 1);
    take([entry(4, 1, 'conf-change')], 2);
    expect(found).toEqual([]);
    take([entry(5, 1, 'conf-change')], 3);
    expect(found.map(({ message }) => message)).toEqual([
      'configuration: n1.1 (follower, term 1) knows as committed 3, its log has changes of members at 4 and 5',
    ]);
  });

  test('who is no voter does not lead', () => {
    const { found, report, members } = setUp();
    const [run] = members;
    const checker = new Configurations(report);
    lead(run);
    checker.confChanged(run);
    expect(found).toEqual([]);
    run.raft.activateConf({ ...run.raft.conf, voters: [2, 3], learners: [1] }, 2);
    checker.confChanged(run);
    expect(found.map(({ message }) => message)).toEqual([
      'configuration: n1.1 leads term 2 and is no voter since 2',
    ]);
  });

  test('a vote that is free is given, whatever the voter takes itself for', () => {
    const { found, report, members } = setUp();
    const [run] = members;
    const checker = new Configurations(report);
    const answer = (granted: boolean, asked: VoteRequest): void => {
      checker.stepping(run, asked);
      const { preVote, term } = asked;
      run.raft.sendAfterAppend(voteResponse({ from: 1, to: 2, term, preVote, granted }));
      checker.stepped(run, asked);
    };
    answer(true, request);
    answer(false, { ...request, term: 1, lastIndex: 0, lastTerm: 0 });
    run.raft.vote = 3;
    answer(false, { ...request, term: 1 });
    run.raft.votingAllowed = false;
    answer(false, request);
    expect(found).toEqual([]);
    run.raft.votingAllowed = true;
    answer(false, request);
    expect(found.map(({ message }) => message)).toEqual([
      'configuration: n1.1 refuses 2 a vote for term 2 that it is free to give',
    ]);
  });
});

describe('durable promises', () => {
  const vote = voteResponse({ from: 1, to: 2, preVote: false });

  test('a vote must be on disk, with its term and for its candidate', () => {
    const { found, promises, members } = setUp();
    const [{ disk }] = members;
    promises.said({ ...vote, preVote: true });
    promises.said({ ...vote, granted: false });
    disk.recorded(record({ hardState: { term: 2, vote: 2, commit: 1 } }));
    promises.said(vote);
    expect(found).toEqual([]);
    promises.said({ ...vote, to: 3 });
    promises.said({ ...vote, term: 3 });
    expect(found.map(({ message }) => message)).toEqual([
      'durable: n1.1 votes for 3 in term 2, on its disk is term 2, vote 2',
      'durable: n1.1 votes for 2 in term 3, on its disk is term 2, vote 2',
    ]);
  });

  test('an acknowledged entry is on disk and stays there', () => {
    const { found, promises, members } = setUp();
    const [member] = members;
    const ack = {
      type: 'append-response',
      from: 1,
      to: 2,
      term: 1,
      index: 3,
      reject: false,
      hintIndex: 0,
      hintTerm: 0,
    } as const;
    member.disk.recorded(record({ entries: [entry(2, 1), entry(3, 1)] }));
    promises.said(ack);
    promises.recording(member, record({ entries: [entry(4, 1)] }));
    expect(found).toEqual([]);
    promises.said({ ...ack, index: 4 });
    expect(found).toHaveLength(1);
    promises.recording(member, record({ entries: [entry(2, 1)] }));
    expect(found[1]?.message).toContain('ends its log at 2 by a truncation, it has acknowledged');
  });

  test('a start finds the term, the vote and the committed entries that were on the disk', () => {
    const { found, promises, commits, members } = setUp();
    const [member, leader] = members;
    lead(leader);
    leader.raft.log.append([entry(3, 2)]);
    commits.created(leader);
    const { raft, process, disk } = member;
    disk.recorded(record({ hardState: { term: 1, vote: 0, commit: 1 } }));
    promises.starting(raft, process);
    // Nobody has committed it: what replaced it may have been on its way to the disk.
    disk.recorded(record({ entries: [entry(2, 1)] }));
    promises.starting(raft, process);
    expect(found).toEqual([]);
    disk.recorded(record({ hardState: { term: 1, vote: 3, commit: 1 } }));
    promises.starting(raft, process);
    expect(found[0]?.message).toBe('durable: n1.1 starts in term 1 with vote 0, on its disk were 1 and 3');
    disk.recorded(record({ hardState: { term: 0, vote: 0, commit: 1 }, entries: [entry(2, 2)] }));
    leader.raft.log.commitTo(3);
    commits.created(leader);
    promises.starting(raft, process);
    expect(found[1]?.message).toBe(
      'durable: n1.1 starts without 2 of term 2, which was on its disk and is committed',
    );
  });
});

describe('commits', () => {
  test('a leader commits what is durable on a majority, in its own term', () => {
    const { found, commits, members } = setUp();
    const [leader, second] = members;
    lead(leader);
    const { log } = leader.raft;
    second.disk.recorded(record({ entries: [entry(2, 2)] }));
    leader.disk.recorded(record({ entries: [entry(2, 2)] }));
    log.commitTo(2);
    commits.committed(leader, log, 1);
    expect(found).toEqual([]);
    leader.raft.appendOwn('normal', [Buffer.from('x')]);
    leader.disk.recorded(record({ entries: [entry(3, 2)] }));
    log.commitTo(3);
    commits.committed(leader, log, 2);
    expect(found[0]?.message).toBe(
      'commit: n1.1, leader of term 2, commits 3, which is durable on 1 of 3 voters',
    );
  });

  test('a follower commits nothing that no leader has committed', () => {
    const { found, commits, members } = setUp();
    const { raft } = members[1];
    raft.log.merge([entry(2, 1)]);
    raft.log.commitTo(2);
    commits.committed(members[1], raft.log, 1);
    expect(found[0]?.message).toContain('no leader has committed beyond 1');
  });

  test('a leader without a committed entry is found', () => {
    const { found, commits, members } = setUp();
    const [leader, second, third] = members;
    lead(leader);
    for (const each of [leader, second]) each.disk.recorded(record({ entries: [entry(2, 2)] }));
    leader.raft.log.commitTo(2);
    commits.committed(leader, leader.raft.log, 1);
    third.raft.becomeFollower(3, 0);
    commits.becameLeader(third);
    expect(found[0]?.message).toContain('2 was committed in term 2 and it lacks it');
  });

  test('one that hears late of its election may lack what a later term has committed', () => {
    const { found, commits, members } = setUp();
    const [leader, second, third] = members;
    lead(leader);
    for (const each of [leader, second]) each.disk.recorded(record({ entries: [entry(2, 2)] }));
    leader.raft.log.commitTo(2);
    commits.committed(leader, leader.raft.log, 1);
    third.raft.becomeFollower(1, 0);
    commits.becameLeader(third);
    expect(found).toEqual([]);
  });
});

test('an entry behind another one than elsewhere is found', () => {
  const { found, report, members } = setUp();
  const matching = new LogMatching(report);
  const [first, second] = members;
  first.raft.log.merge([entry(2, 1), entry(3, 3)]);
  matching.appended(first, first.raft.log, [entry(2, 1), entry(3, 3)]);
  second.raft.log.merge([entry(2, 2), entry(3, 3)]);
  matching.appended(second, second.raft.log, [entry(2, 2), entry(3, 3)]);
  expect(found.map(({ message }) => message)).toEqual([
    'log-matching: n2.1 has entry 3 of term 3 behind one of term 2, elsewhere it follows one of term 1',
  ]);
});

test('a campaign with a committed membership change that is not applied is found', () => {
  const { found, report, members } = setUp();
  const campaigns = new Campaigns(report);
  const [member] = members;
  member.raft.log.merge([entry(2, 1, 'conf-change')]);
  campaigns.becameCandidate(member, true);
  expect(found).toEqual([]);
  member.raft.log.commitTo(2);
  campaigns.becameCandidate(member, true);
  expect(found).toHaveLength(1);
});

test('a leader of an older term must be answered', () => {
  const { found, report, members } = setUp();
  const olderTerms = new OlderTerms(report);
  const [member] = members;
  member.raft.becomeFollower(3, 0);
  const append: AppendRequest = {
    type: 'append',
    from: 2,
    to: 1,
    term: 2,
    prevIndex: 1,
    prevTerm: 1,
    entries: [],
    commit: 1,
  };
  olderTerms.stepping(member, append);
  olderTerms.stepped(member, append);
  expect(found[0]?.message).toBe(
    'older-term: n1.1 is in term 3 and does not tell 2, which thinks it leads term 2',
  );
});

test('every copy of a log with a rotten record is refused', async () => {
  const disk = new MemoryDisk();
  const random = new Prng(7);
  const options = { disk, directory: LOG_DIRECTORY, segmentBytes: SEGMENT_BYTES, incarnation: 1, random };
  const { log } = await openLog({ ...options, create: true });
  for (let index = 1; index <= 60; index++) await log.append(record({ entries: [entry(index, 1)] }));
  await log.close();
  const found: Violation[] = [];
  const rotten = new RottenLog({
    random,
    report: (violation) => found.push(violation),
    segmentBytes: SEGMENT_BYTES,
  });
  for (let i = 0; i < 50; i++) await rotten.try('n1', disk);
  expect(rotten.triedCount).toBe(50);
  expect(found).toEqual([]);
});
