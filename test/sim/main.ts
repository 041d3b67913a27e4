import { parseArgs } from 'node:util';
import { type SimResult, simulate } from './simulation.ts';

/* oxlint-disable no-console */

const USAGE = `Runs simulated clusters with faults and checks what they do.

  --seed N      the first seed (default: from the clock)
  --seeds K     how many seeds, counted up from the first (default 1)
  --minutes M   stop beginning new seeds after so many minutes
  --twice       run each seed twice and compare
  --trace       print every line of the trace
  --quiet       no line per seed`;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    minutes: { type: 'string' },
    twice: { type: 'boolean' },
    trace: { type: 'boolean' },
    quiet: { type: 'boolean' },
    help: { type: 'boolean' },
  },
});

/** Runs what the command line asks for. @returns the process's exit code */
async function main(): Promise<number> {
  if (values.help === true) {
    console.log(USAGE);
    return 0;
  }
  const first = values.seed === undefined ? Date.now() % 2 ** 32 : Number(values.seed);
  const minutes = values.minutes === undefined ? Number.POSITIVE_INFINITY : Number(values.minutes);
  const count = Number(values.seeds ?? (values.minutes === undefined ? 1 : 2 ** 32));
  const startedMs = Date.now();
  const totals = new Map<string, number>();
  let failed = 0;
  let run = 0;
  for (let seed = first; seed < first + count; seed++) {
    if (Date.now() - startedMs > minutes * 60_000) break;
    const result = await runSeed(seed);
    run += 1;
    if (result.violation !== null) failed += 1;
    add(totals, result);
  }
  const figures = [...totals].map(([name, value]) => `${name} ${Math.round(value)}`).join(', ');
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
  console.log(`${run} seeds from ${first} in ${seconds} s, ${failed} with a violation: ${figures}`);
  return failed === 0 ? 0 : 1;
}

async function runSeed(seed: number): Promise<SimResult> {
  const startedMs = Date.now();
  const result = await simulate(seed, values.trace === true ? { print: (line) => console.log(line) } : {});
  if (values.quiet !== true) {
    const { hash, events, virtualMs, operations, elections, starts } = result;
    const verdict = result.violation === null ? 'ok' : `VIOLATION ${result.violation.message.split('\n')[0]}`;
    console.log(
      `seed ${seed} ${hash} ${Date.now() - startedMs} ms, ${(virtualMs / 1000).toFixed(0)} s virtual, ${events} events, ` +
        `${operations} operations, ${elections} elections, ${starts} starts: ${verdict}`,
    );
  }
  if (result.violation !== null) report(result);
  if (values.twice === true) {
    const again = await simulate(seed);
    if (again.hash !== result.hash) throw new Error(`seed ${seed} ran differently the second time`);
  }
  return result;
}

function report({ seed, violation, trace }: SimResult): void {
  if (values.trace !== true) for (const line of trace.slice(-60)) console.log(`  ${line}`);
  console.log(`${violation?.message}\nreplay: npm run sim -- --seed ${seed} --trace`);
}

function add(totals: Map<string, number>, result: SimResult): void {
  const { virtualMs, operations, watchEvents, entries, elections, starts, messages, replays, leasesExpired } = result;
  const figures = {
    'virtual-seconds': virtualMs / 1000,
    operations,
    'watch-events': watchEvents,
    entries,
    elections,
    starts,
    messages,
    replays,
    'leases-expired': leasesExpired,
    ...Object.fromEntries(result.faults),
  };
  for (const [name, value] of Object.entries(figures)) totals.set(name, (totals.get(name) ?? 0) + value);
}

process.exitCode = await main();
