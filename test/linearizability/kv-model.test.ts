import { expect, test } from 'vitest';
import type { RangeResult } from '../../src/core/mvcc/operations.ts';
import { assert } from '../../src/lib/assert.ts';
import { StoreError } from '../../src/lib/errors.ts';
import { MachineHarness } from '../core/machine-fixture.ts';
import { sameEvents, sameResult } from './equality.ts';
import { describe } from './findings.ts';
import type { HistoryEvent, HistoryOutcome, HistoryRequest } from './history.ts';
import { ModelState } from './model-state.ts';
import { randomHistory } from './random-history.ts';

test('the model and the state machine do the same', () => {
  let refusals = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const { ops } = randomHistory({ seed, ops: 80, clients: 1, unknownPercent: 0, tables: true });
    const harness = new MachineHarness();
    let state = ModelState.EMPTY;
    for (const { request } of ops) {
      const { step, state: after } = state.step(request);
      state = after;
      const actual = perform(harness, request);
      const what = `seed ${seed}: ${describe(request)} gave ${describe(actual.outcome)}, not ${describe(step)}`;
      if (step.type === 'refused') {
        refusals++;
        expect(actual.outcome, what).toEqual(step);
        continue;
      }
      assert(actual.outcome.type === 'answered', what);
      expect(sameResult(step.result, actual.outcome.result), what).toBe(true);
      expect(sameEvents(step.events, actual.events), what).toBe(true);
      expect(state.revision, what).toBe(harness.machine.store.currentRevision);
    }
  }
  expect(refusals).toBeGreaterThan(50);
});

test('equal states have equal lanes, whatever the order of grants; different ones have not', () => {
  const after = (...requests: readonly HistoryRequest[]): string =>
    describe(requests.reduce((state, request) => state.step(request).state, ModelState.EMPTY).lanes);
  const first = { type: 'lease-grant', id: 1n } as const;
  const second = { type: 'lease-grant', id: -2n } as const;
  expect(after(first, second)).toBe(after(second, first));
  const states = [
    after(),
    after(first),
    after(second),
    after(first, second),
    after({ type: 'compact', revision: 1 }),
  ];
  expect(new Set(states).size).toBe(states.length);
});

function perform(
  harness: MachineHarness,
  request: HistoryRequest,
): { readonly outcome: HistoryOutcome; readonly events: readonly HistoryEvent[] } {
  if (request.type === 'range' || request.type === 'serializable-range') {
    const range = request.type === 'range' ? request : request.range;
    return { outcome: read(() => harness.machine.store.range(range)), events: [] };
  }
  const operation = request.type === 'lease-grant' ? { ...request, ttlSeconds: 60 } : request;
  const { outcome, events, revision } = harness.apply(operation);
  if (!outcome.ok) return { outcome: { type: 'refused', code: outcome.code }, events: [] };
  const { result } = outcome;
  return {
    outcome: {
      type: 'answered',
      result: 'revision' in result ? result : { type: request.type as 'compact', revision },
    },
    events: events.map(({ type, row }) => ({ type, kv: { ...row, modRevision: row.main }, prevKv: null })),
  };
}

function read(range: () => RangeResult): HistoryOutcome {
  try {
    return { type: 'answered', result: range() };
  } catch (error) {
    if (error instanceof StoreError) return { type: 'refused', code: error.code };
    throw error;
  }
}
