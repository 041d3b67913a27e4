import { isDeepStrictEqual } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { CommittedRevision, HistoryOp, HistoryOutcome, HistoryRequest } from './history.ts';
import { ModelState } from './model-state.ts';
import { mutations } from './mutations.ts';
import { randomHistory, type StoreBug } from './random-history.ts';
import { deleteOf, putOf, rangeOf } from './requests.ts';
import { witnessViolations } from './witness.ts';

const BUGS: readonly StoreBug[] = [
  'lost-write',
  'duplicate-write',
  'stale-read',
  'wrong-revision',
  'split-txn',
];

describe('random histories', () => {
  test('the order of a correct store is a witness', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const history = randomHistory({
        seed,
        ops: 80,
        clients: 6,
        unknownPercent: 10,
        tables: seed % 2 === 0,
      });
      expect(witnessViolations(history), `seed ${seed}`).toEqual([]);
    }
  });

  test('a long one takes little time', () => {
    const history = randomHistory({ seed: 3, ops: 10_000, clients: 16, unknownPercent: 2, tables: true });
    expect(history.committed.length).toBeGreaterThan(2_000);
    expect(witnessViolations(history)).toEqual([]);
  });

  test.each(BUGS)('there is none when the store has the bug: %s', (bug) => {
    let broken = 0;
    for (let seed = 1; seed <= 80; seed++) {
      const history = randomHistory({
        seed,
        ops: 30,
        clients: 4,
        unknownPercent: 5,
        tables: seed % 2 === 0,
        bug,
      });
      if (!history.broken) continue;
      broken++;
      expect(witnessViolations(history), `seed ${seed}`).not.toEqual([]);
    }
    expect(broken).toBeGreaterThan(30);
  });

  test('a changed answer is noticed', () => {
    let noticed = 0;
    let all = 0;
    for (let seed = 1; seed <= 100; seed++) {
      const { ops, committed } = randomHistory({
        seed,
        ops: 30,
        clients: 4,
        unknownPercent: 0,
        tables: false,
      });
      for (const history of mutations(ops, seed).filter((mutated) => !isDeepStrictEqual(mutated, ops))) {
        all++;
        if (witnessViolations({ ops: history, committed }).length > 0) noticed++;
      }
    }
    // Not all are wrong: a read that is left out, or that comes later when nothing changed, is none.
    expect(noticed / all).toBeGreaterThan(0.8);
  });
});

