import { KvClient } from '../../src/client/kv-client.ts';
import { putRequest } from '../../src/core/mvcc/operations.ts';
import { longestVerdict } from '../linearizability/black-box.ts';
import { describe, describeOp } from '../linearizability/findings.ts';
import type {
  CommittedRevision,
  HistoryEvent,
  HistoryOp,
  Violation,
  WatchItem,
} from '../linearizability/history.ts';
import { watchViolations } from '../linearizability/watch-validator.ts';
import { witnessViolations } from '../linearizability/witness.ts';
import { type ArenaMember, eventually, type FaultArena, within } from './fault-arena.ts';
import type { Observer } from './observers.ts';
import { ALL_KEYS, KEYS, type Workload } from './workload.ts';

/** Steps after which the search of orders tries a shorter beginning of the history. */
const SEARCH_STEPS_MAX = 50_000;

export interface Evidence {
  readonly arena: FaultArena;
  readonly workload: Workload;
  readonly everything: Observer;
  readonly observers: readonly Observer[];
}

/** What a run amounted to. */
export interface Verdict {
  readonly violations: readonly Violation[];
  readonly ops: number;
  readonly acknowledgedWrites: number;
  readonly unknownOutcomes: number;
  readonly revisions: number;
  /** That watches were sent. */
  readonly watchEvents: number;
  /** Operations that the search of orders has decided about. */
  readonly searched: number;
}

/**
 * To be asked for when every member runs again and the clients have stopped: waits until all has been told and
 * applied everywhere, then judges.
 */
export async function judge({ arena, workload, everything, observers }: Evidence): Promise<Verdict> {
  const last = await ringTheBell(workload);
  const all = [everything, ...observers];
  await within('every watch hears of the last revision', Promise.all(all.map((item) => item.reached(last))));
  await Promise.all(all.map((item) => item.stop()));
  const committed = everything.committed();
  const watches = all.map((item) => item.history(last));
  const ops = workload.history.toSorted((left, right) => left.callTime - right.callTime);
  const context = { committed, compactRevision: highestCompaction(ops), headersPromise: true };
  const search = searchedOrders(ops, committed);
  const violations: Violation[] = [
    ...(everything.ended === null
      ? []
      : [{ rule: 'watch', message: `a watch from 1 on ended: ${everything.ended}` }]),
    ...lostWrites(ops, new Map(committed.map(({ revision, events }) => [revision, events]))),
    ...witnessViolations({ ops, committed }),
    ...search.violations,
    ...watches.flatMap((watch) => watchViolations(watch, context)),
    ...(await differences(arena, last)),
  ];
  return {
    violations,
    ops: ops.length,
    acknowledgedWrites: workload.acknowledgedWrites,
    unknownOutcomes: ops.filter((op) => op.outcome.type === 'unknown').length,
    revisions: committed.length,
    watchEvents: watches.reduce((sum, { items }) => sum + eventsIn(items), 0),
    searched: search.count,
  };
}

function eventsIn(items: readonly WatchItem[]): number {
  return items.reduce((sum, item) => sum + (item.type === 'events' ? item.events.length : 0), 0);
}

/** A last write to every key, so that each watch has something of one revision to wait for. */
async function ringTheBell(workload: Workload): Promise<number> {
  let attempt = 0;
  return eventually('the last write', async () => {
    attempt += 1;
    const value = Buffer.from(`bell/${attempt}`);
    const success = KEYS.map((key) => putRequest({ key, value }));
    const outcome = await workload.perform({ type: 'txn', compare: [], success, failure: [] });
    return outcome.type === 'answered' ? outcome.result.revision : null;
  });
}

function highestCompaction(ops: readonly HistoryOp[]): number {
  return Math.max(-1, ...ops.map(({ request }) => (request.type === 'compact' ? request.revision : -1)));
}

/** The plainest of promises, looked at without any model: what was put and acknowledged stands in the history. */
function lostWrites(
  ops: readonly HistoryOp[],
  committed: ReadonlyMap<number, readonly HistoryEvent[]>,
): readonly Violation[] {
  return ops.flatMap(({ request, outcome }) => {
    if (request.type !== 'put' || outcome.type !== 'answered') return [];
    const events = committed.get(outcome.result.revision) ?? [];
    const kept = events.some(
      ({ kv }) => kv.key.equals(request.key) && kv.value.equals(request.value) && kv.lease === request.lease,
    );
    if (kept) return [];
    const message = `revision ${outcome.result.revision}: ${describe(request)}`;
    return [{ rule: 'lost write', message }];
  });
}

/**
 * The second judge of what clients saw, who looks for an order himself and takes no one's word for it but that of the
 * watch over all keys. When he comes to nothing the run proves nothing.
 */
function searchedOrders(
  ops: readonly HistoryOp[],
  watched: readonly CommittedRevision[],
): { readonly violations: readonly Violation[]; readonly count: number } {
  const { verdict, opsDecided: count } = longestVerdict(ops, { stepsMax: SEARCH_STEPS_MAX, watched });
  switch (verdict.type) {
    case 'linearizable':
      return { violations: [], count };
    case 'undecided':
      return { violations: [{ rule: 'undecided', message: 'the search of orders came to nothing' }], count };
    case 'not-linearizable': {
      const { furthest, blockedBy } = verdict;
      const message = `no order explains what clients saw: after ${furthest.length} operations there is no place for ${describeOp(blockedBy)}`;
      return { violations: [{ rule: 'linearizable', message }], count };
    }
  }
}

/** Members whose own copies differ once all have applied `revision`. */
async function differences(arena: FaultArena, revision: number): Promise<readonly Violation[]> {
  const copies = await Promise.all(
    arena.members.map(async (member) => {
      const state = await ownState(member, revision);
      const hashed = await eventually(`${member.name} hashes`, async () =>
        arena.hashKv(member, revision).catch(() => null),
      );
      return { name: member.name, text: JSON.stringify({ state, hashed }) };
    }),
  );
  const first = copies[0]!;
  return copies
    .filter((copy) => copy.text !== first.text)
    .map((copy) => ({
      rule: 'members differ',
      message: `${copy.name} ${copy.text}, ${first.name} ${first.text}`,
    }));
}

/** Everything a member holds, asked of it alone once it has come to `revision`. */
async function ownState(member: ArenaMember, revision: number): Promise<string> {
  const client = new KvClient({ endpoints: [member.clientUrl] });
  try {
    return await eventually(`${member.name} comes to revision ${revision}`, async () => {
      const answer = await client.range({ ...ALL_KEYS, serializable: true }).catch(() => null);
      if (answer === null || answer.header.revision < revision) return null;
      return describe(answer.kvs);
    });
  } finally {
    client.close();
  }
}
