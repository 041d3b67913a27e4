import type { Verdict } from './goals.ts';
import type { FigureSummary, MachineRecord, QuestionSummary, RunRecord } from './records.ts';
import { median } from './statistics.ts';

/** What was measured on, for the head of a report. */
export function machineText(machine: MachineRecord): string {
  const { processors, processor, memoryGib, system, node, conclave, etcd, h2load, seed, scale } = machine;
  const share = scale === 1 ? '' : ` Only ${scale} of each load: figures to try the bench out, no more.`;
  return [
    `${processors} x ${processor}, ${memoryGib} GiB, ${system}; three members of each on this machine,`,
    `the load generator beside them. Conclave ${conclave} on Node ${node}; etcd ${etcd}; ${h2load}.`,
    `Seed ${seed}; ${machine.startedAt}.${share}`,
  ].join(' ');
}

/** One question as a Markdown section: medians of all runs with the least and the most, and the medians' ratio. */
export function section({ question, load, figures }: QuestionSummary): string {
  const runs = Math.max(figures[0]?.conclave.length ?? 0, figures[0]?.etcd.length ?? 0);
  return [
    `## ${question}`,
    '',
    `${load}. Median of ${runs}${runs > 1 ? ' (least to most)' : ''}.`,
    '',
    '| | Conclave | etcd | ratio |',
    '|---|---|---|---|',
    ...figures.map(figureRow),
    '',
  ].join('\n');
}

/** The goals as a Markdown table. */
export function goalsTable(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map(({ what, is, bound, unit, measured, reached }) => {
    const sign = is === 'at least' ? '>=' : '<=';
    const suffix = unit === 'times' ? 'x' : ` ${unit}`;
    return `| ${what} | ${sign} ${bound.toLocaleString('en')}${suffix} | ${shown(measured)}${suffix} | ${reached ? 'yes' : '**no**'} |`;
  });
  return ['| | goal | measured | reached |', '|---|---|---|---|', ...rows, ''].join('\n');
}

/** The whole of docs/benchmarks.md. */
export function documentText(results: {
  readonly machines: readonly MachineRecord[];
  readonly runs: readonly RunRecord[];
  readonly summaries: readonly QuestionSummary[];
  readonly verdicts: readonly Verdict[];
  /** The plot's file, beside this one. */
  readonly plot: string | null;
}): string {
  const { machines, runs, summaries, verdicts, plot } = results;
  const commands = machines.map(({ command }) => command);
  return [
    '# Benchmarks',
    '',
    'Written by `npm run bench:document` from the results of these commands; not by hand. How it is measured:',
    '[performance](performance.md).',
    '',
    '```sh',
    ...commands,
    '```',
    '',
    machineText(machines[0]!),
    '',
    `The machine's load average before the first run was ${shown(runs[0]?.loadAverage ?? Number.NaN)}. A ratio is our median`,
    'divided by that of etcd.',
    '',
    '## Goals',
    '',
    goalsTable(verdicts),
    ...(plot === null
      ? []
      : ['## Latency against throughput', '', `![Latency against throughput](${plot})`, '']),
    ...summaries.map(section),
  ]
    .join('\n')
    .trimEnd()
    .concat('\n');
}

function figureRow({ name, unit, conclave, etcd }: FigureSummary): string {
  const ratio = median(conclave) / median(etcd);
  return `| ${name} | ${valuesShown(conclave)} ${unit} | ${valuesShown(etcd)} ${unit} | ${shown(ratio)} |`;
}

function valuesShown(values: readonly number[]): string {
  const middle = shown(median(values));
  return values.length < 2
    ? middle
    : `${middle} (${shown(Math.min(...values))} to ${shown(Math.max(...values))})`;
}

/** Three figures that mean something, thousands apart. */
export function shown(value: number): string {
  if (!Number.isFinite(value)) return '-';
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(value >= 10 ? 1 : 2);
}
