import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import {
  REGIONS,
  type RegionMember,
  ROUND_TRIPS,
  roundTripsText,
  timersFor,
} from '../cluster/region-layout.ts';
import { READ_KINDS, type ReadKind } from '../cluster/region-reader.ts';
import { conclaveVersion } from './machine.ts';
import { loseLeaderRegion } from './regions/failover.ts';
import { type Figure, figuresTable, isMet } from './regions/figures.ts';
import { Formulas } from './regions/formulas.ts';
import { putLatencies, readLatencies, watchLatencies, withWrites } from './regions/latencies.ts';
import { meanSyncMs, RegionalBench } from './regions/regional-bench.ts';
import { median, percentile } from './statistics.ts';

/** `npm run bench:regions`: what calls cost in the three regions of `npm run regions`, beside the formulas. */

const HELP = `Measures a cluster in three regions of this machine beside what the round trips alone would cost.

Usage: npm run bench:regions -- [options]

  --calls N      of each kind in each region (default 200)
  --failovers N  regions of the leader that are lost, one after the other (default 5)
  --help

Exits with 1 when a figure misses its target. The network is simulated; run nothing else on the machine.`;

/** Of the bounded reads. */
const STALENESS_MS = 500;
/** Where nobody leads, and where the goals are set. */
const FAR_REGION = 'c';
const LOCAL_READ_P99_MS = 10;
/** Above what the formula says. */
const RATIO_MAX = 1.2;
const WATCH_ALLOWANCE_MS = 20;
/** PreVote, vote, the no-op's commit and that of the first write. */
const FAILOVER_ROUND_TRIPS = 4;
const FAILOVER_ELECTIONS_MAX = 2;

async function latencies(bench: RegionalBench, calls: number): Promise<readonly Figure[]> {
  const leader = await bench.leader();
  const syncMs = median(await Promise.all(bench.members.map(async (member) => meanSyncMs(member))));
  const formulas = new Formulas({ roundTrips: ROUND_TRIPS, members: bench.members, leader, syncMs });
  const figures: Figure[] = [];
  // Bounded reads last: the proofs that they have members ask for go on for a while.
  for (const kind of READ_KINDS) {
    for (const region of REGIONS)
      figures.push(await readFigure(bench, { kind, region, calls, formulas, leader }));
  }
  const again = { kind: 'linearizable', region: FAR_REGION, calls, formulas, leader } as const;
  const { ratioMax: _, ...amongProofs } = await readFigure(bench, again);
  figures.push({ ...amongProofs, what: `${amongProofs.what}, while others prove their ages` });
  for (const region of REGIONS) {
    const member = region === leader.region ? leader : bench.in(region)[0]!;
    const times = await putLatencies(member, calls);
    const bound = { formulaMs: formulas.writeMs(region), ratioMax: RATIO_MAX };
    figures.push({ what: `write in ${region} (${member.name}), median`, valueMs: median(times), ...bound });
  }
  for (const watched of bench.in(FAR_REGION)) {
    const times = await watchLatencies({ writer: leader, watched, puts: calls });
    const formulaMs = formulas.watchMs(FAR_REGION);
    const what = `event in ${FAR_REGION} (${watched.name}) of a put at the leader`;
    figures.push({ what: `${what}, median`, valueMs: median(times), formulaMs, ratioMax: RATIO_MAX });
    const belowMs = formulaMs + WATCH_ALLOWANCE_MS;
    figures.push({ what: `${what}, p99`, valueMs: percentile(times, 99), belowMs });
  }
  return figures;
}

async function readFigure(
  bench: RegionalBench,
  options: {
    readonly kind: ReadKind;
    readonly region: string;
    readonly calls: number;
    readonly formulas: Formulas;
    readonly leader: RegionMember;
  },
): Promise<Figure> {
  const { kind, region, calls, formulas, leader } = options;
  // A follower where there is one: the leader itself answers sooner than the formula of its region.
  const member = bench.in(region).find((candidate) => candidate !== leader)!;
  const read = { kind, maxStalenessMs: STALENESS_MS, reads: calls };
  const times = await withWrites(leader, async () => readLatencies(member, read));
  const what = `${kind} read in ${region} (${member.name})`;
  if (kind !== 'linearizable')
    return { what: `${what}, p99`, valueMs: percentile(times, 99), belowMs: LOCAL_READ_P99_MS };
  const formulaMs = formulas.linearizableReadMs(region);
  return { what: `${what}, median`, valueMs: median(times), formulaMs, ratioMax: RATIO_MAX };
}

async function failovers(bench: RegionalBench, runs: number): Promise<readonly Figure[]> {
  const { electionMs } = timersFor(ROUND_TRIPS);
  const outagesMs: number[] = [];
  for (let run = 1; run <= runs; run++) {
    const { region, outageMs } = await loseLeaderRegion(bench, run);
    outagesMs.push(outageMs);
    console.error(
      `lost region ${region}: writes again after ${(outageMs / electionMs).toFixed(2)} election timeouts`,
    );
  }
  const farthestMs = Math.max(...ROUND_TRIPS.values());
  const belowMs = FAILOVER_ELECTIONS_MAX * electionMs + FAILOVER_ROUND_TRIPS * farthestMs;
  const what = `a lost leader region: writes again after, median of ${runs}`;
  return [
    { what, valueMs: median(outagesMs), belowMs },
    { what: 'the same, longest', valueMs: Math.max(...outagesMs) },
  ];
}

function head(): string {
  const { heartbeatMs, electionMs } = timersFor(ROUND_TRIPS);
  const [processor] = cpus();
  const [load] = loadavg();
  return [
    `${cpus().length} x ${processor?.model ?? 'unknown'}, Conclave ${conclaveVersion()} on Node ${process.version},`,
    `${new Date().toISOString().slice(0, 10)}, load average before ${load!.toFixed(1)}.`,
    `Round trips ${roundTripsText(ROUND_TRIPS)} ms, heartbeat ${heartbeatMs} ms, election timeout ${electionMs} ms.`,
  ].join(' ');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      calls: { type: 'string', default: '200' },
      failovers: { type: 'string', default: '5' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  console.log(`${head()}\n`);
  await using bench = await RegionalBench.start();
  const measured = [...(await latencies(bench, Number(values.calls)))];
  const runs = Number(values.failovers);
  if (runs > 0) measured.push(...(await failovers(bench, runs)));
  console.log(figuresTable(measured));
  const missed = measured.filter((figure) => !isMet(figure));
  console.log(missed.length === 0 ? 'All targets are met.' : `${missed.length} targets are missed.`);
  if (missed.length > 0) process.exitCode = 1;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
await main();
