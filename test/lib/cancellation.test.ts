import { expect, test } from 'vitest';
import { aborted, Cancellation } from '../../src/lib/cancellation.ts';

test('every listener hears of it once, in order, with the first reason', () => {
  const cancellation = new Cancellation();
  const heard: string[] = [];
  for (const name of ['first', 'second', 'third']) {
    cancellation.addEventListener('abort', () => heard.push(`${name} ${String(cancellation.reason)}`));
  }
  cancellation.abort('gone');
  cancellation.abort('too late');
  expect(heard).toEqual(['first gone', 'second gone', 'third gone']);
  expect([cancellation.aborted, cancellation.reason]).toEqual([true, 'gone']);
});

test('who was taken off hears nothing, whichever came first', () => {
  const cancellation = new Cancellation();
  const heard: string[] = [];
  const listeners = ['a', 'b', 'c'].map((name) => () => heard.push(name));
  for (const listener of listeners) cancellation.addEventListener('abort', listener);
  cancellation.removeEventListener('abort', listeners[0]!);
  cancellation.removeEventListener('abort', listeners[1]!);
  const neverAdded = (): void => void heard.push('never added');
  cancellation.removeEventListener('abort', neverAdded);
  cancellation.addEventListener('abort', listeners[0]!);
  cancellation.abort('gone');
  expect(heard.toSorted()).toEqual(['a', 'c']);
});

test('whoever listens afterwards is not called: it is there to be asked', async () => {
  const cancellation = new Cancellation();
  cancellation.abort('gone');
  let isCalled = false;
  cancellation.addEventListener('abort', () => {
    isCalled = true;
  });
  await aborted(cancellation);
  expect(isCalled).toBe(false);
});

test('waiting ends with the signal, an AbortSignal too', async () => {
  const cancellation = new Cancellation();
  const controller = new AbortController();
  const both = Promise.all([aborted(cancellation), aborted(controller.signal)]);
  cancellation.abort('gone');
  controller.abort();
  await both;
});
