import { Prng } from '../core/raft/prng.ts';
import { FaultArena, within } from './fault-arena.ts';
import { FAULTS, type FaultContext, type FaultName } from './faults.ts';
import { Observer, observeEverything } from './observers.ts';
import { judge, type Verdict } from './verdict.ts';
import { ALL_KEYS, KEYS, Workload } from './workload.ts';

/** One run: a cluster, a load, one fault after the other. */
export interface FaultRun {
  readonly name: string;
  readonly seed: number;
  readonly size: number;
  /** In this order. */
  readonly faults: readonly FaultName[];
}

/** Acknowledged before the next fault: the cluster has healed, and there is something to lose. */
const CALM_WRITES = 50;
/** Faults in a run of everything. */
const RANDOM_FAULTS = 8;
/** Clients per member. */
const CLIENTS_EACH = 2;

/** A run of everything in random order. */
export function randomRun(seed: number): FaultRun {
  const random = new Prng(seed);
  const names = Object.keys(FAULTS) as FaultName[];
  return {
    name: 'everything at random',
    seed,
    size: random.pick([3, 5]),
    faults: Array.from({ length: RANDOM_FAULTS }, () => random.pick(names)),
  };
}

/** Carries a run out and judges it. @returns the verdict, and what was done in which order */
export async function carryOut(run: FaultRun): Promise<Verdict & { readonly log: readonly string[] }> {
  const random = new Prng(run.seed);
  const arena = await FaultArena.start({ size: run.size, random });
  const urls = arena.members.map((member) => member.workloadUrl);
  const workload = new Workload({
    urls: Array.from({ length: CLIENTS_EACH }, () => urls).flat(),
    seed: run.seed,
  });
  const everything = observeEverything(urls);
  const observers = [
    new Observer(urls.toReversed(), { ...ALL_KEYS, startRevision: 1, progressNotify: true }),
  ];
  const log: string[] = [];
  try {
    workload.start();
    await workload.acknowledgements(CALM_WRITES);
    for (const name of run.faults) {
      observers.push(newObserver({ arena, workload, everything, random }));
      const startedMs = performance.now();
      const done = await within(name, FAULTS[name]({ arena, workload, everything, random }));
      await within(`repair after ${name}`, arena.repair());
      await within(`writes after ${name}`, workload.acknowledgements(CALM_WRITES));
      log.push(`${name}: ${done} (${Math.round(performance.now() - startedMs)} ms)`);
    }
    await workload.stop();
    const verdict = await judge({ arena, workload, everything, observers });
    return { ...verdict, log };
  } catch (error) {
    const logs = arena.members.map((member) => `--- ${member.name}\n${member.process?.log ?? ''}`);
    throw new Error(`${run.name}, seed ${run.seed}, after ${log.join('; ')}\n${logs.join('\n')}`, {
      cause: error,
    });
  } finally {
    await workload.stop();
    workload.close();
    await Promise.all([everything, ...observers].map((observer) => observer.stop()));
    await arena.destroy();
  }
}

/** A watch of a random kind that begins while things go wrong: now, or somewhere in the past. */
function newObserver({ arena, everything, random }: FaultContext): Observer {
  const urls = arena.members.map((member) => member.workloadUrl);
  const first = random.below(urls.length);
  const range = random.pick([ALL_KEYS, { key: KEYS[0]! }, { key: KEYS[2]!, rangeEnd: KEYS[6]! }]);
  const startRevision = random.chance(50) ? 0 : Math.max(1, everything.revision - random.below(200));
  return new Observer([...urls.slice(first), ...urls.slice(0, first)], {
    ...range,
    startRevision,
    prevKv: random.chance(50),
    progressNotify: random.chance(50),
  });
}
