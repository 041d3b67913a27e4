import { parseArgs } from 'node:util';
import { type Bug, findingRow, hunt, readBugs, repositoryRoot } from './bugs.ts';
import { Prng } from './prng.ts';
import { type SimResult, simulate, undecidedMax } from './simulation.ts';

/* oxlint-disable no-console */

const USAGE = `Runs simulated clusters with faults and checks what they do.

  --seed N      the first seed (default: from the clock)
  --seeds K     how many seeds, counted up from the first (default 1)
  --minutes M   stop beginning new seeds after so many minutes
  --twice       run each seed twice and compare
  --trace       print every line of the trace, and what clients ask and hear
  --quiet       no line per seed
  --until-violation   stop at the first seed with a violation

  --bug NAME    put the bug of test/sim/bugs/NAME.patch back into a copy of the sources, and hunt it
                (from seed 1 and for at most 300 seeds, unless told otherwise)
  --bugs        hunt every such bug that is known to be found, one after the other
  --open-bugs   hunt those of test/sim/bugs/open, which nobody has found yet
  --sample K    with --bugs: only K of them, chosen by --seed`;

/** From so many runs over regions on there must be something to judge of everything. */
const REGION_RUNS_MIN = 5;
/** Seeds after which a bug counts as not found. */
const BUG_SEEDS_MAX = 300;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    minutes: { type: 'string' },
    twice: { type: 'boolean' },
    trace: { type: 'boolean' },
    quiet: { type: 'boolean' },
    'until-violation': { type: 'boolean' },
    bug: { type: 'string', multiple: true },
    bugs: { type: 'boolean' },
    'open-bugs': { type: 'boolean' },
    sample: { type: 'string' },
    help: { type: 'boolean' },
  },
});

// A stack is made for every refusal and costs more than the refusal. Who replays a seed with its trace gets them.
if (values.trace !== true) Error.stackTraceLimit = 0;

/** Runs what the command line asks for. @returns the process's exit code */
async function main(): Promise<number> {
  if (values.help === true) {
    console.log(USAGE);
    return 0;
  }
  if (values.bug !== undefined || values.bugs === true || values['open-bugs'] === true) return huntBugs();
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
    if (failed > 0 && values['until-violation'] === true) break;
  }
  const figures = [...totals].map(([name, value]) => `${name} ${Math.round(value)}`).join(', ');
  const seconds = ((Date.now() - startedMs) / 1000).toFixed(1);
  console.log(`${run} seeds from ${first} in ${seconds} s, ${failed} with a violation: ${figures}`);
  const total = (name: string): number => totals.get(name) ?? 0;
  console.log(
    `${run} runs, ${total('operations')} operations, ${total('watch-events')} watch events checked; ` +
      `black-box search: ${total('searched')} operations decided, ${total('undecided')} runs undecided`,
  );
  const { line, nothingOf } = agesOf(total);
  console.log(line);
  if (nothingOf.length > 0) console.log(`nothing was judged of: ${nothingOf.join(', ')}`);
  const tooMany = total('undecided') > undecidedMax(run);
  if (tooMany) console.log('the black-box search left too many runs undecided');
  return failed === 0 && !tooMany && nothingOf.length === 0 ? 0 : 1;
}

/** What came of ages; and, where enough runs were spread over regions, of what there was nothing to judge. */
function agesOf(total: (name: string) => number): {
  readonly line: string;
  readonly nothingOf: readonly string[];
} {
  const runs = total('over-regions');
  const count = (name: string): number => Math.round(total(name));
  const line =
    `${runs} runs over regions: ${count('ages-judged')} ages of reads judged, ${count('stale-answers')} of stale ` +
    `answers; ${count('progress-judged')} ages of progress, ${count('progress-linearizable')} linearizable; ` +
    `${count('renewals')} renewals of fresh leases, ${count('held-seconds')} s held, ` +
    `${count('spans-judged')} spans judged, ${count('lapses')} lapses`;
  const figures = ['ages-judged', 'stale-answers', 'progress-judged', 'progress-linearizable', 'renewals'];
  const all = [...figures, 'spans-judged', 'lapses'];
  return { line, nothingOf: runs < REGION_RUNS_MIN ? [] : all.filter((name) => total(name) === 0) };
}

/** @returns 1 when one was not found */
async function huntBugs(): Promise<number> {
  // The seed of a sample chooses the bugs; they are hunted as in a run of them all.
  const firstSeed = values.sample === undefined ? Number(values.seed ?? 1) : 1;
  const seedsMax = Number(values.seeds ?? BUG_SEEDS_MAX);
  const bugs = await chosenBugs();
  let missed = 0;
  for (const bug of bugs) {
    const finding = await hunt(bug, { firstSeed, seedsMax });
    if (finding.seed === null) missed += 1;
    console.log(findingRow(finding));
  }
  console.log(`${bugs.length} bugs put back, ${bugs.length - missed} found`);
  return missed === 0 && bugs.length > 0 ? 0 : 1;
}

async function chosenBugs(): Promise<readonly Bug[]> {
  const { bug: names, sample, seed } = values;
  const root = repositoryRoot();
  const found = await readBugs(root, 'found');
  const open = await readBugs(root, 'open');
  if (names !== undefined) {
    return names.map((name) => {
      const named = [...found, ...open].find((bug) => bug.name === name);
      if (named === undefined) throw new Error(`there is no patch for ${name} in test/sim/bugs`);
      return named;
    });
  }
  if (values['open-bugs'] === true) return open;
  if (sample === undefined) return found;
  const first = seed === undefined ? Date.now() % 2 ** 32 : Number(seed);
  return new Prng(first, 0x62756773).shuffle(found).slice(0, Number(sample));
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
  const {
    opsSearched,
    virtualMs,
    operations,
    watchEvents,
    entries,
    elections,
    starts,
    messages,
    replays,
    leasesExpired,
    authChanges,
    denied,
    joint,
  } = result;
  const figures = {
    'virtual-seconds': virtualMs / 1000,
    operations,
    'watch-events': watchEvents,
    searched: opsSearched,
    // Of a run that ended at a violation nobody asked.
    undecided: Number(opsSearched === 0 && result.violation === null),
    entries,
    elections,
    starts,
    messages,
    replays,
    'leases-expired': leasesExpired,
    'auth-changes': authChanges,
    denied,
    'joint-configurations': joint,
    ...regionFigures(result),
    ...Object.fromEntries(result.faults),
  };
  for (const [name, value] of Object.entries(figures)) totals.set(name, (totals.get(name) ?? 0) + value);
}

function regionFigures({ regions }: SimResult): Readonly<Record<string, number>> {
  if (regions === null) return {};
  return {
    'over-regions': 1,
    'ages-judged': regions.agesJudged,
    'stale-answers': regions.staleAnswers,
    'progress-judged': regions.progressJudged,
    'progress-linearizable': regions.progressLinearizable,
    renewals: regions.renewals,
    'held-seconds': regions.heldSeconds,
    'spans-judged': regions.spansJudged,
    lapses: regions.lapses,
  };
}

process.exitCode = await main();
