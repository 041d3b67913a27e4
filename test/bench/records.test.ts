import { expect, test } from 'vitest';
import { chanceOf } from '../../bench/chance.ts';
import { GOALS, judge } from '../../bench/goals.ts';
import { latencyPlot } from '../../bench/latency-plot.ts';
import { CONFIGURATION_CALLS } from '../../bench/questions/configuration-calls.ts';
import { CONFIGURATION_CHECKS } from '../../bench/questions/configuration-checks.ts';
import { EVALUATION } from '../../bench/questions/evaluation.ts';
import { FAILOVER } from '../../bench/questions/failover.ts';
import { LATENCY_CURVES } from '../../bench/questions/latency-curve.ts';
import { MANY_CONFIGURATIONS } from '../../bench/questions/many-configurations.ts';
import { MANY_KEYS } from '../../bench/questions/many-keys.ts';
import { PUT } from '../../bench/questions/put.ts';
import { PUT_EQUAL_LOAD } from '../../bench/questions/put-equal-load.ts';
import { RANGES } from '../../bench/questions/range.ts';
import { WATCH_FAN_OUT } from '../../bench/questions/watch-fan-out.ts';
import { WRITE_STALLS } from '../../bench/questions/write-stalls.ts';
import {
  type BenchRecord,
  type MachineRecord,
  parseRecords,
  type RunRecord,
  recordLine,
  summarize,
} from '../../bench/records.ts';
import { documentText, goalsTable, machineText, section, shown } from '../../bench/report.ts';
import type { Contestant } from '../../bench/server-cluster.ts';

const MACHINE: MachineRecord = {
  kind: 'machine',
  startedAt: '2026-01-02T03:04:05.000Z',
  command: 'npm run bench --',
  processors: 2,
  processor: 'Slow',
  memoryGib: 4,
  system: 'Linux 6',
  node: 'v20',
  conclave: '1.2.3',
  etcd: '3.4.23',
  h2load: 'h2load 1',
  seed: 7,
  scale: 1,
};

function run(contestant: Contestant, question: string, figures: Record<string, number>): RunRecord {
  return {
    kind: 'run',
    question,
    load: 'a load',
    contestant,
    run: 1,
    startedAt: '2026-01-02T03:04:05.000Z',
    seconds: 12,
    loadAverage: 0.25,
    figures: Object.entries(figures).map(([name, value]) => ({ name, unit: 'req/s', value })),
  };
}

const PUT_RUNS = [
  run('conclave', PUT.name, { calls: 50_000 }),
  run('etcd', PUT.name, { calls: 19_000 }),
  run('etcd', PUT.name, { calls: 10_000 }),
  run('conclave', PUT.name, { calls: 61_000 }),
  run('conclave', PUT.name, { calls: 60_000 }),
  run('etcd', PUT.name, { calls: 20_000 }),
];

test('records are read as they were written, a line each', () => {
  const records: readonly BenchRecord[] = [MACHINE, ...PUT_RUNS];
  expect(parseRecords(`${records.map(recordLine).join('')}\n`)).toEqual(records);
});

test('a line that is no record is refused', () => {
  expect(() => parseRecords('{"kind":"other"}')).toThrow('no record');
});

test('runs are gathered by question and contestant', () => {
  const [summary] = summarize([MACHINE, ...PUT_RUNS]);
  expect(summary!.question).toBe(PUT.name);
  expect(summary!.figures).toEqual([
    { name: 'calls', unit: 'req/s', conclave: [50_000, 61_000, 60_000], etcd: [19_000, 10_000, 20_000] },
  ]);
});

test('a section shows medians, the least and the most, and the ratio of the medians', () => {
  const text = section(summarize(PUT_RUNS)[0]!);
  expect(text).toContain('a load. Median of 3 (least to most).');
  expect(text).toContain(
    '| calls | 60,000 (50,000 to 61,000) req/s | 19,000 (10,000 to 20,000) req/s | 3.16 |',
  );
});

test('the head says machine, load, seed and versions, and warns of a part of the load', () => {
  const text = machineText(MACHINE);
  for (const part of ['2 x Slow', '4 GiB', 'Linux 6', 'v20', '1.2.3', '3.4.23', 'h2load 1', 'Seed 7']) {
    expect(text).toContain(part);
  }
  expect(text).not.toContain('try the bench out');
  expect(machineText({ ...MACHINE, scale: 0.01 })).toContain('Only 0.01 of each load');
});

