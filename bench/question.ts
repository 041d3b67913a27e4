import type { Chance } from './chance.ts';
import type { Contestant, ServerCluster } from './server-cluster.ts';
import type { Spread } from './statistics.ts';

export type Unit = 'req/s' | 'events/s' | 'ms' | 's' | 'CPU s' | 'MiB' | 'cores' | 'calls' | 'times';

/** One figure of one run. */
export interface Figure {
  /** What was measured, the same words for both contestants. */
  readonly name: string;
  readonly unit: Unit;
  readonly value: number;
}

/** A cluster to measure, and how much of the load it is to get. */
export interface Trial {
  readonly cluster: ServerCluster;
  /** From the seed of the run: the same for both contestants. */
  readonly chance: Chance;
  /** So many, or fewer where the whole bench is only being tried out; at least 1. */
  readonly count: (whole: number) => number;
}

/** What is to be known, and how to find out. */
export interface Question {
  readonly name: string;
  /** The load in words, for whoever wants to repeat it. */
  readonly load: string;
  /** Takes so much memory, disk or time that it must be asked for. */
  readonly large?: boolean;
  /** About the configuration service: ours in the members, beside ours in a gateway before etcd. */
  readonly service?: boolean;
  /** Who is asked; absent = both. */
  readonly contestants?: readonly Contestant[];
  /** Measures a fresh cluster. @throws Error when an answer was wrong */
  readonly measure: (trial: Trial) => Promise<readonly Figure[]>;
}

const MIB = 1024 * 1024;

/** `work`'s figures, and what it cost all members together: processor and, at its end, memory. */
export async function withUsage(
  cluster: ServerCluster,
  work: () => Promise<readonly Figure[]>,
): Promise<readonly Figure[]> {
  const before = cluster.usage();
  const startedMs = performance.now();
  const figures = await work();
  const seconds = (performance.now() - startedMs) / 1000;
  const { cpuSeconds, residentBytes } = cluster.usage();
  const spentSeconds = cpuSeconds - before.cpuSeconds;
  return [
    ...figures,
    { name: 'members, cores used', unit: 'cores', value: spentSeconds / seconds },
    { name: 'members, processor time', unit: 'CPU s', value: spentSeconds },
    { name: 'members, memory', unit: 'MiB', value: residentBytes / MIB },
  ];
}

/** The figures of durations in milliseconds. */
export function latencyFigures({ p50, p99, p999, max }: Spread): readonly Figure[] {
  return [
    { name: 'p50', unit: 'ms', value: p50 },
    { name: 'p99', unit: 'ms', value: p99 },
    { name: 'p99.9', unit: 'ms', value: p999 },
    { name: 'longest', unit: 'ms', value: max },
  ];
}

/** The same figures under longer names, for a question of several parts. */
export function prefixed(prefix: string, figures: readonly Figure[]): readonly Figure[] {
  return figures.map((figure) => ({ ...figure, name: `${prefix}: ${figure.name}` }));
}
