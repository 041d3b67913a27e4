import { linePlots, type Panel, type Series } from './line-plot.ts';
import { CURVE_NAMES } from './questions/latency-curve.ts';
import type { QuestionSummary } from './records.ts';
import type { Contestant } from './server-cluster.ts';
import { median } from './statistics.ts';

const COLOURS: Readonly<Record<Contestant, string>> = { conclave: '#c0392b', etcd: '#2c6fbb' };
const NAMES: Readonly<Record<Contestant, string>> = { conclave: 'Conclave', etcd: 'etcd' };

/** Latency against throughput, a panel for each kind of call that was measured; null when none was. */
export function latencyPlot(summaries: readonly QuestionSummary[]): string | null {
  const panels = Object.values(CURVE_NAMES).flatMap((name) => {
    const summary = summaries.find(({ question }) => question === name);
    return summary === undefined ? [] : [panelOf(summary)];
  });
  return panels.length === 0 ? null : linePlots(panels);
}

function panelOf(summary: QuestionSummary): Panel {
  return {
    title: summary.question,
    xLabel: 'calls a second',
    yLabel: 'latency, ms',
    series: (['conclave', 'etcd'] as const).flatMap((contestant) =>
      (['p99', 'p50'] as const).map((percentile) => seriesOf(summary, contestant, percentile)),
    ),
  };
}

/** A point for each number of calls in flight. */
function seriesOf(summary: QuestionSummary, contestant: Contestant, percentile: 'p50' | 'p99'): Series {
  const suffix = ': calls';
  const steps = summary.figures.filter(({ name }) => name.endsWith(suffix));
  return {
    name: `${NAMES[contestant]}, ${percentile}`,
    colour: COLOURS[contestant],
    dashed: percentile === 'p50',
    points: steps.map((calls) => {
      const latencyName = calls.name.replace(suffix, `: ${percentile}`);
      const latency = summary.figures.find(({ name }) => name === latencyName)!;
      return { x: median(calls[contestant]), y: median(latency[contestant]) };
    }),
  };
}
