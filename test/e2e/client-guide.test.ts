import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cluster } from '../support/cluster.ts';
import { blocksOf } from '../support/guide.ts';
import { repositoryRoot } from '../support/repository-root.ts';

const GUIDE = 'docs/client.md';
const RUN_TIMEOUT_MS = 120_000;

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
  const root = repositoryRoot();
  const blocks = blocksOf(readFileSync(join(root, GUIDE), 'utf8'));
  expect(blocks.map(({ language }) => language)).toEqual(blocks.map(() => 'ts'));
  const ports = cluster.members.map(({ clientUrl }) => new URL(clientUrl).port);
  const program = blocks
    .map(({ text }) => text)
    .join('\n')
    .replace(':2379', `:${ports[0]}`)
    .replace(':22379', `:${ports[1]}`)
    .replace(':32379', `:${ports[2]}`);

  mkdirSync(join(directory, 'node_modules'));
  symlinkSync(root, join(directory, 'node_modules/conclave'));
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ type: 'module' }));
  writeFileSync(join(directory, 'guide.ts'), `${program}\nexport {};\n`);
  const options = {
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    strict: true,
    skipLibCheck: true,
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
  };
  writeFileSync(
    join(directory, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: options, files: ['guide.ts'] }),
  );
  const compiled = run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', directory]);
  expect(compiled.output).toBe('');
  const { output, status } = run(process.execPath, [join(directory, 'guide.js')]);
  const lines = output.trim().split('\n');
  expect(lines, output).toHaveLength(PRINTED.length);
  for (const [i, line] of lines.entries()) expect(line).toMatch(PRINTED[i]!);
  expect(status).toBe(0);
});

function run(
  command: string,
  args: readonly string[],
): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: RUN_TIMEOUT_MS,
    cwd: directory,
  });
  return { status, output: `${stdout}${stderr}` };
}