describe('one rule at a time', () => {
  test('a revision is missing from the committed history', () => {
    const { ops, committed } = script([putOf('a', '1'), putOf('a', '2'), putOf('a', '3')]);
    expect(rules({ ops, committed: committed.toSpliced(1, 1) })).toEqual(['dense']);
  });

  test('a committed revision is empty, or holds what is of another', () => {
    const { ops, committed } = script([putOf('a', '1'), putOf('a', '2')]);
    expect(rules({ ops, committed: committed.with(1, { revision: 3, events: [] }) })).toEqual(['dense']);
    const mixed = { revision: 3, events: [...committed[1]!.events, ...committed[0]!.events] };
    expect(rules({ ops, committed: committed.with(1, mixed) })).toEqual(['dense']);
  });

  test('an acknowledged write is lost', () => {
    const { ops } = script([putOf('a', '1'), putOf('b', '2'), putOf('c', '3')]);
    const { committed } = script([putOf('a', '1'), putOf('c', '3')]);
    expect(rules({ ops, committed })).toEqual(expect.arrayContaining(['answer', 'revision']));
  });

  test('a write that was acknowledged once is there twice', () => {
    const { ops } = script([putOf('a', '1')]);
    const { committed } = script([putOf('a', '1'), putOf('a', '1')]);
    expect(rules({ ops, committed })).toEqual(['cause']);
  });

  test('a write of unknown outcome is there twice', () => {
    const { committed } = script([putOf('a', '1'), putOf('a', '1')]);
    expect(rules({ ops: [unknown(1, putOf('a', '1'))], committed: committed.slice(0, 1) })).toEqual([]);
    expect(rules({ ops: [unknown(1, putOf('a', '1'))], committed })).toEqual(['cause']);
  });

  test('two writes of unknown outcome may each have been either', () => {
    const { committed } = script([putOf('a', '1'), deleteOf('a'), putOf('b', '2'), deleteOf('b')]);
    const all = Buffer.from([0]);
    const ops = [
      unknown(1, putOf('a', '1')),
      unknown(2, putOf('b', '2')),
      // This one may be the cause of both deletions, the other only of the second.
      unknown(3, deleteOf('a', { rangeEnd: all })),
      unknown(4, deleteOf('b', { rangeEnd: all })),
    ];
    expect(rules({ ops, committed })).toEqual([]);
    expect(rules({ ops: ops.slice(0, 3), committed })).toEqual(['cause']);
  });

  test('a write of unknown outcome was called after its revision had been read', () => {
    const { ops, committed } = script([putOf('a', '1'), rangeOf('a')]);
    const [put, read] = ops;
    expect(rules({ ops: [unknown(put!.callTime, putOf('a', '1')), read!], committed })).toEqual([]);
    expect(rules({ ops: [unknown(read!.returnTime + 1, putOf('a', '1')), read!], committed })).toContain(
      'cause',
    );
  });

  test('two clients were told that their write made the same revision', () => {
    const { ops, committed } = script([putOf('a', '1')]);
    expect(rules({ ops: [...ops, { ...ops[0]!, client: 9 }], committed })).toEqual(['once']);
  });

  test('a read misses what had been acknowledged before its call', () => {
    const { ops, committed } = script([putOf('a', '1'), rangeOf('a'), putOf('a', '2')]);
    const read = ops[1]!;
    const late = { ...read, callTime: ops[2]!.returnTime + 1, returnTime: ops[2]!.returnTime + 2 };
    expect(rules({ ops: [ops[0]!, ops[2]!, late], committed })).toEqual(['real time']);
    // The very same answer to a serializable read is right.
    const request = { type: 'serializable-range', range: rangeOf('a') } as const;
    expect(rules({ ops: [ops[0]!, ops[2]!, { ...late, request }], committed })).toEqual([]);
  });

  test('a read saw a write that had not been called yet', () => {
    const { ops, committed } = script([putOf('a', '1'), rangeOf('a')]);
    const early = { ...ops[1]!, callTime: -2, returnTime: -1 };
    expect(rules({ ops: [ops[0]!, early], committed })).toEqual(['real time']);
  });

  test('a serializable read shows what never was', () => {
    const range = rangeOf('a');
    const { ops, committed } = script([
      putOf('a', '1'),
      { type: 'serializable-range', range },
      putOf('a', '2'),
    ]);
    expect(rules({ ops, committed })).toEqual([]);
    const { outcome } = script([putOf('a', '7'), range]).ops[1]!;
    expect(rules({ ops: ops.with(1, { ...ops[1]!, outcome }), committed })).toEqual(['answer']);
  });

  test('keys outlive the lease that was revoked', () => {
    const grant = { type: 'lease-grant', id: 7n } as const;
    const put = putOf('a', '1', { lease: 7n });
    const revoke = { type: 'lease-revoke', id: 7n } as const;
    const right = script([grant, put, revoke]);
    expect(rules(right)).toEqual([]);
    const wrong = script([grant, put]);
    const told = { type: 'answered', result: { type: 'lease-revoke', revision: 2 } } as const;
    const ops = [...wrong.ops, { ...right.ops[2]!, outcome: told }];
    expect(rules({ ops, committed: wrong.committed })).toEqual(['lease']);
  });

  test('a lease ends by itself, but only as a whole, and for good', () => {
    const grant = { type: 'lease-grant', id: 7n } as const;
    const puts = [putOf('b', '1', { lease: 7n }), putOf('a', '2', { lease: 7n })];
    const end = { type: 'lease-revoke', id: 7n } as const;
    const { ops, committed } = script([grant, ...puts, end]);
    const seen = ops.slice(0, 3);
    expect(rules({ ops: seen, committed })).toEqual([]);
    const half = { revision: 4, events: committed[2]!.events.slice(0, 1) };
    expect(rules({ ops: seen, committed: committed.with(2, half) })).toEqual(['cause']);
    const reversed = { revision: 4, events: committed[2]!.events.toReversed() };
    expect(rules({ ops: seen, committed: committed.with(2, reversed) })).toEqual(['cause']);
    const again = script([grant, puts[0]!, end, grant, putOf('c', '3', { lease: 7n })]);
    expect(rules(again)).toEqual([]);
    expect(rules({ ops: again.ops.toSpliced(3, 1), committed: again.committed })).toEqual(['lease']);
    expect(rules({ ops: again.ops.slice(1, 2), committed: again.committed.slice(0, 1) })).toEqual(['lease']);
  });

  test('a lease may live on after what a delete of unknown outcome explains as well as its end does', () => {
    const grant = { type: 'lease-grant', id: 7n } as const;
    const puts = [putOf('a', '1', { lease: 7n }), putOf('b', '2', { lease: 7n })];
    const { ops, committed } = script([grant, puts[0]!, deleteOf('a'), puts[1]!]);
    const lost = unknown(ops[2]!.callTime, deleteOf('a'));
    expect(rules({ ops: ops.with(2, lost), committed })).toEqual([]);
    expect(rules({ ops: ops.toSpliced(2, 1), committed })).toEqual(['lease']);
  });

  test('refusals that no state explains', () => {
    const keep = putOf('a', '', { ignoreValue: true });
    const missing = script([keep, putOf('a', '1')]);
    expect(rules(missing)).toEqual([]);
    const late = { ...missing.ops[0]!, callTime: 100, returnTime: 101 };
    expect(rules({ ...missing, ops: [missing.ops[1]!, late] })).toEqual(['refusal']);
    const future = script([rangeOf('a', { revision: 2 }), putOf('a', '1')]);
    expect(rules(future)).toEqual([]);
    expect(
      rules({ ...future, ops: [future.ops[1]!, { ...future.ops[0]!, callTime: 100, returnTime: 101 }] }),
    ).toEqual(['refusal']);
  });

  test('what is compacted cannot be read, and only that', () => {
    const compact = { type: 'compact', revision: 3 } as const;
    const before = script([putOf('a', '1'), putOf('a', '2'), rangeOf('a', { revision: 2 })]);
    const after = script([putOf('a', '1'), putOf('a', '2'), compact, rangeOf('a', { revision: 2 })]);
    expect(rules(after)).toEqual([]);
    expect(rules({ ...after, ops: after.ops.toSpliced(2, 1) })).toEqual(['refusal']);
    const answer = before.ops[2]!.outcome;
    expect(rules({ ...after, ops: after.ops.with(3, { ...after.ops[3]!, outcome: answer }) })).toEqual([
      'compaction',
    ]);
  });

  test('the compacted revision itself can be read', () => {
    const requests = [putOf('a', '1'), putOf('a', '2'), { type: 'compact', revision: 3 } as const];
    const { ops, committed } = script([...requests, rangeOf('a', { revision: 3 })]);
    expect(rules({ ops, committed })).toEqual([]);
    const outcome = { type: 'refused', code: 'compacted' } as const;
    expect(rules({ ops: ops.with(3, { ...ops[3]!, outcome }), committed })).toEqual(['refusal']);
  });

  test('operations that only touch in time are concurrent', () => {
    const read = script([rangeOf('a'), putOf('a', '1')]);
    expect(rules({ ...read, ops: [{ ...read.ops[0]!, callTime: 3, returnTime: 4 }, read.ops[1]!] })).toEqual(
      [],
    );
    // The key may have been deleted, and a revision compacted, at the very time of the refusal.
    const keep = script([putOf('a', '1'), deleteOf('a'), putOf('a', '', { ignoreValue: true })]);
    expect(
      rules({ ...keep, ops: keep.ops.with(2, { ...keep.ops[2]!, callTime: 1.2, returnTime: 2 }) }),
    ).toEqual([]);
    expect(
      rules({ ...keep, ops: keep.ops.with(2, { ...keep.ops[2]!, callTime: 1.2, returnTime: 1.5 }) }),
    ).toEqual(['refusal']);
    const compact = { type: 'compact', revision: 3 } as const;
    const gone = script([putOf('a', '1'), putOf('a', '2'), compact, rangeOf('a', { revision: 2 })]);
    const at = (
      callTime: number,
      returnTime: number,
      outcome: HistoryOutcome = gone.ops[3]!.outcome,
    ): string[] =>
      rules({ ...gone, ops: gone.ops.with(3, { ...gone.ops[3]!, callTime, returnTime, outcome }) });
    expect(at(3, 4)).toEqual([]);
    expect(at(3, 3.5)).toEqual(['refusal']);
    const there = script([putOf('a', '1'), putOf('a', '2'), rangeOf('a', { revision: 2 })]).ops[2]!.outcome;
    expect(at(5, 6, there)).toEqual([]);
    expect(at(5.5, 6, there)).toEqual(['compaction']);
  });

  test('what has not been written yet is compacted', () => {
    const { ops, committed } = script([putOf('a', '1'), { type: 'compact', revision: 2 }]);
    expect(rules({ ops, committed })).toEqual([]);
    const request = { type: 'compact', revision: 3 } as const;
    expect(rules({ ops: ops.with(1, { ...ops[1]!, request }), committed })).toEqual(['compaction']);
  });

  test('a grant is refused although there was no such lease', () => {
    const grant = { type: 'lease-grant', id: 7n } as const;
    const { ops, committed } = script([grant, grant]);
    expect(rules({ ops, committed })).toEqual([]);
    const late = { ...ops[0]!, callTime: ops[1]!.returnTime, returnTime: ops[1]!.returnTime + 1 };
    expect(rules({ ops: [late, ops[1]!], committed })).toEqual([]);
    expect(rules({ ops: ops.slice(1), committed })).toEqual(['refusal']);
  });
});

/** One client, one request after the other, on a correct store. */
function script(requests: readonly HistoryRequest[]): {
  readonly ops: readonly HistoryOp[];
  readonly committed: readonly CommittedRevision[];
} {
  const committed: CommittedRevision[] = [];
  let state = ModelState.EMPTY;
  const ops = requests.map((request, index): HistoryOp => {
    const { step, state: after } = state.step(request);
    if (step.type === 'done' && step.events.length > 0) {
      committed.push({ revision: after.revision, events: step.events });
    }
    state = after;
    const outcome: HistoryOutcome = step.type === 'done' ? { type: 'answered', result: step.result } : step;
    return { client: 0, callTime: 2 * index, returnTime: 2 * index + 1, request, outcome };
  });
  return { ops, committed };
}

function unknown(callTime: number, request: HistoryRequest): HistoryOp {
  return { client: 1, callTime, returnTime: Infinity, request, outcome: { type: 'unknown' } };
}

function rules(input: {
  readonly ops: readonly HistoryOp[];
  readonly committed: readonly CommittedRevision[];
}): string[] {
  return [...new Set(witnessViolations(input).map(({ rule }) => rule))];
}
