import type { HistoryOp } from './history.ts';

/** The revision that an operation was told, which therefore was there when it returned; 0 when it was told none. */
export function toldRevision(op: HistoryOp): number {
  return op.outcome.type === 'answered' ? op.outcome.result.revision : 0;
}

/**
 * For every operation the highest revision that anyone had been told before it was called, at least 1: it takes
 * effect on a state that is at least that new. Only what clients saw return counts.
 */
export function revisionFloors(ops: readonly HistoryOp[]): readonly number[] {
  const byCall = [...ops.keys()].sort((a, b) => ops[a]!.callTime - ops[b]!.callTime);
  const byReturn = ops.filter((op) => toldRevision(op) > 0).sort((a, b) => a.returnTime - b.returnTime);
  const floors = ops.map(() => 1);
  let floor = 1;
  let returned = 0;
  for (const index of byCall) {
    const { callTime } = ops[index]!;
    while (returned < byReturn.length && byReturn[returned]!.returnTime < callTime) {
      floor = Math.max(floor, toldRevision(byReturn[returned]!));
      returned++;
    }
    floors[index] = floor;
  }
  return floors;
}

/**
 * Answers, for a time, the newest revision that may have been there by then: writes that were called later are not.
 *
 * @param writes the operation behind each revision
 */
export function revisionCeiling(
  writes: ReadonlyMap<number, HistoryOp>,
  revisionMax: number,
): (time: number) => number {
  const byCall = [...writes]
    .map(([revision, op]) => ({ callTime: op.callTime, ceiling: revision - 1 }))
    .sort((a, b) => b.callTime - a.callTime);
  let lowest = revisionMax;
  const steps = byCall.map(({ callTime, ceiling }) => {
    lowest = Math.min(lowest, ceiling);
    return { callTime, ceiling: lowest };
  });
  return (time) => {
    // Steps go from the latest call to the earliest; those called after `time` are at the front.
    let low = 0;
    let high = steps.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (steps[middle]!.callTime > time) low = middle + 1;
      else high = middle;
    }
    return steps[low - 1]?.ceiling ?? revisionMax;
  };
}
