import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SIM_NODE_FLAGS } from '../sim/node-flags.ts';
import { repositoryRoot } from '../support/repository-root.ts';
import { BATCH_MINUTES_MAX, type BatchResult, PARTS, type Part, runBatch, SIM_SEEDS } from './batch.ts';
import { Ledger } from './ledger.ts';

/* oxlint-disable no-console */

const USAGE = `Runs all that looks for lost or wrong data, in turn and with fresh seeds, until the time is over.

  --hours H       how long (default 1); a batch that has begun is finished
  --only A,B      only these of ${PARTS.join(', ')}
  --seed N        the first seed (default: from the clock)
  --batches K     at most K batches of each part
  --ledger FILE   write every batch down; a soak with the same file goes on where that one ended`;

const { values } = parseArgs({
  options: {
    hours: { type: 'string' },
    only: { type: 'string' },
    seed: { type: 'string' },
    batches: { type: 'string' },
    ledger: { type: 'string' },
    /** For ourselves: one batch, in a process of its own. */
    batch: { type: 'string' },
    help: { type: 'boolean' },
  },
});

/** What the line with a batch's result begins with. */
const RESULT = 'result ';

/** @returns the process's exit code: 1 after a violation */
async function main(): Promise<number> {
  if (values.help === true) {
    console.log(USAGE);
    return 0;
  }
  if (values.batch !== undefined) return oneBatch(partNamed(values.batch), Number(values.seed));
  const parts = values.only === undefined ? availableParts() : values.only.split(',').map(partNamed);
  const endMs = Date.now() + Number(values.hours ?? 1) * 3_600_000;
  const batchesMax = Number(values.batches ?? Number.POSITIVE_INFINITY);
  const ledger = await Ledger.open(values.ledger ?? null);
  const baseSeed = values.seed === undefined ? Math.floor(Date.now() / 1000) % 2 ** 30 : Number(values.seed);
  let violated = false;
  for (let round = 0; round < batchesMax && Date.now() < endMs && !violated; round++) {
    for (const part of parts) {
      if (Date.now() >= endMs || violated) break;
      violated = !(await nextBatch(part, baseSeed, ledger));
    }
  }
  console.log(`\nRows for docs/soak.md:`);
  for (const line of ledger.rows(`npm run soak -- ${process.argv.slice(2).join(' ')}`)) console.log(line);
  return violated ? 1 : 0;
}

/** @returns false after a violation */
async function nextBatch(part: Part, baseSeed: number, ledger: Ledger): Promise<boolean> {
  const { count, firstSeed } = ledger.batchesOf(part);
  const seed = (firstSeed ?? baseSeed) + count * (part === 'sim' ? SIM_SEEDS : 1);
  const startedMs = Date.now();
  const { violation, counts } = await inOwnProcess(part, seed);
  const seconds = Math.round((Date.now() - startedMs) / 1000);
  await ledger.add({ part, seed, commit: commit(), seconds, violation, counts });
  const figures = Object.entries(counts).map(([name, value]) => `${name} ${value}`);
  console.log(
    `${part} seed ${seed}, ${seconds} s: ${violation === null ? 'ok' : 'VIOLATION'}, ${figures.join(', ')}`,
  );
  if (violation === null) return true;
  console.log(`${violation}\nreplay: npm run soak -- --only ${part} --seed ${seed} --batches 1`);
  return false;
}

/** So that no batch is in another's way, and one that hangs or breaks down is found out. */
async function inOwnProcess(part: Part, seed: number): Promise<BatchResult> {
  const program = process.argv[1]!;
  const child = spawn(
    process.execPath,
    [...(part === 'sim' ? SIM_NODE_FLAGS : []), program, '--batch', part, '--seed', `${seed}`],
    {
      cwd: repositoryRoot(),
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, VERIFY: '1' },
      // A group of its own: with a batch that hangs, its servers are ended too.
      detached: true,
    },
  );
  running = child;
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const timer = setTimeout(endBatch, BATCH_MINUTES_MAX[part] * 60_000);
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  clearTimeout(timer);
  const result = output.split('\n').findLast((line) => line.startsWith(RESULT));
  if (code === 0 && result !== undefined) return JSON.parse(result.slice(RESULT.length)) as BatchResult;
  return { violation: `the batch ended with ${code ?? signal}\n${errors}`, counts: {} };
}

let running: ChildProcess | null = null;

function endBatch(): void {
  const pid = running?.pid;
  if (pid !== undefined && running?.exitCode === null) process.kill(-pid, 'SIGKILL');
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    endBatch();
    process.exit(1);
  });
}

async function oneBatch(part: Part, seed: number): Promise<number> {
  console.log(`${RESULT}${JSON.stringify(await runBatch(part, seed))}`);
  return 0;
}

/** What there is no suite of yet is left out. */
function availableParts(): readonly Part[] {
  return PARTS.filter((part) => part !== 'fuzz' || existsSync(join(repositoryRoot(), 'test/fuzz')));
}

function partNamed(name: string): Part {
  const part = PARTS.find((candidate) => candidate === name);
  if (part === undefined) throw new Error(`there is no part ${name}: ${PARTS.join(', ')}`);
  return part;
}

function commit(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: repositoryRoot(), encoding: 'utf8' }).trim();
  const changed = git('status', '--porcelain', '--', 'src', 'test') !== '';
  return `${git('rev-parse', '--short', 'HEAD')}${changed ? '+' : ''}`;
}

// An explicit end: left to itself, Node 20 can spin for ever over sockets that close at that very moment.
process.exit(await main());
