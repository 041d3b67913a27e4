import { describe, expect, test } from 'vitest';
import {
  beginningOf,
  blackBoxVerdict,
  blackBoxViolations,
  longestVerdict,
  withExpiries,
} from './black-box.ts';
import { isLinearizable } from './brute-force.ts';
import type { CommittedRevision, HistoryOp, HistoryRequest } from './history.ts';
import { ModelState } from './model-state.ts';
import { mutations } from './mutations.ts';
import { randomHistory, type StoreBug } from './random-history.ts';
import { putOf, rangeOf } from './requests.ts';
import { witnessViolations } from './witness.ts';

const BUGS: readonly StoreBug[] = [
  'lost-write',
  'duplicate-write',
  'stale-read',
  'wrong-revision',
  'split-txn',
];

describe('the search', () => {
  test('finds an order for what a correct store did', () => {
    for (let seed = 1; seed <= 120; seed++) {
      const history = randomHistory({ seed, ops: 60, clients: 5, unknownPercent: 6, tables: seed % 2 === 0 });
      expect(blackBoxViolations(withExpiries(history.ops)), `seed ${seed}`).toEqual([]);
    }
  });

  test('decides long histories', () => {
    const { ops } = randomHistory({ seed: 5, ops: 4_000, clients: 12, unknownPercent: 2, tables: true });
    expect(blackBoxViolations(withExpiries(ops))).toEqual([]);
  });

  test.each(BUGS)('finds none when the store has the bug: %s', (bug) => {
    let broken = 0;
    let found = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const history = randomHistory({ seed, ops: 30, clients: 4, unknownPercent: 0, tables: false, bug });
      if (!history.broken) continue;
      broken++;
      const isFound = blackBoxVerdict(history.ops).type === 'not-linearizable';
      if (isFound) found++;
      // What half a transaction left out may be overwritten before anybody looks.
      if (bug !== 'split-txn') expect(isFound, `seed ${seed}`).toBe(true);
    }
    expect(broken).toBeGreaterThan(20);
    expect(found / broken).toBeGreaterThan(0.7);
  });

  test('agrees with trying every order, on right and on wrong histories', () => {
    const verdicts = { yes: 0, no: 0 };
    for (let seed = 1; seed <= 250; seed++) {
      const ops = 3 + (seed % 5);
      const { ops: right } = randomHistory({
        seed,
        ops,
        clients: 4,
        unknownPercent: 15,
        tables: seed % 3 === 0,
      });
      for (const history of [right, ...mutations(right, seed)]) {
        const closed = withExpiries(history).length <= 9 ? withExpiries(history) : history;
        const expected = isLinearizable(closed);
        verdicts[expected ? 'yes' : 'no']++;
        expect(blackBoxVerdict(closed).type, `seed ${seed}`).toBe(
          expected ? 'linearizable' : 'not-linearizable',
        );
      }
    }
    expect(verdicts.yes).toBeGreaterThan(250);
    expect(verdicts.no).toBeGreaterThan(250);
  });

  test('says where it got stuck', () => {
    const ops = [
      answered({
        client: 1,
        times: [1, 2],
        request: putOf('a', 'x'),
        result: { type: 'put', revision: 2, prevKv: null },
      }),
      answered({
        client: 2,
        times: [3, 4],
        request: rangeOf('a'),
        result: { type: 'range', revision: 1, kvs: [], more: false, count: 0 },
      }),
    ];
    const [violation] = blackBoxViolations(ops);
    expect(violation).toMatchObject({ rule: 'linearizable' });
    expect(violation!.message).toContain('"type":"range"');
  });

  test('takes operations that only touch in time for concurrent', () => {
    const put = answered({
      client: 1,
      times: [1, 2],
      request: putOf('a', 'x'),
      result: { type: 'put', revision: 2, prevKv: null },
    });
    const result = { type: 'range', revision: 1, kvs: [], more: false, count: 0 } as const;
    const read = (callTime: number): HistoryOp =>
      answered({ client: 2, times: [callTime, 4], request: rangeOf('a'), result });
    const unknown = { ...put, callTime: 4, returnTime: Infinity, outcome: { type: 'unknown' } } as const;
    const seen = readAfter(putOf('a', 'x'));
    expect(blackBoxVerdict([unknown, { ...read(3), outcome: seen }]).type).toBe('linearizable');
    expect(
      blackBoxVerdict([
        { ...unknown, callTime: 4.5 },
        { ...read(3), outcome: seen },
      ]).type,
    ).toBe('not-linearizable');
    expect(blackBoxVerdict([put, read(2)]).type).toBe('linearizable');
    expect(blackBoxVerdict([put, read(2.5)]).type).toBe('not-linearizable');
  });

  test('finds an order for any beginning of what a correct store did, and none for a wrong one', () => {
    let wrong = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const { ops } = randomHistory({ seed, ops: 80, clients: 5, unknownPercent: 6, tables: seed % 2 === 0 });
      for (const opsMax of [1, 7, 25, 60, 1_000]) {
        const { type } = blackBoxVerdict(withExpiries(beginningOf(ops, opsMax)));
        expect(type, `seed ${seed}, ${opsMax}`).toBe('linearizable');
      }
      for (const history of mutations(ops, seed)) {
        if (blackBoxVerdict(withExpiries(beginningOf(history, 60))).type === 'not-linearizable') wrong++;
      }
    }
    expect(wrong).toBeGreaterThan(60);
  });

  test('with a watch decides histories of which half has no known outcome, the wrong ones too', () => {
    const tally = { alone: 0, right: 0, wrong: 0 };
    for (let seed = 1; seed <= 20; seed++) {
      const { ops, committed: watched } = randomHistory({
        seed,
        ops: 150,
        clients: 5,
        unknownPercent: 50,
        tables: seed % 2 === 0,
      });
      const stepsMax = 4_000;
      if (blackBoxVerdict(withExpiries(ops), { stepsMax }).type !== 'undecided') tally.alone++;
      const { verdict, opsDecided } = longestVerdict(ops, { stepsMax, watched });
      expect(verdict.type, `seed ${seed}`).toBe('linearizable');
      if (opsDecided === ops.length) tally.right++;
      for (const history of mutations(ops, seed)) {
        const { type } = longestVerdict(history, { stepsMax, watched }).verdict;
        if (type === 'not-linearizable') tally.wrong++;
      }
    }
    expect(tally.alone).toBe(0);
    expect(tally.right).toBeGreaterThan(15);
    expect(tally.wrong).toBeGreaterThan(50);
  });

  test('with a watch rejects what the watch was not told', () => {
    const put = answered({
      client: 1,
      times: [1, 2],
      request: putOf('a', 'x'),
      result: { type: 'put', revision: 2, prevKv: null },
    });
    const watched = (value: string) => ({ watched: replay([{ ...put, request: putOf('a', value) }]) });
    expect(blackBoxVerdict([put], watched('x')).type).toBe('linearizable');
    expect(blackBoxVerdict([put], watched('y')).type).toBe('not-linearizable');
    expect(blackBoxVerdict([put], { watched: [] }).type).toBe('linearizable');
  });

  test('gives up at its bound, and says that nothing was decided', () => {
    const { ops } = randomHistory({ seed: 1, ops: 30, clients: 4, unknownPercent: 0, tables: false });
    expect(blackBoxViolations(ops, 10)).toMatchObject([{ rule: 'undecided' }]);
  });
});

