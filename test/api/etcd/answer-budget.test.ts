import { expect, test } from 'vitest';
import { AnswerBudget } from '../../../src/api/etcd/answer-budget.ts';
import { StoreError } from '../../../src/lib/errors.ts';

class Call {
  readonly #controller = new AbortController();
  readonly signal = this.#controller.signal;
  onOver(listener: () => void): void {
    if (this.signal.aborted) listener();
    else this.signal.addEventListener('abort', listener);
  }
  end(): void {
    this.#controller.abort(new StoreError('canceled'));
  }
}

async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol();
  const turn = new Promise((resolve) => setImmediate(() => resolve(pending)));
  return (await Promise.race([promise, turn])) === pending;
}

test('answers wait for room in the order of asking, and calls that end give it back', async () => {
  const budget = new AnswerBudget({ bytesMax: 100 });
  const [first, second, third] = [new Call(), new Call(), new Call()];
  await budget.reserve(80, first);
  const large = budget.reserve(50, second);
  const small = budget.reserve(10, third);
  expect(await isPending(large)).toBe(true);
  expect(await isPending(small)).toBe(true);
  first.end();
  await Promise.all([large, small]);
  expect(budget.bytes).toBe(60);
  second.end();
  third.end();
  expect(budget.bytes).toBe(0);
});

test('an answer larger than all of the room has it alone', async () => {
  const budget = new AnswerBudget({ bytesMax: 100 });
  const [first, second] = [new Call(), new Call()];
  await budget.reserve(500, first);
  const next = budget.reserve(1, second);
  expect(await isPending(next)).toBe(true);
  first.end();
  await next;
});

test('a call that ends while it waits makes way', async () => {
  const budget = new AnswerBudget({ bytesMax: 100 });
  const [first, second, third] = [new Call(), new Call(), new Call()];
  await budget.reserve(90, first);
  const large = budget.reserve(50, second);
  const small = budget.reserve(10, third);
  second.end();
  await expect(large).rejects.toMatchObject({ code: 'canceled' });
  await small;
  expect(budget.bytes).toBe(100);
  await expect(budget.reserve(1, second)).rejects.toMatchObject({ code: 'canceled' });
});

test('who waits too long is told of too many requests', async () => {
  const budget = new AnswerBudget({ bytesMax: 100, patienceMs: 1 });
  await budget.reserve(90, new Call());
  await expect(budget.reserve(50, new Call())).rejects.toMatchObject({ code: 'too-many-requests' });
  expect(budget.bytes).toBe(90);
});

test('an answer that no message can hold is refused at once', async () => {
  const budget = new AnswerBudget();
  await expect(budget.reserve(2 ** 31, new Call())).rejects.toMatchObject({ code: 8 });
});
