import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { blocksOf } from './guide.ts';
import { repositoryRoot } from './repository-root.ts';

const RUN_TIMEOUT_MS = 120_000;
/** The addresses that guides use, in the order of the members. */
const PORTS = [':2379', ':22379', ':32379'];
/** Packages that guides tell their readers to install besides. */
const OTHERS = '@openfeature';

/** What a program printed, and how it ended. */
export interface ProgramRun {
  readonly status: number | null;
  readonly output: string;
}

/**
 * Compiles the examples of a guide as one program, as a user of the package has it, and runs it.
 *
 * @param options.clientUrls of the members, in the places of those that the guide names
 */
export function runGuide(options: {
  readonly guide: string;
  readonly directory: string;
  readonly clientUrls: readonly string[];
  /** Further texts of the guide that stand for something else here, and what stands in their places. */
  readonly places?: Readonly<Record<string, string>>;
}): ProgramRun {
  const { guide, directory, clientUrls, places = {} } = options;
  const root = repositoryRoot();
  const blocks = blocksOf(readFileSync(join(root, guide), 'utf8'));
  expect(blocks.map(({ language }) => language)).toEqual(blocks.map(() => 'ts'));
  let program = blocks.map(({ text }) => text).join('\n');
  for (const [at, port] of PORTS.entries()) {
    const { port: actual } = new URL(clientUrls[at % clientUrls.length]!);
    program = program.replaceAll(port, `:${actual}`);
  }
  for (const [text, place] of Object.entries(places)) program = program.replaceAll(text, place);
  mkdirSync(join(directory, 'node_modules'));
  symlinkSync(root, join(directory, 'node_modules/conclave'));
  symlinkSync(join(root, 'node_modules', OTHERS), join(directory, 'node_modules', OTHERS));
  writeFileSync(join(directory, 'package.json'), JSON.stringify({ type: 'module' }));
  writeFileSync(join(directory, 'guide.ts'), `${program}\nexport {};\n`);
  const compilerOptions = {
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    strict: true,
    skipLibCheck: true,
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
  };
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['guide.ts'] }));
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  expect(run(directory, [tsc, '-p', directory]).output).toBe('');
  return run(directory, [join(directory, 'guide.js')]);
}

function run(cwd: string, args: readonly string[]): ProgramRun {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: RUN_TIMEOUT_MS,
    cwd,
  });
  return { status, output: `${stdout}${stderr}` };
}
