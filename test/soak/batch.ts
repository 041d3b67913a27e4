import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { hitEveryPoint } from '../process/crash-run.ts';
import { ALL_POINTS, pointName, STEP_TABLE, type Tool, toolPointsOf } from '../process/crash-steps.ts';
import { carryOut, randomRun } from '../process/fault-run.ts';
import { imageRound } from '../process/image-run.ts';
import { hitEveryToolPoint } from '../process/tool-run.ts';
import { simulate, undecidedMax } from '../sim/simulation.ts';
import { repositoryRoot } from '../support/repository-root.ts';

/** What is run in turn. */
export const PARTS = ['sim', 'faults', 'points', 'images', 'fuzz'] as const;
export type Part = (typeof PARTS)[number];

/** What one batch amounted to. Its counts are added up by name. */
export interface BatchResult {
  /** Null when all was well. */
  readonly violation: string | null;
  readonly counts: Readonly<Record<string, number>>;
}

/** Seeds that one batch of the simulator takes; those of the others take one. */
export const SIM_SEEDS = 100;
const IMAGES = 100;
const FUZZ_ROUNDS = 20_000;

/** By part: the longest that a batch may take on a busy machine. One that takes longer hangs. */
export const BATCH_MINUTES_MAX: Readonly<Record<Part, number>> = {
  sim: 20,
  faults: 20,
  points: 30,
  images: 20,
  fuzz: 60,
};

const RUN: Readonly<Record<Part, (seed: number) => Promise<BatchResult>>> = {
  sim: simBatch,
  faults: faultBatch,
  points: pointBatch,
  images: imageBatch,
  fuzz: fuzzBatch,
};

/** Runs one batch in this process. */
export async function runBatch(part: Part, seed: number): Promise<BatchResult> {
  return RUN[part](seed);
}

async function simBatch(firstSeed: number): Promise<BatchResult> {
  const counts = {
    seeds: 0,
    operations: 0,
    searched: 0,
    undecided: 0,
    watchEvents: 0,
    virtualSeconds: 0,
    elections: 0,
  };
  Error.stackTraceLimit = 0;
  for (let seed = firstSeed; seed < firstSeed + SIM_SEEDS; seed++) {
    const result = await simulate(seed);
    counts.seeds += 1;
    counts.operations += result.operations;
    counts.searched += result.opsSearched;
    counts.watchEvents += result.watchEvents;
    counts.virtualSeconds += Math.round(result.virtualMs / 1000);
    counts.elections += result.elections;
    if (result.violation !== null) return { violation: `seed ${seed}: ${result.violation.message}`, counts };
    if (result.opsSearched === 0) counts.undecided += 1;
  }
  const tooMany = counts.undecided > undecidedMax(SIM_SEEDS);
  return { violation: tooMany ? `the search left ${counts.undecided} runs undecided` : null, counts };
}

async function faultBatch(seed: number): Promise<BatchResult> {
  const { violations, log, ...verdict } = await carryOut(randomRun(seed));
  const { ops: operations, watchEvents, searched } = verdict;
  const counts = { runs: 1, faults: log.length, searched, operations, watchEvents };
  return { violation: violations.length === 0 ? null : JSON.stringify(violations), counts };
}

async function pointBatch(seed: number): Promise<BatchResult> {
  const { violations, hits, ops, watchEvents } = await hitEveryPoint(seed);
  const missed = ALL_POINTS.map(pointName).filter((name) => !hits.has(name));
  const wrong: unknown[] = [...violations];
  let toolPoints = 0;
  for (const tool of Object.keys(STEP_TABLE.tools) as Tool[]) {
    const ended = await hitEveryToolPoint(tool, seed);
    wrong.push(...ended.violations);
    toolPoints += ended.hits.size;
    const names = toolPointsOf(tool).map((point) => pointName(point));
    missed.push(...names.filter((name) => !ended.hits.has(name)).map((name) => `${tool} ${name}`));
  }
  const counts = {
    runs: 1,
    points: hits.size + toolPoints,
    kills: [...hits.values()].reduce((sum, count) => sum + count, 0),
    operations: ops,
    watchEvents,
  };
  if (wrong.length > 0) return { violation: JSON.stringify(wrong), counts };
  return { violation: missed.length === 0 ? null : `never reached: ${missed.join(', ')}`, counts };
}

async function imageBatch(seed: number): Promise<BatchResult> {
  const { images, violations, ops, entriesReplayed, markersCompared } = await imageRound({
    seed,
    images: IMAGES,
    // Of a member that is alone, and of members of a cluster, in turn.
    members: seed % 2 === 0 ? 1 : 3,
  });
  const counts = { images, operations: ops, entriesReplayed, statesCompared: markersCompared };
  return { violation: violations.length === 0 ? null : violations.join('\n'), counts };
}

/** The fuzzing suite is a test like any other. */
async function fuzzBatch(seed: number): Promise<BatchResult> {
  const root = repositoryRoot();
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const child = spawn(process.execPath, [vitest, 'run', '--project', 'unit', 'test/fuzz'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, FUZZ_SEED: `${seed}`, FUZZ_ROUNDS: `${FUZZ_ROUNDS}` },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const [code] = await once(child, 'close');
  const counts = { runs: 1, roundsPerDecoder: FUZZ_ROUNDS };
  return { violation: code === 0 ? null : output.slice(-4_000), counts };
}
