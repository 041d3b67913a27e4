import { expect, test } from 'vitest';
import { pointName, STEP_TABLE, type Tool, toolPointsOf } from './crash-steps.ts';
import { hitEveryToolPoint } from './tool-run.ts';

const SEED = 1;
const RUN_TIMEOUT_MS = 900_000;

test('a restore and a forced start that end at any step leave nothing half done behind', {
  timeout: RUN_TIMEOUT_MS,
}, async () => {
  const { violations, hits, taken } = await hitEveryToolPoint(SEED);
  for (const tool of Object.keys(STEP_TABLE.tools) as Tool[]) {
    process.stdout.write(`${tool}: ended at ${hits[tool].size} points\n`);
    // A step more, or one less, changes the table first.
    expect(taken[tool]).toEqual(STEP_TABLE.tools[tool]);
    expect(toolPointsOf(tool).map(pointName)).toEqual([...hits[tool]]);
  }
  expect(violations).toEqual([]);
});
