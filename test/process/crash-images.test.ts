import { expect, test } from 'vitest';
import { imageRound } from './image-run.ts';

const ROUND = { seed: 1, images: 60 };
const ROUND_TIMEOUT_MS = 600_000;

test('whatever a power loss leaves of a member recovers to what it had acknowledged', {
  timeout: ROUND_TIMEOUT_MS,
}, async () => {
  const { violations, ...counts } = await imageRound(ROUND);
  process.stdout.write(`${JSON.stringify(counts)}\n`);
  expect(violations).toEqual([]);
  expect(counts.images).toBe(ROUND.images);
  // A round in which nothing was lost, or nothing was compared, proves nothing.
  expect(counts.logBytesLost).toBeGreaterThan(0);
  expect(counts.stateBytesLost).toBeGreaterThan(0);
  expect(counts.markersCompared).toBeGreaterThan(ROUND.images);
});

test('so it does of members of a cluster, whether they lead or follow', {
  timeout: ROUND_TIMEOUT_MS,
}, async () => {
  const { violations, ...counts } = await imageRound({ ...ROUND, members: 3 });
  process.stdout.write(`${JSON.stringify(counts)}\n`);
  expect(violations).toEqual([]);
  expect(counts.ofLeader + counts.ofFollower).toBe(ROUND.images);
  expect(counts.ofLeader).toBeGreaterThan(0);
  expect(counts.ofFollower).toBeGreaterThan(0);
  expect(counts.logBytesLost).toBeGreaterThan(0);
  expect(counts.markersCompared).toBeGreaterThan(0);
});
