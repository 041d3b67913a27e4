import { expect, test } from 'vitest';
import { failures, latenciesMs, paced, waitsMs } from '../../../bench/load/paced.ts';

test('every call is sent when it is due, in order, though none is answered before the last', async () => {
  const sent: number[] = [];
  let answerAll: () => void = () => {};
  const answered = new Promise<void>((resolve) => {
    answerAll = resolve;
  });
  const startedMs = performance.now();
  const calls = await paced({
    perSecond: 1_000,
    count: 50,
    send: (index) => {
      sent.push(index);
      if (index === 49) answerAll();
      return answered;
    },
  });
  expect(sent).toEqual(Array.from({ length: 50 }, (_, at) => at));
  expect(calls[49]!.dueMs - calls[0]!.dueMs).toBeCloseTo(49);
  expect(performance.now() - startedMs).toBeGreaterThanOrEqual(48);
  // The first has waited for the last: it is charged for that.
  expect(latenciesMs(calls)[0]).toBeGreaterThanOrEqual(48);
});

test('a call that failed has no latency, and is counted', async () => {
  const calls = await paced({
    perSecond: 10_000,
    count: 4,
    send: (index) => (index % 2 === 0 ? Promise.resolve() : Promise.reject(new Error('no'))),
  });
  expect(failures(calls).map(({ message }) => message)).toEqual(['no', 'no']);
  expect(latenciesMs(calls)).toHaveLength(2);
});

test('a signal ends the load before its count', async () => {
  const enough = new AbortController();
  const calls = await paced({
    perSecond: 2_000,
    count: 1_000,
    signal: enough.signal,
    send: async (index) => {
      if (index === 20) enough.abort();
    },
  });
  expect(calls).toHaveLength(21);
});

test('who had a call that failed has waited for the next answer', () => {
  const failure = new Error('no');
  const calls = [
    { dueMs: 0, doneMs: 5, failure: null },
    { dueMs: 10, doneMs: null, failure },
    { dueMs: 20, doneMs: 90, failure: null },
    { dueMs: 30, doneMs: 40, failure: null },
    { dueMs: 50, doneMs: null, failure },
    { dueMs: 60, doneMs: null, failure },
  ];
  expect(waitsMs(calls)).toEqual([5, 30, 70, 10, 10, 0]);
});