test('figures are shown with as many digits as mean something', () => {
  expect([0.123, 12.34, 123.4, 12_345.6, Number.NaN].map(shown)).toEqual([
    '0.12',
    '12.3',
    '123',
    '12,346',
    '-',
  ]);
});

test('a ratio is judged by medians, and a goal of a question that was not asked is left out', () => {
  const verdicts = judge(summarize(PUT_RUNS));
  expect(verdicts).toHaveLength(1);
  expect(verdicts[0]).toMatchObject({ what: 'puts', is: 'at least', bound: 3, reached: true });
  expect(verdicts[0]!.measured).toBeCloseTo(60_000 / 19_000);
  expect(goalsTable(verdicts)).toContain('| puts | >= 3x | 3.16x | yes |');
});

test('no ratio is judged with only one side of it', () => {
  expect(judge(summarize(PUT_RUNS.filter(({ contestant }) => contestant === 'conclave')))).toEqual([]);
  expect(judge(summarize(PUT_RUNS.filter(({ contestant }) => contestant === 'etcd')))).toEqual([]);
});

test('a goal that is missed is called missed, on either side of its bound', () => {
  const slow = [run('conclave', PUT.name, { calls: 29 }), run('etcd', PUT.name, { calls: 10 })];
  expect(judge(summarize(slow))[0]!.reached).toBe(false);
  const stalls = { 'compaction: longest put': 50.1 };
  const stalled = [run('conclave', WRITE_STALLS.name, stalls), run('etcd', WRITE_STALLS.name, stalls)];
  expect(judge(summarize(stalled))[0]).toMatchObject({ unit: 'ms', measured: 50.1, reached: false });
});

test('a figure that is no number reaches no goal, though it has been through a file', () => {
  const nothing = run('conclave', WRITE_STALLS.name, { 'snapshot: longest put': Number.NaN });
  const [verdict] = judge(summarize(parseRecords(recordLine(nothing))));
  expect(verdict).toMatchObject({ measured: Number.NaN, reached: false });
});

test('every goal is of a question that the bench asks', () => {
  const asked = [
    EVALUATION,
    PUT,
    PUT_EQUAL_LOAD,
    ...RANGES,
    ...WATCH_FAN_OUT,
    ...MANY_KEYS,
    ...CONFIGURATION_CALLS,
    ...CONFIGURATION_CHECKS,
    MANY_CONFIGURATIONS,
    WRITE_STALLS,
    FAILOVER,
  ];
  const names = new Set(asked.map(({ name }) => name));
  expect(GOALS.filter(({ question }) => !names.has(question))).toEqual([]);
});

test('flag evaluation has the figures of its goals, of flags that flagd answers alike', async () => {
  const trial = { cluster: undefined as never, chance: chanceOf(1), count: () => 1 };
  const names = (await EVALUATION.measure(trial)).map(({ name }) => name);
  const goals = GOALS.filter(({ question }) => question === EVALUATION.name);
  expect(goals).toHaveLength(2);
  expect(goals.filter(({ figure }) => !names.includes(figure))).toEqual([]);
});

test('the plot has a line for each contestant and percentile, through the medians', () => {
  const figures = (times: number): Record<string, number> => ({
    '1 in flight: calls': 100 * times,
    '1 in flight: p50': 1,
    '1 in flight: p99': 10,
    '10 in flight: calls': 1_000 * times,
    '10 in flight: p50': 2,
    '10 in flight: p99': 20,
  });
  const name = LATENCY_CURVES[0]!.name;
  const summaries = summarize([run('conclave', name, figures(3)), run('etcd', name, figures(1))]);
  const svg = latencyPlot(summaries)!;
  for (const line of ['Conclave, p50', 'Conclave, p99', 'etcd, p50', 'etcd, p99'])
    expect(svg).toContain(line);
  expect(svg.match(/<circle/g)).toHaveLength(8);
  expect(latencyPlot(summarize(PUT_RUNS))).toBeNull();
});

test('the document has the command, the goals, the plot and every question', () => {
  const summaries = summarize(PUT_RUNS);
  const text = documentText({
    machines: [MACHINE],
    runs: PUT_RUNS,
    summaries,
    verdicts: judge(summaries),
    plot: 'latency.svg',
  });
  expect(text).toContain('```sh\nnpm run bench --\n```');
  expect(text).toContain('before the first run was 0.25.');
  expect(text).toContain('| puts | >= 3x |');
  expect(text).toContain('](latency.svg)');
  expect(text).toContain(`## ${PUT.name}`);
  expect(text.endsWith('|\n')).toBe(true);
});
