import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cluster } from '../support/cluster.ts';
import { runGuide } from '../support/guide-program.ts';

let cluster: Cluster;
let directory: string;

beforeAll(async () => {
  cluster = await Cluster.start(3);
  directory = mkdtempSync(join(tmpdir(), 'conclave-guide-'));
});
afterAll(async () => {
  await cluster.destroy();
  rmSync(directory, { recursive: true, force: true });
});

/** What the program of the guide prints, line by line. */
const PRINTED = [
  /^hello \d+$/,
  /^1$/,
  /^at most \d+ ms old, from .+$/,
  /^mine; and 1 greeting$/,
  /^put greeting, delete greeting$/,
  /^true$/,
  /^the session is over$/,
  /^revoked 0$/,
  /^false true$/,
  /^true$/,
  /^me, at work$/,
  /^me, at work$/,
  /^true$/,
];

test('the examples of the guide are a program that compiles and runs as a user of the package has it', () => {
  const clientUrls = cluster.members.map(({ clientUrl }) => clientUrl);
  const { output, status } = runGuide({ guide: 'docs/client.md', directory, clientUrls });
  const lines = output.trim().split('\n');
  expect(lines, output).toHaveLength(PRINTED.length);
  for (const [i, line] of lines.entries()) expect(line).toMatch(PRINTED[i]!);
  expect(status).toBe(0);
});
