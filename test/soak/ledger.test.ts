import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Ledger, type LedgerLine } from './ledger.ts';

const LINE: LedgerLine = {
  part: 'images',
  seed: 7,
  commit: 'abc1234',
  seconds: 90,
  violation: null,
  counts: { images: 100, operations: 5_000, statesCompared: 30 },
};

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conclave-ledger-'));
});
afterEach(() => rm(directory, { recursive: true }));

test('a soak goes on behind the batches that its file holds', async () => {
  const path = join(directory, 'soak.jsonl');
  const first = await Ledger.open(path);
  expect(first.batchesOf('images')).toEqual({ count: 0, firstSeed: null });
  await first.add(LINE);
  await first.add({ ...LINE, seed: 8 });
  const second = await Ledger.open(path);
  expect(second.batchesOf('images')).toEqual({ count: 2, firstSeed: 7 });
  expect(second.batchesOf('sim')).toEqual({ count: 0, firstSeed: null });
});

test('the batches of one part on one commit are one row, with their counts added up', async () => {
  const ledger = await Ledger.open(null);
  await ledger.add(LINE);
  await ledger.add({ ...LINE, seed: 8 });
  await ledger.add({ ...LINE, part: 'sim', violation: 'wrong' });
  expect(ledger.rows('npm run soak')).toEqual([
    '| abc1234 | `npm run soak` | images | 7 to 8 (2) | images 200, states compared 60 | 3 min | 10000 | 0 | nothing |',
    '| abc1234 | `npm run soak` | sim | 7 to 7 (1) | images 100, states compared 30 | 2 min | 5000 | 0 | 1 violations |',
  ]);
});