describe('beside the witness check', () => {
  test('every order the search finds is a witness', () => {
    for (let seed = 1; seed <= 100; seed++) {
      const { ops } = randomHistory({ seed, ops: 40, clients: 5, unknownPercent: 10, tables: false });
      for (const history of [ops, ...mutations(ops, seed)]) {
        const verdict = blackBoxVerdict(history);
        if (verdict.type !== 'linearizable') continue;
        const linear = history.filter(({ request }) => request.type !== 'serializable-range');
        const committed = replay(verdict.order);
        expect(witnessViolations({ ops: linear, committed }), `seed ${seed}`).toEqual([]);
      }
    }
  });

  test('what the search rejects has no witness', () => {
    let rejected = 0;
    for (let seed = 1; seed <= 100; seed++) {
      const { ops, committed } = randomHistory({
        seed,
        ops: 30,
        clients: 5,
        unknownPercent: 10,
        tables: false,
      });
      for (const history of mutations(ops, seed)) {
        if (blackBoxVerdict(history).type === 'linearizable') continue;
        rejected++;
        expect(witnessViolations({ ops: history, committed }), `seed ${seed}`).not.toEqual([]);
      }
    }
    expect(rejected).toBeGreaterThan(200);
  });
});

function replay(order: readonly HistoryOp[]): readonly CommittedRevision[] {
  const committed: CommittedRevision[] = [];
  let state = ModelState.EMPTY;
  for (const op of order) {
    const { step, state: after } = state.step(op.request);
    if (step.type === 'done' && step.events.length > 0) {
      committed.push({ revision: after.revision, events: step.events });
    }
    state = after;
  }
  return committed;
}

/** What key `a` reads as after one request. */
function readAfter(request: HistoryRequest): HistoryOp['outcome'] {
  const { step } = ModelState.EMPTY.step(request).state.step(rangeOf('a'));
  return step.type === 'done' ? { type: 'answered', result: step.result } : step;
}

function answered(op: {
  readonly client: number;
  readonly times: readonly [number, number];
  readonly request: HistoryOp['request'];
  readonly result: Extract<HistoryOp['outcome'], { type: 'answered' }>['result'];
}): HistoryOp {
  const { client, request, result } = op;
  const [callTime, returnTime] = op.times;
  return { client, callTime, returnTime, request, outcome: { type: 'answered', result } };
}
