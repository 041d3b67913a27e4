import { expect, test } from 'vitest';
import { putOf, rangeOf } from '../linearizability/requests.ts';
import { ClientHistory } from './checkers/client-history.ts';
import { Model } from './checkers/model.ts';
import type { Violation } from './violation.ts';
import { WatchLog } from './watch-log.ts';

/** Two puts of one key, as the log has them and as their clients were told. */
function twoPuts(): { readonly history: ClientHistory; readonly model: Model; readonly found: Violation[] } {
  const found: Violation[] = [];
  const history = new ClientHistory((violation) => found.push(violation));
  const model = new Model();
  for (const value of ['one', 'two']) {
    const request = putOf('k', value);
    const settle = history.call(request);
    model.apply(request, 1);
    settle({ type: 'answered', result: { type: 'put', revision: model.revision, prevKv: null } });
  }
  return { history, model, found };
}

function read({ history, model }: ReturnType<typeof twoPuts>, revision: number): void {
  const settle = history.call(rangeOf('k'));
  const result = model.read(rangeOf('k'), revision);
  if (result.type === 'range') settle({ type: 'answered', result });
}

const WATCH = {
  watchId: 1n,
  key: Buffer.from('k'),
  rangeEnd: Buffer.alloc(0),
  noPut: false,
  noDelete: false,
  prevKv: false,
  progressNotify: false,
};

test('a history of true answers is judged and found right', () => {
  const run = twoPuts();
  read(run, 3);
  run.history.call(putOf('k', 'never answered'));
  run.history.judge(run.model, []);
  expect(run.found).toEqual([]);
  expect(run.history.opsSearched).toBe(4);
  expect(run.history.opCount).toBe(4);
});

test('a stale read is found by the witness and by the search', () => {
  const run = twoPuts();
  read(run, 2);
  run.history.judge(run.model, []);
  const text = run.found.map(({ message }) => message).join('\n');
  expect(text).toContain('the witness, real time');
  expect(text).toContain('no order explains');
});

test('a watch that is told of progress before an event is found', () => {
  const run = twoPuts();
  const log = new WatchLog(WATCH);
  log.begin(2);
  log.delivered({ type: 'progress', watchId: 1n, revision: 3, nonce: 0n });
  run.history.judge(run.model, log.histories());
  expect(run.found[0]?.message).toContain('a watch, bookmarkable');
});

test('a watch that never gets an event it was given time for is found', () => {
  const run = twoPuts();
  const log = new WatchLog(WATCH);
  log.begin(2);
  log.deliveredThrough(3);
  run.history.judge(run.model, log.histories());
  expect(run.found[0]?.message).toContain('a watch, reliable');
});
