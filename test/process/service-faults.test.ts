import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Prng } from '../core/raft/prng.ts';
import { checkServiceRows } from '../support/service-rows.ts';
import { FaultArena, within } from './fault-arena.ts';
import { ARENA_FAULTS, type ArenaContext } from './faults.ts';
import { ServiceSubscriber } from './service-subscriber.ts';
import { checkAudit, checkReads, checkSubscriber, checkWrites, readRows } from './service-verdict.ts';
import { ServiceWorkload } from './service-workload.ts';

/** Runs of everything in random order, besides the one below. */
const RANDOM_RUNS = Number(process.env['CONCLAVE_FAULT_RUNS'] ?? 0);
const RANDOM_SEED = Number(process.env['CONCLAVE_FAULT_SEED'] ?? 1);
const RANDOM_FAULTS = 8;
const RUN_TIMEOUT_MS = 600_000;
const SIZE = 3;
const CLIENTS = 8;
/** Acknowledged before the next fault. */
const CALM_WRITES = 25;

type ServiceFaultName = keyof typeof ARENA_FAULTS | 'compaction-and-restart';

interface ServiceRun {
  readonly seed: number;
  readonly faults: readonly ServiceFaultName[];
}

const RUN: ServiceRun = {
  seed: 1,
  faults: [
    'kill-leader',
    'pause-leader',
    'isolate-leader',
    'compaction-and-restart',
    'kill-one',
    'pause-one',
    'kill-majority',
    'stop-leader',
  ],
};

function randomRun(seed: number): ServiceRun {
  const random = new Prng(seed);
  const names = [...Object.keys(ARENA_FAULTS), 'compaction-and-restart'] as ServiceFaultName[];
  return { seed, faults: Array.from({ length: RANDOM_FAULTS }, () => random.pick(names)) };
}

const RUNS = [RUN, ...Array.from({ length: RANDOM_RUNS }, (_, at) => randomRun(RANDOM_SEED + at))];

test.for(RUNS)(
  'the configuration service under faults (seed $seed)',
  { timeout: RUN_TIMEOUT_MS },
  async (run) => {
    const { findings, log, ...counts } = await carryOut(run);
    process.stdout.write(`seed ${run.seed}: ${JSON.stringify(counts)}\n  ${log.join('\n  ')}\n`);
    expect(findings).toEqual([]);
    // A run in which nothing happened proves nothing.
    expect(log).toHaveLength(run.faults.length);
    expect(counts.made).toBeGreaterThan(CALM_WRITES * run.faults.length);
    expect(counts.reads).toBeGreaterThan(CALM_WRITES * run.faults.length);
    expect(counts.repeated).toBeGreaterThan(0);
    expect(counts.streams).toBeGreaterThan(run.faults.length / 2);
  },
);

interface Context extends ArenaContext {
  readonly workload: ServiceWorkload;
  readonly subscribers: readonly ServiceSubscriber[];
}

async function carryOut(run: ServiceRun) {
  const random = new Prng(run.seed);
  const arena = await FaultArena.start({ size: SIZE, random });
  const [httpUrls, clientUrls] = [
    arena.members.map(({ httpUrl }) => httpUrl),
    arena.members.map(({ clientUrl }) => clientUrl),
  ];
  const workload = new ServiceWorkload({ urls: httpUrls, seed: run.seed });
  const subscribers = [0, 1].map((first) => new ServiceSubscriber(clientUrls, first));
  const log: string[] = [];
  try {
    workload.start(CLIENTS);
    await workload.acknowledgements(CALM_WRITES);
    const begun = await Promise.all(subscribers.map((subscriber) => subscriber.start()));
    for (const name of run.faults) {
      const done = await within(name, faultOf(name)({ arena, random, workload, subscribers }));
      await within(`repair after ${name}`, arena.repair());
      await within(`changes after ${name}`, workload.acknowledgements(CALM_WRITES));
      // The other one stays, if its member does.
      subscribers[0]!.move();
      log.push(`${name}: ${done}`);
    }
    await within('the last answers', workload.stop());
    const rows = await readRows(clientUrls);
    const newest = rows.changes.at(-1)!.revision;
    await within('the last updates', caughtUp(subscribers, newest));
    const findings = [
      ...workload.surprises,
      ...checkServiceRows(rows),
      ...checkWrites(rows, workload.writes),
      ...checkReads(rows, workload),
      ...subscribers.flatMap((subscriber, at) => checkSubscriber(rows, { subscriber, begun: begun[at]! })),
      ...(await checkAudit(clientUrls)),
    ];
    return {
      findings: findings.slice(0, 20),
      log,
      made: rows.changes.length,
      reads: workload.reads.length,
      failures: workload.failures,
      repeated: workload.writes.filter(({ attempts }) => attempts > 1).length,
      streams: subscribers.reduce((sum, { streams }) => sum + streams, 0),
    };
  } catch (error) {
    const logs = arena.members.map((member) => `--- ${member.name}\n${member.process?.log ?? ''}`);
    throw new Error(`seed ${run.seed}, after ${log.join('; ')}\n${logs.join('\n')}`, { cause: error });
  } finally {
    await Promise.all(subscribers.map((subscriber) => subscriber.stop()));
    // Nobody is left to answer those that still ask.
    const stopped = workload.abandon();
    await arena.destroy();
    await stopped;
  }
}

function faultOf(name: ServiceFaultName): (context: Context) => Promise<string> {
  return name === 'compaction-and-restart' ? compactionAndRestart : ARENA_FAULTS[name];
}

/** Who comes back finds no history of the store, and no member that remembers. */
async function compactionAndRestart({ arena, workload, subscribers }: Context): Promise<string> {
  for (const subscriber of subscribers) subscriber.leave();
  await workload.acknowledgements(CALM_WRITES);
  let compacted = 0;
  await arena.administer('compacting', async (client) => {
    const { header } = await client.range({ key: '/' });
    if (header.revision === compacted) return;
    await client.compact({ revision: header.revision });
    compacted = header.revision;
  });
  await Promise.all(arena.members.map((member) => arena.kill(member)));
  for (const member of arena.members) arena.launch(member);
  await Promise.all(arena.members.map((member) => member.started));
  for (const subscriber of subscribers) subscriber.comeBack();
  return `compacted up to ${compacted} and killed everybody`;
}

async function caughtUp(subscribers: readonly ServiceSubscriber[], revision: number): Promise<void> {
  while (subscribers.some((subscriber) => subscriber.revision < revision)) await delay(20);
}
