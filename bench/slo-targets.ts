import { shown } from './report.ts';

/** What was measured of one target. */
export interface Measurement {
  readonly what: string;
  readonly value: number;
  readonly unit: 'ms' | 'req/s';
  /** What it must stay below or reach; null = only for comparison. */
  readonly target: { readonly is: 'below' | 'at least'; readonly bound: number } | null;
}

/** What the users of a configuration store were promised. */
export const TARGETS = {
  writesPerSecond: 1_000,
  /** Answered by members, not by a client's cache, for each write. */
  readsPerWrite: 100,
  readP99Ms: 10,
  writeP99Ms: 100,
  watchers: 10_000,
  propagationMs: 1_000,
  /** Of the configuration service. */
  service: {
    /** Of all members together. */
    readsPerSecond: 1_500,
    writesPerSecond: 50,
    readP99Ms: 10,
    writeP99Ms: 100,
    watchers: 1_000,
    propagationMs: 1_000,
    validationP99Ms: 100,
    historyP99Ms: 200,
  },
} as const;

/** The last of so many calls takes a moment, so a rate is reached when it is all but reached. */
const RATE_SHARE = 0.99;

export function rate(what: string, value: number, wanted: number): Measurement {
  return { what, value, unit: 'req/s', target: { is: 'at least', bound: wanted * RATE_SHARE } };
}

export function latency(what: string, valueMs: number, belowMs: number): Measurement {
  return { what, value: valueMs, unit: 'ms', target: { is: 'below', bound: belowMs } };
}

/** The same, without a target. */
export function forComparison(measurement: Measurement): Measurement {
  return { ...measurement, target: null };
}

/** Whether the target is met; a figure that is missing is not. */
export function isMet({ value, target }: Measurement): boolean {
  if (target === null) return true;
  return target.is === 'below' ? value < target.bound : value >= target.bound;
}

/** As a Markdown table. */
export function sloTable(measurements: readonly Measurement[]): string {
  const rows = measurements.map((measurement) => {
    const { what, value, unit, target } = measurement;
    const wanted = target === null ? '-' : `${target.is} ${shown(target.bound)} ${unit}`;
    const verdict = target === null ? '-' : isMet(measurement) ? 'yes' : '**no**';
    return `| ${what} | ${wanted} | ${shown(value)} ${unit} | ${verdict} |`;
  });
  return ['| | target | measured | met |', '|---|---|---|---|', ...rows, ''].join('\n');
}
