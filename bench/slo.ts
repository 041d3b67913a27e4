import { parseArgs } from 'node:util';
import { bytesOf, chanceOf } from './chance.ts';
import { prepare, puts, ranges, VALUE_BYTES, WARM_UP_REQUESTS } from './load/checked.ts';
import { withWatches } from './load/fan-out.ts';
import type { UnaryFigures } from './load/h2load.ts';
import { machine } from './machine.ts';
import { machineText } from './report.ts';
import { ServerCluster } from './server-cluster.ts';
import { measureService } from './slo-service.ts';
import { forComparison, isMet, latency, type Measurement, rate, sloTable, TARGETS } from './slo-targets.ts';

/** `npm run bench:slo`: whether a cluster on this machine keeps what was promised. */

const HELP = `Judges a cluster of three members on this machine by the targets; exits with 1 when one is missed.

Usage: npm run bench:slo -- [options]

  --seconds N   of load (default 10)
  --changes N   heard of by all watchers (default 20)
  --seed N      of the values (default 1)
  --only PART   store or service
  --help

Needs h2load (Debian's nghttp2-client). The machine makes the load, too: run nothing else on it.`;

const CONNECTIONS = 25;
/** So many that a call is always sent when it is due, unless the members cannot follow. */
const STREAMS = 100;
const SHARED_STREAMS = 10;

interface Load {
  readonly seconds: number;
  readonly readsPerWrite: number;
  readonly serializable: boolean;
  readonly value: Buffer;
}

/** Writes at the leader, and reads at every member, at the same time. */
async function readsAndWrites(cluster: ServerCluster, load: Load): Promise<readonly Measurement[]> {
  const { leader } = await cluster.roles();
  const { writesPerSecond, readP99Ms, writeP99Ms } = TARGETS;
  const readsPerSecond = writesPerSecond * load.readsPerWrite;
  const atEach = Math.ceil(readsPerSecond / cluster.endpoints.length);
  const common = { connections: CONNECTIONS, streams: STREAMS };
  const [written, ...read] = await Promise.all([
    puts(
      { url: leader, requests: writesPerSecond * load.seconds, perSecond: writesPerSecond, ...common },
      load.value,
    ),
    ...cluster.endpoints.map((url) =>
      ranges({ url, requests: atEach * load.seconds, perSecond: atEach, ...common }, load),
    ),
  ]);
  const kind = load.serializable ? 'serializable' : 'linearizable';
  const name = `${readsPerSecond} ${kind} reads/s, ${writesPerSecond} writes/s`;
  return [
    rate(`${name}: server reads`, sumOf(read), readsPerSecond),
    rate(`${name}: writes`, written.requestsPerSecond, writesPerSecond),
    latency(`${name}: read p99, slowest member`, worstP99Ms(read), readP99Ms),
    latency(`${name}: write p99`, written.latencyMs.p99, writeP99Ms),
  ];
}

function sumOf(figures: readonly UnaryFigures[]): number {
  return figures.reduce((sum, { requestsPerSecond }) => sum + requestsPerSecond, 0);
}

function worstP99Ms(figures: readonly UnaryFigures[]): number {
  return Math.max(...figures.map(({ latencyMs }) => latencyMs.p99));
}

async function propagation(cluster: ServerCluster, changes: number): Promise<readonly Measurement[]> {
  const measurements: Measurement[] = [];
  const { watchers, propagationMs } = TARGETS;
  for (const streams of [SHARED_STREAMS, watchers]) {
    const load = { watches: watchers, streams };
    const { lastMs } = await withWatches(cluster, load, (makeChanges) => makeChanges(changes));
    const what = `a change reaches all of ${watchers} watchers on ${streams} streams, slowest of ${changes}`;
    measurements.push(latency(what, lastMs.max, propagationMs));
  }
  return measurements;
}

async function measure(options: {
  readonly seconds: number;
  readonly changes: number;
  readonly value: Buffer;
}): Promise<readonly Measurement[]> {
  const cluster = await ServerCluster.start('conclave');
  try {
    const { leader } = await cluster.roles();
    await prepare(leader, options.value);
    for (const url of cluster.endpoints) {
      const warmUp = { url, requests: WARM_UP_REQUESTS, connections: CONNECTIONS, streams: 4 };
      await ranges(warmUp, { serializable: false });
    }
    await puts(
      { url: leader, requests: WARM_UP_REQUESTS, connections: CONNECTIONS, streams: 4 },
      options.value,
    );
    const { readsPerWrite } = TARGETS;
    const judged = await readsAndWrites(cluster, { ...options, readsPerWrite, serializable: false });
    const compared = [
      ...(await readsAndWrites(cluster, { ...options, readsPerWrite, serializable: true })),
      ...(await readsAndWrites(cluster, {
        ...options,
        readsPerWrite: readsPerWrite / 10,
        serializable: false,
      })),
    ];
    return [...judged, ...(await propagation(cluster, options.changes)), ...compared.map(forComparison)];
  } finally {
    await cluster.destroy();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '10' },
      changes: { type: 'string', default: '20' },
      seed: { type: 'string', default: '1' },
      only: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const seed = Number(values.seed);
  const command = `npm run bench:slo -- ${process.argv.slice(2).join(' ')}`.trim();
  console.log(`${machineText(machine(command, { seed, scale: 1 }))}\n`);
  const load = {
    seconds: Number(values.seconds),
    changes: Number(values.changes),
    value: bytesOf(VALUE_BYTES, chanceOf(seed)),
  };
  const measurements = [
    ...(values.only === 'service' ? [] : await measure(load)),
    ...(values.only === 'store' ? [] : await measureService(load)),
  ];
  console.log(sloTable(measurements));
  console.log(
    `Every read was answered by a member, a third of them by each, with a value of ${VALUE_BYTES} bytes; reads from a ` +
      "client's cache are not among them. A rate is the answers from the first call to the last, latency is from when " +
      'a call was sent, propagation from the start of the put. What has no target is for comparison.',
  );
  const missed = measurements.filter((measurement) => !isMet(measurement));
  console.log(missed.length === 0 ? 'All targets are met.' : `${missed.length} targets are missed.`);
  if (missed.length > 0) process.exitCode = 1;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
await main();
