import { expect, test } from 'vitest';
import { CALL_BYTES, CallBudget, DEFAULT_CALL_LIMITS, type Holding } from '../../src/rpc/call-budget.ts';

const TIMEOUT_MS = 1_000;

class Call {
  isWhole = false;
  exhausted = false;
  readonly holding: Holding;

  constructor(
    budget: CallBudget,
    connection: object,
    options: { readonly nowMs?: number; bytes?: number } = {},
  ) {
    const { nowMs = 0, bytes = CALL_BYTES } = options;
    this.holding = budget.open(connection, { call: this, endless: false, nowMs });
    expect(this.holding.take(bytes)).toBe(true);
  }

  exhaust(): void {
    this.exhausted = true;
    this.holding.release();
  }
}

function budgetOf(requestBytesMax: number): CallBudget {
  return new CallBudget({ ...DEFAULT_CALL_LIMITS, requestBytesMax, requestTimeoutMs: TIMEOUT_MS });
}

test('calls leave in any order, and what stays is late in the order of its beginning', () => {
  const budget = budgetOf(2 ** 30);
  const connection = {};
  const calls = Array.from({ length: 6 }, (_, nowMs) => new Call(budget, connection, { nowMs }));
  for (const at of [0, 5, 2]) calls[at]!.holding.release();
  calls[0]!.holding.release();
  expect(budget.late(TIMEOUT_MS - 1)).toEqual([]);
  expect(budget.late(TIMEOUT_MS + 3)).toEqual([calls[1], calls[3]]);
  calls[1]!.isWhole = true;
  expect(budget.late(TIMEOUT_MS + 4)).toEqual([calls[3], calls[4]]);
  const last = new Call(budget, connection, { nowMs: 9 });
  for (const at of [4, 1, 3]) calls[at]!.holding.release();
  expect(budget.late(TIMEOUT_MS + 9)).toEqual([last]);
  expect(budget.openCalls).toBe(1);
  last.holding.release();
  expect([budget.openCalls, budget.heldBytes]).toEqual([0, 0]);
});

test('the connection that holds most gives up its oldest calls that are not whole', () => {
  const budget = budgetOf(10 * CALL_BYTES);
  const large = {};
  const calls = Array.from({ length: 9 }, () => new Call(budget, large));
  calls[0]!.isWhole = true;
  const small = new Call(budget, {});
  expect(small.holding.take(2 * CALL_BYTES)).toBe(true);
  expect(calls.map((call) => call.exhausted)).toEqual(calls.map((_, at) => at === 1 || at === 2));
  expect(budget.heldBytes).toBe(10 * CALL_BYTES);
  expect(calls[8]!.holding.take(1)).toBe(false);
  expect(budget.refused).toBe(1);
});

test('what was released takes nothing more, and is not counted as refused', () => {
  const budget = budgetOf(2 ** 30);
  const { holding } = new Call(budget, {});
  holding.release();
  expect(holding.take(1)).toBe(false);
  expect([budget.refused, budget.heldBytes]).toEqual([0, 0]);
});
