import { expect, test } from 'vitest';
import { LinkedSignal } from '../../src/client/linked-signal.ts';

test('it aborts with its first source, for its reason', () => {
  const [one, two] = [new AbortController(), new AbortController()];
  const link = new LinkedSignal([one.signal, undefined, two.signal]);
  expect(link.signal.aborted).toBe(false);
  two.abort('two');
  one.abort('one');
  expect(link.signal.reason).toBe('two');
  expect(link.isTimeout).toBe(false);
});

test('it is aborted from the start when a source is', () => {
  expect(new LinkedSignal([AbortSignal.abort('before')], 1).signal.reason).toBe('before');
});

test('it aborts when its time is over', async () => {
  const link = new LinkedSignal([new AbortController().signal], 1);
  await new Promise((resolve) => link.signal.addEventListener('abort', resolve));
  expect(link.isTimeout).toBe(true);
});

test('a time beyond what timers know is not over at once', async () => {
  using link = new LinkedSignal([], Infinity);
  using late = new LinkedSignal([], 2 ** 40);
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect([link.signal.aborted, late.signal.aborted]).toEqual([false, false]);
});

test('let go, it does not abort any more', () => {
  const source = new AbortController();
  const link = new LinkedSignal([source.signal], 60_000);
  link[Symbol.dispose]();
  source.abort();
  expect(link.signal.aborted).toBe(false);
});
