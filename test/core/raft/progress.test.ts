import { expect, test } from 'vitest';
import { Inflights } from '../../../src/core/raft/inflights.ts';
import { Progress } from '../../../src/core/raft/progress.ts';

function progressAt(next: number): Progress {
  return new Progress({ next, isLearner: false, maxInflightMessages: 2, maxInflightBytes: 100 });
}

function replicating(match: number): Progress {
  const progress = progressAt(match + 1);
  progress.accept(match);
  progress.becomeReplicate();
  return progress;
}

test('a probe sends one append and waits for its answer or a heartbeat', () => {
  const progress = progressAt(5);
  expect(progress.paused).toBe(false);
  progress.sent({ count: 1, bytes: 10 });
  expect([progress.paused, progress.next]).toEqual([true, 5]);
  progress.revive();
  expect(progress.paused).toBe(false);
});

test('a refuted probe moves to the hint, never below what matches', () => {
  const progress = progressAt(9);
  expect(progress.reject({ index: 8, hint: 4 })).toBe(true);
  expect(progress.next).toBe(5);
  progress.accept(3);
  expect(progress.reject({ index: 4, hint: 0 })).toBe(true);
  expect([progress.match, progress.next]).toEqual([3, 4]);
});

test('only the answer to the last probe refutes it', () => {
  const progress = progressAt(9);
  expect(progress.reject({ index: 6, hint: 0 })).toBe(false);
  expect(progress.next).toBe(9);
});

test('replication pipelines until the window is full, and a refusal falls back to the match', () => {
  const progress = replicating(3);
  progress.sent({ count: 2, bytes: 10 });
  progress.sent({ count: 1, bytes: 10 });
  expect([progress.next, progress.windowFull, progress.paused]).toEqual([7, true, true]);
  expect(progress.accept(5)).toBe(true);
  expect(progress.windowFull).toBe(false);
  expect(progress.reject({ index: 6, hint: 1 })).toBe(true);
  expect([progress.state, progress.match, progress.next]).toEqual(['probe', 5, 6]);
});

test('a stale refusal changes nothing', () => {
  const progress = replicating(3);
  expect(progress.reject({ index: 3, hint: 0 })).toBe(false);
  expect(progress.reject({ index: 9, hint: 0 })).toBe(false);
  expect([progress.state, progress.next]).toEqual(['replicate', 4]);
});

test('a match never decreases', () => {
  const progress = replicating(7);
  expect(progress.accept(5)).toBe(false);
  expect(progress.match).toBe(7);
});

test('a finished snapshot is followed by a probe behind it, a failed one by a probe behind the match', () => {
  const done = replicating(2);
  done.becomeSnapshot(9);
  expect([done.paused, done.pendingSnapshot]).toEqual([true, 9]);
  done.endSnapshot(true);
  expect([done.state, done.next, done.paused, done.pendingSnapshot]).toEqual(['probe', 10, true, 0]);
  const failed = replicating(2);
  failed.becomeSnapshot(9);
  failed.endSnapshot(false);
  expect([failed.state, failed.next, failed.paused]).toEqual(['probe', 3, true]);
});

test('a window is full by count or by bytes, and frees all up to an index', () => {
  const window = new Inflights({ messagesMax: 3, bytesMax: 100 });
  window.add({ lastIndex: 1, bytes: 10 });
  window.add({ lastIndex: 2, bytes: 200 });
  expect(window.full).toBe(true);
  expect(() => window.add({ lastIndex: 3, bytes: 1 })).toThrow('full window');
  window.freeTo(2);
  expect([window.count, window.full]).toEqual([0, false]);
  for (let index = 3; index < 6; index += 1) window.add({ lastIndex: index, bytes: 1 });
  expect(window.full).toBe(true);
  window.freeTo(4);
  expect(window.count).toBe(1);
});
