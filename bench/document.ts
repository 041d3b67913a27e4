import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { judge } from './goals.ts';
import { latencyPlot } from './latency-plot.ts';
import { parseRecords, summarize } from './records.ts';
import { documentText } from './report.ts';

/** `npm run bench:document`: docs/benchmarks.md and docs/latency.svg, out of the results of a run. */

const HELP = `Writes docs/benchmarks.md and docs/latency.svg from the results of 'npm run bench -- --out FILE'.

Usage: npm run bench:document -- [options] FILE...

  --docs DIR   where to (default docs)
  --help

Results of several files are put together; the machine is that of the first.`;

const PLOT = 'latency.svg';

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      docs: { type: 'string', default: 'docs' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const records = positionals.flatMap((path) => parseRecords(readFileSync(path, 'utf8')));
  const machines = records.filter((record) => record.kind === 'machine');
  if (machines.length === 0) throw new Error('no results: name a file that --out has written');
  const summaries = summarize(records);
  const plot = latencyPlot(summaries);
  if (plot !== null) writeFileSync(join(values.docs, PLOT), plot);
  const text = documentText({
    machines,
    runs: records.filter((record) => record.kind === 'run'),
    summaries,
    verdicts: judge(summaries),
    plot: plot === null ? null : PLOT,
  });
  writeFileSync(join(values.docs, 'benchmarks.md'), text);
}

main();
