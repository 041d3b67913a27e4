import { afterEach, describe, expect, test } from 'vitest';
import { RawNode } from '../../src/core/raft/raw-node.ts';
import { StoreError } from '../../src/lib/errors.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type { MemberInfo } from '../../src/member/membership.ts';
import { LOG_DIRECTORY } from '../../src/member/storage/data-dir.ts';
import { scanLog } from '../../src/member/storage/wal-recovery.ts';
import { confirmCutTail, type TailCheckOptions } from '../../src/member/tail-check.ts';
import { ManualClock } from './manual-clock.ts';
import { context, eventually, type Place, put, TestCluster, valueOf } from './test-cluster.ts';

const LAST_INDEX = 7;

/** A member whose log ends at 7, and what its two peers answer. */
function lone(
  answers: Readonly<Record<number, number | 'silent'>>,
  removed: readonly number[] = [],
): {
  readonly node: RawNode;
  readonly clock: ManualClock;
  readonly done: Promise<void>;
  readonly abort: AbortController;
  readonly asked: number[];
  confirmed: number;
} {
  const ids = [1, 2, 3];
  const entries = Array.from({ length: LAST_INDEX }, (_, i) => ({
    index: i + 1,
    term: 1,
    kind: 'normal' as const,
    data: Buffer.of(1),
  }));
  const node = new RawNode(
    {
      id: 1,
      electionTicks: 10,
      heartbeatTicks: 1,
      maxEntriesPerMessageBytes: 1024,
      maxInflightMessages: 16,
      maxInflightBytes: 65_536,
      maxUncommittedBytes: 65_536,
      maxApplyBytes: 65_536,
      random: () => 0,
    },
    {
      hardState: { term: 1, vote: 0, commit: 0 },
      confState: { voters: ids, votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
      applied: 0,
      compacted: { index: 0, term: 0 },
      entries,
    },
  );
  const clock = new ManualClock();
  const abort = new AbortController();
  const asked: number[] = [];
  const state = { node, clock, abort, asked, confirmed: 0, done: Promise.resolve() };
  const members: MemberInfo[] = ids.map((id) => ({
    id,
    name: `n${id}`,
    peerUrls: [],
    clientUrls: [],
    isLearner: false,
  }));
  const options: TailCheckOptions = {
    self: 1,
    node,
    clock,
    logger: silentLogger,
    members: () => members,
    logSeq: 40,
    lastIndex: LAST_INDEX,
    confirm: async () => {
      state.confirmed += 1;
    },
    ask: async (to) => {
      asked.push(to);
      const answer = answers[to] ?? 0;
      if (answer === 'silent') throw new StoreError('no-leader');
      return { acknowledged: answer, removed } as never;
    },
  };
  state.done = confirmCutTail(options, abort.signal);
  state.done.catch(() => {});
  return state;
}

/** Whether the node would stand for election now. */
function campaigns({ node }: { readonly node: RawNode }): boolean {
  node.campaign();
  return node.leadership.role !== 'follower';
}

describe('confirmCutTail', () => {
  test('keeps the member from voting until both peers have answered', async () => {
    const member = lone({ 2: 0, 3: 0 });
    expect(campaigns(member)).toBe(false);
    await member.done;
    expect(member.confirmed).toBe(1);
    expect(campaigns(member)).toBe(true);
  });

  test('asks a silent peer again, and nobody twice who has answered', async () => {
    const answers: Record<number, number | 'silent'> = { 2: LAST_INDEX, 3: 'silent' };
    const member = lone(answers);
    await member.clock.untilTimer();
    expect(campaigns(member)).toBe(false);
    answers[3] = 0;
    member.clock.advance(500);
    await member.done;
    expect(member.asked).toEqual([2, 3, 3]);
  });

  test('an acknowledgement beyond what the log ever had is a loss', async () => {
    const member = lone({ 2: LAST_INDEX + 1 });
    await expect(member.done).rejects.toMatchObject({ code: 'data-dir-corrupt' });
    expect(member.confirmed).toBe(0);
  });

  test('an acknowledgement of an entry that came since the cut is none', async () => {
    const member = lone({ 2: LAST_INDEX + 1, 3: 0 });
    const entry = { index: LAST_INDEX + 1, term: 1, kind: 'normal' as const, data: Buffer.of(2) };
    member.node.step({
      type: 'append',
      from: 2,
      to: 1,
      term: 1,
      prevIndex: LAST_INDEX,
      prevTerm: 1,
      entries: [entry],
      commit: 0,
    });
    await member.done;
    expect(member.confirmed).toBe(1);
  });

  test('waits for no peer that another knows to be removed', async () => {
    const member = lone({ 2: 0, 3: 'silent' }, [3]);
    await member.done;
    expect(member.confirmed).toBe(1);
    expect(campaigns(member)).toBe(true);
  });

  test('takes the word of a removed peer for none', async () => {
    const member = lone({ 2: 'silent', 3: 0 }, [3]);
    await member.clock.untilTimer();
    expect([member.confirmed, campaigns(member)]).toEqual([0, false]);
    member.abort.abort();
    member.clock.advance(500);
    await member.done;
  });

  test('gives up when the member stops', async () => {
    const member = lone({ 2: 'silent', 3: 'silent' });
    await member.clock.untilTimer();
    member.abort.abort();
    member.clock.advance(500);
    await member.done;
    expect(member.confirmed).toBe(0);
  });
});

describe('after a power failure in the middle of a write', () => {
  let cluster: TestCluster;

  afterEach(async () => {
    await cluster.stopAll();
  });

  test('a member comes back under load, catches up and can lead', async () => {
    cluster = await TestCluster.start(3);
    const leader = await cluster.leader();
    const torn = cluster.places.find((place) => place !== leader)!;
    await leader.member!.put(put('k', 'before'), context());
    await cluster.stop(torn);
    await tearLog(torn);
    const load = { running: true };
    const writing = write(leader, load);
    await cluster.start(torn);
    const target = torn.member!.id;
    const moved = async (): Promise<boolean> => {
      expect(torn.fatal).toBeNull();
      const from = cluster.places.find((place) => place.member!.isLeader())?.member;
      await from?.moveLeader({ target }, { signal: AbortSignal.timeout(400) }).catch(() => {});
      return torn.member!.isLeader();
    };
    await eventually(moved);
    load.running = false;
    await writing;
    await leader.member!.put(put('k', 'after'), context());
    expect(await valueOf(torn.member!, 'k')).toBe('after');
  });
});

async function write({ member }: Place, load: { readonly running: boolean }): Promise<void> {
  for (let i = 0; load.running; i++) await member!.put(put('k', `${i}`), context());
}

/** Half a record behind the last one of the log. */
async function tearLog({ disk }: Place): Promise<void> {
  const last = (await scanLog(disk, LOG_DIRECTORY)).segments.at(-1)!;
  const file = await disk.open(`${LOG_DIRECTORY}/${last.name}`, 'write');
  await file.write(Buffer.alloc(24, 0x5a), last.endBytes);
  await file.datasync();
  await file.close();
}
