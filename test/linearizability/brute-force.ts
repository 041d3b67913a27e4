import { sameResult } from './equality.ts';
import { type HistoryOp, STATE_CODES } from './history.ts';
import { ModelState } from './model-state.ts';

/**
 * Whether any order of the operations explains them, found by trying all: for a handful of operations. It shares
 * the model with the search, and nothing else.
 */
export function isLinearizable(ops: readonly HistoryOp[]): boolean {
  const placed = ops.filter(
    ({ request, outcome }) =>
      request.type !== 'serializable-range' &&
      (outcome.type !== 'refused' || (outcome.code !== null && STATE_CODES.has(outcome.code))),
  );
  return canFinish(placed, ModelState.EMPTY);
}

function canFinish(rest: readonly HistoryOp[], state: ModelState): boolean {
  if (rest.every(({ outcome }) => outcome.type === 'unknown')) return true;
  return rest.some((op) => {
    // Nothing may take effect before something that had returned when it was called.
    if (rest.some((other) => other.returnTime < op.callTime)) return false;
    const { step, state: after } = state.step(op.request);
    const { outcome } = op;
    if (outcome.type === 'answered' && !(step.type === 'done' && sameResult(step.result, outcome.result)))
      return false;
    if (outcome.type === 'refused' && !(step.type === 'refused' && step.code === outcome.code)) return false;
    return canFinish(
      rest.filter((other) => other !== op),
      after,
    );
  });
}
