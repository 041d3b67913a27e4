import { expect, test } from 'vitest';
import { h2loadArguments, readLog, type UnaryLoad } from '../../../bench/load/h2load.ts';

const LOAD: UnaryLoad = {
  url: 'http://127.0.0.1:2379',
  path: '/a.B/C',
  message: Buffer.from('m'),
  requests: 1_000,
  connections: 50,
  streams: 10,
};
const FILES = { body: '/b', log: '/l' };

test('the offered rate is shared out over the connections', () => {
  expect(h2loadArguments({ ...LOAD, perSecond: 5_000 }, FILES)).toContain('--rps=100');
  expect(h2loadArguments(LOAD, FILES).join(' ')).not.toContain('--rps');
});

test('there are no more connections than calls', () => {
  const words = h2loadArguments({ ...LOAD, requests: 3, perSecond: 6 }, FILES);
  expect(words).toContain('--clients=3');
  expect(words).toContain('--rps=2');
});

test('a rate is all answers from the first start to the last end', () => {
  const log = ['2000000\t200\t1000', '1000000\t200\t3000', '2500000\t200\t500000', ''].join('\n');
  const { requestsPerSecond, latencyMs } = readLog(log);
  expect(requestsPerSecond).toBe(1.5);
  expect(latencyMs).toMatchObject({ p50: 3, max: 500 });
});
