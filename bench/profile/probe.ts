import { renameSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { LoopDelay } from './loop-delay.ts';

/**
 * Loaded into a member before its program (`node --import`): SIGUSR2 starts the profiler and the watch on the event
 * loop, the next one stops both and writes `BENCH_PROBE.cpuprofile` and, at last, `BENCH_PROBE.delay.json`.
 */

const SAMPLE_INTERVAL_US = 500;
const TIMER_MS = 2;
const NS_PER_MS = 1e6;
/** In halves up to 99, then tenths and hundredths: fine enough to count by. */
const PERCENTS = [
  ...Array.from({ length: 198 }, (_, at) => (at + 1) / 2),
  ...Array.from({ length: 9 }, (_, at) => 99 + (at + 1) / 10),
  ...Array.from({ length: 10 }, (_, at) => 99.9 + (at + 1) / 100),
];

const target = process.env['BENCH_PROBE'];
if (target === undefined) throw new Error('BENCH_PROBE names no file');
const session = new Session();
session.connect();
const histogram = monitorEventLoopDelay({ resolution: TIMER_MS });
let running = false;
/** A stop waits for the start before it. */
let turn: Promise<void> = Promise.resolve();

async function start(): Promise<void> {
  await session.post('Profiler.enable');
  await session.post('Profiler.setSamplingInterval', { interval: SAMPLE_INTERVAL_US });
  await session.post('Profiler.start');
  histogram.reset();
  histogram.enable();
}

async function stop(): Promise<void> {
  histogram.disable();
  const { profile } = await session.post('Profiler.stop');
  write('cpuprofile', profile);
  write('delay.json', loopDelay());
}

/** The histogram counts the time between two timers; what is beyond their interval is delay. */
function loopDelay(): LoopDelay {
  const late = (ns: number): number => Math.max(0, ns / NS_PER_MS - TIMER_MS);
  return {
    count: histogram.count,
    meanMs: late(histogram.mean),
    maxMs: late(histogram.max),
    percentiles: PERCENTS.map((percent) => [percent, late(histogram.percentile(percent))]),
  };
}

/** Whoever waits for the file finds it whole. */
function write(suffix: string, content: unknown): void {
  writeFileSync(`${target}.tmp`, JSON.stringify(content));
  renameSync(`${target}.tmp`, `${target}.${suffix}`);
}

process.on('SIGUSR2', () => {
  running = !running;
  turn = turn.then(running ? start : stop);
});
