import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Simulation, type SimulationOptions } from './simulation.ts';

/** `SIMULATION_RUNS=5000` searches longer; a failure prints the options that reproduce it. */
const RUNS = Number(process.env['SIMULATION_RUNS'] ?? 40);

const options: fc.Arbitrary<SimulationOptions> = fc.record({
  seed: fc.nat({ max: 0xffff_ffff }),
  members: fc.integer({ min: 1, max: 5 }),
  steps: fc.integer({ min: 500, max: 4000 }),
  calmPercent: fc.constantFrom(0, 30, 60),
  dropPercent: fc.constantFrom(0, 2, 10, 30),
  duplicatePercent: fc.constantFrom(0, 5, 30),
  crashes: fc.boolean(),
  partitions: fc.boolean(),
  confChanges: fc.boolean(),
  compactions: fc.boolean(),
  transfers: fc.boolean(),
  maxAppendBatches: fc.constantFrom(1, 2, 16),
  maxReadRounds: fc.constantFrom(1, 2, 8),
});

test('a cluster under faults keeps every invariant and converges once healed', () => {
  fc.assert(
    fc.property(options, (run) => {
      new Simulation(run).run();
    }),
    {
      numRuns: RUNS,
      seed: process.env['SIMULATION_RUNS'] === undefined ? 20_201 : Date.now(),
      endOnFailure: true,
    },
  );
});

test('the simulation reaches elections, commits and reads', () => {
  const summary = new Simulation({
    seed: 11,
    members: 3,
    steps: 20_000,
    calmPercent: 50,
    dropPercent: 2,
    duplicatePercent: 5,
    crashes: true,
    partitions: true,
    confChanges: true,
    compactions: true,
    transfers: true,
    maxAppendBatches: 2,
    maxReadRounds: 2,
  }).run();
  expect(summary.commit).toBeGreaterThan(100);
  expect(summary.elections).toBeGreaterThan(3);
  expect(summary.reads).toBeGreaterThan(50);
  expect(summary.confChanges).toBeGreaterThan(3);
  expect(summary.restores).toBeGreaterThan(1);
});
