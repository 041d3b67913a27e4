import { loadavg } from 'node:os';
import { chanceOf } from './chance.ts';
import type { Question } from './question.ts';
import type { RunRecord } from './records.ts';
import { type Contestant, ServerCluster } from './server-cluster.ts';

export const CONTESTANTS: readonly Contestant[] = ['conclave', 'etcd'];

/** How a whole bench is run. */
export interface TrialOptions {
  readonly contestants: readonly Contestant[];
  readonly runs: number;
  readonly seed: number;
  /** Of each load; 1 = all of it. */
  readonly scale: number;
  readonly onRecord: (record: RunRecord) => void;
}

/** Asks one question of the contestants by turns, each time of a fresh cluster. @throws Error for a wrong answer */
export async function ask(question: Question, options: TrialOptions): Promise<void> {
  for (let run = 1; run <= options.runs; run++) {
    // Whoever comes first finds the machine as the other left it: they take turns in that, too.
    const { contestants = CONTESTANTS } = question;
    const asked = options.contestants.filter((contestant) => contestants.includes(contestant));
    const order = run % 2 === 1 ? asked : asked.toReversed();
    for (const contestant of order) options.onRecord(await trial(question, { contestant, run, ...options }));
  }
}

async function trial(
  question: Question,
  options: TrialOptions & { readonly contestant: Contestant; readonly run: number },
): Promise<RunRecord> {
  const { contestant, run, seed, scale } = options;
  const startedAt = new Date().toISOString();
  const startedMs = performance.now();
  const [loadAverage] = loadavg();
  const cluster = await ServerCluster.start(contestant, { service: question.service ?? false });
  try {
    const figures = await question.measure({
      cluster,
      chance: chanceOf(seed + run),
      count: (whole) => Math.max(1, Math.round(whole * scale)),
    });
    if (cluster.lastWords() !== '') throw new Error('a member has ended by itself');
    const seconds = Math.round((performance.now() - startedMs) / 1000);
    const about = { contestant, run, startedAt, seconds, loadAverage: loadAverage! };
    return { kind: 'run', question: question.name, load: question.load, ...about, figures };
  } catch (cause) {
    const what = `${(cause as Error).message}\n${cluster.lastWords()}`;
    throw new Error(`${question.name}, ${contestant}, run ${run}: ${what}`, { cause });
  } finally {
    await cluster.destroy();
  }
}
