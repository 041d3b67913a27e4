import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { bytesOf, chanceOf } from '../chance.ts';
import { FULL, prepare, puts, ranges, VALUE_BYTES, WARM_UP_REQUESTS } from '../load/checked.ts';
import { withWatches } from '../load/fan-out.ts';
import { shown } from '../report.ts';
import { ServerCluster } from '../server-cluster.ts';
import { flameGraph } from './flame-graph.ts';
import { type CpuProfile, fold, hottest } from './fold.ts';
import { delayAt, delayChart, type LoopDelay } from './loop-delay.ts';

/** `npm run profile`: where each member's time goes under one of the bench's loads. */

const HELP = `Profiles the members of a cluster under a load of the bench.

Usage: npm run profile -- [options]

  --load NAME   put, range (linearizable, at the leader), or watch (1,000 watches on own streams; default put)
  --seconds N   of load, at least (default 10)
  --out DIR     (default .data/profile)
  --help

For each member: LOAD-NAME.svg, a flame graph; LOAD-NAME.cpuprofile, for a browser's developer tools;
LOAD-NAME.delay.json, by how much timers came late. put and range need h2load (Debian's nghttp2-client).`;

const PROBE = new URL('./probe.js', import.meta.url);
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const PART_REQUESTS = 20_000;
const PART_CHANGES = 20;
const WATCHES = 1_000;
const HOTTEST = 12;
const POLL_MS = 20;
const WRITTEN_TIMEOUT_MS = 60_000;

/** Repeats a part of the load until its time is up, and profiles the members meanwhile. */
type Profiled = (part: () => Promise<unknown>) => Promise<void>;
type Load = (profiled: Profiled, place: { cluster: ServerCluster; leader: string }) => Promise<void>;

const VALUE = bytesOf(VALUE_BYTES, chanceOf(1));
const LOADS: Readonly<Record<string, Load>> = {
  put: (profiled, { leader: url }) => profiled(() => puts({ url, requests: PART_REQUESTS, ...FULL }, VALUE)),
  range: (profiled, { leader: url }) =>
    profiled(() => ranges({ url, requests: PART_REQUESTS, ...FULL }, { serializable: false })),
  watch: (profiled, { cluster }) =>
    withWatches(cluster, { watches: WATCHES, streams: WATCHES }, (makeChanges) =>
      profiled(() => makeChanges(PART_CHANGES)),
    ),
};

interface Plan {
  readonly name: string;
  readonly load: Load;
  readonly seconds: number;
  readonly directory: string;
}

async function profile({ name, load, seconds, directory }: Plan): Promise<void> {
  await mkdir(directory, { recursive: true });
  const targets = new Map<string, string>();
  const cluster = await ServerCluster.start('conclave', {
    nodeArguments: ['--import', PROBE.href],
    environment: (member) => {
      targets.set(member, join(directory, `${name}-${member}`));
      return { BENCH_PROBE: targets.get(member)! };
    },
  });
  try {
    const { leader } = await cluster.roles();
    await prepare(leader, VALUE);
    await puts({ url: leader, requests: WARM_UP_REQUESTS, ...FULL }, VALUE);
    await Promise.all([...targets.values()].map((target) => rm(`${target}.delay.json`, { force: true })));
    const toggle = (): void => {
      for (const pid of cluster.processIds) process.kill(pid, 'SIGUSR2');
    };
    const profiled: Profiled = async (part) => {
      toggle();
      const endMs = performance.now() + seconds * 1000;
      do await part();
      while (performance.now() < endMs);
      toggle();
    };
    await load(profiled, { cluster, leader });
    for (const [at, [member, target]] of [...targets].entries()) {
      const role = cluster.endpoints[at] === leader ? 'leader' : 'follower';
      await report(target, `${name}, ${member}, ${role}`);
    }
  } finally {
    await cluster.destroy();
  }
}

/** What one member's probe has seen. @throws Error when it writes nothing within a minute */
async function report(target: string, name: string): Promise<void> {
  const deadlineMs = performance.now() + WRITTEN_TIMEOUT_MS;
  while (!existsSync(`${target}.delay.json`)) {
    if (performance.now() > deadlineMs) throw new Error(`no profile of ${name}`);
    await delay(POLL_MS);
  }
  const cpu = JSON.parse(await readFile(`${target}.cpuprofile`, 'utf8')) as CpuProfile;
  const loop = JSON.parse(await readFile(`${target}.delay.json`, 'utf8')) as LoopDelay;
  const { root, idleUs } = fold(cpu, ROOT);
  const allUs = root.totalUs + idleUs;
  const busy = `${((root.totalUs / allUs) * 100).toFixed(0)} % of ${(allUs / 1e6).toFixed(1)} s busy`;
  await writeFile(`${target}.svg`, flameGraph(root, `${name}: ${busy}`));
  console.log(`## ${name}\n\nMain thread: ${busy}; flame graph in ${relative(process.cwd(), target)}.svg\n`);
  for (const { label, selfUs } of hottest(root, HOTTEST)) {
    console.log(`  ${((selfUs / root.totalUs) * 100).toFixed(1).padStart(5)} %  ${label}`);
  }
  const [p50, p99, p999] = [50, 99, 99.9].map((percent) => shown(delayAt(loop, percent)));
  console.log(
    `\nEvent loop late by (ms): mean ${shown(loop.meanMs)}, p50 ${p50}, p99 ${p99}, p99.9 ${p999}, longest ${shown(loop.maxMs)}\n`,
  );
  console.log(`${delayChart(loop)}\n`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      load: { type: 'string', default: 'put' },
      seconds: { type: 'string', default: '10' },
      out: { type: 'string', default: '.data/profile' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const load = LOADS[values.load];
  if (load === undefined)
    throw new Error(`--load: '${values.load}' is none of ${Object.keys(LOADS).join(', ')}`);
  const directory = resolve(values.out);
  await profile({ name: values.load, load, seconds: Number(values.seconds), directory });
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
await main();
