import type { ServerCluster } from './server-cluster.ts';

/** One figure of one run. */
export interface Figure {
  /** What was measured, the same words for both contestants. */
  readonly name: string;
  readonly unit: 'req/s' | 'ms' | 's' | 'MiB' | 'events/s' | 'cores';
  readonly value: number;
}

/** What is to be known, and how to find out. */
export interface Question {
  readonly name: string;
  /** The load in words, for whoever wants to repeat it. */
  readonly load: string;
  /** Measures a fresh cluster. @throws Error when an answer was wrong */
  readonly measure: (cluster: ServerCluster) => Promise<readonly Figure[]>;
}

/** `work`'s figures, and the processor cores that the members kept busy meanwhile. */
export async function withCores(
  cluster: ServerCluster,
  work: () => Promise<readonly Figure[]>,
): Promise<readonly Figure[]> {
  const before = cluster.usage();
  const startedMs = performance.now();
  const figures = await work();
  const seconds = (performance.now() - startedMs) / 1000;
  const cores = (cluster.usage().cpuSeconds - before.cpuSeconds) / seconds;
  return [...figures, { name: 'members, cores used', unit: 'cores', value: cores }];
}
