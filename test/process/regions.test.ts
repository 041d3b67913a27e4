import { expect, test } from 'vitest';
import { Prng } from '../core/raft/prng.ts';
import { type AgedRead, ageViolations, type Silence } from '../linearizability/ages.ts';
import { AgedReads } from './aged-reads.ts';
import { within } from './fault-arena.ts';
import { Observer, observeEverything } from './observers.ts';
import { RegionArena } from './region-arena.ts';
import { REGION_FAULTS, type RegionContext, type RegionFaultName } from './region-faults.ts';
import { judge } from './verdict.ts';
import { ALL_KEYS, Workload } from './workload.ts';

/** Acknowledged before the next fault: the cluster has healed. */
const CALM_WRITES = 30;
const RUN_TIMEOUT_MS = 600_000;

const RUNS: readonly {
  readonly name: string;
  readonly seed: number;
  readonly faults: readonly RegionFaultName[];
}[] = [
  {
    name: 'regions that are cut off or lost',
    seed: 1,
    faults: ['cut-c', 'cut-leader-region', 'lose-leader-region'],
  },
  {
    name: 'links that crawl or pass one way only, members that stand still',
    seed: 2,
    faults: ['c-does-not-hear', 'c-is-not-heard', 'crawling-link', 'pause-learner', 'pause-voter'],
  },
];

test.for(RUNS)('$name', { timeout: RUN_TIMEOUT_MS }, async ({ name, seed, faults }) => {
  const regions = await RegionArena.start(new Prng(seed));
  const { arena } = regions;
  const urls = arena.members.map((member) => member.workloadUrl);
  const workload = new Workload({ urls, seed });
  const agedReads = new AgedReads(arena.members);
  const everything = observeEverything(urls);
  // Of the region that most faults are about, and of the learner there first.
  const observer = new Observer(urls.toReversed(), { ...ALL_KEYS, startRevision: 1, progressNotify: true });
  const silences: Silence[] = [];
  const context: RegionContext = {
    regions,
    workload,
    agedReads,
    silence: (silence) => silences.push(silence),
  };
  const log: string[] = [];
  try {
    workload.start();
    agedReads.start();
    await workload.acknowledgements(CALM_WRITES);
    for (const fault of faults) {
      const startedMs = performance.now();
      const done = await within(fault, REGION_FAULTS[fault](context));
      await within(`mending after ${fault}`, regions.mend());
      await within(`writes after ${fault}`, workload.acknowledgements(CALM_WRITES));
      log.push(`${done} (${Math.round(performance.now() - startedMs)} ms)`);
    }
    await workload.stop();
    await agedReads.stop();
    const verdict = await judge({ arena, workload, everything, observers: [observer] });
    const { reads } = agedReads;
    const ops = workload.history;
    const ages = ageViolations({ reads, ops, committed: everything.committed(), silences });
    process.stdout.write(`${name}: ${JSON.stringify(counts(reads))}\n  ${log.join('\n  ')}\n`);
    expect([...verdict.violations, ...ages]).toEqual([]);
    // A run in which nothing happened proves nothing.
    expect(verdict.acknowledgedWrites).toBeGreaterThan(CALM_WRITES * faults.length);
    expect(counts(reads).local).toBeGreaterThan(CALM_WRITES * faults.length);
  } catch (error) {
    const logs = arena.members.map((member) => `--- ${member.name}\n${member.process?.log ?? ''}`);
    throw new Error(`${name}, after ${log.join('; ')}\n${logs.join('\n')}`, { cause: error });
  } finally {
    await workload.stop();
    workload.close();
    await agedReads.stop();
    await Promise.all([everything, observer].map((item) => item.stop()));
    await arena.destroy();
  }
});

test('every fault is in some run', () => {
  const used = new Set(RUNS.flatMap((run) => run.faults));
  expect(Object.keys(REGION_FAULTS).filter((fault) => !used.has(fault as RegionFaultName))).toEqual([]);
});

/** @returns how many reads there were, kept their bound, and were answered out of the past */
function counts(reads: readonly AgedRead[]): Readonly<Record<'reads' | 'local' | 'old', number>> {
  const local = reads.filter(({ ageMs, boundMs }) => ageMs !== null && ageMs <= boundMs);
  const old = local.filter(({ ageMs }) => ageMs !== null && ageMs > 1_000);
  return { reads: reads.length, local: local.length, old: old.length };
}
