import { expect, test } from 'vitest';
import { carryOut, type FaultRun, randomRun } from './fault-run.ts';
import { FAULTS, type FaultName } from './faults.ts';

/** Runs of everything in random order, besides those below. */
const RANDOM_RUNS = Number(process.env['CONCLAVE_FAULT_RUNS'] ?? 0);
/** Seed of the first of them; the others follow. */
const RANDOM_SEED = Number(process.env['CONCLAVE_FAULT_SEED'] ?? 1);
const RUN_TIMEOUT_MS = 600_000;
/** Runs that every change goes through. */
const RUNS_MIN = 8;

const RUNS: readonly FaultRun[] = [
  {
    name: 'processes that are killed',
    seed: 1,
    size: 3,
    faults: ['kill-leader', 'kill-majority', 'kill-one', 'stop-leader', 'kill-all', 'kill-leader'],
  },
  {
    name: 'processes that stand still',
    seed: 2,
    size: 3,
    faults: ['pause-leader', 'pause-one', 'pause-majority', 'pause-leader', 'storm'],
  },
  {
    name: 'partitions',
    seed: 3,
    size: 5,
    faults: ['isolate-leader', 'split-in-two', 'isolate-all', 'isolate-one', 'storm'],
  },
  {
    name: 'one-way and partial partitions',
    seed: 4,
    size: 5,
    faults: ['mute-leader', 'deaf-leader', 'bridge', 'one-way-cuts', 'one-way-cuts', 'bridge'],
  },
  {
    name: 'slow links, lost connections, snapshots over them',
    seed: 5,
    size: 3,
    faults: ['slow-links', 'narrow-link', 'reset-connections', 'reset-clients', 'lag-behind'],
  },
  {
    name: 'full disks',
    seed: 6,
    size: 3,
    faults: ['full-disk', 'full-disk', 'kill-leader', 'full-disk'],
  },
  {
    name: 'power cuts',
    seed: 7,
    size: 3,
    faults: ['crash-image', 'crash-image-of-all', 'compaction', 'crash-image', 'old-copy'],
  },
  {
    name: 'changing members under faults, with compactions',
    seed: 8,
    size: 3,
    faults: [
      'replace-member',
      'compaction',
      'kill-leader',
      'move-member',
      'replace-member',
      'isolate-leader',
      'compaction',
      'move-member',
    ],
  },
];

const MORE_RUNS = Array.from({ length: RANDOM_RUNS }, (_, i) => randomRun(RANDOM_SEED + i));

test.for([...RUNS, ...MORE_RUNS])('$name (seed $seed)', { timeout: RUN_TIMEOUT_MS }, async (run) => {
  const verdict = await carryOut(run);
  const { violations, log, ...counts } = verdict;
  process.stdout.write(`${run.name}, seed ${run.seed}: ${JSON.stringify(counts)}\n  ${log.join('\n  ')}\n`);
  expect(violations).toEqual([]);
  // A run in which nothing happened proves nothing.
  expect(log.length).toBe(run.faults.length);
  expect(counts.acknowledgedWrites).toBeGreaterThan(50 * run.faults.length);
  // More than one watch has heard, and one of them everything.
  expect(counts.watchEvents).toBeGreaterThan(counts.revisions);
});

test('there are as many runs as CI has to make', () => {
  expect(RUNS.length).toBeGreaterThanOrEqual(RUNS_MIN);
});

test('every fault is in some run', () => {
  const used = new Set(RUNS.flatMap((run) => run.faults));
  expect(Object.keys(FAULTS).filter((name) => !used.has(name as FaultName))).toEqual([]);
});
