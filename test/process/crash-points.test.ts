import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync } from 'oxc-parser';
import { expect, test } from 'vitest';
import { repositoryRoot } from '../support/repository-root.ts';
import { hitEveryPoint } from './crash-run.ts';
import { ALL_POINTS, pointName, STEP_TABLE } from './crash-steps.ts';

const SEED = 1;
const RUN_TIMEOUT_MS = 1_800_000;

test('every method of the storage ports is a step, or is known to change nothing', () => {
  const path = join(repositoryRoot(), 'src/member/ports.ts');
  const { program } = parseSync(path, readFileSync(path, 'utf8'));
  const found: Record<string, string[]> = {};
  for (const statement of program.body) {
    if (statement.type !== 'ExportNamedDeclaration') continue;
    const { declaration } = statement;
    if (declaration?.type !== 'TSInterfaceDeclaration' || !(declaration.id.name in STEP_TABLE.ports))
      continue;
    found[declaration.id.name] = declaration.body.body.flatMap((member) =>
      'key' in member && member.key.type === 'Identifier' ? [member.key.name] : [],
    );
  }
  for (const [port, { steps, others }] of Object.entries(STEP_TABLE.ports)) {
    expect([port, found[port]?.toSorted()]).toEqual([port, [...steps, ...others].toSorted()]);
  }
});

test('a member that ends at any step loses nothing', { timeout: RUN_TIMEOUT_MS }, async () => {
  const { violations, hits, seen, ...counts } = await hitEveryPoint(SEED);
  process.stdout.write(`${JSON.stringify(counts)}\n`);
  for (const [situation, steps] of Object.entries(STEP_TABLE.steps)) {
    for (const step of Object.keys(steps)) {
      const [before, after] = [`before ${step}`, `after ${step}`].map((name) => hits.get(name) ?? 0);
      process.stdout.write(`${situation.padEnd(16)} ${step.padEnd(56)} before ${before} after ${after}\n`);
    }
  }
  expect(violations).toEqual([]);
  const names = new Set(Object.values(STEP_TABLE.steps).flatMap(Object.keys));
  expect([...seen].filter((step) => !names.has(step))).toEqual([]);
  expect(ALL_POINTS.map(pointName).filter((name) => !hits.has(name))).toEqual([]);
});
