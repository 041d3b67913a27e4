import { expect, test } from 'vitest';
import { pointName, STEP_TABLE, type Tool, toolPointsOf } from './crash-steps.ts';
import { hitEveryToolPoint } from './tool-run.ts';

const SEED = 1;
const RUN_TIMEOUT_MS = 1_800_000;

test.each(Object.keys(STEP_TABLE.tools) as Tool[])(
  'a %s that ends at any step leaves nothing half done behind',
  {
    timeout: RUN_TIMEOUT_MS,
  },
  async (tool) => {
    const { violations, hits, taken } = await hitEveryToolPoint(tool, SEED);
    process.stdout.write(`${tool}: ended at ${hits.size} points\n`);
    expect(violations).toEqual([]);
    // A step more, or one less, changes the table first.
    expect(taken).toEqual(STEP_TABLE.tools[tool]);
    expect([...hits]).toEqual(toolPointsOf(tool).map((point) => pointName(point)));
  },
);
