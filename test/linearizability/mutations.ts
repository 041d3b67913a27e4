import { Prng } from '../core/raft/prng.ts';
import { describe } from './findings.ts';
import type { HistoryOp, HistoryResult } from './history.ts';

/**
 * Histories that differ from a right one in one answer or one time. Most are wrong; some happen to be right as well,
 * which only an independent judge can tell.
 */
export function mutations(ops: readonly HistoryOp[], seed: number): readonly (readonly HistoryOp[])[] {
  const random = new Prng(seed);
  const answered = [...ops.keys()].filter((index) => ops[index]!.outcome.type === 'answered');
  if (answered.length < 2) return [];
  return [
    swapResults(ops, answered, random),
    changeResult(ops, random.pick(answered), (result) => ({ ...result, revision: result.revision + 1 })),
    changeResult(ops, random.pick(answered), (result) => ({
      ...result,
      revision: Math.max(1, result.revision - 1),
    })),
    changeResult(ops, random.pick(answered), withOlderValue),
    changeResult(ops, random.pick(answered), withoutLast),
    ops.filter((_, index) => index !== random.pick(answered)),
    moveLater(ops, random.pick(answered)),
  ].filter((mutated): mutated is readonly HistoryOp[] => mutated !== null);
}

/** Exchanges the answers to two requests of a kind, when that makes a difference. */
export function swapResults(
  ops: readonly HistoryOp[],
  answered: readonly number[],
  random: Prng,
): readonly HistoryOp[] | null {
  const first = random.pick(answered);
  const second = answered.find(
    (index) =>
      ops[index]!.request.type === ops[first]!.request.type &&
      describe(ops[index]!.outcome) !== describe(ops[first]!.outcome),
  );
  if (second === undefined) return null;
  return ops.map((op, index) => {
    if (index === first) return { ...op, outcome: ops[second]!.outcome };
    return index === second ? { ...op, outcome: ops[first]!.outcome } : op;
  });
}

function changeResult(
  ops: readonly HistoryOp[],
  at: number,
  change: (result: HistoryResult) => HistoryResult | null,
): readonly HistoryOp[] | null {
  const { outcome } = ops[at]!;
  if (outcome.type !== 'answered') return null;
  const result = change(outcome.result);
  return result === null ? null : ops.with(at, { ...ops[at]!, outcome: { type: 'answered', result } });
}

function withOlderValue(result: HistoryResult): HistoryResult | null {
  if (result.type !== 'range' || result.kvs.length === 0) return null;
  return { ...result, kvs: result.kvs.with(0, { ...result.kvs[0]!, value: Buffer.from('older') }) };
}

function withoutLast(result: HistoryResult): HistoryResult | null {
  switch (result.type) {
    case 'range':
      return result.kvs.length === 0
        ? null
        : { ...result, kvs: result.kvs.slice(0, -1), count: result.count - 1 };
    case 'delete-range':
      return { ...result, deleted: result.deleted + 1 };
    case 'txn':
      return { ...result, succeeded: !result.succeeded };
    default:
      return null;
  }
}

/** The operation took place after all others, if one is to believe its times. */
function moveLater(ops: readonly HistoryOp[], at: number): readonly HistoryOp[] {
  const times = ops.flatMap(({ callTime, returnTime }) => [
    callTime,
    Number.isFinite(returnTime) ? returnTime : 0,
  ]);
  const end = Math.max(...times);
  return ops.with(at, { ...ops[at]!, callTime: end + 1, returnTime: end + 2 });
}
