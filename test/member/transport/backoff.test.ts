import { expect, test } from 'vitest';
import { Backoff } from '../../../src/member/transport/backoff.ts';
import { seededRandom } from './cast.ts';

test('waiting times double up to the longest, each cut by at most half', () => {
  const backoff = new Backoff(seededRandom(5), { msMin: 50, msMax: 1000 });
  for (const ceilingMs of [50, 100, 200, 400, 800, 1000, 1000]) {
    const waitMs = backoff.nextMs();
    expect(waitMs).toBeGreaterThanOrEqual(ceilingMs / 2);
    expect(waitMs).toBeLessThanOrEqual(ceilingMs);
  }
  backoff.reset();
  expect(backoff.nextMs()).toBeLessThanOrEqual(50);
});

test('two members do not wait equally long', () => {
  const waits = [1, 2].map((seed) => {
    const backoff = new Backoff(seededRandom(seed), { msMin: 50, msMax: 1000 });
    return Array.from({ length: 5 }, () => backoff.nextMs());
  });
  expect(waits[0]).not.toEqual(waits[1]);
});
