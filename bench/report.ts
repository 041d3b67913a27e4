import { cpus, totalmem } from 'node:os';
import type { Figure, Question } from './question.ts';
import type { Contestant } from './server-cluster.ts';
import { median } from './statistics.ts';

/** All figures of one question, run by run. */
export type Runs = Readonly<Record<Contestant, readonly (readonly Figure[])[]>>;

const GIB = 1024 ** 3;

/** What was measured on, for the head of a report. */
export function machine(etcdVersion: string): string {
  const [cpu] = cpus();
  const memory = Math.round(totalmem() / GIB);
  return `${cpus().length} x ${cpu?.model ?? 'unknown'}, ${memory} GiB, Node ${process.version}, etcd ${etcdVersion}`;
}

/** One question as a Markdown section: medians of all runs, and their ratio. */
export function section(question: Question, runs: Runs): string {
  const rows = (runs.conclave[0] ?? []).map(({ name, unit }) => {
    const [ours, etcds] = (['conclave', 'etcd'] as const).map((contestant) =>
      median(runs[contestant].map((figures) => figures.find((figure) => figure.name === name)!.value)),
    );
    return `| ${name} | ${shown(ours!)} ${unit} | ${shown(etcds!)} ${unit} | ${(ours! / etcds!).toFixed(2)} |`;
  });
  return [
    `## ${question.name}`,
    '',
    `${question.load}. Median of ${runs.conclave.length}.`,
    '',
    '| | Conclave | etcd | ratio |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

function shown(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2);
}
