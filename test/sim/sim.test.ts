import { expect, test } from 'vitest';
import type { StateMarker } from '../../src/core/state.ts';
import { voteResponse } from '../core/raft/builders.ts';
import { AppliedLog } from './checkers/applied-log.ts';
import { LeadershipChecker } from './checkers/leadership.ts';
import { LeaseSafety } from './checkers/lease-safety.ts';
import { Transfers } from './checkers/transfers.ts';
import { Votes } from './checkers/votes.ts';
import { type Plan, planOf } from './plan.ts';
import { REGRESSION_SEEDS } from './regression-seeds.ts';
import { type SimResult, simulate } from './simulation.ts';
import type { Violation } from './violation.ts';

/** Fixed seeds beside those that once found something: the last two with users, and with joint configurations. */
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 27, 29];
const SEEDS_OF_KIND = 5;

test.each([...SEEDS, ...REGRESSION_SEEDS])('seed %i', async (seed) => {
  const { violation, operations, entries } = await simulate(seed);
  expect(violation?.message).toBeUndefined();
  expect(operations).toBeGreaterThan(0);
  expect(entries).toBeGreaterThan(0);
});

/** The first seeds whose plan is of a kind; what one of them comes to changes with every change of the store. */
async function simulated(isOfKind: (plan: Plan) => boolean): Promise<readonly SimResult[]> {
  const results: SimResult[] = [];
  for (let seed = 1; results.length < SEEDS_OF_KIND; seed++) {
    if (isOfKind(planOf(seed))) results.push(await simulate(seed));
  }
  return results;
}

test('users are refused in seeds with authentication, and members change two at a time in others', async () => {
  const users = await simulated(({ auth }) => auth);
  expect(users.some(({ authChanges, denied }) => authChanges > 0 && denied > 0)).toBe(true);
  const members = await simulated(({ joint }) => joint);
  expect(members.some(({ joint }) => joint > 0)).toBe(true);
  // Nor may the search of orders leave every run to the witness.
  expect([...users, ...members].every(({ opsSearched }) => opsSearched > 0)).toBe(true);
});

test('a seed runs the same every time, and two seeds do not', async () => {
  const [first, second, other] = [await simulate(42), await simulate(42), await simulate(43)];
  expect(second.hash).toBe(first.hash);
  expect(second.events).toBe(first.events);
  expect(second.trace).toEqual(first.trace);
  expect(other.hash).not.toBe(first.hash);
});

test('a printed trace tells what clients asked and heard, and is the same run', async () => {
  const printed: string[] = [];
  const { hash } = await simulate(42, { print: (line) => printed.push(line) });
  expect(hash).toBe((await simulate(42)).hash);
  const text = printed.join('\n');
  expect(text).toMatch(/ c0 +c0\.0-1 asks n\d: \{"type":/);
  expect(text).toMatch(/ is answered by n\d\.\d+: put \d+ /);
  expect(text).toMatch(/ w\d +hears of n\d\.\d+: up to \d+: put k/);
});

test('two leaders of one term are found', () => {
  const found: Violation[] = [];
  const checker = new LeadershipChecker((violation) => found.push(violation));
  checker.leads(1, 7);
  checker.leads(1, 7);
  checker.leads(2, 8);
  expect(found).toEqual([]);
  checker.leads(2, 7);
  expect(found[0]?.message).toContain('two leaders');
});

test('a second vote in a term is found, a pre-vote is none', () => {
  const found: Violation[] = [];
  const votes = new Votes((violation) => found.push(violation));
  const vote = (to: number, preVote: boolean) => voteResponse({ from: 1, to, term: 5, preVote });
  votes.said(vote(2, false));
  votes.said(vote(3, true));
  votes.said(vote(2, false));
  expect(found).toEqual([]);
  votes.said(vote(3, false));
  expect(found).toHaveLength(1);
});

test('a transfer of leadership that is not given up is found, a second one to the same is another', () => {
  const found: Violation[] = [];
  const transfers = new Transfers((violation) => found.push(violation), 100);
  const say = (transferee: number, ticks: number, nowMs: number): void =>
    transfers.sample({ process: 'n1.1', transferee, ticks }, nowMs);
  say(2, 1, 0);
  say(2, 9, 400);
  say(2, 1, 600);
  say(2, 9, 1_000);
  say(0, 9, 1_050);
  say(2, 9, 2_000);
  transfers.forget('n1.1');
  say(2, 9, 3_000);
  expect(found).toEqual([]);
  say(2, 20, 3_501);
  expect(found[0]?.message).toContain('handing leadership to 2 for 501 ms');
});

test('another entry at a known index is found', () => {
  const found: Violation[] = [];
  const log = new AppliedLog(
    (violation) => found.push(violation),
    () => {},
  );
  const applied = {
    index: 2,
    proposal: null,
    outcome: { ok: true, result: { type: 'none' } },
    events: [],
    revision: 1,
  } as const;
  const entry = { index: 2, term: 2, kind: 'normal', data: Buffer.alloc(0) } as const;
  log.applied('n1', { entry, applied }, 0);
  log.applied('n2', { entry, applied }, 0);
  expect(found).toEqual([]);
  log.applied('n3', { entry: { ...entry, term: 3 }, applied }, 0);
  expect(found[0]?.message).toContain('another entry at 2');
});

test('another state at a known position is found, rows where both have dropped as much', () => {
  const found: Violation[] = [];
  const log = new AppliedLog(
    (violation) => found.push(violation),
    () => {},
  );
  const hash = { a: 1, b: 2 };
  const marker: StateMarker = {
    appliedIndex: 9,
    appliedTerm: 1,
    currentRevision: 5,
    compactRevision: 3,
    hashCompactRevision: 0,
    confState: { voters: [1], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
    applyHash: hash,
    rowSetHash: hash,
    rowCount: 4,
    tableSetHash: hash,
  };
  log.marked('n1', marker);
  log.marked('n2', marker);
  log.marked('n3', { ...marker, hashCompactRevision: 3, rowSetHash: { a: 7, b: 7 }, rowCount: 2 });
  expect(found).toEqual([]);
  log.marked('n2', { ...marker, tableSetHash: { a: 1, b: 3 } });
  log.marked('n2', { ...marker, rowCount: 3 });
  log.marked('n2', { ...marker, hashCompactRevision: 3, rowSetHash: { a: 7, b: 8 }, rowCount: 2 });
  expect(found.map(({ message }) => message)).toEqual([
    expect.stringContaining('tables 1-3'),
    expect.stringContaining('3 rows'),
    expect.stringContaining('2 rows with hash 7-8'),
  ]);
});

test('an expiry before the guaranteed time is found', () => {
  const found: Violation[] = [];
  const leases = new LeaseSafety({ report: (violation) => found.push(violation), rateMax: 1 });
  const expire = (atMs: number): void =>
    leases.entry({
      index: 5,
      term: 2,
      opId: '',
      operation: { type: 'lease-expire', term: 2, ids: [9n] },
      outcome: { ok: true, result: { type: 'lease-expire', revoked: [9n] } },
      revision: 1,
      atMs,
      digest: '',
    });
  leases.acknowledged(9n, { sentMs: 1_000, ttlSeconds: 2 });
  expire(3_001);
  expect(found).toEqual([]);
  leases.acknowledged(9n, { sentMs: 1_500, ttlSeconds: 2 });
  expect(found).toHaveLength(1);
});
