import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SIM_NODE_FLAGS } from './node-flags.ts';
import { simulate } from './simulation.ts';
import { applyDiff, parseDiff } from './unified-diff.ts';

/** What a copy of the sources needs to be built and run. */
const COPIED = [
  'src',
  'test/sim',
  'test/linearizability',
  'test/core/raft/builders.ts',
  'test/core/raft/test-member.ts',
  'package.json',
  'tsconfig.json',
  'tsconfig.sim.json',
];
/** A seed that prints nothing for so long never ends: some bugs make the cluster spin. */
const SEED_MS_MAX = 120_000;

/** Bugs that the simulator is known to find, and those that it has yet to find: holes in what it does or checks. */
export type BugSet = 'found' | 'open';
const DIRECTORIES: Readonly<Record<BugSet, string>> = { found: 'test/sim/bugs', open: 'test/sim/bugs/open' };

/** A bug that is put back into a copy of the sources: `test/sim/bugs/NAME.patch`. */
export interface Bug {
  readonly name: string;
  /** What it is in the catalogue of known bugs ("P-13") or in the list of invariants ("K9"). */
  readonly item: string;
  /** What breaks, in one line. */
  readonly what: string;
  readonly patch: string;
}

export interface BugHunt {
  readonly firstSeed: number;
  readonly seedsMax: number;
}

export interface Finding {
  readonly bug: Bug;
  /** The seed that shows it, or null. */
  readonly seed: number | null;
  /** How many seeds it took, that one included. */
  readonly seeds: number;
  readonly violation: string;
  readonly seconds: number;
}

/** The repository's root: where package.json is. */
export function repositoryRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory);
  return directory;
}

/** The bugs of a set, by name. @throws Error when a patch does not begin with `# ITEM: what breaks` */
export async function readBugs(root: string, set: BugSet): Promise<readonly Bug[]> {
  const directory = join(root, DIRECTORIES[set]);
  // A set without bugs has no directory in a fresh checkout.
  const names = existsSync(directory) ? await readdir(directory) : [];
  const files = names.filter((file) => file.endsWith('.patch')).toSorted();
  return Promise.all(
    files.map(async (file) => {
      const patch = await readFile(join(directory, file), 'utf8');
      const [, item, what] = /^# ([A-Z]-?\d+): (.+)\n/.exec(patch) ?? [];
      if (item === undefined || what === undefined) throw new Error(`${file} does not say what it breaks`);
      return { name: file.slice(0, -'.patch'.length), item, what, patch };
    }),
  );
}

/** Puts the bug into the sources below `root`. @throws Error when they are not those the patch was made for */
export async function putBack(bug: Bug, root: string): Promise<void> {
  for (const diff of parseDiff(bug.patch)) {
    const path = join(root, diff.path);
    await writeFile(path, applyDiff(await readFile(path, 'utf8'), diff));
  }
}

/**
 * Hunts one bug: builds a copy of the sources with it, and simulates until a seed shows a violation that the sources
 * without it do not show.
 */
export async function hunt(bug: Bug, { firstSeed, seedsMax }: BugHunt): Promise<Finding> {
  const startedMs = Date.now();
  const directory = await mkdtemp(join(tmpdir(), `conclave-bug-${bug.name}-`));
  try {
    await copySources(directory);
    await putBack(bug, directory);
    await build(directory);
    const end = firstSeed + seedsMax;
    for (let from = firstSeed; from < end; ) {
      const shown = await firstViolation(directory, { from, seeds: end - from });
      if (shown === null) break;
      const { seed, violation } = shown;
      const own = await simulate(seed);
      const seconds = (Date.now() - startedMs) / 1000;
      if (own.violation === null) return { bug, seed, seeds: seed - firstSeed + 1, violation, seconds };
      from = seed + 1;
    }
    return { bug, seed: null, seeds: seedsMax, violation: '', seconds: (Date.now() - startedMs) / 1000 };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** One line of the table. */
export function findingRow({ bug, seed, seeds, violation, seconds }: Finding): string {
  const verdict = seed === null ? `NOT found in ${seeds} seeds` : `found by seed ${seed} (${seeds} seeds)`;
  return `${bug.name.padEnd(36)} ${bug.item.padEnd(5)} ${verdict}, ${seconds.toFixed(0)} s: ${violation}`;
}

async function copySources(directory: string): Promise<void> {
  const root = repositoryRoot();
  for (const path of COPIED) await cp(join(root, path), join(directory, path), { recursive: true });
  await symlink(join(root, 'node_modules'), join(directory, 'node_modules'));
}

async function build(directory: string): Promise<void> {
  const tsc = join(directory, 'node_modules/typescript/bin/tsc');
  const compiler = spawn(process.execPath, [tsc, '-p', 'tsconfig.sim.json'], {
    cwd: directory,
    stdio: 'inherit',
  });
  const [code] = await once(compiler, 'exit');
  if (code !== 0) throw new Error('the sources with the bug do not compile');
}

interface Shown {
  readonly seed: number;
  readonly violation: string;
}

/** Runs seeds until one shows a violation, kills the simulator or never ends. */
async function firstViolation(
  directory: string,
  range: { readonly from: number; readonly seeds: number },
): Promise<Shown | null> {
  const program = join(directory, 'dist/test/sim/main.js');
  const args = [
    ...SIM_NODE_FLAGS,
    program,
    '--seed',
    `${range.from}`,
    '--seeds',
    `${range.seeds}`,
    '--until-violation',
  ];
  const child = spawn(process.execPath, args, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
  let next = range.from;
  let shown: Shown | null = null;
  let hung = false;
  let lastError = '';
  const watchdog = setTimeout(() => {
    hung = true;
    child.kill('SIGKILL');
  }, SEED_MS_MAX);
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (/Error/.test(line)) lastError = line;
  });
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [, seed, verdict] = /^seed (\d+) .* starts: (.+)$/.exec(line) ?? [];
    if (seed === undefined || verdict === undefined) return;
    watchdog.refresh();
    next = Number(seed) + 1;
    if (verdict !== 'ok') shown ??= { seed: Number(seed), violation: verdict.replace(/^VIOLATION /, '') };
  });
  const [code] = await once(child, 'close');
  clearTimeout(watchdog);
  if (shown !== null || code === 0) return shown;
  return { seed: next, violation: hung ? 'the simulation never ends' : `the simulator died: ${lastError}` };
}
